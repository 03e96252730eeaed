"""The chain of consent events: each row's HMAC covers the row before it, so that no change goes unseen.

What is personal lies in a side table whose hash the row holds: erasing a person leaves the chain whole.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database import GENESIS
from ledger.keys import Keyring
from ledger.notice import notice_id_of
from ledger.schema import chain_head, consent_event, consent_personal, notice

_COLUMNS = tuple(column.name for column in consent_event.columns if column.name != "row_hash")


def row_hash(keyring: Keyring, row: Mapping[str, Any] | RowMapping) -> str:
    """Return the link for one row: an HMAC over every column but itself, the previous link included."""
    return keyring.chained(json.dumps([row[name] for name in _COLUMNS], ensure_ascii=True).encode("ascii"))


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


async def append(
    connection: AsyncConnection, keyring: Keyring, head: tuple[int, str], rows: list[tuple[dict[str, Any], bytes]]
) -> tuple[int, str]:
    """Append events, each with its sealed personal part, to the head that ``lock`` gave, and return the new one."""
    sequence, previous = head
    events, personal = [], []
    for row, content in rows:
        sequence += 1
        sealed = keyring.seal_column(content, f"consent_personal/{sequence}")
        row = {**row, "sequence": sequence, "previous_hash": previous, "personal_hash": personal_hash(sealed)}
        previous = row["row_hash"] = row_hash(keyring, row)
        events.append(row)
        personal.append({"sequence": sequence, "sealed": sealed})
    await connection.execute(insert(consent_event), events)
    await connection.execute(insert(consent_personal), personal)
    await connection.execute(update(chain_head).values(sequence=sequence, row_hash=previous))
    return sequence, previous


async def holds(connection: AsyncConnection, sequence: int, link: str) -> bool:
    """Tell whether the chain has an event with this number and row hash."""
    found = await connection.execute(select(consent_event.c.row_hash).where(consent_event.c.sequence == sequence))
    return found.scalar() == link


@dataclass(frozen=True, slots=True)
class HeadFile:
    """The head of the chain outside the database: without it, a cut tail could not be told from a short chain."""

    path: Path

    def advance(self, sequence: int, link: str) -> None:
        """Write the head unless the file already holds a later one. Safe between processes."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            known = self._parse(file.read())
            if known is not None and known[0] >= sequence:
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


async def verify(connection: AsyncConnection, keyring: Keyring, head_file: HeadFile) -> Verification:
    """Walk the whole chain and return every flaw: altered, missing, moved, added or cut rows."""
    flaws: list[Flaw] = []
    outside = head_file.read()
    notices, flawed = await _notices(connection)
    flaws += flawed
    count, expected, previous, anchored = 0, 1, GENESIS, outside is None or outside[0] == 0
    async for row, sealed in _rows(connection):
        count += 1
        sequence = row["sequence"]
        found = _row_flaws(keyring, row, sealed, expected, previous)
        flaws += [Flaw(sequence, text) for text in found]
        if not found and row["notice_id"] not in notices:
            flaws.append(Flaw(sequence, f"The notice that event {sequence} relies on is missing or another one."))
        if outside is not None and sequence == outside[0]:
            anchored = row["row_hash"] == outside[1]
        expected, previous = sequence + 1, row["row_hash"]
    head = (await connection.execute(select(chain_head.c.sequence, chain_head.c.row_hash))).first()
    if head is None or (head.sequence, head.row_hash) != (expected - 1, previous):
        flaws.append(Flaw(0, "The chain does not end where its head says."))
    if not anchored and outside is not None:
        flaws.append(Flaw(outside[0], f"Event {outside[0]}, which the head file names, is missing or another one."))
    if outside is None and count:
        flaws.append(Flaw(0, f"The head file {head_file.path} is missing or damaged, so a cut end could not be seen."))
    return Verification(count, flaws)


async def _notices(connection: AsyncConnection) -> tuple[set[str], list[Flaw]]:
    """Return the ids of the notices that still say what they said, and a flaw for every other: an id is a hash."""
    whole, flaws = set(), []
    for notice_id, body in await connection.execute(select(notice.c.id, notice.c.body)):
        if isinstance(body, str) and notice_id_of(body) == notice_id:
            whole.add(notice_id)
        else:
            flaws.append(Flaw(0, f"The notice {notice_id} was altered."))
    return whole, flaws


async def _rows(connection: AsyncConnection) -> AsyncIterator[tuple[RowMapping, bytes | None]]:
    joined = consent_event.outerjoin(consent_personal, consent_event.c.sequence == consent_personal.c.sequence)
    statement = select(consent_event, consent_personal.c.sealed).select_from(joined).order_by(consent_event.c.sequence)
    async for row in await connection.stream(statement):
        yield row._mapping, row.sealed


def _row_flaws(keyring: Keyring, row: RowMapping, sealed: object, expected: int, previous: str) -> list[str]:
    sequence = row["sequence"]
    flaws = []
    if sequence != expected:
        flaws.append(f"Event {expected} is missing: {sequence} follows {expected - 1}.")
    if row["previous_hash"] != previous and sequence == expected:
        flaws.append(f"Event {sequence} does not follow the event before it.")
    if _link_of(keyring, row) != row["row_hash"]:
        flaws.append(f"Event {sequence} was altered.")
    if sealed is None:
        flaws.append(f"The personal part of event {sequence} is missing without an erasure.")
    elif not isinstance(sealed, bytes) or personal_hash(sealed) != row["personal_hash"]:
        flaws.append(f"The personal part of event {sequence} was altered.")
    return flaws
