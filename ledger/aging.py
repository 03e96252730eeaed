"""Aging: consent events go when their time is over. Of a refusal the keyed hash stays, or it would be forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.consent import CONTACT, Person, standings_of
from ledger.keys import Keyring
from ledger.schema import chain_head, consent_event, consent_personal, import_batch, stamp
from policies.consent import REFUSALS
from policies.words import Purpose

_SLICE = 500


@dataclass(frozen=True, slots=True)
class Over:
    """Whose events are over their time, and up to which event that was looked at."""

    people: Sequence[str]
    """Folded hashes."""
    head: int


async def over(connection: AsyncConnection, period: timedelta, now: datetime) -> Over:
    """Return whose last event is longer ago than ``period``, and of whom no grant is left that counts.

    It walks over every event, so it is asked for in a transaction that only reads.
    """
    head = (await connection.execute(select(chain_head.c.sequence))).scalar_one()
    event = consent_event.c
    statement = select(event.folded_hash).group_by(event.folded_hash)
    # When it was recorded, and not when it was said: an import may bring along what was said years ago.
    statement = statement.having(func.max(event.recorded_at) < stamp(now - period))
    statement = statement.having(func.coalesce(func.max(event.valid_until), "") < stamp(now))
    return Over([row.folded_hash for row in await connection.execute(statement)], head)


async def purge(connection: AsyncConnection, keyring: Keyring, found: Over, period: timedelta, now: datetime) -> int:
    """Remove the events of those people, behind a checkpoint, but for what says no; return how many went."""
    await chain.lock(connection)
    gone: list[int] = []
    nameless = 0
    for at in range(0, len(found.people), _SLICE):
        some = await _still(connection, found.people[at : at + _SLICE], found.head)
        markers = await _markers(connection, some)
        statement = select(consent_event.c.sequence).where(consent_event.c.folded_hash.in_(some))
        gone += [row.sequence for row in await connection.execute(statement) if row.sequence not in markers]
        names = delete(consent_personal).where(consent_personal.c.sequence.in_(markers))
        nameless += (await connection.execute(names)).rowcount
    removed = await chain.cut(connection, keyring, gone, now) if gone or nameless else 0
    left = select(consent_event.c.batch).where(consent_event.c.batch == import_batch.c.id).exists()
    old = import_batch.c.imported_at < stamp(now - period)
    await connection.execute(delete(import_batch).where(old, ~left))
    return removed


async def _still(connection: AsyncConnection, people: Sequence[str], head: int) -> list[str]:
    """Return the people of whom nothing was recorded since they were looked at."""
    statement = select(consent_event.c.folded_hash).where(
        consent_event.c.folded_hash.in_(people), consent_event.c.sequence > head
    )
    heard = {row.folded_hash for row in await connection.execute(statement)}
    return [one for one in people if one not in heard]


async def _markers(connection: AsyncConnection, people: Sequence[str]) -> set[int]:
    """Return the events by which these people's refusals hold, and must go on to."""
    standings = await standings_of(connection, [Person(one) for one in people])
    markers = {
        event.sequence
        for consent in standings.values()
        for purpose in Purpose
        if (event := consent.on(purpose).event) is not None and event.state in REFUSALS
    }
    silent = [person.folded_hash for person, consent in standings.items() if consent.do_not_write]
    last = select(func.max(consent_event.c.sequence)).where(
        consent_event.c.folded_hash.in_(silent), consent_event.c.purpose == CONTACT
    )
    rows = await connection.execute(last.group_by(consent_event.c.folded_hash))
    return markers | {row[0] for row in rows}
