"""Turns: who asked first writes first, in whichever process, and nobody who dies or stops is in the way."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import SupportsIndex

import pytest
from sqlalchemy import insert

from ledger.batch import Statement
from ledger.database import Database, Place, upgrade
from ledger.schema import meta
from ledger.turns import MOST_WAITERS, SUFFIX, Turn, _Waiter, line_up

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of open files")
WAIT = 30
"""Seconds after which something that must happen has not."""
NOTE = Statement(lambda _: insert(meta))
_CHILD = """
import sys
from pathlib import Path
from ledger.turns import line_up

with line_up(Path(sys.argv[1])) as turn:
    print("lined up", flush=True)
    turn.comes().result()
    print("come", flush=True)
    sys.stdin.read()
"""
_WRITING = """
import asyncio, itertools, sys, threading
from tests.ledger.test_turns import note
from ledger.database import Database

async def main(url, name, how):
    database, over = Database(url), threading.Event()
    await note(database, f"{name}/begun", how)
    print("begun", flush=True)
    sys.stdin.readline()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    for count in itertools.count():
        await note(database, f"{name}/{count}", how)
        if over.is_set():
            break
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """A ledger's file, with its tables."""
    path = tmp_path / "aboveboard.db"
    upgrade(Place(f"sqlite:///{path}"))
    return path


@contextmanager
def process(code: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run Python code in a process of its own, which is killed when the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def says(running: "subprocess.Popen[str]") -> str:
    """Return the next line of a process."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def tell(running: "subprocess.Popen[str]", line: str) -> None:
    """Say a line to a process."""
    assert running.stdin is not None
    running.stdin.write(line)
    running.stdin.flush()


def comes(turn: Turn) -> bool:
    """Tell whether a turn has come, without waiting."""
    return turn.comes().done()


@contextmanager
def three(ledger: Path) -> Iterator[tuple[list[Turn], list[ExitStack]]]:
    """Line up three times; yields the turns, and what ends each of them."""
    with ExitStack() as everything:
        ends = [everything.enter_context(ExitStack()) for _ in range(3)]
        yield [end.enter_context(line_up(ledger)) for end in ends], ends


def test_nobody_to_wait(ledger_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread to give, whoever lines up looks again after a while, and leaves no file open."""

    def none(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_Waiter, "idle", [])
    monkeypatch.setattr(_Waiter, "made", 0)
    with line_up(ledger_file) as first, line_up(ledger_file) as second:
        files = len(list(Path("/proc/self/fd").iterdir()))
        with monkeypatch.context() as patch:
            patch.setattr(Thread, "start", none)
            assert (True, False, False) == (comes(first), comes(second), comes(second))
        assert files == len(list(Path("/proc/self/fd").iterdir()))
        assert 0 == _Waiter.made


def test_two_threads_that_find_one_waiter(ledger_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two threads that have to wait at the same moment, each finds somebody to wait for it."""

    class Coveted(list[_Waiter]):
        """Waiters of whom another thread takes the last one just before."""

        def pop(self, _: SupportsIndex = -1) -> _Waiter:
            self.clear()
            return super().pop()

    monkeypatch.setattr(_Waiter, "idle", Coveted([_Waiter()]))
    monkeypatch.setattr(_Waiter, "made", 1)
    with three(ledger_file) as ((first, second, _), ends):
        assert (True, False) == (comes(first), comes(second))
        ends[0].close()
        second.comes().result(WAIT)


def test_waiters_are_no_more_than_that(ledger_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads find at the same moment that there is room for one waiter more, one is made."""
    start, starting = Thread.start, list[Thread]()

    def slow(self: Thread) -> None:
        # Whoever else wants one comes just now.
        if isinstance(self, _Waiter) and len(starting) < 3:
            another = Thread(target=_Waiter._another)
            starting.append(another)
            start(another)
            another.join(0.2)
        start(self)

    monkeypatch.setattr(_Waiter, "made", MOST_WAITERS - 1)
    monkeypatch.setattr(Thread, "start", slow)
    _Waiter._another()
    for thread in starting:
        thread.join()
    assert MOST_WAITERS == _Waiter.made


def test_turns_come_in_the_order_of_lining_up(ledger_file: Path) -> None:
    """Each has its turn when the one before is through and not earlier, whoever looks first."""
    with three(ledger_file) as (turns, ends):
        assert [False, False, True] == [comes(turn) for turn in reversed(turns)]
        ends[0].close()
        turns[1].comes().result(WAIT)
        assert not comes(turns[2])
        ends[1].close()
        turns[2].comes().result(WAIT)


def test_nobody_waits_for_one_who_left(ledger_file: Path) -> None:
    """One that gives up before its turn has come is not waited for, and brings nobody's turn about."""
    with three(ledger_file) as (turns, ends):
        assert [True, False, False] == [comes(turn) for turn in turns]
        ends[1].close()
        assert not comes(turns[2])
        ends[0].close()
        turns[2].comes().result(WAIT)


@pytest.mark.parametrize("how", ["with its turn", "waiting"])
def test_killed_process_is_not_waited_for(ledger_file: Path, how: str) -> None:
    """A process that is killed, while it has its turn or while it waits for it, is in nobody's way."""
    with ExitStack() as before:
        if how == "waiting":
            before.enter_context(line_up(ledger_file))
        with process(_CHILD, str(ledger_file)) as child:
            expected = ["lined up"] if how == "waiting" else ["lined up", "come"]
            assert expected == [says(child) for _ in expected]
            with line_up(ledger_file) as turn:
                assert not comes(turn)
                child.kill()
                child.wait(WAIT)
                before.close()
                turn.comes().result(WAIT)


async def test_writers_pass_a_process_that_is_stopped(ledger_file: Path) -> None:
    """A process that is stopped in the queue holds nobody up: transactions of either kind are written all the same."""
    database = Database(f"sqlite:///{ledger_file}")
    with process(_CHILD, str(ledger_file)) as child:
        assert ["lined up", "come"] == [says(child), says(child)]
        child.send_signal(signal.SIGSTOP)
        for count in range(MOST_WAITERS):
            await asyncio.wait_for(note(database, f"batch/{count}", "batch"), WAIT)
            await asyncio.wait_for(note(database, f"job/{count}", "job"), WAIT)
        child.send_signal(signal.SIGCONT)
    await database.close()
    assert 2 * MOST_WAITERS == len(noted(ledger_file))


async def test_loop_goes_on_while_a_turn_is_awaited(ledger_file: Path) -> None:
    """Whoever waits for a turn does not hold up the event loop, by which whoever has it may go on."""
    database = Database(f"sqlite:///{ledger_file}")
    for how in ("batch", "job"):
        with line_up(ledger_file) as turn, closing(sqlite3.connect(ledger_file)) as by_hand:
            assert comes(turn)
            by_hand.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(note(database, how, how))
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not waiting.done()
            by_hand.rollback()
        await asyncio.wait_for(waiting, WAIT)
    await database.close()
    assert {"batch", "job"} == set(noted(ledger_file))


@pytest.mark.parametrize("how", ["batch", "job"])
async def test_writing_works_without_a_queue(ledger_file: Path, how: str) -> None:
    """Where the file of the queue cannot be opened, SQLite alone says who writes."""
    beside = ledger_file.with_name(f"{ledger_file.name}{SUFFIX}")
    beside.unlink()
    beside.mkdir()
    databases = [Database(f"sqlite:///{ledger_file}") for _ in range(2)]
    await asyncio.gather(*(note(databases[count % 2], str(count), how) for count in range(20)))
    for database in databases:
        await database.close()
    assert 20 == len(noted(ledger_file))


def test_queue_is_for_those_who_may_write_the_ledger(tmp_path: Path) -> None:
    """The file of the queue has the ledger's rights, so that nobody who may write it is left out; it holds nothing."""
    (tmp_path / "ledger").touch()
    (tmp_path / "ledger").chmod(0o660)
    with line_up(tmp_path / "ledger"):
        status = (tmp_path / f"ledger{SUFFIX}").stat()
    assert (0o660, 0) == (status.st_mode & 0o777, status.st_size)


def test_no_queue_is_made_for_a_ledger_that_is_missing(tmp_path: Path) -> None:
    """Without a ledger there is no queue, and nothing is put where it was."""
    with line_up(tmp_path / "ledger") as turn:
        assert comes(turn)
    assert [] == [*tmp_path.iterdir()]


def test_nobody_is_far_behind_the_others(ledger_file: Path) -> None:
    """Of processes that write without a pause, each in its own way, each writes at least half as often as any other."""
    with ExitStack() as stack:
        writers = [
            stack.enter_context(process(_WRITING, f"sqlite:///{ledger_file}", str(number), how))
            for number, how in enumerate(["batch", "job", "batch", "job"])
        ]
        assert ["begun"] * 4 == [says(writer) for writer in writers]
        for writer in writers:
            tell(writer, "go\n")
        while len(noted(ledger_file)) < 400:
            time.sleep(0.01)
        # Counted before anybody is told to end: whoever ends last would write alone.
        counts = Counter(name.split("/")[0] for name in noted(ledger_file))
        for writer in writers:
            writer.communicate(timeout=WAIT)
        assert [0] * 4 == [writer.returncode for writer in writers]
    assert min(counts.values()) * 2 >= max(counts.values()), counts


async def note(database: Database, name: str, how: str) -> None:
    """Write a row in a transaction of its own, one way or the other."""
    row = {"name": name, "value": ""}
    if how == "batch":
        await database.batch(lambda batch: batch.execute(NOTE, [row]), writes=True)
        return
    async with database.writing() as connection:
        await connection.execute(insert(meta).values(row))


def noted(ledger: Path) -> list[str]:
    """Return the names of all rows that were written."""
    with closing(sqlite3.connect(ledger)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM meta")]
