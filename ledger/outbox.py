"""The outbox: the few mails that aboveboard itself sends. Written in the transaction that makes them due, sent later.

A letter is kept as its kind and the values its template needs, sealed, until it is sent; then only that it was sent.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.consent import Person
from ledger.keys import Keyring
from ledger.schema import outbox, stamp
from policies.footer import Language

MAX_ATTEMPTS = 10
CLAIM = timedelta(minutes=10)
"""A letter that a process took up and did not finish is due again after this."""


class LetterState(StrEnum):
    """How far a letter is."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to be written: what kind, to whom, in which language, and what it has to say."""

    kind: str
    """Names the template."""
    address: str
    language: Language = Language.ENGLISH
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A letter that one process is to send now."""

    id: str
    letter: Letter
    attempts: int


async def put(
    connection: AsyncConnection, keyring: Keyring, letter: Letter, now: datetime, due: datetime | None = None
) -> str:
    """Put a letter into the outbox, due now or later; return its id."""
    values = new_row(keyring, letter, now, due)
    await connection.execute(insert(outbox).values(values))
    return str(values["id"])


def new_row(keyring: Keyring, letter: Letter, now: datetime, due: datetime | None = None) -> dict[str, Any]:
    """Return a letter as its row in the outbox: for many at once."""
    letter_id = secrets.token_hex(16)
    content = {"address": letter.address, "language": letter.language.value, "values": dict(letter.values)}
    return {
        "id": letter_id,
        "kind": letter.kind,
        "folded_hash": Person.of(keyring, letter.address).folded_hash,
        "created_at": stamp(now),
        "due_at": stamp(due or now),
        "attempts": 0,
        "state": LetterState.QUEUED.value,
        "sealed": keyring.seal_column(json.dumps(content).encode("ascii"), f"outbox/{letter_id}"),
    }


async def is_due(connection: AsyncConnection, now: datetime) -> bool:
    """Tell whether a letter is to be sent now."""
    due = select(outbox.c.id).where(outbox.c.state == LetterState.QUEUED.value, outbox.c.due_at <= stamp(now)).limit(1)
    return (await connection.execute(due)).first() is not None


async def waiting(connection: AsyncConnection) -> int:
    """Return how many letters are not sent yet."""
    queued = select(func.count()).select_from(outbox).where(outbox.c.state == LetterState.QUEUED.value)
    return int((await connection.execute(queued)).scalar_one())


async def claim(connection: AsyncConnection, keyring: Keyring, now: datetime) -> Claimed | None:
    """Return the letter that has been due for longest, and have no other process take it up; None for none."""
    statement = select(outbox).where(outbox.c.state == LetterState.QUEUED.value, outbox.c.due_at <= stamp(now))
    statement = statement.order_by(outbox.c.due_at, outbox.c.id).limit(1).with_for_update(skip_locked=True)
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    taken = {"attempts": row.attempts + 1, "due_at": stamp(now + CLAIM)}
    await connection.execute(update(outbox).where(outbox.c.id == row.id).values(taken))
    content = json.loads(keyring.open_column(row.sealed, f"outbox/{row.id}"))
    letter = Letter(row.kind, content["address"], Language(content["language"]), content["values"])
    return Claimed(row.id, letter, row.attempts + 1)


async def sent(connection: AsyncConnection, letter_id: str, now: datetime) -> None:
    """Note that a letter was accepted by the mail server; what it said is not kept."""
    values = {"state": LetterState.SENT.value, "sent_at": stamp(now), "sealed": None}
    await connection.execute(update(outbox).where(outbox.c.id == letter_id).values(values))


async def not_sent(connection: AsyncConnection, claimed: Claimed, now: datetime, *, permanent: bool) -> None:
    """Note that a letter was not accepted: it is tried again, later each time, unless there is no use in it."""
    if permanent or claimed.attempts >= MAX_ATTEMPTS:
        values: dict[str, object] = {"state": LetterState.FAILED.value, "sealed": None}
    else:
        values = {"due_at": stamp(now + timedelta(minutes=2**claimed.attempts))}
    await connection.execute(update(outbox).where(outbox.c.id == claimed.id).values(values))
