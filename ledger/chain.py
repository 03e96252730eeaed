"""The chain of consent events: each row's HMAC covers the row before it, so that no change goes unseen.

What is personal lies in a side table whose hash the row holds: erasing a person leaves the chain whole. Purging old
rows leaves a signed checkpoint behind, which says how many rows up to it were kept, and which.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.batch import Statement, WithinTransaction
from ledger.database import GENESIS
from ledger.keys import Keyring
from ledger.notice import notice_id_of
from ledger.schema import chain_checkpoint, chain_head, consent_event, consent_personal, notice, stamp
from policies.consent import REFUSALS, State

SCHEMA_VERSION = "27560-2023/2"
_FIRST_VERSION = "27560-2023/1"
_ADDED = ("collection_point", "batch", "request")
"""Columns that rows of the first version did not have; their links do not cover them, so they must be empty there."""
_COLUMNS = tuple(column.name for column in consent_event.columns if column.name != "row_hash")
_FIRST_COLUMNS = tuple(name for name in _COLUMNS if name not in _ADDED)


def row_hash(keyring: Keyring, row: Mapping[str, Any] | RowMapping) -> str:
    """Return the link for one row: an HMAC over every column but itself, the previous link included."""
    columns = _FIRST_COLUMNS if row["schema_version"] == _FIRST_VERSION else _COLUMNS
    return keyring.chained(json.dumps([row[name] for name in columns], ensure_ascii=True).encode("ascii"))


def _link_of(keyring: Keyring, row: RowMapping) -> str | None:
    """Return the link that a row should have; None where a column holds what we never write, which SQLite allows."""
    try:
        return row_hash(keyring, row)
    except TypeError:
        return None


def personal_hash(sealed: bytes) -> str:
    """Return the hash of a row of the side table."""
    return hashlib.sha256(sealed).hexdigest()


async def lock(connection: AsyncConnection) -> tuple[int, str]:
    """Have every other writer of events wait until this transaction ends, and return the head (sequence, row hash)."""
    found = await connection.execute(select(chain_head.c.sequence, chain_head.c.row_hash).with_for_update())
    sequence, link = found.one()
    return sequence, link


async def head(connection: AsyncConnection) -> tuple[int, str]:
    """Return the head (sequence, row hash) as it is now."""
    sequence, link = (await connection.execute(select(chain_head.c.sequence, chain_head.c.row_hash))).one()
    return sequence, link


async def append(
    connection: AsyncConnection, keyring: Keyring, head: tuple[int, str], rows: list[tuple[dict[str, Any], bytes]]
) -> tuple[int, str]:
    """Append events, each with its sealed personal part, to the head that ``lock`` gave, and return the new one."""
    return await write(connection, link(keyring, head, rows))


@dataclass(frozen=True, slots=True)
class Links:
    """Events as they follow a head, not written yet."""

    events: list[dict[str, Any]]
    personal: list[dict[str, Any]]
    head: tuple[int, str]
    """The chain's head once they are written."""


def link(keyring: Keyring, head: tuple[int, str], rows: Iterable[tuple[dict[str, Any], bytes]]) -> Links:
    """Return events, each with its sealed personal part, as they follow a head."""
    sequence, previous = head
    events, personal = [], []
    for row, content in rows:
        sequence += 1
        sealed = keyring.seal_column(content, f"consent_personal/{sequence}")
        row = {**row, "sequence": sequence, "previous_hash": previous, "personal_hash": personal_hash(sealed)}
        previous = row["row_hash"] = row_hash(keyring, row)
        events.append(row)
        personal.append({"sequence": sequence, "sealed": sealed})
    return Links(events, personal, (sequence, previous))


_EVENT = Statement(lambda _: insert(consent_event))
_PERSONAL = Statement(lambda _: insert(consent_personal))
_HEAD = Statement(lambda _: update(chain_head).values(sequence=bindparam("at"), row_hash=bindparam("made")))


async def write(connection: AsyncConnection, links: Links) -> tuple[int, str]:
    """Write events that follow the head as it is, which is locked; return the new one."""

    def inside(opened: Connection) -> None:
        batch = WithinTransaction(opened)
        batch.execute(_EVENT, links.events)
        batch.execute(_PERSONAL, links.personal)
        batch.execute(_HEAD, [{"at": links.head[0], "made": links.head[1]}])

    await connection.run_sync(inside)
    return links.head


async def holds(connection: AsyncConnection, sequence: int, link: str) -> bool:
    """Tell whether the chain has an event with this number and row hash."""
    found = await connection.execute(select(consent_event.c.row_hash).where(consent_event.c.sequence == sequence))
    return found.scalar() == link


@dataclass(frozen=True, slots=True)
class HeadFile:
    """The head of the chain outside the database: without it, a cut tail could not be told from a short chain."""

    path: Path

    def advance(self, sequence: int, link: str, *, backwards: bool = False) -> None:
        """Write the head unless the file already holds a later one that it may not leave. Safe between processes."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            known = self._parse(file.read())
            if known is not None and known[0] >= sequence and not backwards:
                return
            file.seek(0)
            file.write(f"{sequence} {link}\n".encode("ascii"))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> tuple[int, str] | None:
        """Return the head (sequence, row hash); None where there is no file yet, or none that can be read as one."""
        try:
            return self._parse(self.path.read_bytes())
        except OSError:
            return None

    @staticmethod
    def _parse(content: bytes) -> tuple[int, str] | None:
        sequence, _, link = content.decode("ascii", "replace").strip().partition(" ")
        return (int(sequence), link) if sequence.isdigit() else None


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with the chain. ``sequence`` names the row, 0 the chain as a whole."""

    sequence: int
    text: str


@dataclass(slots=True)
class Verification:
    """The result of walking the chain."""

    events: int
    flaws: list[Flaw]

    @property
    def whole(self) -> bool:
        """Tell whether nothing was found wrong."""
        return not self.flaws


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Up to which event the chain was cut by a purge, and what is left of that part."""

    sequence: int = 0
    row_hash: str = GENESIS
    cut_at: str = ""
    kept: int = 0
    kept_digest: str = ""

    def signature(self, keyring: Keyring) -> str:
        """Return what proves that whoever holds the key file made this checkpoint."""
        return keyring.chained(json.dumps(["checkpoint", *asdict(self).values()]).encode("ascii"))


async def cut(connection: AsyncConnection, keyring: Keyring, gone: Iterable[int], now: datetime) -> int:
    """Remove events by sequence behind a new signed checkpoint at the head; return how many were removed.

    Also where that is none, and only what is personal in refusals went: those are looked for up to the checkpoint
    no more. Nobody else may append meanwhile: call it with the chain locked.
    """
    numbers = sorted(gone)
    sequence, link = await lock(connection)
    for at in range(0, len(numbers), _SLICE):
        some = numbers[at : at + _SLICE]
        await connection.execute(delete(consent_personal).where(consent_personal.c.sequence.in_(some)))
        await connection.execute(delete(consent_event).where(consent_event.c.sequence.in_(some)))
    kept = _Kept()
    async for row, _ in _rows(connection):
        kept.add(row)
    made = Checkpoint(sequence, link, stamp(now), kept.count, kept.digest)
    await connection.execute(delete(chain_checkpoint))
    await connection.execute(insert(chain_checkpoint).values(**asdict(made), signature=made.signature(keyring)))
    return len(numbers)


_SLICE = 500


@dataclass(slots=True)
class _Kept:
    """Counts the rows that a purge left, and hashes their numbers and links."""

    count: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, row: RowMapping) -> None:
        self.count += 1
        self._hash.update(f"{row['sequence']} {row['row_hash']}\n".encode())

    @property
    def digest(self) -> str:
        return str(self._hash.hexdigest())


@dataclass(slots=True)
class _Walk:
    """One walk along the chain: what was found wrong, and what is expected next."""

    keyring: Keyring
    checkpoint: Checkpoint
    notices: set[str]
    erased: Mapping[str, int]
    count: int = 0
    kept: _Kept = field(default_factory=_Kept)
    expected: int = 1
    previous: str = GENESIS
    flaws: list[Flaw] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.expected, self.previous = self.checkpoint.sequence + 1, self.checkpoint.row_hash

    def see(self, row: RowMapping, sealed: object) -> None:
        """Look at the next row."""
        self.count += 1
        sequence = row["sequence"]
        behind = sequence <= self.checkpoint.sequence
        found = [] if behind else self._out_of_order(row)
        found += self._altered(row, sealed)
        self.flaws += [Flaw(sequence, text) for text in found]
        if not found and row["notice_id"] not in self.notices:
            text = f"The notice that event {sequence} relies on is missing or another one."
            self.flaws.append(Flaw(sequence, text))
        if behind:
            self.kept.add(row)
        else:
            self.expected, self.previous = sequence + 1, row["row_hash"]

    def _out_of_order(self, row: RowMapping) -> list[str]:
        sequence = row["sequence"]
        if sequence != self.expected:
            return [f"Event {self.expected} is missing: {sequence} follows {self.expected - 1}."]
        if row["previous_hash"] != self.previous:
            return [f"Event {sequence} does not follow the event before it."]
        return []

    def _altered(self, row: RowMapping, sealed: object) -> list[str]:
        sequence = row["sequence"]
        flaws = []
        first_version = row["schema_version"] == _FIRST_VERSION
        if _link_of(self.keyring, row) != row["row_hash"] or (first_version and any(row[name] for name in _ADDED)):
            flaws.append(f"Event {sequence} was altered.")
        if sealed is None:
            # A purge leaves of a refusal what makes it hold: not in whose words it was said.
            marker = sequence <= self.checkpoint.sequence and row["state"] in REFUSALS
            if not marker and sequence > self.erased.get(row["folded_hash"], 0):
                flaws.append(f"The personal part of event {sequence} is missing without an erasure.")
        elif not isinstance(sealed, bytes) or personal_hash(sealed) != row["personal_hash"]:
            flaws.append(f"The personal part of event {sequence} was altered.")
        return flaws

    def end(self, head: Any) -> None:
        """Compare the end of the chain, and what a purge kept, with what was written down of them."""
        if (self.kept.count, self.kept.digest) != (self.checkpoint.kept, self.checkpoint.kept_digest or _Kept().digest):
            self.flaws.append(Flaw(0, "Events before the last purge's checkpoint are missing, added or other ones."))
        if head is None or (head.sequence, head.row_hash) != (self.expected - 1, self.previous):
            self.flaws.append(Flaw(0, "The chain does not end where its head says."))


async def verify(connection: AsyncConnection, keyring: Keyring, head_file: HeadFile) -> Verification:
    """Walk the whole chain and return every flaw: altered, missing, moved, added or cut rows."""
    outside = head_file.read()
    notices, flawed = await _notices(connection)
    checkpoint, unsigned = await _checkpoint(connection, keyring)
    walk = _Walk(keyring, checkpoint, notices, await _erased(connection), flaws=[*flawed, *unsigned])
    anchored = outside is None or outside[0] == 0 or outside == (checkpoint.sequence, checkpoint.row_hash)
    async for row, sealed in _rows(connection):
        walk.see(row, sealed)
        if outside is not None and row["sequence"] == outside[0]:
            anchored = row["row_hash"] == outside[1]
    walk.end((await connection.execute(select(chain_head.c.sequence, chain_head.c.row_hash))).first())
    if outside is not None and not anchored and outside[0] > checkpoint.sequence:
        text = f"Event {outside[0]}, which the head file names, is missing or another one."
        walk.flaws.append(Flaw(outside[0], text))
    if outside is None and walk.count:
        text = f"The head file {head_file.path} is missing or damaged, so a cut end could not be seen."
        walk.flaws.append(Flaw(0, text))
    return Verification(walk.count, walk.flaws)


async def _checkpoint(connection: AsyncConnection, keyring: Keyring) -> tuple[Checkpoint, list[Flaw]]:
    """Return the checkpoint of the last purge, and a flaw where nobody with the key file made it."""
    statement = select(chain_checkpoint).order_by(chain_checkpoint.c.sequence.desc()).limit(1)
    row = (await connection.execute(statement)).first()
    if row is None:
        return Checkpoint(), []
    found = Checkpoint(row.sequence, row.row_hash, row.cut_at, row.kept, row.kept_digest)
    altered = "The checkpoint of the last purge was altered."
    try:
        signed = found.signature(keyring) == row.signature
    except TypeError:
        # What we never write, which SQLite allows: nothing can be compared with it.
        return Checkpoint(), [Flaw(0, altered)]
    return found, [] if signed else [Flaw(found.sequence, altered)]


async def _erased(connection: AsyncConnection) -> dict[str, int]:
    """Return by keyed hash up to which event the personal parts of people who were erased may be missing."""
    statement = select(consent_event.c.folded_hash, func.max(consent_event.c.sequence).label("last"))
    statement = statement.where(consent_event.c.state == State.SUPPRESSED.value).group_by(consent_event.c.folded_hash)
    return {row.folded_hash: row.last for row in await connection.execute(statement)}


async def _notices(connection: AsyncConnection) -> tuple[set[str], list[Flaw]]:
    """Return the ids of the notices that still say what they said, and a flaw for every other: an id is a hash."""
    whole, flaws = set(), []
    columns = (notice.c.id, notice.c.body, notice.c.language, notice.c.version)
    for notice_id, body, *beside in await connection.execute(select(*columns)):
        if isinstance(body, str) and notice_id_of(body) == notice_id and beside == _said_beside(body):
            whole.add(notice_id)
        else:
            flaws.append(Flaw(0, f"The notice {notice_id} was altered."))
    return whole, flaws


def _said_beside(body: str) -> list[object]:
    """Return what must stand beside a notice's body: by the version grants under it count, or rest."""
    try:
        said = json.loads(body)
        return [said["language"], said.get("version", 0)]
    except (ValueError, TypeError, KeyError):
        return []


async def _rows(connection: AsyncConnection) -> AsyncIterator[tuple[RowMapping, bytes | None]]:
    joined = consent_event.outerjoin(consent_personal, consent_event.c.sequence == consent_personal.c.sequence)
    statement = select(consent_event, consent_personal.c.sealed).select_from(joined).order_by(consent_event.c.sequence)
    async for row in await connection.stream(statement):
        yield row._mapping, row.sealed
