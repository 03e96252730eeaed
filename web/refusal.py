"""Refusing by the link in any mail ever sent, and by a public page for any address. GET shows, POST acts.

Works without JavaScript and without cookies; a second POST gives the same page (RFC 8058's body is accepted too).
"""

from starlette.requests import Request
from starlette.responses import Response

from ledger.consent import Act, Person
from ledger.errors import LedgerUnavailable
from ledger.links import LinkKind
from ledger.outbox import Letter
from ledger.tokens import open_stop
from policies.address import masked
from policies.consent import REFUSALS, Assurance
from policies.footer import Language
from policies.words import Purpose
from web import mailed
from web.forms import Form, address_in, first, read_form
from web.language import listed, said
from web.site import Site, language_of, page, site_of, slow_down

STOP_LABEL = listed("Stop tracking")


async def stop(request: Request) -> Response:
    """Show the stop page, or on POST record the refusal of everything."""
    site = site_of(request)
    person = person_of(request)
    if person is None:
        return page(request, "no_token.html", 404)
    if request.method == "POST":
        return await refuse(request, person, list(Purpose), await read_form(request), STOP_LABEL)
    return page(
        request,
        "stop.html",
        address=await shown_address(site, person),
        already=await _all_refused(site, person),
        label=said(STOP_LABEL, language_of(request)),
        you=other_page(request, "you"),
    )


async def stop_anybody(request: Request) -> Response:
    """Show the public page for any address, or on POST mail a link there: one answer, whether it is known or not."""
    site = site_of(request)
    if not site.mails:
        return page(request, "stop_by_writing.html")
    if request.method != "POST":
        return page(request, "stop_anybody.html", wrong=False)
    address = address_in(await read_form(request))
    if address is None:
        return page(request, "stop_anybody.html", 400, wrong=True)
    slow_down(request)
    await mail_link(site, address, language_of(request))
    return page(request, "link_sent.html")


async def mail_link(site: Site, address: str, language: Language) -> None:
    """Have a link to the preference centre mailed to an address, unless it got enough today (W19).

    Raises LedgerUnavailable.
    """
    letter = Letter("you", address, language)
    await site.ledger.job(lambda connection: mailed.mail(connection, site, LinkKind.YOU, letter))


def person_of(request: Request) -> Person | None:
    """Return who is meant by a token from ordinary mail; None for any other token."""
    folded_hash = open_stop(site_of(request).ledger.keyring, request.path_params["token"])
    return Person(folded_hash) if folded_hash else None


def other_page(request: Request, name: str) -> str:
    """Return the path of another page with the same token."""
    return f"/{name}/{request.path_params['token']}"


async def _all_refused(site: Site, person: Person) -> bool:
    """Tell whether there is nothing left to refuse; False where that cannot be looked up."""
    try:
        standing = await site.ledger.standing(person)
    except LedgerUnavailable:
        return False
    return all(standing.on(purpose).state in REFUSALS for purpose in Purpose)


async def shown_address(site: Site, person: Person) -> str | None:
    """Return the address as it may be shown to whoever holds a mail that was passed on; None where it is not known."""
    try:
        address = await site.ledger.known_address(person)
    except LedgerUnavailable:
        return None
    return masked(address) if address else None


async def refuse(request: Request, person: Person, purposes: list[Purpose], form: Form, label: str) -> Response:
    """Record what the holder of a token from ordinary mail refused, and say what happened.

    The person is told by mail, once, for the token may have been passed on (W9). Raises LedgerUnavailable.
    """
    site, language = site_of(request), language_of(request)
    one_click = form.get("List-Unsubscribe") == ["One-Click"]
    act = Act(
        actor_kind="data_subject",
        method="one_click_post" if one_click else "footer_link",
        assurance=Assurance.TOKEN_POSSESSION,
        expression=said(label, language),
    )
    you = other_page(request, "you")

    def told(address: str) -> Letter:
        return Letter("stopped", address, language, {"you_url": f"{site.public_url}{you}"})

    keep = first(form, "keep") == "yes"
    await site.ledger.refuse(
        person, purposes, act, keep_hits=keep, language=language, told=told if site.mails else None
    )
    return page(
        request,
        "stopped.html",
        address=await shown_address(site, person),
        purposes=[purpose.value for purpose in purposes],
        kept=keep,
        you=you,
    )
