"""The site: what every page needs to know of the organisation and of the ledger."""

from dataclasses import dataclass, field

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.notice import Notice, Teller
from policies.footer import Language
from policies.policy import Policy
from web.pages import Renderer, renderer


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
