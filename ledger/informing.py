"""Informing: whoever is on record by somebody else's doing hears of it within 30 days (GDPR 14), and nobody else does.

That is people whose agreement was asserted or imported; hits are only recorded of people with an agreement. Whoever
answered on a page of ours, or got a receipt, knows already.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import outbox
from ledger.consent import CONTACT
from ledger.keys import Keyring
from ledger.outbox import Letter, LetterState
from ledger.schema import consent_event, consent_personal, import_batch, moment, stamp
from ledger.schema import outbox as outbox_table
from ledger.tokens import you_url
from policies.consent import GRANTS, Assurance, State
from policies.footer import Language

WITHIN = timedelta(days=30)
INFORMED = "informed"
TELLING = (INFORMED, "receipt")
"""The kinds of letters from which people know."""
_BY_OTHERS = (*GRANTS, State.IMPORTED_UNPROVEN)


@dataclass(frozen=True, slots=True)
class Uninformed:
    """Somebody who does not know yet that something about them is on record."""

    address: str
    language: Language
    purposes: tuple[str, ...]
    source: str
    since: datetime


def by_others() -> ColumnElement[bool]:
    """Return which consent events say that somebody agreed, and are somebody else's doing."""
    event = consent_event.c
    said = event.state.in_([state.value for state in _BY_OTHERS])
    return and_(event.assurance == Assurance.ASSERTED.value, said, event.purpose != CONTACT)


async def uninformed(
    connection: AsyncConnection,
    keyring: Keyring,
    *,
    before: datetime | None = None,
    limit: int | None = None,
    settled: datetime | None = None,
) -> list[Uninformed]:
    """Return who is on record by others' doing and was not told, the longest first; ``before``: since then at least.

    Imports that began after ``settled`` are left out: their receipts are being written.
    """
    event, other = consent_event.c, consent_event.alias()
    knows = exists().where(
        and_(
            other.c.folded_hash == event.folded_hash,
            (other.c.actor_kind == "data_subject") | (other.c.state == State.SUPPRESSED.value),
        )
    )
    told = exists().where(
        outbox_table.c.folded_hash == event.folded_hash,
        outbox_table.c.kind.in_(TELLING),
        outbox_table.c.state != LetterState.FAILED.value,
    )
    statement = select(func.min(event.sequence), func.min(event.recorded_at)).where(by_others(), ~knows, ~told)
    statement = statement.group_by(event.folded_hash).order_by(func.min(event.sequence)).limit(limit)
    if settled is not None:
        recent = select(import_batch.c.id).where(import_batch.c.imported_at > stamp(settled))
        statement = statement.where(event.batch.is_(None) | event.batch.not_in(recent))
    if before is not None:
        statement = statement.having(func.min(event.recorded_at) < stamp(before))
    found = (await connection.execute(statement)).all()
    people = [await _person(connection, keyring, sequence, moment(since)) for sequence, since in found]
    return [one for one in people if one is not None]


async def _person(connection: AsyncConnection, keyring: Keyring, sequence: int, since: datetime) -> Uninformed | None:
    """Return whom an event is about; None where there is no address to write to."""
    joined = consent_event.join(consent_personal, consent_event.c.sequence == consent_personal.c.sequence)
    event = consent_event.c
    statement = select(event.folded_hash, event.language, event.collection_point, consent_personal.c.sealed)
    row = (await connection.execute(statement.select_from(joined).where(consent_event.c.sequence == sequence))).first()
    if row is None:
        return None
    personal = json.loads(keyring.open_column(row.sealed, f"consent_personal/{sequence}"))
    if personal["address"] is None:
        return None
    purposes = select(consent_event.c.purpose).where(consent_event.c.folded_hash == row.folded_hash).distinct()
    names = sorted((await connection.execute(purposes.where(consent_event.c.purpose != CONTACT))).scalars())
    source = personal["source"] or row.collection_point or ""
    return Uninformed(personal["address"], Language(row.language), tuple(names), source, since)


async def inform(connection: AsyncConnection, keyring: Keyring, one: Uninformed, public_url: str, now: datetime) -> str:
    """Put the letter that tells a person into the outbox, and return its id."""
    values = {
        "what": ", ".join(one.purposes),
        "source": one.source,
        "url": you_url(keyring, public_url, one.address),
    }
    return await outbox.put(connection, keyring, Letter(INFORMED, one.address, one.language, values), now)


async def was_informed(connection: AsyncConnection, keyring: Keyring, address: str, now: datetime) -> None:
    """Note that a person was told in some other way than by a letter of ours."""
    letter = await outbox.put(connection, keyring, Letter(INFORMED, address), now)
    await outbox.sent(connection, letter, now)
