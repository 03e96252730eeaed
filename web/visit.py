"""A visit to the preference centre by somebody whose mailbox is proven: what is held, and every choice there is."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from ledger import contact, links
from ledger.consent import Act, Person, where
from ledger.requests import CaseKind
from ledger.subject import as_csv
from policies.consent import GRANTS, REFUSALS, Consent, State
from policies.footer import Language
from policies.words import Purpose
from web.agreement import agree, agreed_to, by_owner, offered, shown_in
from web.forms import Form, first, ticked
from web.language import listed, said
from web.pages import octets
from web.site import Site, language_of, note_done, page

METHOD = "preference_page"
STOP = listed("Stop the ones I ticked")
AGREE = listed("Agree to the ones I ticked")
DO_NOT_WRITE = listed("Do not write to me")
NEVER = listed("I never agreed")
ERASE = listed("Erase everything")
_CLAIMS = GRANTS | {State.IMPORTED_UNPROVEN}
WRITE_AGAIN = listed("You may write to me again")
_DONE = frozenset({"stopped", "agreed", "contact", "no_contact", "case", "never"})
"""What a step may have done; any other has done nothing."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Who visits."""

    request: Request
    site: Site
    address: str
    """Whose mailbox was proven."""

    @property
    def person(self) -> Person:
        """The visitor, as the ledger looks them up."""
        return Person.of(self.site.ledger.keyring, self.address)

    @property
    def language(self) -> Language:
        """The language that they are spoken to in."""
        return language_of(self.request)

    def act(self, label: str) -> Act:
        """Return how something was said on this page, by a control with this label."""
        return by_owner(METHOD, said(label, self.language))


async def welcome(visit: Visit, did: str = "", number: str = "") -> Response:
    """Show everything that is held about the visitor; ``did`` names what the step before has done.

    ``number`` is that of a case that it opened.

    Raises LedgerUnavailable.
    """
    if did in _DONE:
        note_done(visit.request)
    site, person = visit.site, visit.person
    notice = await site.notice(visit.language)
    consent, history = await site.ledger.standing(person), await site.ledger.history(person)
    choices = [_choice(purpose, consent, history) for purpose in Purpose]
    agreed = [choice["purpose"] for choice in choices if choice["state"] == "agreed"]
    return page(
        visit.request,
        "visit.html",
        address=visit.address,
        visit=links.visit(site.ledger.keyring, visit.address, datetime.now(UTC)),
        did=did,
        number=number,
        agreed_before=any(event["state"] in _CLAIMS for event in history),
        choices=choices,
        offered=[purpose for purpose in offered(notice) if purpose not in agreed],
        do_not_write=consent.do_not_write,
        refuses=site.policy.model.do_not_write == "refuse",
        history=history,
        sources=_sources(history),
        holdings=await site.ledger.holdings(person),
        notice=notice,
    )


def shown(word: str) -> str:
    """Return what pages make of where somebody stands (``ledger.consent.where``): agreed, refused, over or unknown."""
    if word in GRANTS:
        return "agreed"
    return "refused" if word in REFUSALS else "over" if word in ("expired", "suspended") else "unknown"


def _choice(purpose: Purpose, consent: Consent, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how things stand on one purpose: since when, until when, on which notice, and for whom it was said."""
    standing = consent.on(purpose)
    theirs = [one for one in history if one["purpose"] == purpose and (one["exact"] or one["address"] is None)]
    event = standing.event
    recorded = next((one for one in theirs if event is not None and one["id"] == event.id), None)
    return {
        "purpose": purpose.value,
        "state": shown(where(standing, theirs, datetime.now(UTC))),
        "since": event.at.date().isoformat() if event is not None else None,
        "until": event.valid_until.date().isoformat() if event is not None and event.valid_until is not None else None,
        "notice": recorded["notice"] if recorded else None,
        "domain": event is not None and event.domain,
    }


def _sources(history: list[dict[str, Any]]) -> list[str]:
    """Return where the address came from, as far as that was recorded."""
    named = (event["source"] or event["collection_point"] for event in history)
    return list(dict.fromkeys(name for name in named if name))


async def step(visit: Visit, form: Form) -> Response:
    """Do what a button of the page says and show what came of it. Raises LedgerUnavailable."""
    action = _ACTIONS.get(first(form, "do"))
    return await action(visit, form) if action is not None else await welcome(visit)


async def _stop(visit: Visit, form: Form) -> Response:
    purposes = ticked(form, "stop")
    if not purposes:
        return await welcome(visit, "nothing")
    keep = first(form, "keep") == "yes"
    await visit.site.ledger.refuse(visit.person, purposes, visit.act(STOP), keep_hits=keep, language=visit.language)
    return await welcome(visit, "stopped")


async def _agree(visit: Visit, form: Form) -> Response:
    purposes = agreed_to(form, await visit.site.notice(visit.language))
    if not purposes:
        return await welcome(visit, "nothing")
    language = await shown_in(visit.site, form, visit.language)
    if language is None:
        return await welcome(visit, "changed")

    async def work(connection: AsyncConnection) -> tuple[int, str] | None:
        how = by_owner(METHOD)
        return await agree(connection, visit.site, visit.address, purposes, language, how, AGREE)

    await visit.site.ledger.append(work)
    return await welcome(visit, "agreed")


async def _contact(visit: Visit, *, may_write: bool) -> Response:
    act = visit.act(WRITE_AGAIN if may_write else DO_NOT_WRITE)

    async def work(connection: AsyncConnection) -> tuple[int, str] | None:
        notice = await visit.site.ledger.said(connection, visit.language)
        keyring, now = visit.site.ledger.keyring, datetime.now(UTC)
        return await contact.say(connection, keyring, visit.person, act, notice, now, may_write=may_write)

    await visit.site.ledger.append(work)
    return await welcome(visit, "contact" if may_write else "no_contact")


async def _do_not_write(visit: Visit, form: Form) -> Response:
    return await _contact(visit, may_write=False)


async def _write_again(visit: Visit, form: Form) -> Response:
    return await _contact(visit, may_write=True)


def _download(text: str, kind: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="copy.{kind}"'}
    media = {"json": "application/json", "csv": "text/csv; charset=utf-8"}
    return Response(octets(text), media_type=media[kind], headers=headers)


async def _copy_json(visit: Visit, form: Form) -> Response:
    copy = await visit.site.ledger.copy_of(visit.person)
    return _download(json.dumps(copy, ensure_ascii=False, indent=2), "json")


async def _copy_csv(visit: Visit, form: Form) -> Response:
    return _download(as_csv(await visit.site.ledger.copy_of(visit.person)), "csv")


async def _erase(visit: Visit, form: Form) -> Response:
    if first(form, "sure") != "yes":
        return await welcome(visit, "unsure")
    await visit.site.ledger.erase(visit.person, visit.act(ERASE), visit.language)
    return page(visit.request, "erased.html")


async def _case(visit: Visit, form: Form, kind: CaseKind) -> Response:
    # A form sends each line end as CRLF (HTML, constructing the entry list) and counts it as one character.
    text = first(form, "text").replace("\r\n", "\n").strip()
    if not text:
        return await welcome(visit, "wordless")
    number = await visit.site.ledger.open_case(kind, visit.address, text, visit.language)
    return await welcome(visit, "case", number)


async def _correct(visit: Visit, form: Form) -> Response:
    return await _case(visit, form, CaseKind.CORRECTION)


async def _complain(visit: Visit, form: Form) -> Response:
    return await _case(visit, form, CaseKind.COMPLAINT)


async def _never(visit: Visit, form: Form) -> Response:
    number = await visit.site.ledger.never_agreed(visit.address, visit.act(NEVER), visit.language)
    return await welcome(visit, "never", number)


_ACTIONS: dict[str, Callable[[Visit, Form], Awaitable[Response]]] = {
    "stop": _stop,
    "agree": _agree,
    "do_not_write": _do_not_write,
    "write_again": _write_again,
    "copy_json": _copy_json,
    "copy_csv": _copy_csv,
    "erase": _erase,
    "correct": _correct,
    "complain": _complain,
    "never": _never,
}
