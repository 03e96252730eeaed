"""Consent on record: appending what people said, and reading back where they stand."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ScalarSelect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.batch import Batch, Statement, WithinTransaction
from ledger.errors import ConsentRefused
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.schema import consent_event, consent_personal, import_batch, meta, moment, stamp
from ledger.schema import notice as notice_table
from policies.address import domains_of
from policies.consent import GRANTS, REFUSALS, Assurance, Consent, ConsentEvent, Standing, State, most, weigh
from policies.words import Purpose

VALIDITY = timedelta(days=365)
CONTACT = "contact"
"""In the place of a purpose: being written to at all. Kept beside tracking and never mixed with it."""
_CLAIMS = GRANTS | {State.IMPORTED_UNPROVEN}
"""What says that somebody agreed, proven or not."""
NOTICE_IN_FORCE = "grants_from_notice"
"""In ``meta``: the first version of the notice that asks for what is done now; grants under older ones rest."""
DOMAINS_REFUSE = "domains_refuse"
"""In ``meta``: whole domains have refused, so that hits are looked at by the domain they come from."""
SUSPENDED_UP_TO = "grants_suspended_up_to"
"""In ``meta``: grants up to this event rest until an administrator decides (after a restore without its journal)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whose consent it is: the keyed hashes, and the address where it is known."""

    folded_hash: str
    exact_hash: str | None = None
    address: str | None = None
    domains: tuple[str, ...] = ()
    """Keyed hashes of the domains that the address is in, for what is said of a whole domain."""

    @classmethod
    def of(cls, keyring: Keyring, address: str) -> "Person":
        """Return the person behind an address."""
        return cls(keyring.folded(address), keyring.exact(address), address, domains(keyring, address))


def domains(keyring: Keyring, address: str) -> tuple[str, ...]:
    """Return the keyed hashes of the domains that an address is in."""
    return tuple(map(keyring.domain, domains_of(address)))


@dataclass(frozen=True, slots=True)
class Act:
    """How something was said: by whom, in what way, with what proof."""

    actor_kind: str
    method: str
    assurance: Assurance
    expression: str
    """The exact label of the control, or the words of whoever recorded it."""
    evidence: str = ""
    source: str = ""
    """Where the address came from, for the person to see."""
    collection_point: str | None = None
    batch: str | None = None
    """The import it came with."""
    request: str | None = None
    """The question it answers."""


def _event(row: Any, folded_hash: str, exact_hash: str | None) -> ConsentEvent:
    return ConsentEvent(
        id=row.id,
        sequence=row.sequence,
        purpose=Purpose(row.purpose),
        state=State(row.state),
        assurance=Assurance(row.assurance),
        at=moment(row.event_time),
        valid_until=moment(row.valid_until) if row.valid_until else None,
        exact=exact_hash is not None and row.exact_hash == exact_hash,
        suspended=_rests(row),
        domain=row.folded_hash != folded_hash,
    )


def _rests(row: Any) -> bool:
    """Tell whether what an event grants does not count for now."""
    outdated = (row.notice_version or 0) < int(row.notice_in_force or 0)
    return outdated or row.suspended_at is not None or row.sequence <= int(row.suspended_up_to or 0)


def _meta(name: str) -> ScalarSelect[Any]:
    return select(meta.c.value).where(meta.c.name == name).scalar_subquery()


_READ = select(
    consent_event.c.id,
    consent_event.c.sequence,
    consent_event.c.purpose,
    consent_event.c.state,
    consent_event.c.assurance,
    consent_event.c.event_time,
    consent_event.c.valid_until,
    consent_event.c.exact_hash,
    consent_event.c.folded_hash,
    import_batch.c.suspended_at,
    notice_table.c.version.label("notice_version"),
    _meta(NOTICE_IN_FORCE).label("notice_in_force"),
    _meta(SUSPENDED_UP_TO).label("suspended_up_to"),
).select_from(
    consent_event.outerjoin(import_batch, consent_event.c.batch == import_batch.c.id).outerjoin(
        notice_table, consent_event.c.notice_id == notice_table.c.id
    )
)

_EVENTS = Statement(lambda words: _READ.where(words.among(consent_event.c.folded_hash, "people")))


_FEW = 8
"""Events of a person whose weighing is remembered. Who changes their mind all day must not fill the memory."""


def _consent(rows: tuple[Any, ...], person: Person) -> Consent:
    weighing = _remembered if len(rows) <= _FEW else _weighed
    return weighing(rows, person.folded_hash, person.exact_hash)


def _weighed(rows: tuple[Any, ...], folded_hash: str, exact_hash: str | None) -> Consent:
    """Weigh the events of a person: nothing but these rows decides, so that the same few rows need it once."""
    lifting = sorted((row.sequence, row.folded_hash, row.purpose) for row in rows if row.state == State.LIFTED.value)
    if lifting:
        lifted = {(whose, purpose): sequence for sequence, whose, purpose in lifting}
        rows = tuple(row for row in rows if row.sequence > lifted.get((row.folded_hash, row.purpose), 0))
    contact = [row for row in rows if row.purpose == CONTACT]
    last = max(contact, key=lambda row: row.sequence, default=None)
    events = [_event(row, folded_hash, exact_hash) for row in rows if row.purpose != CONTACT]
    return weigh(events, do_not_write=last is not None and last.state in REFUSALS)


_remembered = lru_cache(maxsize=1_024)(_weighed)


async def standings_of(connection: AsyncConnection, people: Iterable[Person]) -> dict[Person, Consent]:
    """Return where several people stand, as ``consents_of`` does, within a transaction of SQLAlchemy's."""
    return await connection.run_sync(lambda inside: consents_of(WithinTransaction(inside), people))


async def consent_of(connection: AsyncConnection, person: Person) -> Consent:
    """Return where a person stands on every purpose."""
    found = await connection.run_sync(lambda inside: consents_of(WithinTransaction(inside), [person]))
    return found[person]


async def consent_in_any_spelling(connection: AsyncConnection, person: Person, now: datetime) -> Consent:
    """Return where a person stands of whom only the folded hash is known: what they agreed to in any spelling."""
    spelled = select(consent_event.c.exact_hash).where(
        consent_event.c.folded_hash == person.folded_hash, consent_event.c.exact_hash.is_not(None)
    )
    hashes = (await connection.execute(spelled.distinct().order_by(consent_event.c.exact_hash))).scalars().all()
    people = [replace(person, exact_hash=one) for one in hashes] or [person]
    found = await standings_of(connection, people)
    return most([found[one] for one in people], now)


def where(standing: Standing, events: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """Return in a word where somebody stands on a purpose: a state, "expired", "suspended" or "unknown".

    ``events`` are their own about it, as ``history`` has them: where none of them counts, the newest says why not.
    """
    if standing.state is not None:
        over = standing.state in GRANTS and not standing.granted(now)
        return "expired" if over else standing.state.value
    if not events:
        return "unknown"
    last = State(events[-1]["state"])
    return "suspended" if last in GRANTS else last.value


def words(consent: Consent, events: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, str]:
    """Return by purpose in a word where somebody stands whose exact address is known; ``events`` as ``history`` has."""
    own = [event for event in events if event["exact"]]
    return {
        purpose.value: where(consent.on(purpose), [one for one in own if one["purpose"] == purpose], now)
        for purpose in Purpose
    }


def consents_of(batch: Batch, people: Iterable[Person]) -> dict[Person, Consent]:
    """Return where several people stand, with one query."""
    asked = list(people)
    rows: dict[str, list[Any]] = {}
    hashes = {found for one in asked for found in (one.folded_hash, *one.domains)}
    for row in batch.rows(_EVENTS, {"people": list(hashes)}):
        rows.setdefault(row.folded_hash, []).append(row)
    return {one: _consent(_rows_of(one, rows), one) for one in asked}


def _rows_of(person: Person, rows: dict[str, list[Any]]) -> tuple[Any, ...]:
    """Return the rows about a person, and about the domains that they are in."""
    wider = (row for domain in person.domains for row in rows.get(domain, ()))
    return (*rows.get(person.folded_hash, ()), *wider)


async def grant(
    connection: AsyncConnection,
    keyring: Keyring,
    person: Person,
    purposes: Sequence[Purpose],
    act: Act,
    notice: Notice,
    now: datetime,
    validity: timedelta = VALIDITY,
) -> tuple[int, str]:
    """Record a grant per purpose and return the chain's new head; where one stands already, it is renewed.

    Raises ConsentRefused without evidence for what is only asserted, and after a refusal that only the person
    themselves, by their mailbox, may take back.
    """
    head = await chain.lock(connection)
    before = await consent_of(connection, person)
    if act.assurance is not Assurance.MAILBOX_PROVEN:
        if not act.evidence.strip():
            raise ConsentRefused("A grant recorded for somebody else needs evidence of how they gave it (--evidence).")
        refused = [purpose for purpose in purposes if before.on(purpose).state in REFUSALS]
        if any(event.domain for purpose in refused if (event := before.on(purpose).event) is not None):
            raise ConsentRefused("The person's whole domain has refused; only they can agree, by their own mailbox.")
        if refused:
            raise ConsentRefused(
                f"This person has refused ({', '.join(refused)}); only they can agree again, by their own mailbox."
            )
    rows = []
    for purpose in purposes:
        state = State.RENEWED if before.granted(purpose, now) else State.GRANTED
        rows.append(event_row(person, purpose, state, act, notice, now, now + validity))
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
            state = State.WITHDRAWN if GRANTS.intersection(before) else State.REFUSED
            rows.append(event_row(person, purpose, state, act, notice, now))
    return await chain.append(connection, keyring, head, rows) if rows else None


async def invalidate(
    connection: AsyncConnection, keyring: Keyring, person: Person, act: Act, notice: Notice, now: datetime
) -> tuple[tuple[int, str] | None, str | None]:
    """Record that a person never agreed: every grant on record, unproven ones too, is invalid from now on.

    Where one came with an import, all grants of that import rest until an administrator decides. Returns the chain's
    new head (None where nothing was there to invalidate) and the newest import that is in doubt now, if any.
    """
    head = await chain.lock(connection)
    statement = select(consent_event.c.purpose, consent_event.c.state, consent_event.c.batch)
    statement = statement.where(consent_event.c.folded_hash == person.folded_hash, consent_event.c.purpose != CONTACT)
    last: dict[Purpose, State] = {}
    batches: list[str] = []
    for row in await connection.execute(statement.order_by(consent_event.c.sequence)):
        state = State(row.state)
        if state in _CLAIMS or state in REFUSALS:
            last[Purpose(row.purpose)] = state
        if state in _CLAIMS and row.batch is not None:
            batches.append(row.batch)
    rows = [
        event_row(person, purpose, State.INVALIDATED, act, notice, now)
        for purpose, state in last.items()
        if state in _CLAIMS
    ]
    for batch in dict.fromkeys(batches):
        await suspend(connection, batch, now)
    return (await chain.append(connection, keyring, head, rows) if rows else None), (batches[-1] if batches else None)


async def suspend(connection: AsyncConnection, batch: str, now: datetime) -> bool:
    """Have the grants of an import rest from now on; tell whether they counted until now."""
    resting = update(import_batch).where(import_batch.c.id == batch, import_batch.c.suspended_at.is_(None))
    return bool((await connection.execute(resting.values(suspended_at=stamp(now)))).rowcount)


async def resume(connection: AsyncConnection, batch: str) -> bool:
    """Have the grants of an import count again; tell whether they rested. What was invalidated stays so."""
    counting = update(import_batch).where(import_batch.c.id == batch, import_batch.c.suspended_at.is_not(None))
    # One that has broken off never counts.
    counting = counting.where(import_batch.c.rows > 0)
    return bool((await connection.execute(counting.values(suspended_at=None))).rowcount)


async def _said(connection: AsyncConnection, person: Person) -> dict[Purpose, list[State]]:
    """Return what was said for the address in any spelling, oldest first."""
    statement = select(consent_event.c.purpose, consent_event.c.state).order_by(consent_event.c.sequence)
    statement = statement.where(
        consent_event.c.folded_hash == person.folded_hash,
        consent_event.c.purpose != CONTACT,
        consent_event.c.state.in_([*GRANTS, *REFUSALS]),
    )
    said: dict[Purpose, list[State]] = {}
    for row in await connection.execute(statement):
        said.setdefault(Purpose(row.purpose), []).append(State(row.state))
    return said


def event_row(
    person: Person,
    purpose: str,
    state: State,
    act: Act,
    notice: Notice,
    now: datetime,
    valid_until: datetime | None = None,
) -> tuple[dict[str, Any], bytes]:
    """Return an event as ``chain.append`` takes it: its row, and what is personal in it."""
    row = {
        "id": str(uuid.uuid4()),
        "schema_version": chain.SCHEMA_VERSION,
        "exact_hash": person.exact_hash,
        "folded_hash": person.folded_hash,
        "purpose": str(purpose),
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
        "valid_until": stamp(valid_until) if valid_until is not None else None,
        "withdrawal": notice.withdrawal,
        "collection_point": act.collection_point,
        "batch": act.batch,
        "request": act.request,
    }
    personal = {"address": person.address, "evidence": act.evidence, "source": act.source}
    return row, json.dumps(personal, ensure_ascii=False).encode("utf-8", "replace")


async def history(
    connection: AsyncConnection, keyring: Keyring, person: Person, *, wider: bool = False
) -> list[dict[str, Any]]:
    """Return everything recorded about a person's consent, oldest first, with what is sealed opened.

    ``wider``: also what was said of the domains that they are in, marked as ``domain``.
    """
    joined = consent_event.outerjoin(consent_personal, consent_event.c.sequence == consent_personal.c.sequence)
    statement = select(consent_event, consent_personal.c.sealed).select_from(joined)
    hashes = [person.folded_hash, *(person.domains if wider else ())]
    statement = statement.where(consent_event.c.folded_hash.in_(hashes)).order_by(consent_event.c.sequence)
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
                "collection_point": row.collection_point,
                "batch": row.batch,
                "address": personal.get("address"),
                "evidence": personal.get("evidence", ""),
                "source": personal.get("source", ""),
                "exact": person.exact_hash is not None and row.exact_hash == person.exact_hash,
                "domain": row.folded_hash != person.folded_hash,
            }
        )
    return events
