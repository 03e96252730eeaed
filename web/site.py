"""The site: what every page needs to know of the organisation and of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ledger.consent import VALIDITY
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.notice import Notice, Teller
from policies.footer import Language
from policies.policy import Policy
from web.client import Network, Pace, client_of
from web.language import negotiated
from web.pages import Renderer, renderer


@dataclass(frozen=True, slots=True)
class Point:
    """A collection point that has a form of its own: what it is called, and the organisation's words on it."""

    title: str
    wording: str


@dataclass(frozen=True, slots=True)
class Site:
    """The ledger, the policy, and the organisation as its pages name it."""

    ledger: Ledger
    organisation: str
    contact: str
    privacy_url: str
    public_url: str
    teller: Teller
    policy: Policy
    """In force here."""
    stale: bool = False
    """The configuration file has changed since and is not right, so what was in force before still is."""
    language: Language = Language.ENGLISH
    """Spoken to visitors who ask for none of ours."""
    mails: bool = False
    """Can mail of our own be sent?"""
    points: Mapping[str, Point] = field(default_factory=dict)
    """Where people agree by a form of ours, by the id in its address."""
    validity: timedelta = VALIDITY
    """For how long a grant counts."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose ``X-Forwarded-For`` counts."""
    autoconfig: bytes | None = None
    """What mail programs are told that ask for their settings, as XML; None where there are none."""
    render: Renderer = field(init=False)

    def __post_init__(self) -> None:
        values = {"organisation": self.organisation, "contact": self.contact, "privacy_url": self.privacy_url}
        object.__setattr__(self, "render", renderer(**values))

    async def notice(self, language: Language = Language.ENGLISH) -> Notice:
        """Return the notice in force; the built-in one where the ledger does not answer."""
        try:
            return await self.ledger.notice(language)
        except LedgerUnavailable:
            return self.teller.built_in(language)


def site_of(request: Request) -> Site:
    """Return the site that a request is made to."""
    site: Site = request.app.state.site
    return site


def language_of(request: Request) -> Language:
    """Return the language that a visitor is spoken to in."""
    return negotiated(request.headers.get("accept-language", ""), site_of(request).language)


def slow_down(request: Request) -> None:
    """Note that a client is about to have mail sent. Raises TooOften where that was often enough (W19).

    Whose address was typed makes no difference.
    """
    pace: Pace = request.app.state.pace
    pace.step(client_of(request, site_of(request).trusted_proxies))


def note_done(request: Request) -> None:
    """Note that what a request asked for is on record: where its page cannot be shown, it is not denied."""
    request.state.done = True


def is_done(request: Request) -> bool:
    """Tell whether that was noted."""
    return bool(getattr(request.state, "done", False))


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page in the visitor's language."""
    return site_of(request).render(template, language_of(request), status, **values)
