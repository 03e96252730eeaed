"""What is taken back: the hits of a refused purpose, and a decision that was not acted on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ledger.consent import Person
from ledger.decisions import DecidedMessage
from ledger.hits import Hit
from ledger.ledger import Ledger
from ledger.schema import decision_count
from ledger.tokens import new_message_id
from policies import Decision, Envelope, MessageClass, Purpose, Reason, Verdict
from tests.relaying import PAPER, open_ledger

NOW = datetime.now(UTC)


async def record(ledger: Ledger) -> str:
    """Record a tracked message and return its id."""
    decision = Decision(MessageClass.INDIVIDUAL, Reason.TRACKED, dict.fromkeys(Purpose, Reason.TRACKED), "v1")
    message_id = new_message_id()
    envelope = Envelope("alice@example.org", ("bob@customer.test",))
    assert await ledger.record_decision(DecidedMessage(message_id, decision, envelope, "Offer", NOW))
    return message_id


async def test_refusing_one_purpose_keeps_the_hits_of_the_other(tmp_path: Path) -> None:
    """Who refuses clicks only loses the clicks recorded so far, and nothing else."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.grant("bob@customer.test", [Purpose.OPEN, Purpose.CLICK], PAPER)
        message_id = await record(ledger)
        for purpose in (Purpose.OPEN, Purpose.CLICK):
            await ledger.record_hit(Hit(message_id, purpose, NOW, Verdict.UNKNOWN))
        await ledger.refuse(Person.of(ledger.keyring, "bob@customer.test"), [Purpose.CLICK], PAPER)
        assert ["open"] == [one["purpose"] for one in await ledger.hits()]


async def test_a_voided_decision_is_counted_as_what_it_became(tmp_path: Path) -> None:
    """The counts say what went out: a decision taken back is no longer counted as tracked."""
    async with open_ledger(tmp_path) as ledger:
        message_id = await record(ledger)
        await record(ledger)
        ledger.void_decision(message_id, Reason.LEDGER_UNAVAILABLE)
        await ledger.tick()
        counted = await ledger._writer.job(_counts)
    assert {"tracked": 1, "ledger_unavailable": 1} == counted


async def _counts(connection: Any) -> dict[str, int]:
    return {
        row.reason: row._mapping["count"]
        for row in await connection.execute(select(decision_count))
        if row._mapping["count"]
    }
