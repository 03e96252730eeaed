"""Retention: what is over its time goes, and only that."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger import retention
from ledger.decisions import DecidedMessage
from ledger.hits import Hit
from ledger.ledger import Ledger
from ledger.tokens import new_message_id
from policies import Decision, Envelope, MessageClass, Purpose, Reason, Verdict
from tests.relaying import PAPER, open_ledger

NOW = datetime.now(UTC)


async def record(ledger: Ledger, age: timedelta, reason: Reason) -> str:
    """Record a message that was decided so long ago, and return its id."""
    decision = Decision(MessageClass.INDIVIDUAL, reason, dict.fromkeys(Purpose, reason), "v1")
    message_id = new_message_id()
    envelope = Envelope("alice@example.org", ("bob@customer.test",))
    assert await ledger.record_decision(DecidedMessage(message_id, decision, envelope, "Offer", NOW - age))
    return message_id


@pytest.mark.parametrize(
    ("age", "reason", "expected"),
    [
        pytest.param(timedelta(days=6), Reason.NO_CONSENT, "whole", id="untracked, six days"),
        pytest.param(timedelta(days=8), Reason.NO_CONSENT, "gone", id="untracked, eight days"),
        pytest.param(timedelta(days=89), Reason.TRACKED, "whole", id="tracked, 89 days"),
        pytest.param(timedelta(days=91), Reason.TRACKED, "nameless", id="tracked, 91 days"),
        pytest.param(timedelta(days=366), Reason.TRACKED, "gone", id="tracked, 366 days"),
    ],
)
async def test_messages(tmp_path: Path, age: timedelta, reason: Reason, expected: str) -> None:
    """Promise 8: an untracked decision goes after seven days; a tracked one loses its names, and then goes too."""
    async with open_ledger(tmp_path) as ledger:
        await record(ledger, age, reason)
        before = await ledger.messages()
        await ledger.purge()
        after = await ledger.messages()
    found = "gone" if not after else "whole" if after == before else "nameless"
    assert expected == found
    if found == "nameless":
        assert (None, None, None) == tuple(after[0][key] for key in ("sender", "recipient", "subject"))


async def test_hits(tmp_path: Path) -> None:
    """A hit goes after its time, and no earlier."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.grant("bob@customer.test", [Purpose.OPEN, Purpose.CLICK], PAPER)
        message_id = await record(ledger, timedelta(0), Reason.TRACKED)
        await ledger.record_hit(Hit(message_id, Purpose.OPEN, NOW, Verdict.UNKNOWN))
        assert {"hits": 0} | dict.fromkeys(("untracked", "names", "trackers", "decisions"), 0) == await ledger.purge()
        removed = await _purge_at(ledger, NOW + timedelta(days=91))
        assert (1, []) == (removed["hits"], await ledger.hits())


async def _purge_at(ledger: Ledger, now: datetime) -> dict[str, int]:
    async def work(connection: Any) -> dict[str, int]:
        return await retention.purge(connection, retention.Periods(), now)

    return await ledger._writer.job(work)
