"""Counts of hits: what stays of a day, of how many people at least, and what a report says."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from sqlalchemy import select

from ledger import retention
from ledger.audit import Period
from ledger.ledger import Ledger
from ledger.retention import Periods
from ledger.schema import hit_count
from policies.words import Purpose, Verdict
from tests.ledger.samples import ON_PAPER, OPEN, by_hand, decided, hit, now

PERIODS = Periods(hits=timedelta(days=90))


async def hits_of(ledger: Ledger, people: int, at: datetime, verdict: Verdict = Verdict.UNKNOWN) -> None:
    """Have so many people load an image at one time."""
    for number in range(people):
        to = f"{verdict}-{number}@client.example"
        await ledger.grant(to, OPEN, ON_PAPER)
        sent = decided(recipients=(to,), ago=now() - at)
        assert await ledger.record_decision(sent)
        await ledger.record_hit(hit(sent.id, Purpose.OPEN, at=at, verdict=verdict))


async def purge_at(ledger: Ledger, at: datetime) -> dict[str, int]:
    """Apply the periods at a time."""
    return await ledger.job(lambda connection: retention.purge(connection, PERIODS, at))


def counts(url: str) -> list[tuple[str, str, str, int]]:
    """Return the counts on record."""
    with by_hand(url) as connection:
        return [tuple(row) for row in connection.execute(select(hit_count).order_by(hit_count.c.verdict))]  # type: ignore[misc]


async def test_counts_stay_where_they_name_nobody(ledger: Ledger, url: str) -> None:
    """Rows 16 and 85, case 136, A18: of five people's hits their number stays, of four people's nothing."""
    at = now()
    await hits_of(ledger, 5, at)
    await hits_of(ledger, 4, at, Verdict.PROXY)
    removed = await purge_at(ledger, at + timedelta(days=91))

    assert (9, 1) == (removed["hits"], removed["counts"])
    assert [(at.date().isoformat(), "open", "unknown", 5)] == counts(url)
    assert [] == await ledger.hits()
    again = await purge_at(ledger, at + timedelta(days=92))
    assert (0, 0) == (again["hits"], again["counts"])


async def test_a_day_goes_as_a_whole(ledger: Ledger, url: str) -> None:
    """All hits of a day go when its first one would be over, so that they are counted once, and none stays longer."""
    day = (now() - timedelta(days=1)).date()
    for hour in (1, 12, 23):
        await hits_of(ledger, 5, datetime.combine(day, time(hour), UTC), list(Verdict)[hour % 3])
    over = datetime.combine(day, time(), UTC) + PERIODS.hits
    assert 0 == (await purge_at(ledger, over - timedelta(seconds=1)))["hits"]
    assert 15 == (await purge_at(ledger, over + timedelta(seconds=1)))["hits"]
    assert 15 == sum(row[3] for row in counts(url))


@pytest.mark.parametrize(("people", "expected"), [(4, None), (5, 5)])
async def test_a_report_tells_of_nobody(ledger: Ledger, people: int, expected: int | None) -> None:
    """A18: a number that fewer than five people made is not told; with what stayed of earlier days it is added up."""
    at = now()
    await hits_of(ledger, people, at)
    period = Period(date(2020, 1, 1), at.date())
    assert [{"purpose": "open", "verdict": "unknown", "hits": expected}] == (await ledger.audit(period))["hits"]
    await purge_at(ledger, at + timedelta(days=91))
    after = (await ledger.audit(period))["hits"]
    assert after == ([] if expected is None else [{"purpose": "open", "verdict": "unknown", "hits": 5}])
