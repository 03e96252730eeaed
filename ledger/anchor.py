"""Anchors: heads of the consent chain that somebody else keeps, and what they say of the chain later."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.database import GENESIS
from ledger.schema import chain_checkpoint, chain_head, consent_event, meta, stamp

ANCHORED = "anchored_on"
"""In ``meta``: the day on which the head was last given away."""
_WRITTEN = re.compile(r"(?:\S+ )?([0-9]{1,18}) ([0-9a-f]{64})")
_AT_ONCE = 500

Head = tuple[int, str]
"""The number of an event, and its link."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The head of the chain at a moment: whoever keeps it sees later whether what came before was altered."""

    sequence: int
    link: str
    at: datetime

    def __str__(self) -> str:
        return f"{stamp(self.at)} {self.sequence} {self.link}"


def read(line: str) -> Head | None:
    """Return what a kept line says, with or without the time in front; None where it is no anchor."""
    found = _WRITTEN.fullmatch(line.strip())
    return (int(found[1]), found[2]) if found else None


async def anchor(connection: AsyncConnection, now: datetime) -> Anchor:
    """Return the head of the chain."""
    head = (await connection.execute(select(chain_head.c.sequence, chain_head.c.row_hash))).one()
    return Anchor(head.sequence, head.row_hash, now)


async def anchor_of_the_day(connection: AsyncConnection, now: datetime) -> Anchor | None:
    """Return the head for the first that asks on a day, in UTC, and None for everybody else."""
    # Two processes that ask at once are asked to wait for each other.
    await chain.lock(connection)
    today = stamp(now)[:10]
    known = (await connection.execute(select(meta.c.value).where(meta.c.name == ANCHORED))).scalar()
    if known == today:
        return None
    await connection.execute(delete(meta).where(meta.c.name == ANCHORED))
    await connection.execute(insert(meta).values(name=ANCHORED, value=today))
    return await anchor(connection, now)


async def not_given_away(connection: AsyncConnection) -> None:
    """Have the next one that asks be the first on its day: the head could not be given away."""
    await connection.execute(delete(meta).where(meta.c.name == ANCHORED))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What anchors say of the chain."""

    agreeing: int
    purged: int
    """Of events that a purge removed since: they say nothing any more."""
    flaws: Sequence[str]


async def compare(connection: AsyncConnection, heads: Sequence[Head]) -> Comparison:
    """Compare anchors with the links of the chain. Whether those are right themselves, ``chain.verify`` says."""
    links = await _links(connection, [sequence for sequence, _ in heads])
    purged_up_to = await _purged_up_to(connection)
    purged = sum(sequence not in links and sequence < purged_up_to for sequence, _ in heads)
    flaws = [
        f"Event {sequence} is another one than its anchor names: it, or what came before it, was altered."
        if sequence in links
        else f"Event {sequence}, which an anchor names, is missing."
        for sequence, link in heads
        if links.get(sequence) != link and (sequence in links or sequence >= purged_up_to)
    ]
    return Comparison(len(heads) - purged - len(flaws), purged, flaws)


async def _links(connection: AsyncConnection, sequences: Sequence[int]) -> dict[int, str]:
    """Return the links of these events as far as they are known, also of those where a purge cut the chain."""
    links = {0: GENESIS}
    for table in (chain_checkpoint, consent_event):
        for at in range(0, len(sequences), _AT_ONCE):
            some = table.c.sequence.in_(sequences[at : at + _AT_ONCE])
            statement = select(table.c.sequence, table.c.row_hash).where(some)
            links |= {row.sequence: row.row_hash for row in await connection.execute(statement)}
    return links


async def _purged_up_to(connection: AsyncConnection) -> int:
    return (await connection.execute(select(chain_checkpoint.c.sequence))).scalar() or 0
