"""The merge window: which single messages of a sender look alike, counted by all processes together.

Kept are keyed hashes only, for 24 hours: fingerprints say nothing without the key, and not even with it what a letter
said. Each message is written first and counted then, in one transaction, so that of two that come at the same moment at
least one sees both.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Executable, bindparam, delete, false, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.batch import Batch, Statement, Words
from ledger.keys import Keyring
from ledger.schema import look_alike, message, stamp
from policies.address import folded, untagged
from policies.fingerprint import Fingerprint, alike
from policies.policy import MergeWindow
from policies.words import Reason

KEPT = timedelta(hours=24)
"""How long a fingerprint is kept, and how long a text that was bulk stays so."""
COMPARED = 128
"""How many of a sender's newest messages one is compared with."""
_SWEEP = timedelta(minutes=1)


def _lock(words: Words) -> Executable:
    if words.one_writer:
        return select(literal(1).label("locked")).where(false())
    senders = func.unnest(bindparam("senders", type_=ARRAY(BigInteger))).column_valued("sender")
    return select(func.pg_advisory_xact_lock(senders).label("locked"))


_LOCK = Statement(_lock)
"""Two transactions of PostgreSQL do not see each other's rows: whoever counts a sender's messages does so alone."""
_ARRIVED = Statement(lambda _: insert(look_alike))
_SEEN = Statement(
    lambda _: (
        select(
            look_alike.c.message_id,
            look_alike.c.recipient_hash,
            look_alike.c.at,
            look_alike.c.bulk,
            look_alike.c.sketch,
        )
        .where(look_alike.c.sender_hash == bindparam("sender"), look_alike.c.at >= bindparam("since"))
        .order_by(look_alike.c.at.desc())
        .limit(COMPARED)
    )
)
# In one order everywhere, so that two writers never wait for each other's rows.
_HELD = Statement(
    lambda words: (
        select(look_alike.c.message_id)
        .where(words.among(look_alike.c.message_id, "messages"))
        .order_by(look_alike.c.message_id)
        .with_for_update()
    )
)
_MARK = Statement(
    lambda words: update(look_alike).where(words.among(look_alike.c.message_id, "messages")).values(bulk=True)
)
_BULK = Statement(
    lambda words: (
        select(look_alike.c.message_id, look_alike.c.bulk)
        .where(words.among(look_alike.c.message_id, "messages"))
        .order_by(look_alike.c.message_id)
        .with_for_update(read=True)
    )
)
_SWEPT = Statement(lambda _: delete(look_alike).where(look_alike.c.at < bindparam("until")))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message to one person, before it is decided upon."""

    message_id: str
    sender: str
    recipient: str
    fingerprint: Fingerprint
    at: datetime
    window: MergeWindow


@dataclass(slots=True)
class Sighting:
    """An arrival and, once it is on record, what was seen with it."""

    arrival: Arrival
    run: int = 0
    """How many people were written to alike, this one included."""
    earlier: list[str] = field(default_factory=list)
    """The messages that became part of a bulk run by this one: whatever was decided of them is taken back."""


@dataclass(slots=True)
class _Seen:
    """A message of the sender on record."""

    id: str
    recipient: str
    at: str
    bulk: bool
    values: frozenset[int]


class Window:
    """What was sent lately, by fingerprint. One per process; the database is what they share."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._swept = datetime.min.replace(tzinfo=UTC)

    def arrive(self, batch: Batch, sightings: list[Sighting]) -> None:
        """Put messages on record and count, for each, how many people were written to alike."""
        rows = {one.arrival.message_id: self._row(one.arrival) for one in sightings}
        groups: dict[str, list[Sighting]] = {}
        for one in sorted(sightings, key=lambda one: one.arrival.at):
            groups.setdefault(rows[one.arrival.message_id]["sender_hash"], []).append(one)
        batch.rows(_LOCK, {"senders": sorted(map(_signed, groups))})
        batch.execute(_ARRIVED, list(rows.values()))
        marked: list[str] = []
        for sender, group in groups.items():
            seen = _seen(batch, sender, group[-1].arrival.at)
            for sighting in group:
                marked += _look(sighting, rows[sighting.arrival.message_id], seen)
        if marked:
            batch.rows(_HELD, {"messages": marked})
            batch.execute(_MARK, [{"messages": marked}])
        self._sweep(batch, max(one.arrival.at for one in sightings))

    def _row(self, arrival: Arrival) -> dict[str, Any]:
        # A return path with a tag for each recipient is still the one sender's.
        sender = untagged(folded(arrival.sender))
        return {
            "message_id": arrival.message_id,
            "sender_hash": self._keyring.folded(sender),
            "recipient_hash": self._keyring.folded(arrival.recipient),
            "at": stamp(arrival.at),
            "bulk": False,
            "sketch": self._keyring.sketch(sender, arrival.fingerprint),
        }

    def _sweep(self, batch: Batch, now: datetime) -> None:
        if now - self._swept >= _SWEEP:
            self._swept = now
            batch.execute(_SWEPT, [{"until": stamp(now - KEPT)}])


def expired(now: datetime) -> Any:
    """Return the statement that deletes what is over its time at ``now``."""
    return delete(look_alike).where(look_alike.c.at < stamp(now - KEPT))


def _signed(sender_hash: str) -> int:
    """Return the number of PostgreSQL's lock for a sender: 64 bits, signed."""
    (number,) = struct.unpack(">q", bytes.fromhex(sender_hash[:16]))
    return int(number)


def _seen(batch: Batch, sender_hash: str, now: datetime) -> list[_Seen]:
    return [
        _Seen(row.message_id, row.recipient_hash, row.at, bool(row.bulk), _values(row.sketch))
        for row in batch.rows(_SEEN, {"sender": sender_hash, "since": stamp(now - KEPT)})
    ]


def _values(sketch: bytes) -> frozenset[int]:
    return frozenset(memoryview(sketch).cast("I"))


def _look(sighting: Sighting, row: dict[str, Any], seen: Iterable[_Seen]) -> list[str]:
    """Have the sighting say what was seen with it, and return what must be marked as part of a bulk run."""
    arrival, mine = sighting.arrival, _values(row["sketch"])
    since = stamp(arrival.at - timedelta(minutes=arrival.window.minutes))
    # A text that was bulk today stays so: a slow merge does not become personal towards its end.
    like = [one for one in seen if (one.at >= since or one.bulk) and alike(mine, one.values)]
    sighting.run = len({row["recipient_hash"], *(one.recipient for one in like)})
    if sighting.run < arrival.window.messages:
        return []
    new = [one for one in like if not one.bulk]
    for one in new:
        one.bulk = True
    sighting.earlier = [one.id for one in new if one.id != arrival.message_id]
    return [one.id for one in new]


def taken_back(batch: Batch, ids: Iterable[str]) -> list[str]:
    """Return those of these messages that turned out to be part of a bulk run; the others cannot until we commit."""
    return [row.message_id for row in batch.rows(_BULK, {"messages": list(set(ids))}) if row.bulk]


async def left_tracked(connection: AsyncConnection) -> list[str]:
    """Return the messages of bulk runs that still say "tracked": a process ended before it could take them back."""
    statement = select(message.c.id).join(look_alike, look_alike.c.message_id == message.c.id)
    rows = await connection.execute(statement.where(look_alike.c.bulk, message.c.reason == Reason.TRACKED.value))
    return [row.id for row in rows]
