"""A site to test pages with: one tracked message from alice to bob, who agreed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from ledger.decisions import DecidedMessage
from ledger.ledger import Ledger
from ledger.tokens import Marks, new_message_id
from policies import Decision, Envelope, MessageClass, Purpose, Reason

PUBLIC = "http://track.test"
TARGET = "https://shop.example/a%2Fb?x=1&y=%C3%BC+z#frag"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


@dataclass
class Setting:
    """A site with one tracked message from alice to bob, who agreed."""

    client: httpx2.AsyncClient
    ledger: Ledger
    folder: Path
    marks: Marks
    sent: list[str] = field(default_factory=list)

    async def get(self, url: str, **headers: str) -> httpx2.Response:
        """Fetch an address as a browser does, with more headers."""
        return await self.client.get(url, headers={**BROWSER, **headers})

    def lose_the_ledger(self) -> None:
        """Delete the database under the running application."""
        for file in self.folder.glob("ledger.db*"):
            file.unlink()


async def record_message(ledger: Ledger, sender: str, recipient: str, reason: Reason = Reason.TRACKED) -> str:
    """Record a message as the relay would and return its id."""
    message_id = new_message_id()
    decision = Decision(MessageClass.INDIVIDUAL, reason, dict.fromkeys(Purpose, reason), "v1")
    decided = DecidedMessage(
        message_id, decision, Envelope(sender, (recipient,)), "Our <b>offer</b>", datetime.now(UTC)
    )
    assert await ledger.record_decision(decided)
    return message_id
