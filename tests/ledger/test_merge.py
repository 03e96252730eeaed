"""The merge window: counted by all processes together, kept for a day, and what a run takes back."""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from ledger import merge
from ledger import patience as patience_module
from ledger.decisions import DecidedMessage
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.merge import Arrival
from ledger.schema import decision_count, look_alike
from policies.fingerprint import Fingerprint
from policies.policy import MergeWindow
from policies.words import MessageClass, Outcome, Purpose, Reason
from tests.ledger.samples import ANNA, EVERYTHING, MAX, ON_PAPER, by_hand, decided, hit, now

WINDOW = MergeWindow()
LETTER: Fingerprint = tuple(range(100, 164))
ANOTHER: Fingerprint = tuple(range(1_000, 1_064))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is in question here, and not how fast a busy machine does it."""
    monkeypatch.setattr(patience_module, "PATIENCE", 30.0)


def arrival(
    recipient: str | int,
    fingerprint: Fingerprint = LETTER,
    *,
    sender: str = ANNA,
    at: datetime | None = None,
    id_: str | None = None,
    window: MergeWindow = WINDOW,
) -> Arrival:
    """Return a message that arrives, by default just now."""
    address = recipient if isinstance(recipient, str) else f"person-{recipient}@client.example"
    return Arrival(id_ or decided().id, sender, address, fingerprint, at or now(), window)


async def seen(ledger: Ledger, arrivals: Iterable[Arrival]) -> list[int | None]:
    """Have messages arrive one after the other and return to how many people each was written alike."""
    return [await ledger.run_of(one) for one in arrivals]


async def test_people_are_counted(ledger: Ledger) -> None:
    """Each further person who is written to alike counts, however often and in whatever spelling the same one does."""
    people = [1, 2, 2, "PERSON-2@Client.example", 3, 4, 5, 6]
    assert [1, 2, 2, 2, 3, 4, 5, 6] == await seen(ledger, map(arrival, people))


async def test_another_letter_is_not_counted(ledger: Ledger) -> None:
    """What has nothing in common with the others is no part of their run."""
    assert [1, 1, 2, 2, 3] == await seen(
        ledger, [arrival(1), arrival(2, ANOTHER), arrival(3), arrival(4, ANOTHER), arrival(5)]
    )


async def test_every_sender_is_counted_alone(ledger: Ledger) -> None:
    """The same letter from somebody else is somebody else's; a tag in the return path makes nobody else."""
    senders = [ANNA, "ben@example.org", "Anna@example.org", "anna+max=client.example@example.org"]
    assert [1, 1, 2, 3] == await seen(ledger, [arrival(number, sender=one) for number, one in enumerate(senders)])


async def test_the_window_slides(ledger: Ledger) -> None:
    """Only what was sent in the last minutes counts."""
    start = now() - timedelta(hours=1)
    minutes = [0, 3, 6, 9, 12, 15, 18, 40]
    arrivals = [arrival(number, at=start + timedelta(minutes=minute)) for number, minute in enumerate(minutes)]
    assert [1, 2, 3, 4, 4, 4, 4, 1] == await seen(ledger, arrivals)


async def test_a_run_stays_bulk_to_its_end(ledger: Ledger) -> None:
    """Once a letter was bulk, it is so for the day, however slowly the rest of the run is sent."""
    start = now() - timedelta(hours=30)
    arrivals = [arrival(number, at=start) for number in range(5)]
    arrivals += [arrival(number, at=start + timedelta(hours=6 * number - 20)) for number in (5, 6, 7)]
    arrivals.append(arrival(9, at=start + timedelta(hours=23 + 24)))
    assert [1, 2, 3, 4, 5, 6, 7, 8, 1] == await seen(ledger, arrivals)


async def test_the_window_is_the_policys(ledger: Ledger) -> None:
    """How many in how long comes from the policy, for every message anew."""
    narrow = MergeWindow(messages=2, minutes=1)
    one, other = decided(), decided(recipients=("eva@client.example",))
    await ledger.record_decision(one)
    assert [1, 2] == await seen(
        ledger, [arrival(MAX, id_=one.id, window=narrow), arrival("eva@client.example", id_=other.id, window=narrow)]
    )
    await until_committed(ledger)
    assert ["bulk"] == [found["reason"] for found in await ledger.messages()]


async def until_committed(ledger: Ledger) -> None:
    """Wait for what is written with the next commit."""
    await ledger.tick()
    await ledger.tick()


async def send(ledger: Ledger, number: int, reason: Reason = Reason.TRACKED) -> DecidedMessage:
    """Send the letter to one more person, as the relay does, and have its decision recorded."""
    one = decided(reason, recipients=(f"person-{number}@client.example",))
    run = await ledger.run_of(arrival(number, id_=one.id))
    assert run is not None
    if run >= WINDOW.messages:
        decision = replace(one.decision, message_class=MessageClass.BULK, reason=Reason.BULK)
        one = replace(one, decision=replace(decision, reasons=dict.fromkeys(Purpose, Reason.BULK)))
    assert await ledger.record_decision(one)
    return one


async def test_crossing_takes_back_what_was_tracked(ledger: Ledger, url: str) -> None:
    """97: the hits of the earlier letters go, their decisions say bulk and name nobody, later hits are not recorded."""
    for number in range(4):
        await ledger.grant(f"person-{number}@client.example", EVERYTHING, ON_PAPER)
    earlier = [await send(ledger, number) for number in range(4)]
    for one in earlier:
        await ledger.record_hit(hit(one.id))
    assert 4 == len(await ledger.hits())

    await send(ledger, 4)
    await until_committed(ledger)
    for one in earlier:
        await ledger.record_hit(hit(one.id, Purpose.CLICK, link=1))

    assert [] == await ledger.hits()
    found = await ledger.messages()
    assert [("bulk", None, None, None)] * 5 == [
        (one["reason"], one["sender"], one["recipient"], one["subject"]) for one in found
    ]
    # What was decided and then taken back can be told from what was bulk from the start.
    assert ["bulk", *["individual"] * 4] == [one["class"] for one in found]
    with by_hand(url) as connection:
        counted = {(row[1], row[2]): row[3] for row in connection.execute(select(decision_count)) if row[3]}
    assert {("individual", "bulk"): 4, ("bulk", "bulk"): 1} == counted


async def test_untracked_letters_keep_their_reason(ledger: Ledger) -> None:
    """Whoever had not agreed is part of the run, and why their letter was not tracked stays as it was."""
    for number in range(4):
        await send(ledger, number, Reason.NO_CONSENT)
    await send(ledger, 4)
    await until_committed(ledger)
    assert ["bulk", *["no_consent"] * 4] == [one["reason"] for one in await ledger.messages()]


async def test_a_decision_that_was_under_way_is_taken_back(ledger: Ledger) -> None:
    """A letter that was asked about before the run was bulk, and recorded after it, is not tracked either."""
    slow = decided(recipients=("person-0@client.example",))
    assert 1 == await ledger.run_of(arrival(0, id_=slow.id))
    for number in range(1, 5):
        await send(ledger, number)
    await until_committed(ledger)

    assert await ledger.record_decision(slow)
    ledger.record_outcome(slow.id, Outcome.ACCEPTED)
    await until_committed(ledger)
    assert {"bulk"} == {one["reason"] for one in await ledger.messages()}


async def test_letters_in_one_commit_see_each_other(ledger: Ledger) -> None:
    """Of letters that come at the same moment, the one that is written last sees all of them."""
    found = await asyncio.gather(*(ledger.run_of(arrival(number)) for number in range(6)))
    assert 6 == max(one or 0 for one in found)


async def test_what_a_dead_process_left_is_taken_back_by_the_purge(ledger: Ledger, url: str) -> None:
    """A process that ended between counting and taking back leaves it to the next purge."""
    one = await send(ledger, 0)
    with by_hand(url) as connection:
        connection.execute(update(look_alike).values(bulk=True))
    await ledger.purge()
    assert [(one.id, "bulk")] == [(found["message"], found["reason"]) for found in await ledger.messages()]


def kept(url: str) -> int:
    """Return how many fingerprints are on record."""
    with by_hand(url) as connection:
        return connection.scalar(select(func.count()).select_from(look_alike)) or 0


async def test_fingerprints_are_gone_after_a_day(ledger: Ledger, url: str) -> None:
    """They go with the purge, and with the mail of others."""
    old = now() - timedelta(hours=24, seconds=1)
    await ledger.run_of(arrival(1, at=old))
    await ledger.run_of(arrival(2))
    assert 1 == kept(url)

    with by_hand(url) as connection:
        connection.execute(update(look_alike).values(at=merge.stamp(old)))
    await ledger.purge()
    assert 0 == kept(url)


async def test_nothing_can_be_read_from_what_is_kept(ledger: Ledger, on_disk: Callable[[], bytes], url: str) -> None:
    """No number of the fingerprint and no address is on disk, and two senders of one letter cannot be matched."""
    await ledger.run_of(arrival(MAX))
    await ledger.run_of(arrival(MAX, sender="ben@example.org"))
    content = on_disk()
    with by_hand(url) as connection:
        first, other = (bytes(row.sketch) for row in connection.execute(select(look_alike.c.sketch)))
    assert first in content
    assert set() == values(first) & values(other)
    for number in (LETTER[0], LETTER[63]):
        assert all(number.to_bytes(4, order) not in values(first) for order in ("big", "little"))
    assert b"client.example" not in content.lower()


def values(sketch: bytes) -> set[bytes]:
    """Return the keyed values of a stored fingerprint."""
    return {sketch[at : at + 4] for at in range(0, len(sketch), 4)}


async def test_a_ledger_that_is_away_says_nothing(settings: LedgerSettings, keyring: Keyring) -> None:
    """Without an answer there is no count: nobody may take it for one."""
    closed = Ledger(settings, keyring)
    async with closed:
        pass
    assert None is await closed.run_of(arrival(1))


async def test_two_ledgers_count_together(ledger: Ledger, settings: LedgerSettings, keyring: Keyring) -> None:
    """Two processes that see one run at the same time miss nobody: exactly from the fifth on it is bulk."""
    async with Ledger(settings, keyring) as other:
        for sender in range(8):
            address = f"sender-{sender}@example.org"
            found = await asyncio.gather(
                *((ledger, other)[number % 2].run_of(arrival(number, sender=address)) for number in range(8))
            )
            assert 8 == max(one or 0 for one in found)
            assert 8 - WINDOW.messages + 1 <= sum((one or 0) >= WINDOW.messages for one in found)
            await asyncio.sleep(0)


def _process(settings: LedgerSettings, key_file: Path, numbers: list[int]) -> list[int | None]:
    patience_module.PATIENCE = 30.0

    async def work() -> list[int | None]:
        async with Ledger(settings, Keyring.load(key_file)) as ledger:
            return await seen(ledger, [arrival(number) for number in numbers])

    return asyncio.run(work())


def test_two_processes_count_together(settings: LedgerSettings, key_file: Path) -> None:
    """Whatever process a message comes to, the run is one, and its last letter sees all of it."""
    count = 12
    halves = [list(range(0, count, 2)), list(range(1, count, 2))]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [pool.submit(_process, settings, key_file, half) for half in halves]
        seen_by_either = [run or 0 for future in found for run in future.result(60)]
    assert list(range(1, count + 1)) == sorted(seen_by_either)


async def test_many_senders_in_one_commit(ledger: Ledger) -> None:
    """Senders who write at the same moment are kept apart."""
    arrivals = [arrival(number, sender=f"s{number % 7}@example.org") for number in range(35)]
    found = await asyncio.gather(*(ledger.run_of(one) for one in arrivals))
    assert 7 * [5] == [max(found[sender::7], key=lambda run: run or 0) for sender in range(7)]
