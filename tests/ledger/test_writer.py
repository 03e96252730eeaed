"""The writer: many writes share one commit, and nobody is answered before theirs is on disk."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import writer as writer_module
from ledger.batch import Batch, Statement
from ledger.database import Database, Place, prepare, upgrade
from ledger.errors import ConsentRefused, LedgerUnavailable
from ledger.schema import meta
from ledger.writer import Work, Writer
from tests.ledger.conftest import DATABASES
from tests.ledger.samples import by_hand
from tests.peers import program, require
from tests.postgresql import cluster


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    """A writer that has started."""
    started = Writer(database)
    started.start()
    yield started
    await started.close()


def note(name: str) -> Work[str]:
    """Return a write of one row, which returns its name."""

    async def work(connection: AsyncConnection) -> str:
        await connection.execute(insert(meta).values(name=name, value=""))
        return name

    return work


NOTE = Statement(lambda _: insert(meta))


def note_all(batch: Batch, names: list[str]) -> None:
    """Write a pile of rows."""
    batch.execute(NOTE, [{"name": name, "value": str(len(names))} for name in names])


def noted(url: str) -> dict[str, str]:
    """Return what others see in the database."""
    with by_hand(url) as connection:
        rows = connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name != "key_fingerprint"))
        return {row.name: row.value for row in rows}


async def test_job_is_answered_when_others_see_it(writer: Writer, url: str) -> None:
    """The answer to a write comes after its commit, with what the work returned."""
    assert "a" == await writer.job(note("a"))
    assert {"a": ""} == noted(url)


async def test_pile_is_written_at_once(writer: Writer, url: str) -> None:
    """Items of one kind that arrive together go to the driver together."""
    await asyncio.gather(*(writer.pile("kind", note_all, name) for name in "abc"))

    assert dict.fromkeys("abc", "3") == noted(url)


@pytest.mark.parametrize(("patient", "together"), [(True, "2"), (False, "1")], ids=["patient", "in a hurry"])
async def test_company_is_waited_for_where_there_was_some(
    writer: Writer, url: str, monkeypatch: pytest.MonkeyPatch, patient: bool, together: str
) -> None:
    """After a commit that several of a patient kind shared, those that come one after the other share the next one."""
    monkeypatch.setattr("ledger.writer.CROWDED_SECONDS", 2.0)
    await asyncio.gather(*(writer.pile("kind", note_all, name, patient=patient) for name in "ab"))

    first = writer.pile("kind", note_all, "c", patient=patient)
    # What is in a hurry begins within milliseconds, and ends long before the next one comes.
    await asyncio.wait([first], timeout=0.5)
    await asyncio.gather(first, writer.pile("kind", note_all, "d", patient=patient))

    assert {"a": "2", "b": "2", "c": together, "d": together} == noted(url)


async def test_piles_are_written_in_one_order(writer: Writer) -> None:
    """Whichever kind arrives first, every process writes them in the same order, so that none waits for another."""
    order: list[str] = []

    def remember(batch: Batch, kinds: list[str]) -> None:
        order.extend(kinds)

    for kinds in itertools.permutations(["decision", "hit", "outcome", "void"]):
        await asyncio.gather(*(writer.pile(kind, remember, kind) for kind in kinds))

    assert ["decision", "hit", "outcome", "void"] * 24 == order


async def test_refusal_of_one_job_leaves_the_others(writer: Writer, url: str) -> None:
    """A job that is refused fails alone."""

    async def refused(connection: AsyncConnection) -> None:
        raise ConsentRefused("No.")

    found = await asyncio.gather(
        writer.job(note("a")), writer.job(refused), writer.pile("kind", note_all, "b"), return_exceptions=True
    )

    assert ["a", "No.", None] == [str(one) if isinstance(one, ConsentRefused) else one for one in found]
    assert {"a", "b"} == set(noted(url))


async def test_defect_in_one_job_is_answered_to_all(writer: Writer, url: str) -> None:
    """After a defect nobody in that commit believes to be on disk, nothing of it is, and the next one works."""

    async def defect(connection: AsyncConnection) -> None:
        raise ZeroDivisionError

    found = await asyncio.gather(
        writer.job(note("a")), writer.job(defect), writer.pile("kind", note_all, "b"), return_exceptions=True
    )
    assert [LedgerUnavailable] * 3 == [type(one) for one in found]
    assert {} == noted(url)

    await writer.job(note("c"))
    assert {"c": ""} == noted(url)


async def test_cancelled_item_is_not_written(writer: Writer, url: str) -> None:
    """Whoever gives up before the commit begins finds nothing written."""
    given_up = writer.pile("kind", note_all, "a")
    kept = writer.pile("kind", note_all, "b")
    given_up.cancel()
    await kept

    assert {"b": "1"} == noted(url)


async def test_giving_up_is_not_reported_as_lost(writer: Writer, url: str) -> None:
    """A write that fails after its caller has given up troubles nobody (warnings are errors here)."""

    async def defect(connection: AsyncConnection) -> None:
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(writer.job(defect)), 0.01)
    await writer.job(note("a"))

    assert {"a": ""} == noted(url)


async def test_a_database_that_stands_still(
    writer: Writer, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a database that stands still is bounded: who gave up makes room; what finds none is refused."""
    monkeypatch.setattr(writer_module, "MOST_WAITING", 2)
    under_way, moving, batch = asyncio.Event(), asyncio.Event(), database.batch

    async def stand_still(work: Callable[[Batch], None], *, writes: bool) -> None:
        under_way.set()
        await moving.wait()
        await batch(work, writes=writes)

    monkeypatch.setattr(database, "batch", stand_still)
    first = writer.pile("note", note_all, "first")
    await under_way.wait()
    given_up, waiting = (writer.pile("note", note_all, name) for name in ("given up", "waiting"))
    assert isinstance(writer.pile("note", note_all, "refused").exception(), LedgerUnavailable)
    given_up.cancel()
    last = writer.pile("note", note_all, "last")
    moving.set()
    await asyncio.wait_for(asyncio.gather(first, waiting, last), 10)
    assert {"first", "waiting", "last"} == noted(url).keys()


async def test_jobs_that_wait_are_bounded(writer: Writer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many jobs wait for a database that stands still, another is refused at once; the others are done."""
    monkeypatch.setattr(writer_module, "MOST_WAITING", 2)
    begun, moving = asyncio.Event(), asyncio.Event()

    async def stand_still(connection: AsyncConnection) -> None:
        begun.set()
        await moving.wait()

    first = writer.job(stand_still)
    await begun.wait()
    waiting = [writer.job(note(name)) for name in ("a", "b")]
    refused = writer.job(note("c"))
    moving.set()
    with pytest.raises(LedgerUnavailable):
        await refused
    await asyncio.wait_for(asyncio.gather(first, *waiting), 10)
    assert {"a", "b"} == noted(url).keys()


async def test_two_processes_that_wait_for_each_other_both_succeed(url: str) -> None:
    """Where a database ends a deadlock by taking one transaction back, that one is tried again."""
    databases = [Database(url), Database(url)]
    writers = [Writer(one) for one in databases]
    reached = [asyncio.Event(), asyncio.Event()]
    for one in writers:
        one.start()
    await asyncio.gather(*(writers[0].job(note(name)) for name in "ab"))

    def work(at: int) -> Work[None]:
        async def both(connection: AsyncConnection) -> None:
            for step, name in enumerate("ab" if at == 0 else "ba"):
                await connection.execute(update(meta).where(meta.c.name == name).values(value=meta.c.value + str(at)))
                if step == 0:
                    reached[at].set()
                    # SQLite lets one of them begin only after the other has ended.
                    await asyncio.wait([asyncio.ensure_future(reached[1 - at].wait())], timeout=0.3)

        return both

    await asyncio.gather(*(writers[at].job(work(at)) for at in range(2)))
    for writer, database in zip(writers, databases, strict=True):
        await writer.close()
        await database.close()

    assert {"a": ["0", "1"], "b": ["0", "1"]} == {name: sorted(value) for name, value in noted(url).items()}


async def test_closing_commits_what_is_waiting(database: Database, url: str) -> None:
    """What was handed over before the end is on disk after it."""
    writer = Writer(database)
    writer.start()
    waiting = [writer.job(note("a")), writer.pile("kind", note_all, "b")]
    await writer.close()

    assert all(one.done() for one in waiting)
    assert {"a": "", "b": "1"} == noted(url)


async def test_write_after_the_end_is_refused(database: Database, url: str) -> None:
    """What is handed over after the end is not left waiting for ever."""
    writer = Writer(database)
    writer.start()
    await writer.close()

    for late in (writer.job(note("a")), writer.pile("kind", note_all, "b")):
        with pytest.raises(LedgerUnavailable):
            await asyncio.wait_for(late, 1)
    assert {} == noted(url)


async def test_writing_while_the_database_is_away(writer: Writer, url: str) -> None:
    """Every write fails while the database is away, and works when it is back."""
    with by_hand(url) as connection:
        connection.exec_driver_sql("ALTER TABLE meta RENAME TO gone")
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await writer.job(note("a"))
    with by_hand(url) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO meta")
    await writer.job(note("b"))

    assert {"b": ""} == noted(url)


HITS = 400
_HITS = """
import asyncio, json, sys, time
from pathlib import Path
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from tests.ledger.samples import MAX, ON_PAPER, TELLER, OPEN, decided, hit

async def main(url, folder, count):
    folder = Path(folder)
    async with Ledger(LedgerSettings(url, folder / "head", TELLER), Keyring.load(folder / "key")) as ledger:
        await ledger.grant(MAX, OPEN, ON_PAPER)
        messages = [decided() for _ in range(20)]
        assert all([await ledger.record_decision(message) for message in messages])
        times = []

        async def visitor(number):
            for at in range(count // 100):
                asked = time.monotonic_ns()
                await ledger.record_hit(hit(messages[(number + at) % 20].id))
                times.append((asked, time.monotonic_ns()))

        await asyncio.gather(*map(visitor, range(100)))
        print(json.dumps({"times": times, "counted": sum(one["count"] for one in await ledger.hits())}))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """A library that, preloaded, writes down when a process syncs."""
    library = tmp_path / "syncs.so"
    source = Path(__file__).with_name("syncs.c")
    command = [program("gcc"), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        require("gcc cannot build a library here")
    return library


@pytest.fixture(params=DATABASES)
def watched(request: pytest.FixtureRequest, shim: Path, tmp_path: Path) -> Iterator[tuple[str, dict[str, str], Path]]:
    """An empty ledger, the environment for its user, and the file that says when its database syncs."""
    if request.param == "sqlite":
        syncs = tmp_path / "syncs"
        yield f"sqlite:///{tmp_path}/aboveboard.db", {"LD_PRELOAD": str(shim), "SYNCS": str(syncs)}, syncs
        return
    with cluster(durable=True, preload=shim) as running:
        yield running.url("postgres"), {}, running.folder / "syncs"


def test_answer_comes_after_a_sync_that_others_share(watched: tuple[str, dict[str, str], Path], tmp_path: Path) -> None:
    """Every hit is answered after a sync that began after it was asked, and a quarter as many syncs will do."""
    url, environment, syncs = watched
    upgrade(Place(url))
    prepare(url, tmp_path / "key")
    done = subprocess.run(
        [sys.executable, "-c", _HITS, url, str(tmp_path), str(HITS)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    synced = [tuple(map(int, line.split())) for line in syncs.read_text().splitlines()]
    unsynced = [
        (asked, answered)
        for asked, answered in found["times"]
        if not any(asked <= began and over <= answered for began, over in synced)
    ]
    first, last = min(asked for asked, _ in found["times"]), max(answered for _, answered in found["times"])

    assert (HITS, HITS) == (len(found["times"]), found["counted"])
    assert [] == unsynced
    assert HITS / 4 > len([began for began, _ in synced if first <= began <= last])
