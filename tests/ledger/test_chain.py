"""The chain of consent events: whatever is done to it by hand is found, and where."""

import asyncio
import secrets
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, func, select, update

from ledger import chain
from ledger.chain import Flaw, HeadFile, Verification
from ledger.consent import Person
from ledger.database import GENESIS
from ledger.keys import KeyFile, Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.notice import notice_id_of
from ledger.schema import chain_head, consent_event, consent_personal, notice
from tests.ledger.samples import ANNA, BY_FOOTER, EVERYTHING, MAX, NOTICE, ON_PAPER, OPEN, by_hand

EVENTS = 6
NUMBERS = {"sequence"}
NULLABLE = {"exact_hash", "notice_id", "valid_until"}
Verify = Callable[[], Awaitable[Verification]]


@pytest.fixture
async def verify(ledger: Ledger) -> Verify:
    """A ledger of six events, and how to verify it."""
    for number in range(EVENTS - 1):
        await ledger.grant(f"person{number}@client.example", OPEN, ON_PAPER)
    await ledger.refuse(Person.of(ledger.keyring, MAX), OPEN, BY_FOOTER)
    return ledger.verify


def sequences(found: Verification) -> set[int]:
    """Return which rows have flaws."""
    return {flaw.sequence for flaw in found.flaws}


async def test_untouched_chain_is_whole(verify: Verify) -> None:
    """Nothing is found where nothing was done."""
    assert Verification(EVENTS, []) == await verify()


async def test_empty_chain_is_whole(ledger: Ledger) -> None:
    """A ledger without events has nothing wrong, and needs no head file."""
    found = await ledger.verify()

    assert Verification(0, []) == found
    assert found.whole


_COLUMNS = [column.name for column in consent_event.columns]


@pytest.mark.parametrize("name", _COLUMNS)
async def test_altered_column_is_found(verify: Verify, url: str, name: str) -> None:
    """A change to any column of an event is found, and the event is named."""
    with by_hand(url) as connection:
        row = connection.execute(select(consent_event).where(consent_event.c.sequence == 3)).one()._mapping
        text = row[name] or "x"
        changed = 33 if name in NUMBERS else ("0" if text[0] != "0" else "1") + text[1:]
        connection.execute(update(consent_event).where(consent_event.c.sequence == 3).values({name: changed}))

    found = await verify()

    assert not found.whole
    assert (33 if name in NUMBERS else 3) in sequences(found)
    assert any(f"vent {'33' if name in NUMBERS else '3'} was altered." in flaw.text for flaw in found.flaws)


@pytest.mark.parametrize("name", sorted(NULLABLE))
async def test_emptied_column_is_found(verify: Verify, url: str, name: str) -> None:
    """Taking a value away is a change too."""
    with by_hand(url) as connection:
        connection.execute(update(consent_event).where(consent_event.c.sequence == 3).values({name: None}))

    assert [Flaw(3, "Event 3 was altered.")] == (await verify()).flaws


async def test_cut_middle_is_found(verify: Verify, url: str) -> None:
    """An event taken out of the middle is missed, by its number."""
    with by_hand(url) as connection:
        connection.execute(delete(consent_event).where(consent_event.c.sequence == 3))

    assert [Flaw(4, "Event 3 is missing: 4 follows 2.")] == (await verify()).flaws


async def test_renumbered_middle_is_found(verify: Verify, url: str) -> None:
    """Closing the gap by renumbering what follows does not help."""
    with by_hand(url) as connection:
        for table in (consent_event, consent_personal):
            connection.execute(delete(table).where(table.c.sequence == 3))
            for sequence in range(4, EVENTS + 1):
                connection.execute(update(table).where(table.c.sequence == sequence).values(sequence=sequence - 1))
        connection.execute(update(chain_head).values(sequence=EVENTS - 1))

    assert {3, 4, 5, 6} == sequences(await verify())


async def test_cut_beginning_is_found(verify: Verify, url: str) -> None:
    """A chain that does not begin at the beginning is not whole."""
    with by_hand(url) as connection:
        connection.execute(delete(consent_event).where(consent_event.c.sequence <= 2))

    assert [Flaw(3, "Event 1 is missing: 3 follows 0.")] == (await verify()).flaws


def cut_tail(connection: Connection, *, put_head_right: bool) -> None:
    """Take the last event out of the database, as if it had never been."""
    for table in (consent_event, consent_personal):
        connection.execute(delete(table).where(table.c.sequence == EVENTS))
    if put_head_right:
        link = connection.scalar(select(consent_event.c.row_hash).where(consent_event.c.sequence == EVENTS - 1))
        connection.execute(update(chain_head).values(sequence=EVENTS - 1, row_hash=link))


@pytest.mark.parametrize("put_head_right", [False, True], ids=["head left", "head put right"])
async def test_cut_tail_is_found(verify: Verify, url: str, put_head_right: bool) -> None:
    """A refusal taken off the end is missed, and where the database hides it the head file shows it."""
    with by_hand(url) as connection:
        cut_tail(connection, put_head_right=put_head_right)

    found = await verify()

    assert Flaw(6, "Event 6, which the head file names, is missing or another one.") in found.flaws
    assert put_head_right is (Flaw(0, "The chain does not end where its head says.") not in found.flaws)


async def test_cut_tail_is_found_after_more_events(verify: Verify, ledger: Ledger, url: str) -> None:
    """A tail that was cut is still missed when the chain has since grown past where it was."""
    with by_hand(url) as connection:
        cut_tail(connection, put_head_right=True)
    for number in range(3):
        await ledger.grant(f"later{number}@client.example", OPEN, ON_PAPER)

    assert {EVENTS} == sequences(await verify())


async def test_emptied_chain_is_found(verify: Verify, url: str) -> None:
    """A ledger from which every event was taken is not an empty one."""
    with by_hand(url) as connection:
        for table in (consent_event, consent_personal):
            connection.execute(delete(table))
        connection.execute(update(chain_head).values(sequence=0, row_hash=GENESIS))

    assert {EVENTS} == sequences(await verify())


async def test_lost_head_row_is_found(verify: Verify, url: str) -> None:
    """The head in the database cannot be taken away."""
    with by_hand(url) as connection:
        connection.execute(delete(chain_head))

    assert [Flaw(0, "The chain does not end where its head says.")] == (await verify()).flaws


async def test_swapped_rows_are_found(verify: Verify, url: str) -> None:
    """Two events that have changed places are both named."""
    with by_hand(url) as connection:
        for table in (consent_event, consent_personal):
            for old, new in ((3, 30), (4, 3), (30, 4)):
                connection.execute(update(table).where(table.c.sequence == old).values(sequence=new))

    assert {3, 4} <= sequences(await verify())


async def test_swapped_content_is_found(verify: Verify, url: str) -> None:
    """Two people who have changed places in events of otherwise the same kind are both named."""
    with by_hand(url) as connection:
        columns = (consent_event.c.exact_hash, consent_event.c.folded_hash)
        rows = {
            sequence: connection.execute(select(*columns).where(consent_event.c.sequence == sequence)).one()._mapping
            for sequence in (3, 4)
        }
        for sequence, other in ((3, 4), (4, 3)):
            statement = update(consent_event).where(consent_event.c.sequence == sequence)
            connection.execute(statement.values(dict(rows[other])))

    assert {3, 4} == sequences(await verify())


async def test_hashes_of_another_key_are_found(verify: Verify, url: str) -> None:
    """Whoever has the database but not the key cannot make the chain whole again after a change."""
    forger = Keyring(KeyFile.new())
    with by_hand(url) as connection:
        connection.execute(update(consent_event).where(consent_event.c.sequence == 3).values(state="refused"))
        link = GENESIS
        for row in connection.execute(select(consent_event).order_by(consent_event.c.sequence)).mappings().all():
            forged = {**row, "previous_hash": link}
            link = forged["row_hash"] = chain.row_hash(forger, forged)
            connection.execute(update(consent_event).where(consent_event.c.sequence == row["sequence"]).values(forged))
        connection.execute(update(chain_head).values(row_hash=link))

    assert set(range(1, EVENTS + 1)) <= sequences(await verify())


@pytest.mark.parametrize("put", ["version = 7", "language = 'de'"])
async def test_what_stands_beside_a_notice_is_compared(verify: Verify, url: str, put: str) -> None:
    """By the version of their notice grants count or rest: one that was raised by hand is found."""
    with by_hand(url) as connection:
        connection.exec_driver_sql(f"UPDATE notice SET {put}")
    assert f"The notice {NOTICE.id} was altered." in [flaw.text for flaw in (await verify()).flaws]


async def test_a_notice_that_is_none_is_found(verify: Verify, url: str) -> None:
    """A notice that was put in by hand, under the id of its text, is a flaw, and nothing breaks by it."""
    with by_hand(url) as connection:
        rows = [dict(connection.execute(notice.select()).first()._mapping)]  # type: ignore[union-attr]
        for body in ("[]", "x", "{}"):
            rows.append({**rows[0], "id": notice_id_of(body), "body": body})
        connection.execute(notice.insert(), rows[1:])
    assert 3 == len((await verify()).flaws)


async def test_altered_personal_part_is_found(verify: Verify, url: str) -> None:
    """A change to what is kept beside an event is found, and the event is named."""
    with by_hand(url) as connection:
        sealed = secrets.token_bytes(80)
        connection.execute(update(consent_personal).where(consent_personal.c.sequence == 3).values(sealed=sealed))

    assert [Flaw(3, "The personal part of event 3 was altered.")] == (await verify()).flaws


async def test_deleted_personal_part_is_found(verify: Verify, url: str) -> None:
    """What is kept beside an event cannot go without an erasure on record."""
    with by_hand(url) as connection:
        connection.execute(delete(consent_personal).where(consent_personal.c.sequence == 3))

    assert [Flaw(3, "The personal part of event 3 is missing without an erasure.")] == (await verify()).flaws


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\x00\xfe", id="binary"),
        pytest.param(b"six " + b"0" * 64, id="no number"),
    ],
)
async def test_lost_head_file_is_found(verify: Verify, head_file: HeadFile, content: bytes | None) -> None:
    """Without the head file a cut end could not be seen, so that is said, and the next event writes it anew."""
    head_file.path.unlink()
    if content is not None:
        head_file.path.write_bytes(content)

    assert [0] == [flaw.sequence for flaw in (await verify()).flaws]
    assert str(head_file.path) in (await verify()).flaws[0].text


async def test_event_after_a_damaged_head_file(ledger: Ledger, head_file: HeadFile) -> None:
    """A damaged head file stops nobody from refusing, and is written anew."""
    head_file.path.write_bytes(b"\xff\x00\xfe")
    await ledger.refuse(Person.of(ledger.keyring, MAX), OPEN, BY_FOOTER)

    assert 1 == (head_file.read() or (0, ""))[0]
    assert (await ledger.verify()).whole


def test_head_file_never_goes_back(tmp_path: Path) -> None:
    """A process that comes late with an older head does not overwrite a newer one."""
    head_file = HeadFile(tmp_path / "head")
    head_file.advance(7, "seven")
    head_file.advance(6, "six")

    assert (7, "seven") == head_file.read()
    assert 0o600 == head_file.path.stat().st_mode & 0o777


async def test_head_file_that_cannot_be_written_stops_nobody(ledger: Ledger, head_file: HeadFile) -> None:
    """A refusal counts also where only the witness beside the database cannot be written."""
    head_file.path.mkdir()
    await ledger.grant(MAX, OPEN, ON_PAPER)

    assert (await ledger.look_up(MAX, ANNA)).consent.on(OPEN[0]).event is not None


async def test_two_writers_make_one_chain(ledger: Ledger, settings: LedgerSettings, keyring: Keyring) -> None:
    """Somebody else's event in between is followed, not forked."""
    async with Ledger(settings, keyring) as other:
        await asyncio.gather(
            *(one.grant(f"p{number}@x.example", OPEN, ON_PAPER) for number in range(10) for one in (ledger, other))
        )

    assert Verification(20, []) == await ledger.verify()


async def test_verifying_while_events_are_recorded(ledger: Ledger) -> None:
    """An event that arrives while the chain is being walked is no flaw."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    grants = [asyncio.create_task(ledger.grant(f"p{number}@x.example", EVERYTHING, ON_PAPER)) for number in range(99)]
    while not all(grant.done() for grant in grants):
        assert [] == (await ledger.verify()).flaws
    await asyncio.gather(*grants)

    assert Verification(300, []) == await ledger.verify()


PROCESSES = 4
EVENTS_EACH = 1_000
_PROCESS = """
import asyncio, sys
from pathlib import Path
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from tests.ledger.samples import ON_PAPER, TELLER
from policies.words import Purpose

async def main(url, head_file, key_file, name, events):
    async with Ledger(LedgerSettings(url, Path(head_file), TELLER), Keyring.load(Path(key_file))) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        both = (Purpose.OPEN, Purpose.CLICK)
        for pile in range(0, events // 2, 25):
            people = (f"{name}-{number}@x.example" for number in range(pile, pile + 25))
            await asyncio.gather(*(ledger.grant(person, both, ON_PAPER) for person in people))

asyncio.run(main(*sys.argv[1:5], int(sys.argv[5])))
"""


async def test_four_processes_make_one_chain(ledger: Ledger, url: str, key_file: Path, head_file: HeadFile) -> None:
    """Four processes that record a thousand grants each at the same time end with one chain without a gap."""
    arguments = ["-c", _PROCESS, url, str(head_file.path), str(key_file)]
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, *arguments, str(number), str(EVENTS_EACH), stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert b"ready\n" == await process.stdout.readline()
    ended = await asyncio.gather(*(asyncio.wait_for(process.communicate(b"go\n"), 90) for process in processes))

    assert [(b"", b"")] * PROCESSES == ended
    assert [0] * PROCESSES == [process.returncode for process in processes]
    assert Verification(PROCESSES * EVENTS_EACH, []) == await ledger.verify()
    with by_hand(url) as connection:
        columns = (func.count(), func.min(consent_event.c.sequence), func.max(consent_event.c.sequence))
        count = PROCESSES * EVENTS_EACH
        assert (count, 1, count) == tuple(connection.execute(select(*columns)).one())
    assert count == (head_file.read() or (0, ""))[0]
