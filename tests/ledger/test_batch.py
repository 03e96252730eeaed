"""Batches: one transaction in one call, on either database, in the driver's own words."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import bindparam, insert, select, update

from ledger.batch import Batch, Statement, write_statements
from ledger.database import Database, Place, upgrade
from ledger.errors import LedgerUnavailable
from ledger.schema import meta
from tests.ledger.samples import by_hand

WRITE = Statement(lambda _: insert(meta))
READ = Statement(
    lambda words: (
        select(meta.c.name, meta.c.value.label("said")).where(words.among(meta.c.name, "names")).order_by(meta.c.name)
    )
)

AGAIN = Statement(lambda _: update(meta).where(meta.c.name == bindparam("which")).values(value="again"))


def write(*names: str) -> Callable[[Batch], None]:
    """Return a batch that writes rows."""
    return lambda batch: batch.execute(WRITE, [{"name": name, "value": f"{name}!"} for name in names])


def read(*names: str) -> Callable[[Batch], list[tuple[str, str]]]:
    """Return a batch that reads rows by name."""
    return lambda batch: [(row.name, row.said) for row in batch.rows(READ, {"names": list(names)})]


async def test_what_is_written_is_read(database: Database) -> None:
    """Rows come back with their columns' names, those that were asked for; lists may be long or empty."""
    await database.batch(write("a", "b", "c"), writes=True)
    assert [("a", "a!"), ("c", "c!")] == await database.batch(read("c", "a", "x"), writes=False)
    assert [("b", "b!")] == await database.batch(read("b", *map(str, range(5_000))), writes=False)
    assert [] == await database.batch(read(), writes=False)


async def test_values_of_the_statement_itself(database: Database) -> None:
    """What a statement says by itself is written with what it is given."""
    await database.batch(write("a", "b", "c"), writes=True)
    await database.batch(lambda batch: batch.execute(AGAIN, [{"which": "a"}, {"which": "c"}]), writes=True)
    assert [("a", "again"), ("b", "b!"), ("c", "again")] == await database.batch(read("a", "b", "c"), writes=False)


async def test_a_lock_ends_with_its_batch(database: Database) -> None:
    """Numbers of 64 bits of either sign are locked, and the next batch that locks them goes on."""

    def locked(batch: Batch) -> None:
        batch.lock([-(2**63), 7, 2**63 - 1])
        write(names.pop())(batch)

    names = ["b", "a"]
    await database.batch(locked, writes=True)
    await database.batch(locked, writes=True)
    assert [("a", "a!"), ("b", "b!")] == await database.batch(read("a", "b"), writes=False)


async def test_a_batch_that_fails_leaves_nothing(database: Database) -> None:
    """Where a batch ends with an error, nothing of it is on disk, and the next one works."""

    def broken(batch: Batch) -> None:
        write("a")(batch)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.batch(broken, writes=True)
    with pytest.raises(LedgerUnavailable):
        await database.batch(write("b", "b"), writes=True)
    await database.batch(write("c"), writes=True)
    assert [("c", "c!")] == await database.batch(read("a", "b", "c"), writes=False)


async def test_a_thread_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread to give the ledger is away, and is there again as soon as there is one."""
    url = f"sqlite:///{tmp_path}/aboveboard.db"
    upgrade(Place(url))
    database = Database(url)

    def none(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", none)
        with pytest.raises(LedgerUnavailable):
            await database.batch(write("one"), writes=True)
    await asyncio.wait_for(database.batch(write("one"), writes=True), 10)
    await database.close()


async def test_touching_changes_nothing(database: Database) -> None:
    """A commit that only waits for the disk writes nothing that anybody reads."""
    await database.batch(lambda batch: batch.touch(), writes=True)
    await database.batch(write("a"), writes=True)
    assert [("a", "a!")] == await database.batch(read("a"), writes=False)


async def test_closing_is_not_the_end(database: Database) -> None:
    """A database that was closed opens again when it is needed."""
    await database.batch(write("a"), writes=True)
    await database.close()
    assert [("a", "a!")] == await database.batch(read("a"), writes=False)


async def test_waiting_for_another_process(database: Database, url: str) -> None:
    """While another process writes, a batch waits for its turn, and the event loop does not."""
    with by_hand(url) as other:
        other.execute(insert(meta).values(name="a", value="not yet"))
        waiting = asyncio.create_task(database.batch(write("a"), writes=True))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        other.rollback()
    await waiting
    assert [("a", "a!")] == await database.batch(read("a"), writes=False)


@pytest.mark.parametrize("words", ["sqlite", "postgresql"])
def test_statements_are_written_beforehand(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a worker has had them written, no message and no hit waits for a statement to be put into words."""
    everyone = Statement.everyone
    monkeypatch.setattr(Statement, "everyone", [])
    for one in everyone:
        Statement(one._build)
    write_statements(sqlite=words == "sqlite")

    assert everyone
    assert all({words, "row"} <= vars(one).keys() for one in Statement.everyone)
