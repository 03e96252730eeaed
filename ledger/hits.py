"""Hits on record: an image was loaded, a link was followed. Consent is looked at again for every one.

Written in piles: one look at the messages, one at the consent, one insert, one update, however many hits there are.
"""

import json
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import bindparam, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.batch import Batch, Statement
from ledger.consent import DOMAINS_REFUSE, Person, consents_of, domains
from ledger.keys import Keyring
from ledger.schema import hit, message, meta, moment, stamp
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


_SLICE = 500
_Key = tuple[str, str, int]


def _key(one: Hit) -> _Key:
    return one.message_id, one.purpose.value, one.link


@dataclass(slots=True)
class _Row:
    """A row of hits that a repeat may be added to."""

    id: str
    first_at: datetime
    last_at: str
    times: int = 0
    """How many are to be added."""


_LAST = case((hit.c.last_at < bindparam("at"), bindparam("at")), else_=hit.c.last_at)
_INSERT = Statement(lambda _: insert(hit))
_REPEAT = Statement(
    lambda _: (
        update(hit).where(hit.c.id == bindparam("found")).values(count=hit.c.count + bindparam("times"), last_at=_LAST)
    )
)
_MESSAGES = Statement(
    lambda words: (
        select(
            message.c.id,
            message.c.decided_at,
            message.c.reasons,
            message.c.exact_hash,
            message.c.folded_hash,
            message.c.sealed,
            select(meta.c.value).where(meta.c.name == DOMAINS_REFUSE).scalar_subquery().label("domains_refuse"),
        )
        .where(words.among(message.c.id, "messages"))
        .order_by(message.c.id)
        # Whoever refuses waits for this transaction, or this one for the refusal: no hit slips in between.
        .with_for_update(read=True, key_share=True)
    )
)
_RECENT = Statement(
    lambda words: (
        select(hit.c.id, hit.c.message_id, hit.c.purpose, hit.c.link, hit.c.first_at, hit.c.last_at)
        .where(words.among(hit.c.message_id, "messages"), hit.c.first_at >= bindparam("since"))
        .order_by(hit.c.first_at)
    )
)


def record(batch: Batch, keyring: Keyring, hits: list[Hit], recording: timedelta) -> None:
    """Record the hits that may be: of a tracked message still in its recording time, whose recipient agrees now."""
    allowed = _allowed(batch, keyring, hits, recording)
    if not allowed:
        return
    rows = _recent(batch, allowed)
    repeated = {row.id: row for row in rows.values()}
    new: list[tuple[Hit, _Row]] = []
    for one in sorted(allowed, key=lambda one: one.at):
        row = rows.get(_key(one))
        if row is None or one.at - row.first_at > REPEAT:
            row = rows[_key(one)] = _Row(secrets.token_hex(16), one.at, stamp(one.at))
            new.append((one, row))
        row.times += 1
        row.last_at = max(row.last_at, stamp(one.at))
    if new:
        batch.execute(_INSERT, [_values(keyring, one, row) for one, row in new])
    # In one order everywhere, so that two writers never wait for each other's rows.
    counted = [{"found": row.id, "times": row.times, "at": row.last_at} for row in repeated.values() if row.times]
    if counted:
        batch.execute(_REPEAT, sorted(counted, key=itemgetter("found")))


def _values(keyring: Keyring, one: Hit, row: _Row) -> dict[str, Any]:
    place = one.place.encode("utf-8", "replace")
    return {
        "id": row.id,
        "message_id": one.message_id,
        "purpose": one.purpose.value,
        "link": one.link,
        "verdict": one.verdict.value,
        "first_at": stamp(row.first_at),
        "last_at": row.last_at,
        "count": row.times,
        "sealed": keyring.seal_column(place, f"hit/{row.id}") if place else None,
    }


def _allowed(batch: Batch, keyring: Keyring, hits: Iterable[Hit], recording: timedelta) -> list[Hit]:
    wanted = {one.message_id for one in hits}
    found = {row.id: row for row in batch.rows(_MESSAGES, {"messages": list(wanted)})}
    people = {found_id: person for found_id, row in found.items() if (person := _recipient(keyring, row)) is not None}
    consents = consents_of(batch, set(people.values()))
    return [
        one
        for one in hits
        if one.message_id in people
        and _was_tracked(found[one.message_id], one, recording)
        and consents[people[one.message_id]].granted(one.purpose, one.at)
    ]


def _recipient(keyring: Keyring, row: Any) -> Person | None:
    """Return whom a message went to; None where whole domains refuse, and it is not known any more which it went to."""
    person = Person(row.folded_hash or "", row.exact_hash)
    if row.domains_refuse is None:
        return person
    if row.sealed is None:
        return None
    recipient = json.loads(keyring.open_column(row.sealed, f"message/{row.id}"))["recipient"] or ""
    return replace(person, domains=domains(keyring, recipient))


def _was_tracked(row: Any, one: Hit, recording: timedelta) -> bool:
    if json.loads(row.reasons).get(one.purpose.value) != Reason.TRACKED:
        return False
    return one.at <= moment(row.decided_at) + recording


def _recent(batch: Batch, hits: list[Hit]) -> dict[_Key, _Row]:
    """Return the newest rows of these messages that are young enough to be repeated."""
    since = stamp(min(one.at for one in hits) - REPEAT)
    asked = {"messages": list({one.message_id for one in hits}), "since": since}
    return {
        (row.message_id, row.purpose, row.link): _Row(row.id, moment(row.first_at), row.last_at)
        for row in batch.rows(_RECENT, asked)
    }


async def forget(connection: AsyncConnection, folded_hash: str, purposes: Iterable[Purpose]) -> int:
    """Delete the hits of a person's messages that were recorded for these purposes; return how many there were."""
    theirs = select(message.c.id).where(message.c.folded_hash == folded_hash)
    await connection.execute(theirs.order_by(message.c.id).with_for_update())
    statement = delete(hit).where(hit.c.message_id.in_(theirs), hit.c.purpose.in_([one.value for one in purposes]))
    return (await connection.execute(statement)).rowcount


async def messages_of_domains(connection: AsyncConnection, keyring: Keyring, hashes: Collection[str]) -> list[str]:
    """Return the ids of messages to domains, by keyed hash, that hits were recorded of, as far as that is known."""
    statement = select(message.c.id, message.c.sealed).where(
        message.c.sealed.is_not(None), message.c.id.in_(select(hit.c.message_id))
    )
    found = []
    for row in await connection.execute(statement):
        recipient = json.loads(keyring.open_column(row.sealed, f"message/{row.id}"))["recipient"]
        if recipient and not set(domains(keyring, recipient)).isdisjoint(hashes):
            found.append(row.id)
    return found


async def forget_of(connection: AsyncConnection, messages: Sequence[str]) -> int:
    """Delete the hits of messages; return how many there were."""
    gone = 0
    for at in range(0, len(messages), _SLICE):
        statement = delete(hit).where(hit.c.message_id.in_(messages[at : at + _SLICE]))
        gone += (await connection.execute(statement)).rowcount
    return gone


async def holdings(connection: AsyncConnection, folded_hash: str) -> dict[str, int]:
    """Return how many tracked messages and how many hits are on record about a person."""
    # Also one whose names and subject are purged already: what was recorded of it is theirs all the same.
    theirs = select(message.c.id).where(message.c.folded_hash == folded_hash, message.c.reason == Reason.TRACKED.value)
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
