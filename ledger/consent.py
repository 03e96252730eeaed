"""Consent on record: appending what people said, and reading back where they stand."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.errors import ConsentRefused
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.schema import consent_event, consent_personal, moment, stamp
from policies.consent import REFUSALS, Assurance, Consent, ConsentEvent, State, weigh
from policies.words import Purpose

SCHEMA_VERSION = "27560-2023/1"
VALIDITY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Person:
    """Whose consent it is: the keyed hashes, and the address where it is known."""

    folded_hash: str
    exact_hash: str | None = None
    address: str | None = None

    @classmethod
    def of(cls, keyring: Keyring, address: str) -> "Person":
        """Return the person behind an address."""
        return cls(keyring.folded(address), keyring.exact(address), address)


@dataclass(frozen=True, slots=True)
class Act:
    """How something was said: by whom, in what way, with what proof."""

    actor_kind: str
    method: str
    assurance: Assurance
    expression: str
    """The exact label of the control, or the words of whoever recorded it."""
    evidence: str = ""


def _event(row: Any, exact_hash: str | None) -> ConsentEvent:
    return ConsentEvent(
        id=row.id,
        sequence=row.sequence,
        purpose=Purpose(row.purpose),
        state=State(row.state),
        assurance=Assurance(row.assurance),
        at=moment(row.event_time),
        valid_until=moment(row.valid_until) if row.valid_until else None,
        exact=exact_hash is not None and row.exact_hash == exact_hash,
    )


_READ = (
    consent_event.c.id,
    consent_event.c.sequence,
    consent_event.c.purpose,
    consent_event.c.state,
    consent_event.c.assurance,
    consent_event.c.event_time,
    consent_event.c.valid_until,
    consent_event.c.exact_hash,
    consent_event.c.folded_hash,
)


async def consent_of(connection: AsyncConnection, person: Person) -> Consent:
    """Return where a person stands on every purpose."""
    found = await connection.execute(select(*_READ).where(consent_event.c.folded_hash == person.folded_hash))
    return weigh(_event(row, person.exact_hash) for row in found)


async def consents_of(connection: AsyncConnection, people: Iterable[Person]) -> dict[Person, Consent]:
    """Return where several people stand, with one query."""
    asked = list(people)
    statement = select(*_READ).where(consent_event.c.folded_hash.in_({one.folded_hash for one in asked}))
    rows: dict[str, list[Any]] = {}
    for row in await connection.execute(statement):
        rows.setdefault(row.folded_hash, []).append(row)
    return {one: weigh(_event(row, one.exact_hash) for row in rows.get(one.folded_hash, ())) for one in asked}


async def grant(
    connection: AsyncConnection,
    keyring: Keyring,
    person: Person,
    purposes: Sequence[Purpose],
    act: Act,
    notice: Notice,
    now: datetime,
) -> tuple[int, str]:
    """Record a grant per purpose and return the chain's new head.

    Raises ConsentRefused without evidence for what is only asserted, and after a refusal that only the person
    themselves, by their mailbox, may take back.
    """
    head = await chain.lock(connection)
    if act.assurance is not Assurance.MAILBOX_PROVEN:
        if not act.evidence.strip():
            raise ConsentRefused("A grant recorded for somebody else needs evidence of how they gave it (--evidence).")
        before = await consent_of(connection, person)
        refused = [purpose for purpose in purposes if before.on(purpose).state in REFUSALS]
        if refused:
            raise ConsentRefused(
                f"This person has refused ({', '.join(refused)}); only they can agree again, by their own mailbox."
            )
    rows = [_row(keyring, person, purpose, State.GRANTED, act, notice, now) for purpose in purposes]
    return await chain.append(connection, keyring, head, rows)


async def refuse(
    connection: AsyncConnection,
    keyring: Keyring,
    person: Person,
    purposes: Sequence[Purpose],
    act: Act,
    notice: Notice,
    now: datetime,
) -> tuple[int, str] | None:
    """Record a refusal or withdrawal per purpose and return the chain's new head; None where all stood refused."""
    head = await chain.lock(connection)
    said = await _said(connection, person)
    rows = []
    for purpose in purposes:
        before = said.get(purpose, [])
        # Where the last word was a refusal, it holds for every spelling; a grant for another spelling must not stand.
        if not before or before[-1] not in REFUSALS:
            state = State.WITHDRAWN if State.GRANTED in before else State.REFUSED
            rows.append(_row(keyring, person, purpose, state, act, notice, now))
    return await chain.append(connection, keyring, head, rows) if rows else None


async def _said(connection: AsyncConnection, person: Person) -> dict[Purpose, list[State]]:
    """Return what was said for the address in any spelling, oldest first."""
    statement = select(consent_event.c.purpose, consent_event.c.state).order_by(consent_event.c.sequence)
    said: dict[Purpose, list[State]] = {}
    for row in await connection.execute(statement.where(consent_event.c.folded_hash == person.folded_hash)):
        said.setdefault(Purpose(row.purpose), []).append(State(row.state))
    return said


def _row(
    keyring: Keyring, person: Person, purpose: Purpose, state: State, act: Act, notice: Notice, now: datetime
) -> tuple[dict[str, Any], bytes]:
    row = {
        "id": str(uuid.uuid4()),
        "schema_version": SCHEMA_VERSION,
        "exact_hash": person.exact_hash,
        "folded_hash": person.folded_hash,
        "purpose": purpose.value,
        "state": state.value,
        "event_time": stamp(now),
        "recorded_at": stamp(now),
        "actor_kind": act.actor_kind,
        "method": act.method,
        "expression": act.expression,
        "notice_id": notice.id,
        "language": notice.language,
        "assurance": act.assurance.value,
        "legal_basis": "consent",
        "valid_until": stamp(now + VALIDITY) if state is State.GRANTED else None,
        "withdrawal": notice.withdrawal,
    }
    personal = {"address": person.address, "evidence": act.evidence}
    return row, json.dumps(personal, ensure_ascii=False).encode("utf-8", "replace")


async def history(connection: AsyncConnection, keyring: Keyring, person: Person) -> list[dict[str, Any]]:
    """Return everything recorded about a person's consent, oldest first, with what is sealed opened."""
    joined = consent_event.outerjoin(consent_personal, consent_event.c.sequence == consent_personal.c.sequence)
    statement = select(consent_event, consent_personal.c.sealed).select_from(joined)
    statement = statement.where(consent_event.c.folded_hash == person.folded_hash).order_by(consent_event.c.sequence)
    events = []
    for row in await connection.execute(statement):
        personal: dict[str, Any] = {}
        if row.sealed is not None:
            personal = json.loads(keyring.open_column(row.sealed, f"consent_personal/{row.sequence}"))
        events.append(
            {
                "id": row.id,
                "purpose": row.purpose,
                "state": row.state,
                "time": row.event_time,
                "method": row.method,
                "actor": row.actor_kind,
                "assurance": row.assurance,
                "expression": row.expression,
                "notice": row.notice_id,
                "valid_until": row.valid_until,
                "address": personal.get("address"),
                "evidence": personal.get("evidence", ""),
                "exact": person.exact_hash is not None and row.exact_hash == person.exact_hash,
            }
        )
    return events
