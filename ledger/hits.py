"""Hits on record: an image was loaded, a link was followed. Consent is looked at again for every one.

Written in piles: one look at the messages, one at the consent, one insert, one update, however many hits there are.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.consent import Person, consents_of
from ledger.keys import Keyring
from ledger.schema import hit, message, moment, stamp
from policies.words import Purpose, Reason, Verdict

REPEAT = timedelta(seconds=60)
"""A repeat within this time raises the count of the first hit."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One fetch of a pixel or a link. ``link`` is 0 for a pixel; ``place`` is host and path, without the query."""

    message_id: str
    purpose: Purpose
    at: datetime
    verdict: Verdict
    link: int = 0
    place: str = ""


_Key = tuple[str, str, int]


def _key(one: Hit) -> _Key:
    return one.message_id, one.purpose.value, one.link


async def record(connection: AsyncConnection, keyring: Keyring, hits: list[Hit], recording: timedelta) -> None:
    """Record the hits that may be: of a tracked message still in its recording time, whose recipient agrees now."""
    allowed = await _allowed(connection, hits, recording)
    if not allowed:
        return
    seen = await _recent(connection, allowed)
    new: dict[_Key, dict[str, Any]] = {}
    repeats: dict[str, dict[str, Any]] = {}
    for one in allowed:
        at = stamp(one.at)
        known = seen.get(_key(one))
        if known is not None:
            repeat = repeats.setdefault(known, {"found": known, "times": 0, "at": at})
            repeat.update(times=repeat["times"] + 1, at=max(at, repeat["at"]))
        elif _key(one) in new:
            row = new[_key(one)]
            row.update(count=row["count"] + 1, last_at=max(at, row["last_at"]))
        else:
            new[_key(one)] = _row(keyring, one, at)
    if new:
        await connection.execute(insert(hit), list(new.values()))
    if repeats:
        statement = update(hit).where(hit.c.id == bindparam("found"))
        statement = statement.values(count=hit.c.count + bindparam("times"), last_at=bindparam("at"))
        await connection.execute(statement, list(repeats.values()))


def _row(keyring: Keyring, one: Hit, at: str) -> dict[str, Any]:
    hit_id = secrets.token_hex(16)
    sealed = keyring.seal_column(one.place.encode("utf-8", "replace"), f"hit/{hit_id}") if one.place else None
    return {
        "id": hit_id,
        "message_id": one.message_id,
        "purpose": one.purpose.value,
        "link": one.link,
        "verdict": one.verdict.value,
        "first_at": at,
        "last_at": at,
        "count": 1,
        "sealed": sealed,
    }


async def _allowed(connection: AsyncConnection, hits: Iterable[Hit], recording: timedelta) -> list[Hit]:
    wanted = {one.message_id for one in hits}
    columns = (message.c.id, message.c.decided_at, message.c.reasons, message.c.exact_hash, message.c.folded_hash)
    found = {row.id: row for row in await connection.execute(select(*columns).where(message.c.id.in_(wanted)))}
    people = {found_id: Person(row.folded_hash or "", row.exact_hash) for found_id, row in found.items()}
    consents = await consents_of(connection, set(people.values()))
    return [
        one
        for one in hits
        if one.message_id in found
        and _was_tracked(found[one.message_id], one, recording)
        and consents[people[one.message_id]].granted(one.purpose, one.at)
    ]


def _was_tracked(row: Any, one: Hit, recording: timedelta) -> bool:
    if json.loads(row.reasons).get(one.purpose.value) != Reason.TRACKED:
        return False
    return one.at <= moment(row.decided_at) + recording


async def _recent(connection: AsyncConnection, hits: list[Hit]) -> dict[_Key, str]:
    """Return the hits of these messages that are young enough to be repeated, newest last."""
    since = stamp(min(one.at for one in hits) - REPEAT)
    statement = select(hit.c.id, hit.c.message_id, hit.c.purpose, hit.c.link).where(
        hit.c.message_id.in_({one.message_id for one in hits}), hit.c.first_at >= since
    )
    rows = await connection.execute(statement.order_by(hit.c.first_at))
    return {(row.message_id, row.purpose, row.link): row.id for row in rows}


async def forget(connection: AsyncConnection, folded_hash: str) -> int:
    """Delete every hit of a person's messages and return how many there were."""
    theirs = select(message.c.id).where(message.c.folded_hash == folded_hash)
    return (await connection.execute(delete(hit).where(hit.c.message_id.in_(theirs)))).rowcount


async def holdings(connection: AsyncConnection, folded_hash: str) -> dict[str, int]:
    """Return how many tracked messages and how many hits are on record about a person."""
    theirs = select(message.c.id).where(message.c.folded_hash == folded_hash, message.c.sealed.is_not(None))
    messages = (await connection.execute(select(func.count()).select_from(theirs.subquery()))).scalar_one()
    found = select(func.count()).select_from(hit).where(hit.c.message_id.in_(theirs))
    return {"messages": messages, "hits": (await connection.execute(found)).scalar_one()}


async def hits(
    connection: AsyncConnection, keyring: Keyring, *, message_ids: Iterable[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the hits on record, newest first; with ids, only those of these messages."""
    statement = select(hit).order_by(hit.c.first_at.desc(), hit.c.id)
    if message_ids is not None:
        statement = statement.where(hit.c.message_id.in_(set(message_ids)))
    return [
        {
            "message": row.message_id,
            "purpose": row.purpose,
            "link": row.link or None,
            "target": keyring.open_column(row.sealed, f"hit/{row.id}").decode() if row.sealed else None,
            "verdict": row.verdict,
            "first_at": row.first_at,
            "last_at": row.last_at,
            "count": row.count,
        }
        for row in await connection.execute(statement.limit(limit))
    ]
