"""The reader: look-ups that arrive together are answered in one transaction.

Under load a look-up costs its share of two queries instead of two of its own; at rest it waits for nothing.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from ledger.answers import fail, settle
from ledger.batch import APART_SECONDS, CROWDED_SECONDS
from ledger.consent import Person, consents_of
from ledger.database import Database
from ledger.errors import LedgerUnavailable
from ledger.senders import Saved, least, saved_by
from policies.consent import UNAVAILABLE, Consent

log = structlog.get_logger()

MOST_WAITING = 5_000
"""Questions for the next transaction, of whose askers nobody has given up waiting."""
_PARTING_SECONDS = 1.0
_CLOSED = "The ledger is closed."


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows that bears on a message."""

    consent: Consent
    """Where the recipient stands."""
    saved: Saved | None = None
    """What the sender saved for their messages; None where that is nothing."""


NOT_KNOWN = Known(UNAVAILABLE)
"""The ledger does not answer."""


@dataclass(frozen=True, slots=True)
class _Question:
    recipient: Person
    sender_hashes: tuple[str, ...]
    answer: "asyncio.Future[Known]"


class Reader:
    """Answers where recipients stand and what senders saved. One per process and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Question] = []
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

    def ask(self, recipient: Person, sender_hashes: tuple[str, ...]) -> "asyncio.Future[Known]":
        """Return a future with what is known of both, or LedgerUnavailable."""
        question = _Question(recipient, sender_hashes, asyncio.get_running_loop().create_future())
        if self._closing:
            self._fail([question], _CLOSED)
            return question.answer
        if len(self._waiting) >= MOST_WAITING:
            # While a database stands still, what was asked and given up must not fill the memory.
            self._waiting = [one for one in self._waiting if not one.answer.done()]
        if len(self._waiting) >= MOST_WAITING:
            self._fail([question], "Too many ask at once.")
            return question.answer
        self._waiting.append(question)
        self._wake.set()
        return question.answer

    async def _run(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            asked, self._waiting = [one for one in self._waiting if not one.answer.done()], []
            if asked:
                began = time.monotonic()
                await self._answer(asked)
                if not self._closing:
                    apart = CROWDED_SECONDS if len(asked) > 1 else APART_SECONDS
                    await asyncio.sleep(began + apart - time.monotonic())

    async def _answer(self, asked: list[_Question]) -> None:
        try:
            people = {one.recipient for one in asked}
            senders = {found for one in asked for found in one.sender_hashes}
            consents, saved = await self._database.batch(
                lambda batch: (consents_of(batch, people), saved_by(batch, senders)), writes=False
            )
        except asyncio.CancelledError:
            self._fail(asked, _CLOSED)
            raise
        except Exception as error:
            if not isinstance(error, LedgerUnavailable):
                log.exception("ledger.look_up_failed")
            self._fail(asked, str(error) if isinstance(error, LedgerUnavailable) else type(error).__name__)
        else:
            for one in asked:
                settle(one.answer, Known(consents[one.recipient], least(map(saved.get, one.sender_hashes))))

    @staticmethod
    def _fail(asked: list[_Question], why: str) -> None:
        fail([one.answer for one in asked], LedgerUnavailable(why))
