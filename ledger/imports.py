"""Imports: agreements that were collected elsewhere. All of a file lands, or nothing.

One that names a collection point lands as grants, asserted, with the point's words and proof. Without one it lands as
unproven, and tracks nobody. Whoever has refused stays refused.
"""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, outbox, receipt
from ledger.consent import VALIDITY, Act, Person, consents_of, event_row
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.schema import consent_event, import_batch, stamp
from policies.consent import REFUSALS, Assurance, Consent, State
from policies.footer import Language
from policies.words import Purpose

_SLICE = 500
"""People who are looked up and recorded together."""
Progress = Callable[[int], None]


class Landing(StrEnum):
    """What became of one agreement: of one person, for one purpose."""

    GRANTED = "granted"
    EXPIRED = "expired"
    """A grant, on record, that is over by its date."""
    UNPROVEN = "imported_unproven"
    REFUSED = "refused"
    """Not recorded: the person has refused."""
    STANDING = "standing"
    """Not recorded: the same, or a later one, is on record or stood further up in the file."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One row of a file: who agreed to what, and when."""

    line: int
    address: str
    purposes: tuple[Purpose, ...]
    at: datetime
    evidence: str = ""
    source: str = ""
    language: Language | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """Where agreements were collected, as it is recorded with each."""

    id: str
    where: str
    wording: str
    proof: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file is taken in: what holds for all of its rows."""

    by: str
    notices: Mapping[Language, Notice]
    """What is in force, in every language; on record when anything is written (``notices.keep``)."""
    language: Language
    """For rows that name none."""
    point: Point | None = None
    validity: timedelta = VALIDITY
    letters_url: str | None = None
    """Where links in mail of our own lead; None where no receipts are sent."""


@dataclass(slots=True)
class Imported:
    """What came of a file."""

    landed: Counter[Landing] = field(default_factory=Counter)
    letters: int = 0
    batch: str | None = None
    """Names the import; None where nothing was recorded."""
    head: tuple[int, str] | None = None


@dataclass(slots=True)
class _Slice:
    """What is to be written of some rows."""

    events: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    letters: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)


async def import_rows(
    connection: AsyncConnection,
    keyring: Keyring,
    rows: Sequence[Agreement],
    manner: Manner,
    now: datetime,
    progress: Progress = lambda count: None,
) -> Imported:
    """Record agreements in this transaction, with receipts where mail is sent; ``progress`` hears of rows done."""
    head = await chain.lock(connection)
    before, done, batch = head, Imported(), secrets.token_hex(16)
    async for some in _slices(connection, keyring, rows, manner, now, batch, done, progress):
        if some.events:
            head = await chain.append(connection, keyring, head, some.events)
        await receipt.put_many(connection, some.links, some.letters)
    if head != before:
        done.batch, done.head = batch, head
        values = {
            "id": batch,
            "collection_point": manner.point.id if manner.point is not None else None,
            "imported_at": stamp(now),
            "imported_by": manner.by,
            "rows": len(rows),
        }
        await connection.execute(insert(import_batch).values(values))
    return done


async def try_rows(
    connection: AsyncConnection,
    keyring: Keyring,
    rows: Sequence[Agreement],
    manner: Manner,
    now: datetime,
    progress: Progress = lambda count: None,
) -> Imported:
    """Return what importing would do; nothing is written."""
    done = Imported()
    async for _ in _slices(connection, keyring, rows, manner, now, "", done, progress):
        pass
    return done


async def _slices(
    connection: AsyncConnection,
    keyring: Keyring,
    rows: Sequence[Agreement],
    manner: Manner,
    now: datetime,
    batch: str,
    done: Imported,
    progress: Progress,
) -> AsyncIterator[_Slice]:
    """Yield what is to be written, slice by slice, and count in ``done`` what becomes of it."""
    work = _Work(keyring, manner, now, batch, done)
    for at in range(0, len(rows), _SLICE):
        people = [(row, Person.of(keyring, row.address)) for row in rows[at : at + _SLICE]]
        standings = await consents_of(connection, {person for _, person in people})
        await work.know_unproven(connection, {person.folded_hash for _, person in people})
        some = _Slice()
        for row, person in people:
            work.take(row, person, standings[person], some)
        yield some
        progress(len(people))


@dataclass(slots=True)
class _Work:
    """An import under way."""

    keyring: Keyring
    manner: Manner
    now: datetime
    batch: str
    done: Imported
    _seen: set[tuple[str | None, str]] = field(default_factory=set)
    """Spelling and purpose of what is on record by this import, or unproven by another."""

    async def know_unproven(self, connection: AsyncConnection, folded: set[str]) -> None:
        """Find which unproven agreements are on record already."""
        if self.manner.point is not None:
            return
        event = consent_event.c
        statement = select(event.exact_hash, event.purpose).where(
            event.folded_hash.in_(folded), event.state == State.IMPORTED_UNPROVEN.value
        )
        self._seen.update((row.exact_hash, row.purpose) for row in await connection.execute(statement))

    def take(self, row: Agreement, person: Person, consent: Consent, some: _Slice) -> None:
        """Put into ``some`` what is to be written of one row."""
        notice = self.manner.notices[row.language or self.manner.language]
        granted = []
        for purpose in row.purposes:
            landing = self._landing(row, person, consent, purpose)
            self.done.landed[landing] += 1
            if landing in (Landing.REFUSED, Landing.STANDING):
                continue
            self._seen.add((person.exact_hash, purpose.value))
            event = self._event(row, person, consent, purpose, notice)
            some.events.append(event)
            if landing is Landing.GRANTED:
                granted.append(event[0])
        if granted and self.manner.letters_url is not None:
            self._receipt(row, granted, notice, self.manner.letters_url, some)

    def _landing(self, row: Agreement, person: Person, consent: Consent, purpose: Purpose) -> Landing:
        standing, until = consent.on(purpose), row.at + self.manner.validity
        if standing.state in REFUSALS:
            return Landing.REFUSED
        if (person.exact_hash, purpose.value) in self._seen:
            return Landing.STANDING
        recorded = standing.event.valid_until if standing.event is not None else None
        if recorded is not None and (recorded >= until or self.manner.point is None):
            return Landing.STANDING
        if self.manner.point is None:
            return Landing.UNPROVEN
        return Landing.GRANTED if until > self.now else Landing.EXPIRED

    def _event(
        self, row: Agreement, person: Person, consent: Consent, purpose: Purpose, notice: Notice
    ) -> tuple[dict[str, Any], bytes]:
        point = self.manner.point
        if point is None:
            state, until = State.IMPORTED_UNPROVEN, None
        else:
            state = State.RENEWED if consent.granted(purpose, self.now) else State.GRANTED
            until = row.at + self.manner.validity
        event, personal = event_row(
            self.keyring, person, purpose, state, self._act(row, point), notice, self.now, until
        )
        return {**event, "event_time": stamp(row.at)}, personal

    def _act(self, row: Agreement, point: Point | None) -> Act:
        proof = [row.evidence, point.proof if point is not None else "", f"row {row.line} of the file"]
        return Act(
            "import",
            "csv_import",
            Assurance.ASSERTED,
            point.wording if point is not None else "imported without a collection point",
            evidence="; ".join(filter(None, proof)),
            source=row.source or (point.where if point is not None else ""),
            collection_point=point.id if point is not None else None,
            batch=self.batch,
        )

    def _receipt(self, row: Agreement, events: list[dict[str, Any]], notice: Notice, url: str, some: _Slice) -> None:
        letter, link = receipt.new_letter(self.keyring, url, row.address, events, notice, self.now)
        some.letters.append(outbox.new_row(self.keyring, letter, self.now))
        if link is not None:
            some.links.append(link)
        self.done.letters += 1


async def batches(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return every import, newest first: when, by whom, from where, how many, and since when it rests, if it does."""
    counted = (
        select(consent_event.c.batch, func.count().label("events")).group_by(consent_event.c.batch).subquery("counted")
    )
    statement = select(import_batch, counted.c.events).outerjoin(counted, counted.c.batch == import_batch.c.id)
    statement = statement.order_by(import_batch.c.imported_at.desc(), import_batch.c.id)
    return [
        {
            "batch": row.id,
            "collection_point": row.collection_point,
            "imported_at": row.imported_at,
            "imported_by": row.imported_by,
            "rows": row.rows,
            "events": row.events or 0,
            "suspended_at": row.suspended_at,
        }
        for row in await connection.execute(statement)
    ]
