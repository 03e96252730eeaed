"""Versions of the policy on record: every one that ruled, in full, with who brought it in and when."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.dialects import words_of
from ledger.schema import policy_version, stamp


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy that comes into force."""

    version: str
    content: str
    """Its canonical text, of whose SHA-256 the version is the beginning."""
    author: str
    """Who owned the file that it stood in."""
    began_at: datetime


async def record(connection: AsyncConnection, one: PolicyVersion) -> None:
    """Keep a version that begins to rule; one that ruled before begins anew, and keeps its first time and author."""
    began = stamp(one.began_at)
    statement = (
        words_of(connection)
        .insert(policy_version)
        .values(version=one.version, first_at=began, last_began_at=began, author=one.author, content=one.content)
    )
    known, said = policy_version.c.last_began_at, statement.excluded.last_began_at
    later = case((known < said, said), else_=known)
    await connection.execute(statement.on_conflict_do_update(index_elements=["version"], set_={"last_began_at": later}))


def _to_public(row: Any) -> dict[str, Any]:
    return {
        "version": row.version,
        "first_at": row.first_at,
        "last_began_at": row.last_began_at,
        "author": row.author,
    }


async def began_between(connection: AsyncConnection, since: str, until: str) -> list[dict[str, Any]]:
    """Return the versions that began to rule in a period, and the one that ruled when it began, oldest first.

    ``since`` and ``until`` are times as the ledger writes them; the end is not in the period.
    """
    rows = (await connection.execute(select(policy_version).order_by(policy_version.c.first_at))).all()
    before = max((row for row in rows if row.last_began_at < since), key=lambda row: row.last_began_at, default=None)
    return [
        _to_public(row)
        for row in rows
        if since <= row.first_at < until or since <= row.last_began_at < until or row is before
    ]


async def find(connection: AsyncConnection, version: str) -> dict[str, Any] | None:
    """Return a version with the policy in full, its SHA-256, and whether that is the one the version was named for."""
    row = (await connection.execute(select(policy_version).where(policy_version.c.version == version))).first()
    if row is None:
        return None
    found = hashlib.sha256(row.content.encode()).hexdigest()
    policy, domains = json.loads(row.content)
    return {
        **_to_public(row),
        "sha256": found,
        "unaltered": found.startswith(row.version),
        "domains": domains,
        "policy": policy,
    }
