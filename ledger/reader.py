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

_PARTING_SECONDS = 1.0
_CLOSED = "The ledger is closed."
_Waiting = tuple[Person, "asyncio.Future[Consent]"]


class ConsentReader:
    """Answers where people stand. One per process and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to answer. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Answer who is waiting, and end. Where that takes too long, they hear that there is no answer."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_PARTING_SECONDS)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._fail(self._waiting, _CLOSED)

    def ask(self, person: Person) -> "asyncio.Future[Consent]":
        """Return a future with where the person stands, or LedgerUnavailable."""
        found: asyncio.Future[Consent] = asyncio.get_running_loop().create_future()
        if self._closing:
            self._fail([(person, found)], _CLOSED)
            return found
        self._waiting.append((person, found))
        self._wake.set()
        return found

    async def _run(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            asked, self._waiting = [one for one in self._waiting if not one[1].done()], []
            if asked:
                await self._answer(asked)

    async def _answer(self, asked: list[_Waiting]) -> None:
        try:
            people = {person for person, _ in asked}
            consents = await self._database.batch(lambda batch: consents_of(batch, people), writes=False)
        except asyncio.CancelledError:
            self._fail(asked, _CLOSED)
            raise
        except Exception as error:
            if not isinstance(error, LedgerUnavailable):
                log.exception("ledger.look_up_failed")
            self._fail(asked, str(error) if isinstance(error, LedgerUnavailable) else type(error).__name__)
        else:
            for person, found in asked:
                if not found.done():
                    found.set_result(consents[person])

    @staticmethod
    def _fail(asked: list[_Waiting], why: str) -> None:
        for _, found in asked:
            if not found.done():
                found.set_exception(LedgerUnavailable(why))
                # Whoever gave up waiting does not look at it; that must not be reported as lost.
                found.exception()
