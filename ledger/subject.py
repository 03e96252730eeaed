"""One person's data: a copy of everything on record about them, or all of it gone at once.

Rows are found by the folded keyed hash, as refusals are: one mailbox, however it is spelled. Nobody else's address is
in a copy but that of the sender, whom the person knows from the message itself.
"""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import accounts, chain, decisions, hits
from ledger.consent import Act, Person, consent_of, event_row, history, words
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.requests import cases_of, close_erased
from ledger.schema import (
    consent_event,
    consent_personal,
    foreign_tracker,
    hit,
    look_alike,
    mailbox_link,
    message,
    outbox,
    question,
    sender_setting,
    stamp,
)
from ledger.schema import notice as notice_table
from policies.consent import State
from policies.words import Purpose

METHOD = "erasure"
"""The method of the events that an erasure leaves."""
_FORMULA = "=+-@＝＋－＠"  # spreadsheets take the fullwidth forms for the others

Summary = dict[str, dict[str, int]]


async def copy_of(connection: AsyncConnection, keyring: Keyring, person: Person, now: datetime) -> dict[str, Any]:
    """Return everything on record about a person, with what is sealed opened: their rows only (A12)."""
    standings = await consent_of(connection, person)
    said = await history(connection, keyring, person, wider=True)
    events = [event for event in said if not event["domain"]]
    to_them = await decisions.messages_to(connection, keyring, person.folded_hash)
    return {
        "consent": words(standings, events, now),
        "do_not_write": standings.do_not_write,
        "consent_events": events,
        "domain_events": _of_domains(said),
        "notices": await _notices(connection, {event["notice"] for event in said if event["notice"]}),
        "messages": to_them,
        "hits": await hits.hits(connection, keyring, message_ids=[one["message"] for one in to_them]),
        "sent": await _sent(connection, keyring, person),
        "trackers_sent": await _trackers(connection, person),
        "sender_settings": await _settings(connection, person),
        "accounts": await _accounts(connection, keyring, person),
        "links": await _rows(connection, person, "kind", "created_at", "expires_at", "used_at", table=mailbox_link),
        "questions": await _rows(connection, person, "asked_at", "way", table=question),
        "letters": await _rows(connection, person, "kind", "created_at", "state", "sent_at", table=outbox),
        "requests": await cases_of(connection, keyring, person),
    }


def _of_domains(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was said of the person's whole domain: it counts for them; who asked for it and why is not theirs."""
    shown = ("id", "purpose", "state", "time", "method", "actor", "notice")
    return [{name: event[name] for name in shown} for event in said if event["domain"]]


async def _notices(connection: AsyncConnection, ids: set[str]) -> list[dict[str, Any]]:
    """Return the notices that a person was shown, whole."""
    statement = select(notice_table).where(notice_table.c.id.in_(ids)).order_by(notice_table.c.created_at)
    return [
        {"id": row.id, "version": row.version, "language": row.language, "text": json.loads(row.body)}
        for row in await connection.execute(statement)
    ]


async def _sent(connection: AsyncConnection, keyring: Keyring, person: Person) -> list[dict[str, Any]]:
    """Return what is on record of messages that the person sent themselves, without whom they went to."""
    found = await decisions.messages(connection, keyring, sender_hash=person.folded_hash)
    shown = ("message", "decided_at", "class", "reason", "subject", "outcome")
    return [{name: one[name] for name in shown} for one in found]


async def _trackers(connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
    """Return which trackers of other people's tools were found in messages that the person sent."""
    columns = [foreign_tracker.c[name] for name in ("at", "vendor", "surface", "host", "action", "count")]
    statement = select(*columns).where(foreign_tracker.c.sender_hash == person.folded_hash)
    found = await connection.execute(statement.order_by(foreign_tracker.c.at, foreign_tracker.c.id))
    return [dict(row._mapping) for row in found]


async def _settings(connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
    """Return what the person saved for messages that they send."""
    columns = (sender_setting.c.open, sender_setting.c.click, sender_setting.c.changed_at)
    statement = select(*columns).where(sender_setting.c.sender_hash == person.folded_hash)
    return [dict(row._mapping) for row in await connection.execute(statement)]


async def _accounts(connection: AsyncConnection, keyring: Keyring, person: Person) -> list[dict[str, Any]]:
    """Return the account by which the person sends, and what its passwords are for."""
    found = await accounts.of(connection, keyring, person.folded_hash)
    return [
        {
            "login": one.login,
            "senders": list(one.senders),
            "created_at": stamp(one.created_at),
            "passwords": [{"for": each.label, "created_at": stamp(each.created_at)} for each in one.passwords],
        }
        for one in found
    ]


async def _rows(connection: AsyncConnection, person: Person, *columns: str, table: Any) -> list[dict[str, Any]]:
    """Return some columns of a person's rows; a letter's or link's content would hand out what its mailbox proves."""
    statement = select(*(table.c[name] for name in columns)).where(table.c.folded_hash == person.folded_hash)
    return [dict(row._mapping) for row in await connection.execute(statement.order_by(table.c[columns[0]], table.c.id))]


def defused(cell: object) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula (A3)."""
    text = "" if cell is None else str(cell)
    risky = text[:1] in ("\t", "\r", "\n") or text.lstrip()[:1] in tuple(_FORMULA)
    return f"'{text}" if risky else text


def as_csv(copy: dict[str, Any]) -> str:
    """Return a copy as CSV, one line per field: what, which one, field, value. JSON is the exact form."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["what", "number", "field", "value"])
    for what, held in copy.items():
        for number, record in enumerate(held if isinstance(held, list) else [held], 1):
            writer.writerows([what, number, field, defused(value)] for field, value in _fields(record))
    return out.getvalue()


def _fields(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value in a record with the way to it."""
    if isinstance(record, dict):
        inner = list(record.items())
    elif isinstance(record, list):
        inner = [(str(at), value) for at, value in enumerate(record, 1)]
    else:
        yield path, record
        return
    for name, value in inner:
        yield from _fields(value, f"{path}.{name}" if path else name)


async def erase(
    connection: AsyncConnection, keyring: Keyring, person: Person, act: Act, notice: Notice, now: datetime
) -> tuple[tuple[int, str] | None, Summary]:
    """Remove everything about a person at once; return the chain's new head, None for none, and what went and stays.

    The consent events stay, without their personal part, for the chain to stay whole; among them new ones that say
    "suppressed" under the keyed hash: the marker by which nobody tracks the person again.
    """
    head = await chain.lock(connection)
    removed = await remove(connection, person.folded_hash, now)
    marked = Act(act.actor_kind, METHOD, act.assurance, act.expression)
    nameless = Person(person.folded_hash)
    standings = await consent_of(connection, nameless)
    fresh = [
        event_row(nameless, purpose, State.SUPPRESSED, marked, notice, now)
        for purpose in Purpose
        if removed["consent_texts"] or standings.on(purpose).state is not State.SUPPRESSED
    ]
    new_head = await chain.append(connection, keyring, head, fresh) if fresh else None
    kept = select(func.count()).where(consent_event.c.folded_hash == person.folded_hash)
    stays = {"consent_events": (await connection.execute(kept)).scalar_one()}
    return new_head, {"removed": removed, "kept": stays}


async def remove(connection: AsyncConnection, folded_hash: str, now: datetime) -> dict[str, int]:
    """Delete what is personal about a person in every table, with the chain locked; return how many rows of what."""
    theirs = select(message.c.id).where(message.c.folded_hash == folded_hash)
    # Hits of these messages wait for this transaction, and then find no message to belong to.
    await connection.execute(theirs.order_by(message.c.id).with_for_update())
    events = select(consent_event.c.sequence).where(consent_event.c.folded_hash == folded_hash)
    markers = events.where(consent_event.c.state == State.SUPPRESSED.value)
    personal = consent_personal.c.sequence
    statements = {
        "consent_texts": delete(consent_personal).where(personal.in_(events), personal.not_in(markers)),
        "hits": delete(hit).where(hit.c.message_id.in_(theirs)),
        "messages": delete(message).where(message.c.folded_hash == folded_hash),
        "sent": update(message)
        .where(message.c.sender_hash == folded_hash, message.c.sealed.is_not(None))
        .values(sealed=None),
        "trackers_sent": delete(foreign_tracker).where(foreign_tracker.c.sender_hash == folded_hash),
        "sender_settings": delete(sender_setting).where(sender_setting.c.sender_hash == folded_hash),
        "fingerprints": delete(look_alike).where(
            or_(look_alike.c.recipient_hash == folded_hash, look_alike.c.sender_hash == folded_hash)
        ),
        "links": delete(mailbox_link).where(mailbox_link.c.folded_hash == folded_hash),
        "questions": delete(question).where(question.c.folded_hash == folded_hash),
        "letters": delete(outbox).where(outbox.c.folded_hash == folded_hash),
    }
    removed = {name: (await connection.execute(statement)).rowcount for name, statement in statements.items()}
    return {**removed, "requests": await close_erased(connection, folded_hash, now)}


async def remove_late(connection: AsyncConnection, folded_hash: str) -> None:
    """Delete what was made before a person's erasure and recorded after it: messages with their hits, mail to them."""
    erased_at = select(func.max(consent_event.c.event_time)).where(
        consent_event.c.folded_hash == folded_hash, consent_event.c.state == State.SUPPRESSED.value
    )
    erasure = erased_at.scalar_subquery()
    for table, made_at in ((question, "asked_at"), (mailbox_link, "created_at"), (outbox, "created_at")):
        theirs = (table.c.folded_hash == folded_hash, table.c[made_at] <= erasure)
        await connection.execute(delete(table).where(*theirs))
    late = (message.c.folded_hash == folded_hash, message.c.decided_at <= erasure)
    await connection.execute(delete(hit).where(hit.c.message_id.in_(select(message.c.id).where(*late))))
    await connection.execute(delete(message).where(*late))
