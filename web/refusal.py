"""Refusing: the stop page and the first preference page. GET shows, POST acts; a token from ordinary mail only reduces.

Works without JavaScript and without cookies; a second POST gives the same page (RFC 8058's body is accepted too).
"""

from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response

from ledger.consent import Act, Person
from ledger.errors import LedgerUnavailable
from ledger.tokens import open_stop
from policies.address import masked
from policies.consent import REFUSALS, Assurance, Consent
from policies.words import Purpose
from web.forms import FormTooLarge, read_form
from web.site import Site

STOP_LABEL = "Stop tracking"
CHOOSE_LABEL = "Stop the ones I ticked"

log = structlog.get_logger()


async def stop(request: Request) -> Response:
    """Show the stop page, or on POST record the refusal of everything."""
    site: Site = request.app.state.site
    person = _person(request, site)
    if person is None:
        return site.render("no_token.html", status=404)
    if request.method != "POST":
        return site.render(
            "stop.html",
            address=await _shown_address(site, person),
            already=await _all_refused(site, person),
            label=STOP_LABEL,
            you=_other_page(request, "you"),
        )
    try:
        # What it says does not matter: the POST is the refusal.
        form = await read_form(request)
    except FormTooLarge:
        return site.render("too_large.html", status=413)
    return await _refuse(request, site, person, list(Purpose), form, STOP_LABEL)


async def you(request: Request) -> Response:
    """Show what stands for a person, or on POST record the refusal of what they ticked."""
    site: Site = request.app.state.site
    person = _person(request, site)
    if person is None:
        return site.render("no_token.html", status=404)
    if request.method == "POST":
        try:
            form = await read_form(request)
        except FormTooLarge:
            return site.render("too_large.html", status=413)
        chosen = [purpose for purpose in Purpose if purpose.value in form.get("stop", [])]
        if chosen:
            return await _refuse(request, site, person, chosen, form, CHOOSE_LABEL)
    try:
        consent = await site.ledger.standing(person)
        history = await site.ledger.history(person)
        holdings = await site.ledger.holdings(person)
    except LedgerUnavailable:
        return site.render("try_again.html", status=503)
    choices = _choices(consent, history)
    return site.render(
        "you.html",
        address=await _shown_address(site, person),
        choices=choices,
        open=any(choice["state"] != "refused" for choice in choices),
        nothing_ticked=request.method == "POST",
        holdings=holdings,
        notice=await site.notice(),
        label=CHOOSE_LABEL,
        stop=_other_page(request, "stop"),
    )


def _person(request: Request, site: Site) -> Person | None:
    folded_hash = open_stop(site.ledger.keyring, request.path_params["token"])
    return Person(folded_hash) if folded_hash else None


def _other_page(request: Request, page: str) -> str:
    return f"/{page}/{request.path_params['token']}"


async def _all_refused(site: Site, person: Person) -> bool:
    """Tell whether there is nothing left to refuse; False where that cannot be looked up."""
    try:
        standing = await site.ledger.standing(person)
    except LedgerUnavailable:
        return False
    return all(standing.on(purpose).state in REFUSALS for purpose in Purpose)


async def _shown_address(site: Site, person: Person) -> str | None:
    """Return the address as it may be shown to whoever holds a mail that was passed on; None where it is not known."""
    try:
        address = await site.ledger.known_address(person)
    except LedgerUnavailable:
        return None
    return masked(address) if address else None


async def _refuse(
    request: Request, site: Site, person: Person, purposes: list[Purpose], form: dict[str, list[str]], label: str
) -> Response:
    keep = form.get("keep") == ["yes"]
    one_click = form.get("List-Unsubscribe") == ["One-Click"]
    act = Act(
        actor_kind="data_subject",
        method="one_click_post" if one_click else "footer_link",
        assurance=Assurance.TOKEN_POSSESSION,
        expression=label,
    )
    try:
        await site.ledger.refuse(person, purposes, act, keep_hits=keep)
    except LedgerUnavailable as error:
        log.warning("web.refusal_not_recorded", why=str(error))
        return site.render("try_again.html", status=503)
    return site.render(
        "stopped.html",
        address=await _shown_address(site, person),
        purposes=[purpose.value for purpose in purposes],
        kept=keep,
        you=_other_page(request, "you"),
    )


_NAMES = {
    Purpose.OPEN: "When images are loaded",
    Purpose.CLICK: "Which links are followed",
    Purpose.DETAIL: "Town and mail program",
}


def _choices(consent: Consent, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per purpose how things stand, in words for the page."""
    choices = []
    for purpose in Purpose:
        standing = consent.on(purpose).state
        granted = [event for event in history if event["purpose"] == purpose and event["state"] == "granted"]
        state = "refused" if standing in REFUSALS else "agreed" if granted else "unknown"
        since = next((event["time"][:10] for event in reversed(history) if event["purpose"] == purpose), None)
        choices.append({"purpose": purpose.value, "name": _NAMES[purpose], "state": state, "since": since})
    return choices
