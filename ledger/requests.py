"""Requests: what people ask for and complain about, as cases with a number, and until when each must be answered."""

import json
import secrets
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import outbox
from ledger.calendar import Calendar
from ledger.consent import Person
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.outbox import Letter
from ledger.schema import moment, request_case, stamp
from policies.footer import Language

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without the characters that are mistaken for others on the telephone."""


_AGAIN = timedelta(minutes=10)
"""Within this time the same words are the same request: the button was pressed again."""


class CaseKind(StrEnum):
    """What a case is about."""

    ACCESS = "access"
    CORRECTION = "correction"
    DELETION = "deletion"
    COMPLAINT = "complaint"
    INVALID_GRANT = "invalid_grant"
    """ "I never agreed"."""


class CaseState(StrEnum):
    """How far a case is."""

    OPEN = "open"
    ANSWERED = "answered"
    ERASED = "erased"
    """Closed by the person's erasure; what was written is gone."""


def _number() -> str:
    """Return a fresh case number: random, so that it tells nothing of how many there are."""
    drawn = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    return f"{drawn[:5]}-{drawn[5:]}"


async def open_case(
    connection: AsyncConnection,
    keyring: Keyring,
    kind: CaseKind,
    person: Person,
    address: str | None,
    text: str,
    now: datetime,
    calendar: Calendar,
    batch: str | None = None,
    language: Language = Language.ENGLISH,
) -> str:
    """Open a case and return its number; the person gets a letter with it where there is mail of our own.

    ``address`` is None where only the keyed hash is known; ``batch`` is the import that a case puts in doubt. The same
    words once more within ten minutes open no second case.
    """
    again = await _just_opened(connection, keyring, kind, person, text, now)
    if again is not None:
        return again
    number, complaint = _number(), kind is CaseKind.COMPLAINT
    due = calendar.answer_by(now.date(), complaint=complaint)
    told = calendar.letters and address is not None
    content = {"address": address, "language": language.value, "text": text, "answer": None, "reason": None}
    values = {
        "number": number,
        "kind": kind.value,
        "folded_hash": person.folded_hash,
        "opened_at": stamp(now),
        "acknowledge_by": calendar.acknowledge_by(now.date(), complaint=complaint).isoformat(),
        "acknowledged_at": stamp(now) if told else None,
        "due_by": due.isoformat(),
        "state": CaseState.OPEN.value,
        "batch": batch,
        "sealed": _sealed(keyring, number, content),
    }
    await connection.execute(insert(request_case).values(values))
    await _tell(connection, keyring, calendar, "case", content, now, number=number, kind=kind.value, due=str(due))
    return number


async def _just_opened(
    connection: AsyncConnection, keyring: Keyring, kind: CaseKind, person: Person, text: str, now: datetime
) -> str | None:
    """Return the number of an open case that was just made with the same words; None where there is none."""
    lately = select(request_case).where(
        request_case.c.folded_hash == person.folded_hash,
        request_case.c.kind == kind.value,
        request_case.c.state == CaseState.OPEN.value,
        request_case.c.opened_at > stamp(now - _AGAIN),
    )
    rows = (await connection.execute(lately)).all()
    return next((str(row.number) for row in rows if _opened(keyring, row)["text"] == text), None)


def _sealed(keyring: Keyring, number: str, content: Mapping[str, str | None]) -> bytes:
    return keyring.seal_column(json.dumps(content).encode("ascii"), f"request_case/{number}")


def _opened(keyring: Keyring, row: Any) -> dict[str, str | None]:
    """Return what is sealed in a case; nothing is left of it after an erasure."""
    if row.sealed is None:
        return dict.fromkeys(("address", "language", "text", "answer", "reason"))
    found: dict[str, str | None] = json.loads(keyring.open_column(row.sealed, f"request_case/{row.number}"))
    return found


async def _tell(
    connection: AsyncConnection,
    keyring: Keyring,
    calendar: Calendar,
    letter: str,
    content: Mapping[str, str | None],
    now: datetime,
    **values: str,
) -> None:
    """Have the person hear of their case by letter, where that can be."""
    address = content["address"]
    if calendar.letters and address is not None:
        language = Language(content["language"] or Language.ENGLISH)
        await outbox.put(connection, keyring, Letter(letter, address, language, values), now)


def _public(keyring: Keyring, row: Any) -> dict[str, Any]:
    hidden = ("folded_hash", "sealed")
    return {**{name: value for name, value in row._mapping.items() if name not in hidden}, **_opened(keyring, row)}


async def _found(connection: AsyncConnection, keyring: Keyring, statement: Select[Any]) -> list[dict[str, Any]]:
    ordered = statement.order_by(request_case.c.due_by, request_case.c.number)
    return [_public(keyring, row) for row in await connection.execute(ordered)]


async def cases_of(connection: AsyncConnection, keyring: Keyring, person: Person) -> list[dict[str, Any]]:
    """Return every case of a person, the one that is due first before the others."""
    statement = select(request_case).where(request_case.c.folded_hash == person.folded_hash)
    return await _found(connection, keyring, statement)


async def cases(connection: AsyncConnection, keyring: Keyring) -> list[dict[str, Any]]:
    """Return every case on record, the one that is due first before the others."""
    return await _found(connection, keyring, select(request_case))


async def overdue(connection: AsyncConnection, keyring: Keyring, today: date) -> list[dict[str, Any]]:
    """Return the open cases that should have been acknowledged or answered before ``today``."""
    unacknowledged = request_case.c.acknowledged_at.is_(None) & (request_case.c.acknowledge_by < today.isoformat())
    late = or_(request_case.c.due_by < today.isoformat(), unacknowledged)
    statement = select(request_case).where(request_case.c.state == CaseState.OPEN.value, late)
    return await _found(connection, keyring, statement)


async def case(connection: AsyncConnection, keyring: Keyring, number: str) -> dict[str, Any]:
    """Return a case by its number. Raises LedgerError where there is none."""
    return _public(keyring, await _row(connection, number))


async def _row(connection: AsyncConnection, number: str) -> Any:
    statement = select(request_case).where(request_case.c.number == number.strip().upper())
    row = (await connection.execute(statement)).first()
    if row is None:
        raise LedgerError(f"There is no request with the number {number}.")
    return row


async def _open_row(connection: AsyncConnection, number: str) -> Any:
    # Of two that answer at the same moment, one waits and finds it closed.
    locking = select(request_case.c.number).where(request_case.c.number == number.strip().upper()).with_for_update()
    await connection.execute(locking)
    row = await _row(connection, number)
    if row.state != CaseState.OPEN:
        raise LedgerError(f"The request {row.number} is closed already.")
    return row


async def acknowledge(connection: AsyncConnection, number: str, now: datetime) -> None:
    """Note that the person knows that their request has arrived. Raises LedgerError for one that is closed or none."""
    row = await _open_row(connection, number)
    values = {"acknowledged_at": row.acknowledged_at or stamp(now)}
    await connection.execute(update(request_case).where(request_case.c.number == row.number).values(values))


async def answer(
    connection: AsyncConnection, keyring: Keyring, number: str, text: str, now: datetime, calendar: Calendar
) -> None:
    """Answer and close a case, by letter where that can be. Raises LedgerError for one that is closed or none."""
    row = await _open_row(connection, number)
    content = {**_opened(keyring, row), "answer": text}
    values = {
        "acknowledged_at": row.acknowledged_at or stamp(now),
        "answered_at": stamp(now),
        "state": CaseState.ANSWERED.value,
        "sealed": _sealed(keyring, row.number, content),
    }
    await connection.execute(update(request_case).where(request_case.c.number == row.number).values(values))
    await _tell(connection, keyring, calendar, "case_answer", content, now, number=row.number, answer=text)


async def extend(
    connection: AsyncConnection,
    keyring: Keyring,
    number: str,
    reason: str,
    until: date,
    now: datetime,
    calendar: Calendar,
) -> None:
    """Put an answer off, which the person hears with the reason. Raises LedgerError for what GDPR 12(3) does not allow.

    The reason must be said while the answer is not overdue, and two months are the most there is.
    """
    row = await _open_row(connection, number)
    opened = moment(row.opened_at).date()
    last = calendar.extended_by(opened, complaint=row.kind == CaseKind.COMPLAINT)
    if row.due_by < now.date().isoformat():
        raise LedgerError(f"The request {row.number} is overdue; it can only be answered.")
    if not row.due_by < until.isoformat() <= last.isoformat():
        raise LedgerError(f"The request {row.number} can be put off to a day after {row.due_by}, until {last}.")
    content = {**_opened(keyring, row), "reason": reason}
    values = {
        "acknowledged_at": row.acknowledged_at or stamp(now),
        "extended_at": stamp(now),
        "due_by": until.isoformat(),
        "sealed": _sealed(keyring, row.number, content),
    }
    await connection.execute(update(request_case).where(request_case.c.number == row.number).values(values))
    due = until.isoformat()
    await _tell(connection, keyring, calendar, "case_extended", content, now, number=row.number, due=due, reason=reason)


async def close_erased(connection: AsyncConnection, folded_hash: str, now: datetime) -> int:
    """Remove what was written in a person's cases, and close the open ones; return how many held something."""
    theirs = request_case.c.folded_hash == folded_hash
    closing = update(request_case).where(theirs, request_case.c.state == CaseState.OPEN.value)
    await connection.execute(closing.values(state=CaseState.ERASED.value, answered_at=stamp(now)))
    emptying = update(request_case).where(theirs, request_case.c.sealed.is_not(None))
    return (await connection.execute(emptying.values(sealed=None))).rowcount
