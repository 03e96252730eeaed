"""The site: what every page needs to know of the organisation and of the ledger."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from ledger import notices
from ledger.consent import VALIDITY
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.notice import Notice, Teller
from policies.footer import Language
from web.language import negotiated
from web.pages import Renderer, renderer


@dataclass(frozen=True, slots=True)
class Site:
    """The ledger, and the organisation as its pages name it."""

    ledger: Ledger
    organisation: str
    contact: str
    privacy_url: str
    public_url: str
    teller: Teller
    language: Language = Language.ENGLISH
    """Spoken to visitors who ask for none of ours."""
    mails: bool = False
    """Can mail of our own be sent?"""
    validity: timedelta = VALIDITY
    """For how long a grant counts."""
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

    async def keep(self, connection: AsyncConnection, said: Notice) -> None:
        """Have a notice that was shown on record."""
        await notices.keep(connection, said, datetime.now(UTC))


def site_of(request: Request) -> Site:
    """Return the site that a request is made to."""
    site: Site = request.app.state.site
    return site


def language_of(request: Request) -> Language:
    """Return the language that a visitor is spoken to in."""
    return negotiated(request.headers.get("accept-language", ""), site_of(request).language)


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page in the visitor's language."""
    return site_of(request).render(template, language_of(request), status, **values)
