"""The writer: many writes share one commit, and nobody is answered before theirs is on disk.

While one commit is under way, everything that arrives waits for the next: under load a commit carries hundreds of
writes, at rest a write waits for nothing but its own commit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.answers import fail, settle
from ledger.batch import APART_SECONDS, CROWDED_SECONDS, Batch, WithinTransaction
from ledger.database import Database
from ledger.errors import LedgerContended, LedgerError, LedgerUnavailable

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]
ManyWork = Callable[[Batch, list[Any]], None]

_TRIES = 3

PAUSE_SECONDS = 0.002
"""Between two commits of one process, at least: what comes meanwhile shares the next one."""
UNAWAITED_SECONDS = 0.05
MOST_WAITING = 20_000
"""Of one kind, for the next commit."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    done: asyncio.Future[Any]


_Outcome = tuple[_Job, Any, LedgerError | None]


@dataclass(slots=True)
class _Pile:
    """Writes of one kind, which go to the driver together."""

    work: ManyWork
    patient: bool
    items: list[tuple[Any, asyncio.Future[None]]] = field(default_factory=list)

    def has_room(self) -> bool:
        """Tell whether one more may wait: while a database stands still, what waits for it must not fill the memory."""
        if len(self.items) >= MOST_WAITING:
            # Whoever gave up waiting has theirs not written any more.
            self.items = [one for one in self.items if not one[1].done()]
        return len(self.items) < MOST_WAITING


class Writer:
    """Collects writes and commits them together. One per process and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: list[_Job] = []
        self._piles: dict[str, _Pile] = {}
        self._wake = asyncio.Event()
        self._reminder: asyncio.TimerHandle | None = None
        """Has what nobody waits for written in the end."""
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to commit. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Commit what is waiting, and end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def job(self, work: Work[Result]) -> asyncio.Future[Result]:
        """Have ``work`` done in the next transaction; the future is done when that is on disk.

        ``work`` may raise a LedgerError before it has written anything; the rest of the transaction goes on. It is done
        once more where the database takes the transaction back for the sake of another process.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._closing:
            fail([future], LedgerUnavailable("The ledger is closed."))
            return future
        if len(self._jobs) >= MOST_WAITING:
            fail([future], LedgerUnavailable("Too much waits to be written."))
            return future
        self._jobs.append(_Job(work, future))
        self._wake.set()
        return future

    def pile(
        self, kind: str, work: ManyWork, item: Any, *, awaited: bool = True, patient: bool = False
    ) -> asyncio.Future[None]:
        """Add an item to the pile that ``work`` writes at once; the future is done when it is on disk.

        ``work`` may run in another thread: it uses the batch, the items and what never changes, and nothing else.

        One that nobody waits for joins the next commit that somebody waits for, or makes one a little later. Where
        several of a patient kind come together, the commit after theirs waits a little longer for company.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closing:
            fail([future], LedgerUnavailable("The ledger is closed."))
            return future
        if kind not in self._piles:
            self._piles[kind] = _Pile(work, patient)
        if not self._piles[kind].has_room():
            fail([future], LedgerUnavailable("Too much waits to be written."))
            return future
        self._piles[kind].items.append((item, future))
        if awaited:
            self._wake.set()
        elif self._reminder is None:
            self._reminder = asyncio.get_running_loop().call_later(UNAWAITED_SECONDS, self._remember)
        return future

    def _remember(self) -> None:
        self._reminder = None
        self._wake.set()

    async def _run(self) -> None:
        while not (self._closing and not self._jobs and not self._piles):
            await self._wake.wait()
            self._wake.clear()
            jobs, self._jobs = self._jobs, []
            piles, self._piles = self._piles, {}
            if jobs or piles:
                began = time.monotonic()
                # In one order everywhere, so that two processes do not wait for each other's rows.
                await self._commit(jobs, [piles[kind] for kind in sorted(piles)])
                if not self._closing:
                    is_crowded = any(pile.patient and len(pile.items) > 1 for pile in piles.values())
                    apart = CROWDED_SECONDS if is_crowded else APART_SECONDS
                    await asyncio.sleep(max(PAUSE_SECONDS, began + apart - time.monotonic()))

    async def _commit(self, jobs: list[_Job], piles: list[_Pile]) -> None:
        waiting = [job.done for job in jobs] + [done for pile in piles for _, done in pile.items]
        try:
            outcomes = await self._transact(jobs, piles)
        except LedgerUnavailable as error:
            fail(waiting, error)
        except Exception as error:
            # A defect in one write must not stop the writer: everybody in this commit hears that nothing was written.
            log.exception("ledger.commit_failed")
            fail(waiting, LedgerUnavailable(f"The ledger could not be written ({type(error).__name__})."))
        else:
            for job, result, problem in outcomes:
                settle(job.done, result, problem)
            for done in waiting:
                settle(done, None)

    async def _transact(self, jobs: list[_Job], piles: list[_Pile]) -> list[_Outcome]:
        """Do everything in one transaction; again from the start where another process got in its way."""
        for _ in range(_TRIES - 1):
            with suppress(LedgerContended):
                return await self._try(jobs, piles)
        return await self._try(jobs, piles)

    async def _try(self, jobs: list[_Job], piles: list[_Pile]) -> list[_Outcome]:
        wanted = [(pile.work, [item for item, done in pile.items if not done.done()]) for pile in piles]

        def write(batch: Batch) -> None:
            for work, items in wanted:
                if items:
                    work(batch, items)

        if not jobs:
            await self._database.batch(write, writes=True)
            return []
        async with self._database.writing() as connection:
            outcomes = [await self._do(job, connection) for job in jobs]
            await connection.run_sync(lambda inside: write(WithinTransaction(inside)))
            return outcomes

    @staticmethod
    async def _do(job: _Job, connection: AsyncConnection) -> _Outcome:
        try:
            return job, await job.work(connection), None
        except LedgerUnavailable:
            raise
        except LedgerError as problem:
            return job, None, problem
