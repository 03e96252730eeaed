"""The ledger as the relay, the web and the command see it: ask, record, look up. One per process and event loop."""

import asyncio
import getpass
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from prometheus_client import Counter
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import audit, chain, consent, decisions, hits, notices, senders, trackers, versions
from ledger.audit import Period
from ledger.batch import Batch
from ledger.chain import HeadFile, Verification
from ledger.consent import Act, Person
from ledger.database import Database
from ledger.decisions import DecidedMessage
from ledger.errors import LedgerUnavailable
from ledger.hits import Hit
from ledger.keys import Keyring
from ledger.merge import Arrival, Sighting, Window
from ledger.notice import Notice, Teller
from ledger.patience import Patience
from ledger.reader import NOT_KNOWN, Known, Reader
from ledger.retention import Periods, purge
from ledger.schema import access, stamp
from ledger.senders import Saved, Setting
from ledger.versions import PolicyVersion
from ledger.writer import Writer
from policies.consent import Consent
from policies.footer import Language
from policies.words import Outcome, Purpose, Reason

PATIENCE = 0.25
"""Seconds that a message or a hit waits for the ledger (DESIGN.md §2)."""

FAILURES = Counter("aboveboard_ledger_failures", "What could not be asked of or written to the ledger.", ["doing"])
_COMPLAIN_SECONDS = 1.0

Result = TypeVar("Result")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where the ledger is and what it needs to know."""

    url: str
    head_file: Path
    teller: Teller
    periods: Periods = field(default_factory=Periods)


class Ledger:
    """What is remembered. Use it as an async context manager."""

    def __init__(self, settings: LedgerSettings, keyring: Keyring) -> None:
        self.keyring = keyring
        self._settings = settings
        self._database = Database(settings.url)
        self._writer = Writer(self._database)
        self._reader = Reader(self._database)
        self._window = Window(keyring)
        self._patience = Patience(PATIENCE)
        self._head = HeadFile(settings.head_file)
        self._head_lock = asyncio.Lock()
        self._head_reached = (0, "")
        self._head_written = 0
        self._background: set[asyncio.Future[Any]] = set()
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
        await self._database.close()

    def adopt(self, teller: Teller, periods: Periods) -> None:
        """Go by other notices and other periods from now on."""
        self._settings = replace(self._settings, teller=teller, periods=periods)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Return what ``work`` reads, in a transaction of its own. Raises LedgerUnavailable."""
        async with self._database.reading() as connection:
            return await work(connection)

    async def job(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Return what ``work`` did, once it is on disk. Raises LedgerUnavailable."""
        return await self._writer.job(work)

    async def append(self, work: Callable[[AsyncConnection], Awaitable[tuple[int, str] | None]]) -> bool:
        """Have events appended by ``work``, which returns the chain's new head, or None for none; tell whether it did.

        Raises LedgerUnavailable.
        """
        head = await self._writer.job(work)
        await self._advance(head)
        return head is not None

    def _complain(self, doing: str, error: BaseException | None) -> None:
        """Count a failure, and log it, but no more than once a second: an outage under load must not fill a disk."""
        FAILURES.labels(doing).inc()
        now = asyncio.get_running_loop().time()
        if now - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            log.warning("ledger.unavailable", doing=doing, why=str(error) or "no answer in time")

    async def look_up(self, recipient: str, sender: str, patience: float = PATIENCE) -> Known:
        """Return where a recipient stands and what a sender saved; NOT_KNOWN where it takes too long. Never raises."""
        person = Person.of(self.keyring, recipient)
        try:
            watched = self._patience if patience == PATIENCE else Patience(patience)
            return await watched.watch(self._reader.ask(person, self.keyring.folded(sender)))
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("consent", error)
            return NOT_KNOWN

    async def run_of(self, arrival: Arrival) -> int | None:
        """Put a message into the merge window and return how many people were written to alike, this one included.

        None where the ledger does not say so in time. Never raises. Where it makes a run bulk, the decisions on the
        earlier messages of the run are taken back with the next commit.
        """
        sighting = Sighting(arrival)

        def take_back(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                for earlier in sighting.earlier:
                    self.void_decision(earlier, Reason.BULK)

        # Sorts before "decision": whoever holds the lock on a sender's window never waits for a row that counts.
        waiting = self._writer.pile("arrival", self._window.arrive, sighting)
        waiting.add_done_callback(take_back)
        try:
            await asyncio.wait_for(asyncio.shield(waiting), PATIENCE)
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("window", error)
            return None
        return sighting.run

    async def record_decision(self, decided: DecidedMessage) -> bool:
        """Record a message's decision and return whether it is on disk, within the ledger's patience. Never raises.

        Where it comes too late it is taken back, so that no row says "tracked" of a message that was not.
        """
        row = decisions.to_row(self.keyring, decided)
        waiting = self._writer.pile("decision", decisions.record, row)
        # In the same commit: between the two nothing else gets a turn.
        beside = [self._writer.pile("tracker", trackers.record, one) for one in trackers.to_rows(self.keyring, decided)]
        try:
            await self._patience.watch(waiting)
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("decision", error)
            for write in (waiting, *beside):
                write.cancel()
            if decided.decision.tracked:
                # It may be in the commit under way; this comes with a later one.
                self.void_decision(decided.id, Reason.LEDGER_UNAVAILABLE)
            return False
        return True

    def record_outcome(self, message_id: str, outcome: Outcome) -> None:
        """Have what the upstream said recorded with the next commit; nobody waits for it."""
        self._later(self._writer.pile("outcome", decisions.record_outcomes, (message_id, outcome), awaited=False))

    def void_decision(self, message_id: str, reason: Reason) -> None:
        """Have it recorded that a message went out untracked after all."""
        self._later(self._writer.pile("void", decisions.void, (message_id, reason), awaited=False))

    def _later(self, future: asyncio.Future[Any]) -> None:
        def finished(done: asyncio.Future[Any]) -> None:
            self._background.discard(done)
            if not done.cancelled() and done.exception() is not None:
                self._complain("outcome", done.exception())

        self._background.add(future)
        future.add_done_callback(finished)

    async def record_hit(self, one: Hit) -> None:
        """Record a hit if it may be, and return when it is on disk, or when patience ends. Never raises."""

        waiting = self._writer.pile("hit", self._record_hits, one)
        try:
            await self._patience.watch(waiting)
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("hit", error)

    def _record_hits(self, batch: Batch, pile: list[Hit]) -> None:
        batch.touch()
        hits.record(batch, self.keyring, pile, self._settings.periods.recording)

    async def tick(self) -> None:
        """Wait for the next commit, as a recorded hit would: how long an answer takes tells nothing. Never raises."""
        waiting = self._writer.pile("tick", _tick, None)
        with suppress(LedgerUnavailable, TimeoutError):
            await self._patience.watch(waiting)

    async def grant(
        self, address: str, purposes: Sequence[Purpose], act: Act, language: Language = Language.ENGLISH
    ) -> None:
        """Record a grant under the notice in force. Raises ConsentRefused or LedgerUnavailable."""
        person = Person.of(self.keyring, address)
        validity = self._settings.periods.consent

        async def work(connection: AsyncConnection) -> tuple[int, str]:
            said = await self._said(connection, language)
            return await consent.grant(connection, self.keyring, person, purposes, act, said, _now(), validity)

        await self.append(work)

    async def refuse(
        self,
        person: Person,
        purposes: Sequence[Purpose],
        act: Act,
        *,
        keep_hits: bool = False,
        language: Language = Language.ENGLISH,
    ) -> bool:
        """Record a refusal, and delete these purposes' hits unless they are to be kept. Raises LedgerUnavailable.

        Returns False where everything had been refused already.
        """

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            said = await self._said(connection, language)
            head = await consent.refuse(connection, self.keyring, person, purposes, act, said, _now())
            if not keep_hits:
                await hits.forget(connection, person.folded_hash, purposes)
            return head

        return await self.append(work)

    async def _said(self, connection: AsyncConnection, language: Language) -> Notice:
        """Return the notice in force, which is on record from now on."""
        said = await notices.in_force(connection, self._settings.teller, language)
        await notices.keep(connection, said, _now())
        return said

    async def notice(self, language: Language = Language.ENGLISH) -> Notice:
        """Return the notice in force. Raises LedgerUnavailable."""
        return await self.read(lambda connection: notices.in_force(connection, self._settings.teller, language))

    async def add_notice(self, content: str, by: str) -> notices.Added:
        """Put a notice of the organisation's own in force. Raises LedgerError for one that does not say enough."""
        return await self.job(lambda connection: notices.add(connection, self._settings.teller, content, by, _now()))

    async def notices(self) -> list[dict[str, Any]]:
        """Return every notice on record, newest first. Raises LedgerUnavailable."""
        return await self.read(notices.listed)

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

    async def standing(self, person: Person) -> Consent:
        """Return where a person stands. Raises LedgerUnavailable."""
        return await self.read(lambda connection: consent.consent_of(connection, person))

    async def history(self, person: Person) -> list[dict[str, Any]]:
        """Return every consent event of a person, oldest first. Raises LedgerUnavailable."""
        return await self.read(lambda connection: consent.history(connection, self.keyring, person))

    async def known_address(self, person: Person) -> str | None:
        """Return the person's address where the ledger still has it. Raises LedgerUnavailable."""

        async def work(connection: AsyncConnection) -> str | None:
            events = await consent.history(connection, self.keyring, person)
            known = [event["address"] for event in events if event["address"]]
            return known[-1] if known else await decisions.recipient_of(connection, self.keyring, person.folded_hash)

        return await self.read(work)

    async def holdings(self, person: Person) -> dict[str, int]:
        """Return how many messages and hits of a person are on record. Raises LedgerUnavailable."""
        return await self.read(lambda connection: hits.holdings(connection, person.folded_hash))

    async def verify(self) -> Verification:
        """Walk the chain of consent events. Raises LedgerUnavailable."""
        return await self.read(lambda connection: chain.verify(connection, self.keyring, self._head))

    async def messages(self, *, sender_hash: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Return messages, newest first; with a hash, that sender's only. Raises LedgerUnavailable."""
        return await self.read(
            lambda connection: decisions.messages(connection, self.keyring, sender_hash=sender_hash, limit=limit)
        )

    async def hits(self, *, message_ids: Iterable[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Return hits, newest first; with ids, those of these messages only. Raises LedgerUnavailable."""
        return await self.read(
            lambda connection: hits.hits(connection, self.keyring, message_ids=message_ids, limit=limit)
        )

    async def setting_of(self, sender_hash: str) -> Setting | None:
        """Return what a sender saved for their messages, or None. Raises LedgerUnavailable."""
        return await self.read(lambda connection: senders.setting_of(connection, sender_hash))

    async def save_setting(self, sender_hash: str, purposes: Saved | None) -> None:
        """Keep what a sender chose for their messages; None keeps nothing. Raises LedgerUnavailable."""
        await self._writer.job(lambda connection: senders.save(connection, sender_hash, purposes, _now()))

    async def record_policy(self, one: PolicyVersion) -> None:
        """Keep a version of the policy that begins to rule. Raises LedgerUnavailable."""
        await self._writer.job(lambda connection: versions.record(connection, one))

    async def policy(self, version: str) -> dict[str, Any] | None:
        """Return a version of the policy in full, or None for one that never ruled. Raises LedgerUnavailable."""
        return await self.read(lambda connection: versions.find(connection, version))

    async def audit(self, period: Period, *, reveal: bool = False) -> dict[str, Any]:
        """Return the report over a period; ``reveal`` names senders. Raises LedgerUnavailable."""
        return await self.read(lambda connection: audit.report(connection, self.keyring, period, reveal=reveal))

    async def record_access(self, action: str, reason: str | None = None) -> None:
        """Record that an administrator looked at what is recorded, and why. Raises LedgerUnavailable."""
        row = {"id": secrets.token_hex(16), "at": stamp(_now()), "actor": _login(), "action": action, "reason": reason}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(access), [row])

        await self._writer.job(work)

    async def purge(self) -> dict[str, int]:
        """Remove what is over its time, and return how much of each kind. Raises LedgerUnavailable."""
        return await self._writer.job(lambda connection: purge(connection, self._settings.periods, _now()))

    async def answers(self) -> bool:
        """Tell whether the ledger answers within its patience."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(select(1))

        try:
            await asyncio.wait_for(self.read(work), PATIENCE)
        except (LedgerUnavailable, TimeoutError):
            return False
        return True


def _tick(batch: Batch, pile: list[None]) -> None:
    """There is nothing to write; only the commit is awaited."""
    batch.touch()


def _now() -> datetime:
    return datetime.now(UTC)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A user id without an entry, as in containers; KeyError before Python 3.13.
        return "unknown"
