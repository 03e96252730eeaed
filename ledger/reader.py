"""The reader: look-ups that arrive together are answered by one query.

Under load a look-up costs its share of a query instead of a transaction of its own; at rest it waits for nothing.
"""

import asyncio
from contextlib import suppress

import structlog

from ledger.consent import Person, consents_of
from ledger.database import Database
from ledger.errors import LedgerUnavailable
from policies.consent import Consent

log = structlog.get_logger()

_Waiting = tuple[Person, "asyncio.Future[Consent]"]


class ConsentReader:
    """Answers where people stand. One per process and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End; who still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for _, found in self._waiting:
            found.cancel()

    def ask(self, person: Person) -> "asyncio.Future[Consent]":
        """Return a future with where the person stands, or LedgerUnavailable."""
        found: asyncio.Future[Consent] = asyncio.get_running_loop().create_future()
        self._waiting.append((person, found))
        self._wake.set()
        return found

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked, self._waiting = [one for one in self._waiting if not one[1].done()], []
            if asked:
                await self._answer(asked)

    async def _answer(self, asked: list[_Waiting]) -> None:
        try:
            async with self._database.reading() as connection:
                consents = await consents_of(connection, {person for person, _ in asked})
        except asyncio.CancelledError:
            for _, found in asked:
                found.cancel()
            raise
        except Exception as error:
            if not isinstance(error, LedgerUnavailable):
                log.exception("ledger.look_up_failed")
            problem = LedgerUnavailable(str(error) if isinstance(error, LedgerUnavailable) else type(error).__name__)
            for _, found in asked:
                if not found.done():
                    found.set_exception(problem)
                    # Whoever gave up waiting does not look at it; that must not be reported as lost.
                    found.exception()
        else:
            for person, found in asked:
                if not found.done():
                    found.set_result(consents[person])
