"""A site that can mail, with one person who agreed and got a tracked message, and what it put into its outbox."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import links, outbox
from ledger.consent import Person
from ledger.decisions import DecidedMessage
from ledger.ledger import Ledger
from ledger.links import LinkKind
from ledger.notice import Teller
from ledger.outbox import Letter
from ledger.tokens import Marks, new_message_id
from policies import Decision, Envelope, MessageClass, PolicyModel, Purpose, Reason, compile_policy
from tests.relaying import PAPER, open_ledger
from web.app import build
from web.site import Site

PUBLIC = "http://track.test"
BOB = "bob@customer.test"


@dataclass
class Mailing:
    """The site, as its visitors and its outbox see it."""

    client: httpx2.AsyncClient
    ledger: Ledger
    marks: Marks

    async def letters(self) -> list[Letter]:
        """Take every letter out of the outbox."""
        found: list[Letter] = []

        async def work(connection: AsyncConnection) -> bool:
            claimed = await outbox.claim(connection, self.ledger.keyring, datetime.now(UTC))
            if claimed is not None:
                await outbox.sent(connection, claimed.id, datetime.now(UTC))
                found.append(claimed.letter)
            return claimed is not None

        while await self.ledger.job(work):
            pass
        return found

    async def mailed(self, address: str = BOB, kind: LinkKind = LinkKind.YOU, **content: Any) -> str:
        """Return the token of a link that was mailed to an address."""
        now = datetime.now(UTC)
        token = await self.ledger.job(
            lambda connection: links.make(connection, self.ledger.keyring, kind, address, now, content)
        )
        assert token is not None
        return token

    async def visit(self, address: str = BOB) -> tuple[str, str]:
        """Open a visit; return the page's address and what its forms carry."""
        url = f"/you/{await self.mailed(address)}"
        page = await self.client.post(url)
        return url, carried(page.text)

    async def states(self, address: str = BOB) -> dict[str, str | None]:
        """Return where a person stands on each purpose."""
        standing = await self.ledger.standing(Person.of(self.ledger.keyring, address))
        return {purpose.value: standing.on(purpose).state for purpose in Purpose}

    async def history(self, address: str = BOB) -> list[dict[str, Any]]:
        """Return everything recorded about a person's consent."""
        return await self.ledger.history(Person.of(self.ledger.keyring, address))


def carried(page: str) -> str:
    """Return the visit that the forms of a page carry."""
    found = set(re.findall(r'name="visit" value="([^"]+)"', page))
    assert len(found) == 1
    return found.pop()


@asynccontextmanager
async def mailing_site(folder: Path, **settings: Any) -> AsyncIterator[Mailing]:
    """Run a site in a folder."""
    async with open_ledger(folder) as ledger:
        await ledger.grant(BOB, [Purpose.OPEN, Purpose.CLICK], PAPER)
        message_id = new_message_id()
        decision = Decision(MessageClass.INDIVIDUAL, Reason.TRACKED, dict.fromkeys(Purpose, Reason.TRACKED), "v1")
        envelope = Envelope("alice@example.org", (BOB,))
        assert await ledger.record_decision(DecidedMessage(message_id, decision, envelope, "Hi", datetime.now(UTC)))
        teller = Teller("Example GmbH", "privacy@example.org", "https://example.org/privacy")
        site = Site(
            ledger,
            "Example GmbH",
            "privacy@example.org",
            "https://example.org/privacy",
            PUBLIC,
            teller,
            **{"policy": compile_policy(PolicyModel(), ["example.org"]), "mails": True, **settings},
        )
        transport = httpx2.ASGITransport(app=build(site), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            yield Mailing(client, ledger, Marks(ledger.keyring, PUBLIC, message_id, BOB))
