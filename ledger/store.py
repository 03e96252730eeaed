"""The store: the ledger's database as one process has it open, with who reads and who writes together."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.calendar import Calendar
from ledger.database import Database
from ledger.keys import Keyring
from ledger.notice import Teller
from ledger.reader import Reader
from ledger.retention import Periods
from ledger.tally import Tally
from ledger.writer import Writer

FAILURES = Tally(
    Counter("aboveboard_ledger_failures", "What could not be asked of or written to the ledger.", ["doing"])
)
_COMPLAIN_SECONDS = 1.0
PARTING_SECONDS = 5.0
"""How long the ledger's end waits for who is still reading, or in the middle of several steps."""

Result = TypeVar("Result")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where the ledger is and what it needs to know."""

    url: str
    head_file: Path
    teller: Teller
    periods: Periods = field(default_factory=Periods)
    letters_url: str | None = None
    """Where links in mail of our own lead; None where none is sent."""
    calendar: Calendar = field(default_factory=Calendar)
    journal_file: Path | None = None
    """Where refusals and erasures are written once more; None for nowhere."""
    account_file: Path | None = None
    """Where a copy of the accounts is kept for when the ledger is away; None for nowhere."""


class Store:
    """The open ledger. Use it as an async context manager; one per process and event loop."""

    def __init__(self, settings: LedgerSettings, keyring: Keyring) -> None:
        self.keyring = keyring
        self._settings = settings
        self._database = Database(settings.url)
        self._writer = Writer(self._database)
        self._reader = Reader(self._database)
        self._readings: set[asyncio.Task[Any]] = set()
        self._complained = float("-inf")

    async def __aenter__(self) -> Self:
        self._writer.start()
        self._reader.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.close()
        await self._writer.close()
        if self._readings:
            await asyncio.wait(self._readings, timeout=PARTING_SECONDS)
        await self._database.close()

    def adopt(self, teller: Teller, periods: Periods) -> None:
        """Go by other notices and other periods from now on."""
        self._settings = replace(self._settings, teller=teller, periods=periods)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Return what ``work`` reads, in a transaction of its own. Raises LedgerUnavailable."""
        return await self._apart(self._read(work))

    async def _apart(self, reads: Coroutine[Any, Any, Result]) -> Result:
        """Return what is read. Whoever gives up waiting goes on at once, whatever the database's driver does then.

        psycopg takes its time to take a query back, from a server that stands still ten seconds.
        """
        # A task of its own, which is cancelled once at most, and which the end waits for. Cancelled a second time,
        # as by the end of a process, SQLAlchemy has aiosqlite wait for a thread that is gone, for ever.
        reading = asyncio.create_task(reads)
        self._readings.add(reading)
        reading.add_done_callback(self._read_over)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.cancel()
            raise

    def _read_over(self, reading: asyncio.Task[Any]) -> None:
        self._readings.discard(reading)
        if not reading.cancelled():
            # Whoever gave up waiting does not look at it; that must not be reported as lost.
            reading.exception()

    async def _read(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        async with self._database.reading() as connection:
            return await work(connection)

    async def job(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Return what ``work`` did, once it is on disk. Raises LedgerUnavailable."""
        return await self._writer.job(work)

    def _complain(self, doing: str, error: BaseException | None) -> None:
        """Count a failure, and log it, but no more than once a second: an outage under load must not fill a disk."""
        FAILURES.count(doing)
        now = asyncio.get_running_loop().time()
        if now - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            log.warning("ledger.unavailable", doing=doing, why=str(error) or "no answer in time")


def utc_now() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)


def login() -> str:
    """Return who runs this process, for what is recorded of administrators."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A user id without an entry, as in containers; KeyError before Python 3.13.
        return "unknown"
