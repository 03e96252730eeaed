"""Whole domains that refuse, by an administrator's entry: a refusal of every address there and below.

They are events of the chain under the keyed hash of the domain, so that proof, journal and verification know them too.
"""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.consent import DOMAINS_REFUSE, Act, Person, event_row
from ledger.keys import Keyring
from ledger.notice import Notice
from ledger.recall import set_meta
from ledger.schema import consent_event, consent_personal
from policies.consent import REFUSALS, State
from policies.words import Purpose

METHOD = "domain_entry"


def of(keyring: Keyring, domain: str) -> Person:
    """Return a domain as the chain knows it: in the place of a person."""
    return Person(keyring.domain(domain), None, f"@{domain}")


async def refuse(
    connection: AsyncConnection, keyring: Keyring, domain: str, act: Act, notice: Notice, now: datetime
) -> tuple[int, str] | None:
    """Record that a domain refuses everything; return the chain's new head, None where it did already."""
    head, last = await chain.lock(connection), await _last(connection, keyring, domain)
    wanted = [purpose for purpose in Purpose if last.get(purpose.value) not in REFUSALS]
    if not wanted:
        return None
    # From now on hits are looked at by domain too.
    await set_meta(connection, DOMAINS_REFUSE, "1")
    rows = [event_row(of(keyring, domain), one, State.REFUSED, act, notice, now) for one in wanted]
    return await chain.append(connection, keyring, head, rows)


async def lift(
    connection: AsyncConnection, keyring: Keyring, domain: str, act: Act, notice: Notice, now: datetime
) -> tuple[int, str] | None:
    """Record that a domain's refusal is taken back; return the chain's new head, None where there was none.

    What people there said themselves is as it was.
    """
    head, last = await chain.lock(connection), await _last(connection, keyring, domain)
    refused = [purpose for purpose in Purpose if last.get(purpose.value) in REFUSALS]
    rows = [event_row(of(keyring, domain), one, State.LIFTED, act, notice, now) for one in refused]
    return await chain.append(connection, keyring, head, rows) if rows else None


async def _last(connection: AsyncConnection, keyring: Keyring, domain: str) -> dict[str, State]:
    event = consent_event.c
    statement = select(event.purpose, event.state).where(event.folded_hash == keyring.domain(domain))
    return {row.purpose: State(row.state) for row in await connection.execute(statement.order_by(event.sequence))}


async def listed(connection: AsyncConnection, keyring: Keyring) -> list[dict[str, Any]]:
    """Return the domains that refuse now, the oldest entry first: since when, by whom, why.

    One whose name a purge has removed is None; what it says still holds.
    """
    event, joined = (
        consent_event.c,
        consent_event.outerjoin(consent_personal, consent_event.c.sequence == consent_personal.c.sequence),
    )
    statement = select(event.sequence, event.folded_hash, event.state, event.event_time, consent_personal.c.sealed)
    statement = statement.select_from(joined).where(event.method == METHOD).order_by(event.sequence)
    found: dict[str, dict[str, Any]] = {}
    for row in await connection.execute(statement):
        if row.state not in REFUSALS:
            found.pop(row.folded_hash, None)
        elif row.folded_hash not in found:
            said = json.loads(keyring.open_column(row.sealed, f"consent_personal/{row.sequence}")) if row.sealed else {}
            name = said.get("address")
            found[row.folded_hash] = {
                "domain": name.removeprefix("@") if name else None,
                "since": row.event_time,
                "reason": said.get("evidence", ""),
                "by": said.get("source", ""),
            }
    return list(found.values())
