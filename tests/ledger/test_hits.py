"""Hits on record: only of tracked messages, in time, and with consent as it is now."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from ledger import hits
from ledger.batch import WithinTransaction
from ledger.consent import Person
from ledger.database import Database
from ledger.decisions import DecidedMessage
from ledger.hits import REPEAT, Hit
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.schema import hit as hit_table
from ledger.schema import message, stamp
from policies.words import Purpose, Reason, Verdict
from tests.ledger.samples import ANNA, BY_FOOTER, EVERYTHING, MAX, ON_PAPER, OPEN, by_hand, decided, hit, now

RECORDING = timedelta(days=30)
UNTRACKED = [reason for reason in Reason if reason is not Reason.TRACKED]


async def sent(ledger: Ledger, one: DecidedMessage) -> str:
    """Have a message on record and return its id."""
    assert await ledger.record_decision(one)
    return one.id


@pytest.fixture
async def message_id(ledger: Ledger) -> str:
    """The id of a tracked message to somebody who agreed to everything."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    return await sent(ledger, decided())


async def shown(ledger: Ledger) -> list[tuple[str, int | None, int]]:
    """Return purpose, link and count of every hit on record, oldest first."""
    return [(one["purpose"], one["link"], one["count"]) for one in reversed(await ledger.hits())]


async def test_hit_of_a_tracked_message_is_recorded(ledger: Ledger, message_id: str) -> None:
    """What is recorded is message, purpose, verdict and time."""
    at = now()
    await ledger.record_hit(hit(message_id, verdict=Verdict.PROXY, at=at))
    [found] = await ledger.hits()

    assert (message_id, "open", None, None) == (found["message"], found["purpose"], found["link"], found["target"])
    assert ("proxy", 1, stamp(at), stamp(at)) == (
        found["verdict"], found["count"], found["first_at"], found["last_at"]
    )  # fmt: skip


async def test_click_is_recorded_with_its_link(ledger: Ledger, message_id: str, on_disk: Any) -> None:
    """A click stores which link it was, and host and path of it, which nobody reads without the key file."""
    await ledger.record_hit(hit(message_id, Purpose.CLICK, link=3, place="kanarienvogel.example/für/dich"))
    [found] = await ledger.hits()

    assert ("click", 3, "kanarienvogel.example/für/dich") == (found["purpose"], found["link"], found["target"])
    assert b"kanarienvogel" not in on_disk()


@pytest.mark.parametrize("reason", UNTRACKED)
async def test_hit_of_an_untracked_message_is_not_recorded(ledger: Ledger, reason: Reason) -> None:
    """A message that went out untracked has no hits, whatever somebody asks for and even with consent."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    await ledger.record_hit(hit(await sent(ledger, decided(reason))))

    assert [] == await ledger.hits()


async def test_hit_of_an_unknown_message_is_not_recorded(ledger: Ledger) -> None:
    """A message that is purged, or was never there, has no hits."""
    await ledger.record_hit(hit("0" * 32))

    assert [] == await ledger.hits()


async def test_hit_of_an_untracked_purpose_is_not_recorded(ledger: Ledger) -> None:
    """A message that was tracked for its links says nothing about its image."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    reasons = {Purpose.OPEN: Reason.RULE, Purpose.CLICK: Reason.TRACKED, Purpose.DETAIL: Reason.POLICY_OFF}
    message_id = await sent(ledger, decided(reasons=reasons))
    await ledger.record_hit(hit(message_id))
    await ledger.record_hit(hit(message_id, Purpose.CLICK, link=1))

    assert [("click", 1, 1)] == await shown(ledger)


@pytest.mark.parametrize(
    ("ago", "recorded"),
    [
        pytest.param(RECORDING - timedelta(minutes=1), True, id="last minute"),
        pytest.param(RECORDING + timedelta(seconds=1), False, id="over"),
    ],
)
async def test_hit_is_recorded_in_the_recording_time_only(ledger: Ledger, ago: timedelta, recorded: bool) -> None:
    """After the recording time links go on working, and nothing is recorded."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    await ledger.record_hit(hit(await sent(ledger, decided(ago=ago))))

    assert recorded is bool(await ledger.hits())


async def test_hit_after_the_consent_has_ended_is_not_recorded(ledger: Ledger, message_id: str) -> None:
    """Consent that has run out since the message was sent is no consent."""
    await ledger.record_hit(hit(message_id, at=now() + timedelta(days=366)))

    assert [] == await ledger.hits()


@pytest.mark.parametrize("address", [None, "max@client.example"], ids=["nobody", "another spelling"])
async def test_hit_without_consent_is_not_recorded(ledger: Ledger, address: str | None) -> None:
    """A message that was recorded as tracked has no hits unless its recipient agrees now."""
    if address is not None:
        await ledger.grant(address, EVERYTHING, ON_PAPER)
    await ledger.record_hit(hit(await sent(ledger, decided())))

    assert [] == await ledger.hits()


async def test_hit_after_a_refusal_elsewhere_is_not_recorded(
    ledger: Ledger, settings: LedgerSettings, keyring: Keyring, message_id: str
) -> None:
    """A refusal in one process holds for the next hit in every other, for messages sent before."""
    await ledger.record_hit(hit(message_id))
    async with Ledger(settings, keyring) as other:
        await other.refuse(Person(keyring.folded(MAX)), OPEN, BY_FOOTER, keep_hits=True)
    await ledger.record_hit(hit(message_id))
    await ledger.record_hit(hit(message_id, Purpose.CLICK, link=1))

    assert [("open", None, 1), ("click", 1, 1)] == await shown(ledger)


@pytest.mark.parametrize("address", [MAX, "max@client.example"], ids=["same spelling", "other spelling"])
async def test_refusing_deletes_the_hits(ledger: Ledger, message_id: str, address: str) -> None:
    """By default a refusal takes back what was recorded; nobody else's hits go with it."""
    await ledger.grant("eva@x.example", EVERYTHING, ON_PAPER)
    evas = await sent(ledger, decided(recipients=("eva@x.example",)))
    await asyncio.gather(ledger.record_hit(hit(message_id)), ledger.record_hit(hit(evas)))
    await ledger.refuse(Person.of(ledger.keyring, address), OPEN, BY_FOOTER)

    assert [evas] == [one["message"] for one in await ledger.hits()]


async def test_hits_are_kept_if_so_chosen(ledger: Ledger, message_id: str) -> None:
    """Whoever refuses may leave what was recorded so far, and delete it later with the same button."""
    person = Person.of(ledger.keyring, MAX)
    await ledger.record_hit(hit(message_id))
    await ledger.refuse(person, OPEN, BY_FOOTER, keep_hits=True)
    assert {"messages": 1, "hits": 1} == await ledger.holdings(person)

    await ledger.refuse(person, OPEN, BY_FOOTER)
    assert {"messages": 1, "hits": 0} == await ledger.holdings(person)


async def test_hit_under_way_does_not_survive_a_refusal(
    ledger: Ledger, database: Database, keyring: Keyring, message_id: str
) -> None:
    """A hit that another process is writing at the moment of the refusal is deleted with the others."""
    async with database.writing() as connection:
        await connection.run_sync(
            lambda inside: hits.record(WithinTransaction(inside), keyring, [hit(message_id)], RECORDING)
        )
        refusal = asyncio.create_task(ledger.refuse(Person.of(keyring, MAX), EVERYTHING, BY_FOOTER))
        await asyncio.sleep(0.3)
    await refusal

    assert [] == await ledger.hits()


async def test_repeats_raise_the_count(ledger: Ledger, message_id: str) -> None:
    """Within a minute a repeat is counted, with the time of the last one; it makes no second row."""
    at = now()
    for seconds in (0, 10, 59, 20):
        await ledger.record_hit(hit(message_id, at=at + timedelta(seconds=seconds)))
    [found] = await ledger.hits()

    assert (4, stamp(at), stamp(at + timedelta(seconds=59))) == (found["count"], found["first_at"], found["last_at"])


async def test_repeats_that_arrive_together_raise_the_count(ledger: Ledger, message_id: str) -> None:
    """Hits that share one commit are counted like any others."""
    links = [hit(message_id, Purpose.CLICK, link=number % 2 + 1) for number in range(10)]
    await asyncio.gather(*map(ledger.record_hit, [hit(message_id), *links]))
    await asyncio.gather(*map(ledger.record_hit, [hit(message_id), *links]))

    assert [("click", 1, 10), ("click", 2, 10), ("open", None, 2)] == sorted(await shown(ledger), key=str)


@pytest.mark.parametrize("piles", [[[0], [61]], [[0, 61]], [[0], [30, 61]]], ids=["two", "one", "mixed"])
async def test_hit_after_a_minute_is_another_one(
    ledger: Ledger, database: Database, keyring: Keyring, message_id: str, piles: Sequence[Sequence[int]]
) -> None:
    """A minute after the first hit a new row begins, whichever commits they come in."""
    at = now()
    for pile in piles:
        found = [hit(message_id, at=at + timedelta(seconds=seconds)) for seconds in pile]
        await database.batch(partial(hits.record, keyring=keyring, hits=found, recording=RECORDING), writes=True)

    firsts = {one["first_at"] for one in await ledger.hits()}
    assert timedelta(seconds=60) == REPEAT
    assert {stamp(at), stamp(at + timedelta(seconds=61))} == firsts
    assert sum(map(len, piles)) == sum(one["count"] for one in await ledger.hits())


async def test_hits_of_many_messages_in_one_commit(ledger: Ledger, database: Database, keyring: Keyring) -> None:
    """A commit may carry thousands of hits."""
    people = [f"p{number}@x.example" for number in range(5)]
    for person in people:
        await ledger.grant(person, OPEN, ON_PAPER)
    ids = [await sent(ledger, decided(recipients=(person,))) for person in people]
    found = [hit(one) for one in ids * 400]
    await database.batch(partial(hits.record, keyring=keyring, hits=found, recording=RECORDING), writes=True)

    assert [("open", None, 400)] * 5 == await shown(ledger)


async def test_two_processes_never_wait_for_each_other(
    ledger: Ledger, settings: LedgerSettings, keyring: Keyring
) -> None:
    """Two processes that count the same hits in opposite order lose none of them."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    ids = [await sent(ledger, decided()) for _ in range(20)]
    await asyncio.gather(*(ledger.record_hit(hit(one)) for one in ids))

    async def again(process: Ledger, order: list[str]) -> None:
        for _ in range(10):
            await asyncio.gather(*(process.record_hit(hit(one)) for one in order))

    async with Ledger(settings, keyring) as other:
        await asyncio.gather(again(ledger, ids), again(other, ids[::-1]))

    assert [("open", None, 21)] * 20 == await shown(ledger)


async def test_holdings_count_one_persons(ledger: Ledger, message_id: str) -> None:
    """What is held about somebody is told in numbers: tracked messages and hits, theirs only."""
    person = Person(ledger.keyring.folded("MAX@client.example"))
    await sent(ledger, decided(Reason.NO_CONSENT))
    await sent(ledger, decided(recipients=("eva@x.example",)))
    await ledger.record_hit(hit(message_id))

    assert {"messages": 1, "hits": 1} == await ledger.holdings(person)
    assert {"messages": 0, "hits": 0} == await ledger.holdings(Person("nobody"))


async def test_hits_are_shown_newest_first(ledger: Ledger, message_id: str) -> None:
    """Hits come newest first, as many as asked for, of the messages asked for."""
    other = await sent(ledger, decided(sender=ANNA))
    at = now()
    await ledger.record_hit(hit(message_id, at=at))
    await ledger.record_hit(hit(other, at=at + timedelta(seconds=1)))

    assert [other, message_id] == [one["message"] for one in await ledger.hits()]
    assert [other] == [one["message"] for one in await ledger.hits(limit=1)]
    assert [message_id] == [one["message"] for one in await ledger.hits(message_ids=[message_id])]
    assert [] == await ledger.hits(message_ids=[])


def test_hit_holds_no_address_of_the_network() -> None:
    """There is no place in a hit, nor in its row, for an IP address or a user agent."""
    assert {"message_id", "purpose", "at", "verdict", "link", "place"} == set(Hit.__slots__)
    assert {"id", "message_id", "purpose", "link", "verdict", "first_at", "last_at", "count", "sealed"} == {
        column.name for column in hit_table.columns
    }


async def test_hits_of_a_purged_message_stay_nobodys(ledger: Ledger, message_id: str, url: str) -> None:
    """After a message is purged nothing more is recorded for it."""
    with by_hand(url) as connection:
        connection.execute(delete(message))
    await ledger.record_hit(hit(message_id))

    with by_hand(url) as connection:
        assert 0 == connection.scalar(select(func.count()).select_from(hit_table))
