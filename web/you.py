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
from ledger.consent import Person
from ledger.links import LinkKind, MailedLink
from policies.consent import GRANTS, REFUSALS, Consent
from policies.words import Purpose
from web.forms import Form, first, read_form
from web.language import listed, said
from web.refusal import mail_link, other_page, person_of, refuse, shown_address
from web.site import Site, language_of, page, site_of
from web.visit import Visit, step, welcome

CHOOSE_LABEL = listed("Stop the ones I ticked")
_OPENED_BY = (LinkKind.YOU, LinkKind.UNDO)


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
    chosen = [purpose for purpose in Purpose if purpose.value in form.get("stop", [])]
    if chosen:
        return await refuse(request, person, chosen, form, CHOOSE_LABEL)
    choices = _choices(await site.ledger.standing(person), await site.ledger.history(person))
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
    address = await site.ledger.known_address(person) if site.mails else None
    if address is not None:
        await mail_link(site, address, language_of(request))
    else:
        await site.ledger.tick()
    return page(request, "link_sent.html")


async def _mailed(request: Request, site: Site) -> Response:
    """Show the button of a mailed link, or on POST open a visit or go on with one."""
    token = request.path_params["token"]
    if request.method != "POST":
        link = await site.ledger.read(lambda connection: _looked_at(connection, site, token))
        return page(request, "continue.html") if link is not None else page(request, "over.html", 410)
    form = await read_form(request)
    if "visit" in form:
        address = links.visitor(site.ledger.keyring, first(form, "visit"), datetime.now(UTC))
        if address is None:
            return page(request, "over.html", 410)
        return await step(Visit(request, site, address), form)
    used = await site.ledger.job(lambda connection: _used(connection, site, token))
    return page(request, "over.html", 410) if used is None else await welcome(Visit(request, site, used.address))


async def _looked_at(connection: AsyncConnection, site: Site, token: str) -> MailedLink | None:
    link = await links.look(connection, site.ledger.keyring, token, datetime.now(UTC))
    return link if link is not None and link.kind in _OPENED_BY else None


async def _used(connection: AsyncConnection, site: Site, token: str) -> MailedLink | None:
    """Use a link up, if it leads here."""
    if await _looked_at(connection, site, token) is None:
        return None
    return await links.use(connection, site.ledger.keyring, token, datetime.now(UTC))


def _choices(consent: Consent, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per purpose how things stand for every spelling of an address."""
    choices = []
    for purpose in Purpose:
        standing = consent.on(purpose).state
        theirs = [event for event in history if event["purpose"] == purpose]
        granted = any(event["state"] in GRANTS for event in theirs)
        state = "refused" if standing in REFUSALS else "agreed" if granted else "unknown"
        since = theirs[-1]["time"][:10] if theirs else None
        choices.append({"purpose": purpose.value, "state": state, "since": since})
    return choices
