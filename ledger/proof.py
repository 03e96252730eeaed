"""Proof: one signed file with all there is about one person."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, consent, decisions
from ledger.anchor import anchor
from ledger.consent import Person
from ledger.keys import Keyring
from ledger.notice import notice_id_of
from ledger.schema import chain_checkpoint, consent_event, consent_personal, message, notice, stamp

FORMAT = "aboveboard-proof/1"


async def proof(connection: AsyncConnection, keyring: Keyring, person: Person, now: datetime) -> dict[str, Any]:
    """Return everything that proves what a person said and what was done by it: signed, for a file.

    The events stand as they are in the chain, with their sealed part; beside it stands what that part says.
    """
    events = await _events(connection, person)
    said = await consent.history(connection, keyring, person, wider=True)
    notices = select(notice.c.id, notice.c.version, notice.c.created_at, notice.c.body)
    notices = notices.where(notice.c.id.in_({event["notice_id"] for event in events})).order_by(notice.c.created_at)
    checkpoint = (await connection.execute(select(chain_checkpoint))).first()
    found = {
        "format": FORMAT,
        "made_at": stamp(now),
        "address": person.address,
        "notices": [dict(row._mapping) for row in await connection.execute(notices)],
        "events": events,
        "said": said,
        "decisions": await _decisions(connection, keyring, person),
        "checkpoint": dict(checkpoint._mapping) if checkpoint is not None else None,
        "anchor": str(await anchor(connection, now)),
    }
    return signed(keyring, found)


async def _events(connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
    joined = consent_event.outerjoin(consent_personal, consent_event.c.sequence == consent_personal.c.sequence)
    statement = select(consent_event, consent_personal.c.sealed).select_from(joined)
    hashes = [person.folded_hash, *person.domains]
    statement = statement.where(consent_event.c.folded_hash.in_(hashes)).order_by(consent_event.c.sequence)
    events = []
    for row in await connection.execute(statement):
        sealed = base64.b64encode(row.sealed).decode("ascii") if row.sealed is not None else None
        events.append({**row._mapping, "sealed": sealed})
    return events


async def _decisions(connection: AsyncConnection, keyring: Keyring, person: Person) -> list[dict[str, Any]]:
    """Return what was decided about messages to a person, oldest first."""
    statement = select(message).where(message.c.folded_hash == person.folded_hash).order_by(message.c.decided_at)
    return [decisions.to_public(keyring, row) for row in await connection.execute(statement)]


def _content(found: Mapping[str, Any]) -> bytes:
    content = {name: value for name, value in found.items() if name not in ("sha256", "signature")}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _signature(keyring: Keyring, content: bytes) -> str:
    return keyring.chained(b"proof\0" + content)


def signed(keyring: Keyring, found: dict[str, Any]) -> dict[str, Any]:
    """Return a proof's content with its SHA-256, and the signature of whoever holds the key file."""
    content = _content(found)
    return {**found, "sha256": hashlib.sha256(content).hexdigest(), "signature": _signature(keyring, content)}


def check(keyring: Keyring, text: str) -> list[str]:
    """Return what is wrong with a file that ``proof`` made, as sentences; none where nothing is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ["The file is no JSON."]
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return ["The file is no proof that this version of aboveboard made."]
    content = _content(found)
    if found.get("sha256") != hashlib.sha256(content).hexdigest():
        return ["The file was altered: its content is not that of its SHA-256."]
    if found.get("signature") != _signature(keyring, content):
        return ["The file was not signed with this key file."]
    told = {one["id"] for one in found["notices"] if notice_id_of(one["body"]) == one["id"]}
    return [flaw for event in found["events"] for flaw in _flaws(keyring, event, told)]


def _flaws(keyring: Keyring, event: Mapping[str, Any], told: set[str]) -> list[str]:
    """Return what is wrong with an event in a file that is signed: it may have been altered before that."""
    flaws = []
    if chain.row_hash(keyring, event) != event["row_hash"]:
        flaws.append(f"Event {event['sequence']} was altered.")
    if event["sealed"] is not None and not _is_sealed_part_of(event):
        flaws.append(f"The personal part of event {event['sequence']} was altered.")
    if event["notice_id"] not in told:
        flaws.append(f"The notice that event {event['sequence']} relies on is missing or another one.")
    return flaws


def _is_sealed_part_of(event: Mapping[str, Any]) -> bool:
    try:
        sealed = base64.b64decode(event["sealed"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        return False
    return bool(chain.personal_hash(sealed) == event["personal_hash"])
