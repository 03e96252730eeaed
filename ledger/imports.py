"""Imports: agreements that were collected elsewhere. All of a file lands, or nothing.

One that names a collection point lands as grants, asserted, with the point's words and proof. Without one it lands as
unproven, and tracks nobody. Whoever has refused stays refused.
"""

import json
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, outbox, receipt
from ledger.consent import VALIDITY, Act, Person, event_row, standings_of
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.schema import consent_event, consent_personal, import_batch, request_case, stamp
from policies.consent import REFUSALS, Assurance, Consent, State
from policies.footer import Language
from policies.words import Purpose

_SLICE = 250
"""People who are looked up and recorded together."""
_TRIES = 5
"""How often a slice is made anew because somebody else's event came in between; then the chain is locked for it."""
UNDER_WAY = 0
"""Instead of the number of rows: the import has not ended, or has broken off, and counts for nobody."""
Result = TypeVar("Result")
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


class Books(Protocol):
    """The ledger, as far as an import needs it."""

    async def read(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Return what ``work`` reads, in a transaction of its own."""

    async def job(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Return what ``work`` did, once it is on disk."""


_Seen = dict[tuple[str | None, str], datetime]
"""Until when something stands that is not looked up as a grant is, by spelling and purpose."""


@dataclass(slots=True)
class _Slice:
    """What is to be written of some rows."""

    events: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    landed: Counter[Landing] = field(default_factory=Counter)
    seen: _Seen = field(default_factory=dict)
    receipts: set[str | None] = field(default_factory=set)
    """The spellings that a receipt goes to."""


async def import_rows(
    books: Books,
    keyring: Keyring,
    rows: Sequence[Agreement],
    manner: Manner,
    now: datetime,
    progress: Progress = lambda count: None,
) -> Imported:
    """Record agreements, slice by slice, and have all of them count at once; ``progress`` hears of rows done.

    Until the last one is on disk the import rests, as one does that somebody doubts: what breaks off counts for nobody.
    No transaction takes longer than a moment, so that mail and hits go on meanwhile. Receipts are written in the end.
    """
    work = _Work(keyring, manner, now, secrets.token_hex(16))
    written: list[tuple[int, int]] = []
    for some in _sliced(rows):
        written += await _record(books, work, some, begin=not written)
        progress(len(some))
    if written:
        work.done.batch = work.batch
        await books.job(lambda connection: _complete(connection, work.batch, len(rows)))
        if manner.letters_url is not None:
            await _send_receipts(books, work, manner.letters_url, written)
    return work.done


async def try_rows(
    books: Books,
    keyring: Keyring,
    rows: Sequence[Agreement],
    manner: Manner,
    now: datetime,
    progress: Progress = lambda count: None,
) -> Imported:
    """Return what importing would do; nothing is written."""
    work = _Work(keyring, manner, now, "")
    for some in _sliced(rows):
        work.count(await books.read(lambda connection, some=some: work.look_at(connection, some)))  # type: ignore[misc]
        progress(len(some))
    return work.done


def _sliced(rows: Sequence[Agreement]) -> Iterator[Sequence[Agreement]]:
    return (rows[at : at + _SLICE] for at in range(0, len(rows), _SLICE))


async def _record(books: Books, work: "_Work", rows: Sequence[Agreement], *, begin: bool) -> list[tuple[int, int]]:
    """Put some rows on record, and return which events they are: the first and the last, or nothing.

    Everything is made outside the transaction that writes, for the head that was read with the people's standings.
    Where another event has come in between, all of it is done once more; in the end with the chain locked.
    """
    for tried in range(_TRIES + 1):
        made = await books.read(lambda connection: _prepared(connection, work, rows))
        if tried == _TRIES:
            made = await books.job(lambda connection: _written_locked(connection, work, rows, begin=begin))
        elif made.slice.events and not await books.job(
            lambda connection, made=made: _written(connection, work, made, begin=begin)  # type: ignore[misc]
        ):
            continue
        work.count(made.slice)
        return [(made.links.head[0] - len(made.links.events) + 1, made.links.head[0])] if made.links.events else []
    raise AssertionError("the last try returns")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Some rows, ready to follow a head."""

    after: tuple[int, str]
    slice: _Slice
    links: chain.Links


async def _prepared(connection: AsyncConnection, work: "_Work", rows: Sequence[Agreement]) -> _Prepared:
    head = await chain.head(connection)
    some = await work.look_at(connection, rows)
    return _Prepared(head, some, chain.link(work.keyring, head, some.events))


async def _written(connection: AsyncConnection, work: "_Work", made: _Prepared, *, begin: bool) -> bool:
    """Write some rows, unless another event has come in between; tell whether they are written."""
    if await chain.lock(connection) != made.after:
        return False
    if begin:
        await connection.execute(insert(import_batch).values(work.row))
    await chain.write(connection, made.links)
    return True


async def _written_locked(
    connection: AsyncConnection, work: "_Work", rows: Sequence[Agreement], *, begin: bool
) -> _Prepared:
    await chain.lock(connection)
    made = await _prepared(connection, work, rows)
    if made.slice.events:
        await _written(connection, work, made, begin=begin)
    return made


async def _complete(connection: AsyncConnection, batch: str, rows: int) -> None:
    """Have all of an import count from now on, unless somebody in it said meanwhile that they never agreed."""
    # Whoever says so locks the chain: they are on record by now, or find an import that counts, and suspend it.
    await chain.lock(connection)
    doubted = select(request_case.c.number).where(request_case.c.batch == batch)
    rests = import_batch.c.suspended_at if (await connection.execute(doubted)).first() is not None else None
    whole = update(import_batch).where(import_batch.c.id == batch)
    await connection.execute(whole.values(rows=rows, suspended_at=rests))


async def _send_receipts(books: Books, work: "_Work", url: str, written: Sequence[tuple[int, int]]) -> None:
    """Put a receipt into the outbox for everybody to whom a grant counts.

    Where this breaks off, who got none is told within 30 days, as everybody on record by others' doing is.
    """
    for first, last in written:
        found = await books.read(lambda connection, at=(first, last): _granted(connection, work, *at))  # type: ignore[misc]
        made = [
            receipt.new_letter(work.keyring, url, address, events, work.notice_of(events[0]["notice_id"]), work.now)
            for address, events in found
        ]
        letters = [outbox.new_row(work.keyring, letter, work.now) for letter, _ in made]
        undoing = [link for _, link in made if link is not None]
        await books.job(
            lambda connection, these=(undoing, letters): receipt.put_many(connection, *these)  # type: ignore[misc]
        )


_RECEIPTED = (
    "sequence", "batch", "id", "purpose", "state", "event_time", "valid_until", "actor_kind", "method", "expression",
    "assurance", "collection_point", "notice_id",
)  # fmt: skip
"""What a receipt says of an event, and how the event is known."""


async def _granted(
    connection: AsyncConnection, work: "_Work", first: int, last: int
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the addresses in a part of the chain whose grants count, and the events by which they do."""
    event = consent_event.c
    joined = consent_event.join(consent_personal, event.sequence == consent_personal.c.sequence)
    columns = (*(event[name] for name in _RECEIPTED), consent_personal.c.sealed)
    statement = select(*columns).select_from(joined).order_by(event.sequence)
    # Which import it is, is looked at here: an index over imports would have the database read all of it every time.
    found: dict[str, list[dict[str, Any]]] = {}
    for row in await connection.execute(statement.where(event.sequence.between(first, last))):
        if row.batch == work.batch and row.valid_until is not None and row.valid_until > stamp(work.now):
            personal = json.loads(work.keyring.open_column(row.sealed, f"consent_personal/{row.sequence}"))
            found.setdefault(personal["address"], []).append(row._asdict())
    return list(found.items())


@dataclass(slots=True)
class _Work:
    """An import under way."""

    keyring: Keyring
    manner: Manner
    now: datetime
    batch: str
    done: Imported = field(default_factory=Imported)
    _seen: _Seen = field(default_factory=dict)
    """What is on record by this import."""

    @property
    def row(self) -> dict[str, Any]:
        """The import on record while it is under way: no rows, and it rests."""
        return {
            "id": self.batch,
            "collection_point": self.manner.point.id if self.manner.point is not None else None,
            "imported_at": stamp(self.now),
            "imported_by": self.manner.by,
            "rows": UNDER_WAY,
            "suspended_at": stamp(self.now),
        }

    def notice_of(self, notice_id: str) -> Notice:
        """Return the notice of an event of this import."""
        return next(notice for notice in self.manner.notices.values() if notice.id == notice_id)

    def count(self, some: _Slice) -> None:
        """Note what became of some rows."""
        self.done.landed += some.landed
        self.done.letters += len(some.receipts)
        self._seen |= some.seen

    async def look_at(self, connection: AsyncConnection, rows: Sequence[Agreement]) -> _Slice:
        """Return what is to be written of some rows."""
        people = [(row, Person.of(self.keyring, row.address)) for row in rows]
        standings = await standings_of(connection, {person for _, person in people})
        some = _Slice(seen=await self._unproven(connection, {person.folded_hash for _, person in people}))
        for row, person in people:
            self._take(row, person, standings[person], some)
        return some

    async def _unproven(self, connection: AsyncConnection, folded: set[str]) -> _Seen:
        """Return which unproven agreements are on record already."""
        if self.manner.point is not None:
            return {}
        event = consent_event.c
        statement = select(event.exact_hash, event.purpose).where(
            event.folded_hash.in_(folded), event.state == State.IMPORTED_UNPROVEN.value
        )
        return {(row.exact_hash, row.purpose): self.now for row in await connection.execute(statement)}

    def _take(self, row: Agreement, person: Person, consent: Consent, some: _Slice) -> None:
        """Put into ``some`` what is to be written of one row."""
        notice = self.manner.notices[row.language or self.manner.language]
        granted = False
        for purpose in row.purposes:
            landing = self._landing(row, person, consent, purpose, some)
            some.landed[landing] += 1
            if landing in (Landing.REFUSED, Landing.STANDING):
                continue
            some.seen[person.exact_hash, purpose.value] = row.at + self.manner.validity
            some.events.append(self._event(row, person, consent, purpose, notice))
            granted |= landing is Landing.GRANTED
        if granted and self.manner.letters_url is not None:
            some.receipts.add(person.exact_hash)

    def _landing(self, row: Agreement, person: Person, consent: Consent, purpose: Purpose, some: _Slice) -> Landing:
        standing, until = consent.on(purpose), row.at + self.manner.validity
        if standing.state in REFUSALS:
            return Landing.REFUSED
        key = (person.exact_hash, purpose.value)
        recorded = standing.event.valid_until if standing.event is not None else None
        known = [one for one in (recorded, self._seen.get(key), some.seen.get(key)) if one is not None]
        if known and (max(known) >= until or self.manner.point is None):
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
        event, personal = event_row(person, purpose, state, self._act(row, point), notice, self.now, until)
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
