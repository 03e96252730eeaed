"""The chronicle: how consent events join the chain, and who bears witness to them outside the database.

The head file names the chain's newest event, the journal says every refusal and erasure once more: neither a cut
end nor a restored backup goes unnoticed.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, consent, notices, recall
from ledger.chain import HeadFile, Verification
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.journal import Journal, JournalDamaged, head_entry
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.recall import Recalled
from ledger.schema import stamp
from ledger.store import FAILURES, LedgerSettings, Store, login, utc_now
from policies.footer import Language

log = structlog.get_logger()


class Chronicle(Store):
    """The chain of consent events and its witnesses."""

    def __init__(self, settings: LedgerSettings, keyring: Keyring) -> None:
        super().__init__(settings, keyring)
        self._head = HeadFile(settings.head_file)
        self._journal = Journal(settings.journal_file, keyring) if settings.journal_file is not None else None
        self._head_lock = asyncio.Lock()
        self._head_reached = (0, "")
        self._head_written = 0

    async def append(self, work: Callable[[AsyncConnection], Awaitable[tuple[int, str] | None]]) -> bool:
        """Have events appended by ``work``, which returns the chain's new head, or None for none; tell whether it did.

        Raises LedgerUnavailable.
        """
        head = await self.job(work)
        if head is not None:
            await self._keep_journal()
        await self._advance(head)
        return head is not None

    async def said(self, connection: AsyncConnection, language: Language) -> Notice:
        """Return the notice in force, which is on record from now on, within a transaction that writes."""
        said = await notices.in_force(connection, self._settings.teller, language)
        await notices.keep(connection, said, utc_now())
        return said

    async def _keep_journal(self) -> None:
        """Write into the journal what the chain has and it has not."""
        if self._journal is None:
            return
        try:
            tail = await asyncio.to_thread(self._journal.tail)
            if tail is None:
                raise JournalDamaged(f"The journal {self._journal.path} is missing.")
            entries = await self.read(lambda connection: recall.since(connection, tail.sequence, utc_now()))
            if entries:
                await asyncio.to_thread(self._journal.write, entries)
        except (LedgerError, OSError) as error:
            # The event itself is on disk and counts; what a restore would forget is only written later.
            FAILURES.count("journal")
            log.error("ledger.journal", why=str(error))

    async def _advance(self, head: tuple[int, str] | None) -> None:
        if head is None:
            return
        self._head_reached = max(self._head_reached, head)
        async with self._head_lock:
            if head[0] <= self._head_written:
                return
            reached = self._head_reached
            try:
                await self._write_head(reached)
            except (LedgerUnavailable, OSError) as error:
                # The event itself is on disk and counts; only the witness beside the database is behind.
                log.error("ledger.head_file", why=str(error))
            else:
                self._head_written = reached[0]

    async def _write_head(self, head: tuple[int, str]) -> None:
        """Have the head file name this head, unless it bears witness to an event that the ledger has lost."""
        outside = await asyncio.to_thread(self._head.read)
        if outside is not None and not await self.read(lambda connection: chain.holds(connection, *outside)):
            log.error("ledger.head_file", why=f"Event {outside[0]}, which it names, is missing or another one.")
            return
        await asyncio.to_thread(self._head.advance, *head)

    async def recall(self) -> Recalled:
        """Say again what the journal knows and the ledger, restored from a backup, does not; begin one where none was.

        Call it before anybody is served. Raises LedgerUnavailable.
        """
        journal = self._journal
        if journal is None:
            return Recalled()
        found = Recalled()

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            nonlocal found

            async def said() -> Notice:
                return await self.said(connection, Language.ENGLISH)

            head, found = await recall.recall(connection, self.keyring, journal, said, utc_now())
            return head

        head = await self.job(work)
        if head is not None:
            await asyncio.to_thread(journal.write_restored, head_entry(head, stamp(utc_now())))
            await self._database.settle()
            await self._advance(head)
        elif found.problem is None and not journal.path.exists():
            await self._begin_journal(journal)
        if found.problem is not None:
            log.error("ledger.grants_suspended", why=found.problem)
        elif found.replayed:
            log.warning("ledger.replayed", refusals=found.replayed)
            await self._keep_journal()
        return found

    async def _begin_journal(self, journal: Journal, *, anew: bool = False) -> None:
        entries = await self.read(lambda connection: recall.since(connection, 0, utc_now(), gap=0))
        try:
            await asyncio.to_thread(journal.begin, entries, anew=anew)
        except OSError as error:
            raise LedgerError(f"The journal {journal.path} cannot be written: {error.strerror}.") from error
        # Only now: a ledger that says there was one has all grants rest where it is missing.
        await self.job(lambda connection: recall.set_meta(connection, recall.BEGUN, stamp(utc_now())))

    async def go_on_without_journal(self, reason: str) -> None:
        """Have the grants count again although the journal is gone, on an administrator's word, and begin a new one.

        Raises LedgerError.
        """
        decided = json.dumps({"at": stamp(utc_now()), "by": login(), "reason": reason})

        async def work(connection: AsyncConnection) -> None:
            await recall.set_meta(connection, recall.DECIDED, decided)
            await recall.set_meta(connection, consent.SUSPENDED_UP_TO, None)

        if self._journal is not None:
            await self._begin_journal(self._journal, anew=True)
        await self.job(work)

    async def anchor_again(self) -> None:
        """Have the head file name the chain's head as it is, whatever it named before: a restored chain is shorter."""
        head = await self.read(chain.head)
        await asyncio.to_thread(self._head.advance, *head, backwards=True)

    async def verify(self) -> Verification:
        """Walk the chain of consent events. Raises LedgerUnavailable."""
        return await self.read(lambda connection: chain.verify(connection, self.keyring, self._head))
