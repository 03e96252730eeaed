"""Recall: what the journal knows and a restored ledger does not, said again before anybody is served (A11)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, hits, subject
from ledger.consent import DOMAINS_REFUSE, SUSPENDED_UP_TO, Act, Person, event_row
from ledger.journal import EVENT, HEAD, Entry, Journal, JournalDamaged, head_entry, lost
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.schema import chain_checkpoint, consent_event, consent_personal, meta, moment, stamp
from policies.consent import REFUSALS, Assurance, State
from policies.words import Purpose

BEGUN = "journal_begun"
"""In ``meta``: since when there has been a journal; from then on it must be there."""
DECIDED = "restored_without_journal"
"""In ``meta``: who decided that grants count although a journal was missing, when and why."""
_METHOD = "journal_replay"
_GAP = 1_000
"""Events without a refusal after which the journal notes how far the chain is, so that none is looked at again."""
_SLICE = 500


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found: how many refusals and erasures were said again, and what is wrong with the journal."""

    replayed: int = 0
    problem: str | None = None


async def get_meta(connection: AsyncConnection, name: str) -> str | None:
    """Return a value of the ledger's own."""
    found: str | None = (await connection.execute(select(meta.c.value).where(meta.c.name == name))).scalar()
    return found


async def set_meta(connection: AsyncConnection, name: str, value: str | None) -> None:
    """Keep a value of the ledger's own, or none."""
    await connection.execute(delete(meta).where(meta.c.name == name))
    if value is not None:
        await connection.execute(insert(meta).values(name=name, value=value))


async def since(connection: AsyncConnection, sequence: int, now: datetime, *, gap: int = _GAP) -> list[Entry]:
    """Return what a journal that goes up to an event of the chain lacks, as its lines."""
    columns = consent_event.c
    statement = select(columns.sequence, columns.id, columns.recorded_at, columns.folded_hash, columns.purpose)
    statement = statement.add_columns(columns.state, columns.assurance).where(
        columns.sequence > sequence, columns.state.in_([state.value for state in REFUSALS])
    )
    found = [Entry(EVENT, *row) for row in await connection.execute(statement.order_by(columns.sequence))]
    head = await chain.head(connection)
    if head[0] - (found[-1].sequence if found else sequence) >= gap:
        found.append(head_entry(head, stamp(now)))
    return found


async def recall(
    connection: AsyncConnection,
    keyring: Keyring,
    journal: Journal,
    notice: Callable[[], Awaitable[Notice]],
    now: datetime,
) -> tuple[tuple[int, str] | None, Recalled]:
    """Say again what the journal knows and the ledger does not; return the chain's new head, None where nothing was.

    Where the journal is missing or damaged although there was one, all grants rest (``SUSPENDED_UP_TO``) until it is
    back or an administrator decides. ``notice`` puts the one in force on record, where there is something to say.
    """
    head = await chain.lock(connection)
    await _sweep(connection, head[0])
    begun = await get_meta(connection, BEGUN)
    try:
        tail = await asyncio.to_thread(journal.tail)
        gone = [] if tail is None or await _holds(connection, tail) else await _lost(connection, journal)
    except JournalDamaged as damaged:
        return None, await _suspend(connection, head, str(damaged))
    if tail is None and begun is not None:
        return None, await _suspend(connection, head, f"The journal {journal.path} is missing.")
    if tail is not None and begun is None:
        await set_meta(connection, BEGUN, stamp(now))
    await set_meta(connection, SUSPENDED_UP_TO, None)
    if not gone:
        return None, Recalled()
    return await _replay(connection, keyring, head, gone, await notice(), now), Recalled(len(gone))


async def _sweep(connection: AsyncConnection, last: int) -> None:
    """Remove personal parts that stand behind the chain's end and belong to no event: somebody cut events off.

    No erasure would find them, and the next event could not be written. ``consent verify`` says what is missing.
    """
    part = consent_personal.c.sequence
    theirs = select(consent_event.c.sequence).where(consent_event.c.sequence == part)
    await connection.execute(delete(consent_personal).where(part > last, ~theirs.exists()))


async def _suspend(connection: AsyncConnection, head: tuple[int, str], problem: str) -> Recalled:
    if await get_meta(connection, SUSPENDED_UP_TO) is None:
        await set_meta(connection, SUSPENDED_UP_TO, str(head[0]))
    return Recalled(problem=problem)


async def _cut_at(connection: AsyncConnection) -> str:
    return (await connection.execute(select(chain_checkpoint.c.cut_at))).scalar() or ""


async def _holds(connection: AsyncConnection, entry: Entry) -> bool:
    """Tell whether the ledger has, or had before its last purge, what a line says."""
    if entry.at <= await _cut_at(connection) or entry.sequence == 0:
        return True
    if entry.kind == HEAD:
        return await chain.holds(connection, entry.sequence, entry.id)
    found = await connection.execute(select(consent_event.c.sequence).where(consent_event.c.id == entry.id))
    return found.first() is not None


async def _lost(connection: AsyncConnection, journal: Journal) -> list[Entry]:
    """Return the events that the ledger does not know. Raises JournalDamaged."""
    entries = await asyncio.to_thread(journal.entries)
    known: set[str] = set()
    for at in range(0, len(entries), _SLICE):
        ids = [entry.id for entry in entries[at : at + _SLICE]]
        for column in (consent_event.c.id, consent_event.c.row_hash):
            known.update(row[0] for row in await connection.execute(select(column).where(column.in_(ids))))
    return lost(entries, [entry for entry in entries if entry.id in known], await _cut_at(connection))


async def _replay(
    connection: AsyncConnection,
    keyring: Keyring,
    head: tuple[int, str],
    gone: Sequence[Entry],
    notice: Notice,
    now: datetime,
) -> tuple[int, str]:
    """Do again what was lost: erased people are erased, what was refused is refused, and its hits are deleted."""
    # One of them may be a whole domain's; the journal does not say.
    await set_meta(connection, DOMAINS_REFUSE, "1")
    rows: list[tuple[dict[str, Any], bytes]] = []
    for entry in gone:
        state, person = State(entry.state), Person(entry.folded_hash)
        if state is State.SUPPRESSED:
            await subject.remove(connection, person.folded_hash, now)
        elif entry.purpose in {purpose.value for purpose in Purpose}:
            await hits.forget(connection, person.folded_hash, [Purpose(entry.purpose)])
        said = f"said at {moment(entry.at).date()}, replayed after a restore"
        act = Act("system", _METHOD, Assurance(entry.assurance), said)
        rows.append(event_row(person, entry.purpose, state, act, notice, now))
    of_domains = await hits.messages_of_domains(connection, keyring, {entry.folded_hash for entry in gone})
    await hits.forget_of(connection, of_domains)
    return await chain.append(connection, keyring, head, rows)
