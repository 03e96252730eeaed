"""SQLite's own driver, in a thread of its own: a whole transaction is one call, and the event loop never waits."""

import asyncio
import errno
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from ledger.answers import settle
from ledger.batch import TOUCH, Batch, Parameters, Statement, json_lists
from ledger.turns import Turn, line_up

BUSY_SECONDS = 5.0
BUSY_LOOK_SECONDS = 0.0005
PRAGMAS = (
    f"busy_timeout={BUSY_SECONDS * 1_000:.0f}",
    # WAL with FULL: a commit is on disk when it returns, and readers never wait for the writer.
    "journal_mode=WAL",
    "synchronous=FULL",
    # What is deleted is overwritten, so that nothing of an erased person is left in pages that are free.
    "secure_delete=ON",
)
"""How every connection to an SQLite file is set up."""

Result = TypeVar("Result")
_Call = tuple[Callable[[Batch], Any] | None, "asyncio.Future[Any]"]


class _Cursor:
    """A batch on a cursor."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def rows(self, statement: Statement, parameters: Parameters) -> list[Any]:
        """Return the rows of a SELECT, with the columns' names."""
        written = statement.sqlite
        found = self._cursor.execute(written.text, {**written.fixed, **json_lists(parameters)})
        return list(map(statement.row, found))

    def execute(self, statement: Statement, parameters: Sequence[Parameters]) -> None:
        """Carry a statement out once for each set of parameters; there is at least one."""
        written = statement.sqlite
        self._cursor.executemany(
            written.text, [{**written.fixed, **one} for one in parameters] if written.fixed else parameters
        )

    def lock(self, numbers: Sequence[int]) -> None:
        """Nothing to do: one transaction writes at a time."""

    def touch(self) -> None:
        """Have the commit wait for the disk, also where nothing was written: how long it takes tells nothing."""
        self._cursor.execute(TOUCH)


class SqliteThread:
    """One connection and the thread that alone uses it; both begin with the first batch."""

    def __init__(self, uri: str, begin: str | None, queue: Path | None = None) -> None:
        self._uri = uri
        self._begin = begin
        """How a transaction begins; None where every SELECT is one of its own: a step less, with the GIL in between."""
        self._queue = queue
        """The ledger whose writers take turns; None for those who only read."""
        self._serving: _Serving | None = None

    async def run(self, work: Callable[[Batch], Result]) -> Result:
        """Return what ``work`` returned, once its transaction is committed.

        Raises sqlite3.Error, and OSError where the system has no thread to give.
        """
        if self._serving is None:
            self._serving = self._started()
        return await self._serving.call(work)

    def _started(self) -> "_Serving":
        serving = _Serving(self._uri, self._begin, self._queue)
        try:
            serving.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "No thread can be started") from error
        return serving

    async def close(self) -> None:
        """Close the connection and end the thread, after what was asked before; both begin anew when needed."""
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.end()


class _Serving(Thread):
    """A thread that carries transactions out, one after the other, until it is told to end."""

    def __init__(self, uri: str, begin: str | None, queue: Path | None) -> None:
        super().__init__(name="ledger", daemon=True)
        self._uri = uri
        self._begin = begin
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None

    def call(self, work: Callable[[Batch], Result]) -> "asyncio.Future[Result]":
        """Return a future with what ``work`` returns."""
        done: asyncio.Future[Result] = self._loop.create_future()
        self._calls.put((work, done))
        return done

    def end(self) -> "asyncio.Future[None]":
        """Return a future that is done when everything asked before is, and the connection closed."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._calls.put((None, done))
        return done

    # In the thread

    def run(self) -> None:
        """Carry calls out until one says that it is the end."""
        going_on = True
        while going_on:
            work, done = self._calls.get()
            result, problem = None, None
            try:
                if work is not None:
                    result = self._transact(work)
                else:
                    going_on = False
                    self._disconnect()
            except Exception as error:  # noqa: BLE001  # whoever waits hears of it, whatever it is
                problem = error
            with suppress(RuntimeError):
                # The loop may be closed: then nobody waits.
                self._loop.call_soon_threadsafe(settle, done, result, problem)
            # Nothing of a call is kept until the next one.
            del work, done, result, problem

    def _transact(self, work: Callable[[Batch], Any]) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        with line_up(self._queue) as turn:
            try:
                cursor = self._connection.cursor()
                if self._begin is not None:
                    self._wait_for_turn(cursor, self._begin, turn)
                result = work(_Cursor(cursor))
                self._connection.commit()
            except BaseException:
                # Whatever state it is in: the next transaction gets a connection that knows nothing of this one.
                self._disconnect()
                raise
        return result

    def _connect(self) -> sqlite3.Connection:
        # The connection is used by this thread alone, but may be collected in another one.
        connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        # From here on _wait_for_turn waits.
        connection.execute("PRAGMA busy_timeout=0")
        return connection

    def _wait_for_turn(self, cursor: sqlite3.Cursor, begin: str, turn: Turn) -> None:
        """Begin. Somebody who is not in the queue may be writing too, a backup or an administrator: SQLite tells."""
        until = time.monotonic() + BUSY_SECONDS
        while True:
            turn.wait()
            try:
                cursor.execute(begin)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            else:
                return
            time.sleep(BUSY_LOOK_SECONDS)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Said outright: a cursor that somebody still holds would keep the transaction, and its lock, after closing.
            with suppress(sqlite3.Error):
                connection.rollback()
            with suppress(sqlite3.Error):
                connection.close()
