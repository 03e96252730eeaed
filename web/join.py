"""Agreeing: a public form per collection point, and the page behind the link that is mailed to whoever filled it in.

The form records nothing but that a link was mailed. Its page shows what would be agreed to; only its POST counts.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from ledger import consent, links, outbox
from ledger.consent import Person
from ledger.links import LinkKind, MailedLink
from ledger.notice import Notice
from ledger.outbox import Letter
from ledger.tokens import you_url
from policies.address import masked
from policies.consent import Assurance
from policies.footer import Language
from policies.words import Purpose
from web import mailed
from web.agreement import agree, agreed_to, by_owner, offered, shown_in
from web.forms import Form, address_in, first, read_form
from web.language import listed, said
from web.site import Point, Site, language_of, page, site_of, slow_down

METHOD = "doi_link"
AGREE_TO_THIS = listed("I agree to this")
AGREE_TO_TICKED = listed("Agree to the ones I ticked")
REFUSE = listed("No, record nothing")


async def join(request: Request) -> Response:
    """Answer for a collection point's form, or for the page of a mailed link."""
    site, name = site_of(request), request.path_params["point"]
    if links.is_mailed(site.ledger.keyring, name):
        return await _confirm(request, site, name)
    point = site.points.get(name)
    if point is None or not site.mails:
        return page(request, "not_there.html", 404)
    if request.method != "POST":
        return await _form(request, point)
    form = await read_form(request)
    purposes, address = agreed_to(form, await site.notice(language_of(request))), address_in(form)
    if address is None or not purposes:
        return await _form(request, point, "address" if address is None else "nothing")
    slow_down(request)
    await _mail(request, site, name, address, purposes)
    return page(request, "join_sent.html")


async def _form(request: Request, point: Point, wrong: str = "") -> Response:
    notice = await site_of(request).notice(language_of(request))
    values = {"point": point, "notice": notice, "offered": offered(notice), "wrong": wrong}
    return page(request, "join.html", 400 if wrong else 200, **values)


async def _mail(request: Request, site: Site, point_id: str, address: str, purposes: list[Purpose]) -> None:
    """Mail the link. The answer does not tell whether the address got enough today (W19)."""
    content = {"purposes": [purpose.value for purpose in purposes], "point": point_id}
    letter = Letter("join", address, language_of(request), {"point": site.points[point_id].title})
    await site.ledger.job(lambda connection: mailed.mail(connection, site, LinkKind.JOIN, letter, content))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was said behind a mailed link."""

    purposes: list[Purpose]
    """None of them: refused."""
    button: str


async def _confirm(request: Request, site: Site, token: str) -> Response:
    """Show what would be agreed to, or on POST record it or its refusal and use the link up."""
    link = await mailed.look(site, token, LinkKind.JOIN, LinkKind.ASK)
    if link is None:
        return page(request, "over.html", 410)
    notice = await site.notice(language_of(request))
    if request.method != "POST":
        return _shown(request, link, notice)
    form = await read_form(request)
    answer = _answer(link, form, notice)
    if answer is None:
        return _shown(request, link, notice, wrong="nothing")
    language = await shown_in(site, form, language_of(request))
    if answer.purposes and language is None:
        return _shown(request, link, notice, wrong="changed")
    if link.kind is LinkKind.ASK and answer.purposes:
        return await _prove(request, site, token, answer)
    if not await _record(site, token, answer, language or language_of(request)):
        return page(request, "over.html", 410)
    return page(request, "confirmed.html", address=_shown_address(link), agreed=bool(answer.purposes))


def _shown_address(link: MailedLink) -> str:
    """Return the address as the page shows it: an invitation stood below ordinary mail, which may be passed on."""
    return masked(link.address) if link.kind is LinkKind.ASK else link.address


async def _prove(request: Request, site: Site, token: str, answer: _Answer) -> Response:
    """Use an invitation up and mail a link that proves the mailbox: only behind that does a yes count.

    Whoever quotes the message in a reply hands the invitation on, and with it must not go the power to agree.
    """
    if not site.mails:
        return page(request, "stop_by_writing.html")
    slow_down(request)
    good = False

    async def work(connection: AsyncConnection) -> None:
        nonlocal good
        link = await links.use(connection, site.ledger.keyring, token, datetime.now(UTC))
        good = link is not None
        if link is None:
            return
        purposes = [purpose.value for purpose in answer.purposes]
        content = {"purposes": purposes, "ticked": True, "request": link.id}
        letter = Letter("said_yes", link.address, language_of(request))
        await mailed.mail(connection, site, LinkKind.JOIN, letter, content)

    await site.ledger.job(work)
    return page(request, "join_sent.html") if good else page(request, "over.html", 410)


def _chosen(link: MailedLink, notice: Notice) -> list[Purpose]:
    """Return what was ticked on the form; nothing for an answer to a question, where the boxes come now."""
    if "point" not in link.content and "ticked" not in link.content:
        return []
    return [Purpose(purpose) for purpose in offered(notice) if purpose in link.content["purposes"]]


def _answer(link: MailedLink, form: Form, notice: Notice) -> _Answer | None:
    """Return what the form says; None for nothing."""
    if first(form, "do") == "refuse":
        return _Answer([], REFUSE)
    if first(form, "do") != "agree":
        return None
    chosen = _chosen(link, notice)
    found = _Answer(chosen, AGREE_TO_THIS) if chosen else _Answer(agreed_to(form, notice), AGREE_TO_TICKED)
    return found if found.purposes else None


def _shown(request: Request, link: MailedLink, notice: Notice, wrong: str = "") -> Response:
    chosen = _chosen(link, notice)
    language = language_of(request)
    return page(
        request,
        "confirm.html",
        address=_shown_address(link),
        notice=notice,
        chosen=[purpose.value for purpose in chosen],
        offered=offered(notice),
        label=said(AGREE_TO_THIS if chosen else AGREE_TO_TICKED, language),
        refuse_label=said(REFUSE, language),
        wrong=wrong,
    )


async def _record(site: Site, token: str, answer: _Answer, language: Language) -> bool:
    """Use the link up and record what was said, in one transaction; tell whether the link was still good."""
    good = False

    async def work(connection: AsyncConnection) -> tuple[int, str] | None:
        nonlocal good
        keyring, now = site.ledger.keyring, datetime.now(UTC)
        link = await links.use(connection, keyring, token, now)
        good = link is not None
        if link is None:
            return None
        how = by_owner(METHOD, said(answer.button, language), link.content.get("point"), link.content.get("request"))
        if answer.purposes:
            return await agree(connection, site, link.address, answer.purposes, language, how, answer.button)
        person, notice = Person.of(keyring, link.address), await site.ledger.said(connection, language)
        if link.kind is LinkKind.JOIN:
            return await consent.refuse(connection, keyring, person, list(Purpose), how, notice, now)
        how = replace(how, method="footer_link", assurance=Assurance.TOKEN_POSSESSION, request=link.id)
        head = await consent.refuse(connection, keyring, person, list(Purpose), how, notice, now)
        if head is not None and site.mails:
            values = {"you_url": you_url(keyring, site.public_url, link.address)}
            await outbox.put(connection, keyring, Letter("stopped", link.address, language, values), now)
        return head

    await site.ledger.append(work)
    return good
