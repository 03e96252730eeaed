"""The traffic: what messages on their way and hits ask of the ledger and leave there, in time or not at all."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any

from ledger import decisions, hits, patience, trackers
from ledger.batch import Batch
from ledger.consent import Person
from ledger.decisions import DecidedMessage
from ledger.errors import LedgerUnavailable
from ledger.hits import Hit
from ledger.keys import Keyring
from ledger.merge import Arrival, Sighting, Window
from ledger.patience import Patience
from ledger.reader import NOT_KNOWN, Known
from ledger.senders import sender_hashes
from ledger.store import PARTING_SECONDS, LedgerSettings, Store
from policies.words import Outcome, Reason


class Traffic(Store):
    """What mail and hits have to do with the ledger. Nothing here raises; all of it keeps within the patience."""

    def __init__(self, settings: LedgerSettings, keyring: Keyring) -> None:
        super().__init__(settings, keyring)
        self._window = Window(keyring)
        self._patience = Patience(patience.PATIENCE)
        self._background: set[asyncio.Future[Any]] = set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is done in several steps, while there is still who does them; the writer does all others at its end.
        steps = [one for one in self._background if isinstance(one, asyncio.Task)]
        if steps:
            await asyncio.wait(steps, timeout=PARTING_SECONDS)
        await super().__aexit__(kind, error, trace)

    async def look_up(self, recipient: str, sender: str, seconds: float | None = None) -> Known:
        """Return where a recipient stands and what a sender saved; NOT_KNOWN where it takes too long. Never raises.

        It may take ``seconds``; by default the ledger's patience.
        """
        asked = self._reader.ask(Person.of(self.keyring, recipient), sender_hashes(self.keyring, sender))
        try:
            if seconds is not None:
                return await asyncio.wait_for(asked, seconds)
            return await self._patience.watch(asked)
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
        waiting = self._writer.pile("arrival", self._window.arrive, sighting, patient=True)
        waiting.add_done_callback(take_back)
        try:
            await asyncio.wait_for(asyncio.shield(waiting), patience.PATIENCE)
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("window", error)
            return None
        return sighting.run

    async def record_decision(self, decided: DecidedMessage) -> bool:
        """Record a message's decision and return whether it is on disk, within the ledger's patience. Never raises.

        Where it comes too late it is taken back, so that no row says "tracked" of a message that was not.
        """
        row = decisions.to_row(self.keyring, decided)
        # One item, so that both are in one commit or in none.
        item = (row, trackers.to_rows(self.keyring, decided))
        waiting = self._writer.pile("decision", _record, item, patient=True)
        try:
            await self._patience.watch(waiting)
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("decision", error)
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


def _record(batch: Batch, pile: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    """Write the rows of several messages, each with those of the trackers in it."""
    decisions.record(batch, [row for row, _ in pile])
    trackers.record(batch, [one for _, found in pile for one in found])


def _tick(batch: Batch, pile: list[None]) -> None:
    """There is nothing to write; only the commit is awaited."""
    batch.touch()
