"""Retention: what is over its time goes, and only that."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import asking, notices, requests, retention
from ledger.calendar import Calendar
from ledger.consent import Person
from ledger.decisions import DecidedMessage
from ledger.hits import Hit
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.requests import CaseKind
from ledger.tokens import new_message_id
from policies import Decision, Envelope, MessageClass, Outcome, Purpose, Reason, Verdict
from tests.ledger.samples import NOTICE
from tests.relaying import PAPER, open_ledger

NOW = datetime.now(UTC)


async def record(
    ledger: Ledger, age: timedelta, reason: Reason = Reason.TRACKED, outcome: Outcome = Outcome.ACCEPTED
) -> str:
    """Record a message that was decided so long ago, and return its id."""
    decision = Decision(MessageClass.INDIVIDUAL, reason, dict.fromkeys(Purpose, reason), "v1")
    message_id = new_message_id()
    envelope = Envelope("alice@example.org", ("bob@customer.test",))
    assert await ledger.record_decision(DecidedMessage(message_id, decision, envelope, "Offer", NOW - age, outcome))
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


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(timedelta(hours=23), Outcome.PENDING, id="it may be under way still"),
        pytest.param(timedelta(hours=25), Outcome.UNKNOWN, id="its process died"),
    ],
)
async def test_what_became_of_it_is_not_known(tmp_path: Path, age: timedelta, expected: Outcome) -> None:
    """Issue 6: a message whose process was killed is on record as unknown, once it cannot be under way any more."""
    async with open_ledger(tmp_path) as ledger:
        await record(ledger, age, outcome=Outcome.PENDING)
        await record(ledger, age, outcome=Outcome.REFUSED)
        await ledger.purge()
        found = await ledger.messages()
    assert {expected, Outcome.REFUSED} == {one["outcome"] for one in found}


async def test_what_is_held_without_names_is_counted(tmp_path: Path) -> None:
    """Row 69: what pages say is stored about somebody holds after names and subjects are purged, for hits stay."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.grant("bob@customer.test", [Purpose.OPEN, Purpose.CLICK], PAPER)
        message_id = await record(ledger, timedelta(0), Reason.TRACKED)
        await ledger.record_hit(Hit(message_id, Purpose.OPEN, NOW, Verdict.UNKNOWN))
        periods = retention.Periods(messages=timedelta(0))
        removed = await ledger._writer.job(lambda c: retention.purge(c, periods, NOW + timedelta(seconds=1)))
        held = await ledger.holdings(Person.of(ledger.keyring, "bob@customer.test"))
    assert (1, {"messages": 1, "hits": 1}) == (removed["names"], held)


async def test_hits(tmp_path: Path) -> None:
    """A hit goes after its time, and no earlier."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.grant("bob@customer.test", [Purpose.OPEN, Purpose.CLICK], PAPER)
        message_id = await record(ledger, timedelta(0), Reason.TRACKED)
        await ledger.record_hit(Hit(message_id, Purpose.OPEN, NOW, Verdict.UNKNOWN))
        assert {0} == set((await ledger.purge()).values())
        removed = await _purge_at(ledger, NOW + timedelta(days=91))
        assert (1, []) == (removed["hits"], await ledger.hits())


async def _purge_at(ledger: Ledger, now: datetime) -> dict[str, int]:
    async def work(connection: Any) -> dict[str, int]:
        return await retention.purge(connection, retention.Periods(), now)

    return await ledger._writer.job(work)


async def test_questions(tmp_path: Path) -> None:
    """That somebody was asked is known for two years: forgotten sooner, they would be asked again."""
    async with open_ledger(tmp_path) as ledger:

        async def ask(connection: AsyncConnection) -> tuple[int, str]:
            await notices.keep(connection, NOTICE, NOW)
            return (await asking.asked(connection, ledger.keyring, "bob@customer.test", "mail", NOTICE, NOW)).head

        assert await ledger.append(ask)
        removed = [(await _purge_at(ledger, NOW + timedelta(days=days)))["questions"] for days in (0, 729, 731)]

    assert [0, 0, 1] == removed


async def test_closed_requests_and_accesses(tmp_path: Path) -> None:
    """Row 85: a request goes three years after it was closed, an open one never; who looked is kept for two years."""
    bob = Person.of(Keyring.throwaway(), "bob@customer.test")
    async with open_ledger(tmp_path) as ledger:
        await ledger.record_access("messages")

        async def two_cases(connection: Any) -> None:
            for answered in (True, False):
                number = await requests.open_case(
                    connection, ledger.keyring, CaseKind.ACCESS, bob, None, "Please", NOW, Calendar()
                )
                if answered:
                    await requests.answer(connection, ledger.keyring, number, "Here", NOW, Calendar())

        await ledger.job(two_cases)
        removed = [await _purge_at(ledger, NOW + timedelta(days=days)) for days in (729, 731, 1_094, 1_096, 9_999)]
        left = await ledger.read(lambda connection: requests.cases(connection, ledger.keyring))

    assert [(0, 0), (1, 0), (0, 0), (0, 1), (0, 0)] == [(one["accesses"], one["cases"]) for one in removed]
    assert ["open"] == [one["state"] for one in left]
