"""Links that prove a mailbox: mailed to one address alone, good for a time, used up by one POST.

What only a person themselves may do (agree, see, copy, correct, erase) needs such a link. The page that it opens goes
on for a while with a visit, which is carried in the forms: there is no cookie.
"""

import json
import secrets
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.consent import Person
from ledger.keys import Keyring
from ledger.schema import mailbox_link, stamp
from ledger.tokens import open_text, sealed_text

VISIT = timedelta(minutes=15)
"""How long a page that a mailed link opened stays open; every step begins it anew."""
PER_DAY = 3
"""Links of one kind that are mailed to one address in a day, however often they are asked for."""


class LinkKind(StrEnum):
    """What a mailed link is for."""

    JOIN = "join"
    """To confirm what was asked for on a form, or in answer to a question."""
    ASK = "ask"
    """To answer an invitation below ordinary mail. That may be passed on, so it can refuse, and have a link mailed."""
    YOU = "you"
    """To the preference centre."""
    UNDO = "undo"
    """To take back a grant that somebody else recorded."""


LIFETIMES = {
    LinkKind.JOIN: timedelta(days=14),
    LinkKind.ASK: timedelta(days=14),
    LinkKind.YOU: timedelta(minutes=60),
    LinkKind.UNDO: timedelta(days=90),
}


@dataclass(frozen=True, slots=True)
class MailedLink:
    """A link on record: whose mailbox it went to, and what it was made with."""

    id: str
    kind: LinkKind
    address: str
    content: dict[str, Any] = field(default_factory=dict)


async def make(
    connection: AsyncConnection,
    keyring: Keyring,
    kind: LinkKind,
    address: str,
    now: datetime,
    content: dict[str, Any] | None = None,
) -> str | None:
    """Put a link on record and return its token; None where the address got as many as it may in a day (W19)."""
    person = Person.of(keyring, address)
    today = select(func.count()).where(
        mailbox_link.c.folded_hash == person.folded_hash,
        mailbox_link.c.kind == kind.value,
        mailbox_link.c.created_at > stamp(now - timedelta(days=1)),
    )
    if (await connection.execute(today)).scalar_one() >= PER_DAY:
        return None
    values, token = new_row(keyring, kind, address, now, content)
    await connection.execute(insert(mailbox_link).values(values))
    return token


def new_row(
    keyring: Keyring, kind: LinkKind, address: str, now: datetime, content: dict[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Return a link as its row, and its token: for many at once, which nobody has asked for."""
    link_id = secrets.token_hex(16)
    sealed = json.dumps({"address": address, "content": content or {}}).encode("ascii")
    values = {
        "id": link_id,
        "kind": kind.value,
        "folded_hash": Person.of(keyring, address).folded_hash,
        "created_at": stamp(now),
        "expires_at": stamp(now + LIFETIMES[kind]),
        "sealed": keyring.seal_column(sealed, f"mailbox_link/{link_id}"),
    }
    return values, sealed_text(keyring, bytes.fromhex(link_id), "mailbox")


def url_of(public_url: str, kind: LinkKind, token: str) -> str:
    """Return the address that a mailed link has."""
    return f"{public_url}/{'join' if kind in (LinkKind.JOIN, LinkKind.ASK) else 'you'}/{token}"


async def look(connection: AsyncConnection, keyring: Keyring, token: str, now: datetime) -> MailedLink | None:
    """Return the link behind a token that is still good, without using it up; None for any other."""
    content = open_text(keyring, token, "mailbox")
    if content is None:
        return None
    statement = select(mailbox_link).where(
        mailbox_link.c.id == content.hex(), mailbox_link.c.used_at.is_(None), mailbox_link.c.expires_at > stamp(now)
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    opened = json.loads(keyring.open_column(row.sealed, f"mailbox_link/{row.id}"))
    return MailedLink(row.id, LinkKind(row.kind), opened["address"], opened["content"])


async def use(connection: AsyncConnection, keyring: Keyring, token: str, now: datetime) -> MailedLink | None:
    """Return the link behind a token and use it up; None for one that is over, used, or none of ours."""
    found = await look(connection, keyring, token, now)
    if found is None:
        return None
    statement = update(mailbox_link).where(mailbox_link.c.id == found.id, mailbox_link.c.used_at.is_(None))
    used = await connection.execute(statement.values(used_at=stamp(now)))
    # Of two POSTs at the same moment, one finds it used.
    return found if used.rowcount else None


def is_mailed(keyring: Keyring, token: str) -> bool:
    """Tell whether a token is that of a mailed link, used or not."""
    return open_text(keyring, token, "mailbox") is not None


def visit(keyring: Keyring, address: str, now: datetime) -> str:
    """Return what a form carries so that the next step needs no new link."""
    content = struct.pack(">Q", int((now + VISIT).timestamp())) + address.encode("utf-8", "surrogatepass")
    return sealed_text(keyring, content, "visit")


def visitor(keyring: Keyring, text: str, now: datetime) -> str | None:
    """Return the address whose mailbox was proven for a visit; None for one that is over, or none of ours."""
    content = open_text(keyring, text, "visit")
    if content is None or len(content) <= 8:
        return None
    (until,) = struct.unpack_from(">Q", content)
    over = datetime.fromtimestamp(until, UTC) <= now
    return None if over else content[8:].decode("utf-8", "surrogatepass")
