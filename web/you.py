"""The preference centre. With a token from ordinary mail one can only refuse; with a mailed link, everything.

A mailed link shows a button and changes nothing; its POST uses the link up and opens a visit, carried in the form and
renewed by each step (``web.visit``).
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from ledger import links
from ledger.consent import Person, where
from ledger.links import LinkKind, MailedLink
from ledger.tokens import you_url
from policies.consent import Consent
from policies.words import Purpose
from web import mailed
from web.agreement import by_owner
from web.forms import MAX_WORDS_FORM, Form, first, read_form, ticked
from web.language import listed, said
from web.refusal import mail_link, other_page, person_of, refuse, shown_address
from web.site import Site, language_of, note_done, page, site_of, slow_down
from web.visit import Visit, shown, step, welcome

UNDO_LABEL = listed("I take it back")
CHOOSE_LABEL = listed("Stop the ones I ticked")


async def you(request: Request) -> Response:
    """Show what stands for a person, or on POST record what they chose."""
    site = site_of(request)
    if links.is_mailed(site.ledger.keyring, request.path_params["token"]):
        return await _mailed(request, site)
    person = person_of(request)
    if person is None:
        return page(request, "no_token.html", 404)
    form: Form = await read_form(request) if request.method == "POST" else {}
    if first(form, "do") == "link":
        return await _ask_for_link(request, site, person)
    chosen = ticked(form, "stop")
    if chosen:
        return await refuse(request, person, chosen, form, CHOOSE_LABEL)
    choices = _choices(await site.ledger.standing(person), await site.ledger.history(person), datetime.now(UTC))
    return page(
        request,
        "you.html",
        address=await shown_address(site, person),
        choices=choices,
        open=any(choice["state"] != "refused" for choice in choices),
        nothing_ticked=request.method == "POST",
        holdings=await site.ledger.holdings(person),
        notice=await site.notice(language_of(request)),
        label=said(CHOOSE_LABEL, language_of(request)),
        stop=other_page(request, "stop"),
        mails=site.mails,
    )


async def _ask_for_link(request: Request, site: Site, person: Person) -> Response:
    """Mail a link to the address the token was made for; the answer is the same where it is not known any more."""
    slow_down(request)
    address = await site.ledger.known_address(person) if site.mails else None
    if address is not None:
        await mail_link(site, address, language_of(request))
    else:
        await site.ledger.tick()
    return page(request, "link_sent.html")


async def _mailed(request: Request, site: Site) -> Response:
    """Show the button of a mailed link, or on POST do what it is for, or go on with a visit."""
    token = request.path_params["token"]
    form: Form = await read_form(request, MAX_WORDS_FORM) if request.method == "POST" else {}
    if "visit" in form:
        address = links.visitor(site.ledger.keyring, first(form, "visit"), datetime.now(UTC))
        return page(request, "over.html", 410) if address is None else await step(Visit(request, site, address), form)
    link = await mailed.look(site, token, LinkKind.YOU, LinkKind.UNDO)
    if link is not None and link.kind is LinkKind.UNDO:
        return await _undo(request, site, token, link)
    if link is not None and request.method == "POST":
        link = await site.ledger.job(lambda connection: _used(connection, site, token))
    if link is None:
        return page(request, "over.html", 410)
    if request.method != "POST":
        return page(request, "continue.html")
    return await welcome(Visit(request, site, link.address))


async def _used(connection: AsyncConnection, site: Site, token: str) -> MailedLink | None:
    return await links.use(connection, site.ledger.keyring, token, datetime.now(UTC))


async def _undo(request: Request, site: Site, token: str, link: MailedLink) -> Response:
    """Show what somebody else recorded, or on POST take it back. Such a link opens no visit: it is good for 90 days."""
    purposes = [purpose for purpose in Purpose if purpose.value in link.content.get("purposes", list(Purpose))]
    language = language_of(request)
    label = said(UNDO_LABEL, language)
    if request.method != "POST":
        return page(request, "undo.html", address=link.address, purposes=purposes, label=label)
    person = Person.of(site.ledger.keyring, link.address)
    await site.ledger.refuse(person, purposes, by_owner("undo_link", label), language=language)
    note_done(request)
    # Used up last: where the ledger went away in between, the link is still good.
    await site.ledger.job(lambda connection: _used(connection, site, token))
    you = you_url(site.ledger.keyring, "", link.address)
    return page(request, "stopped.html", address=link.address, purposes=purposes, kept=False, you=you)


def _choices(consent: Consent, history: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return per purpose how things stand, in whatever spelling of their address somebody agreed."""
    choices = []
    for purpose in Purpose:
        standing = consent.on(purpose)
        word = where(standing, [event for event in history if event["purpose"] == purpose], now)
        since = standing.event.at.date().isoformat() if standing.event is not None else None
        choices.append({"purpose": purpose.value, "state": shown(word), "since": since})
    return choices
