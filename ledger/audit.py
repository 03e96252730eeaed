"""The audit: what was decided, found and changed over a period. Counts and pseudonyms; names only where asked for."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, distinct, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import hitcounts, versions
from ledger.keys import Keyring
from ledger.schema import access, consent_event, decision_count, foreign_tracker, stamp
from ledger.trackers import sender_of

Rows = list[dict[str, Any]]

UNKNOWN = "unknown"
"""Stands for the vendor of a tracker that only its looks speak for."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days in UTC, the first and the last included."""

    first: date
    last: date

    @property
    def since(self) -> str:
        """When it begins, as the ledger writes times."""
        return stamp(datetime.combine(self.first, time(), UTC))

    @property
    def until(self) -> str:
        """When it is over, as the ledger writes times."""
        return stamp(datetime.combine(self.last, time(), UTC) + timedelta(days=1))

    def holds(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        """Return the condition that a column's time is in the period."""
        return (column >= self.since) & (column < self.until)


async def report(connection: AsyncConnection, keyring: Keyring, period: Period, *, reveal: bool) -> dict[str, Any]:
    """Return the report, section by section; ``reveal`` names the senders of messages with trackers."""
    return {
        "since": period.first.isoformat(),
        "until": period.last.isoformat(),
        "decisions": await _decisions(connection, period),
        "hits": await hitcounts.report(connection, period.first.isoformat(), period.last.isoformat()),
        "vendors": await _vendors(connection, period),
        "senders": await _senders(connection, keyring, period, reveal=reveal),
        "policy_versions": await versions.began_between(connection, period.since, period.until),
        "consent": await _consent(connection, period),
        "accesses": await _accesses(connection, period),
    }


async def _decisions(connection: AsyncConnection, period: Period) -> Rows:
    kind, reason = decision_count.c["class"], decision_count.c.reason
    total = func.sum(decision_count.c.count)
    days = decision_count.c.day.between(period.first.isoformat(), period.last.isoformat())
    statement = select(kind, reason, total).where(days).group_by(kind, reason).having(total > 0)
    found = await connection.execute(statement.order_by(kind, reason))
    return [{"class": row[0], "reason": row[1], "messages": int(row[2])} for row in found]


_MESSAGES = func.count(distinct(foreign_tracker.c.message_id))
_TRACKERS = func.sum(foreign_tracker.c.count)


async def _vendors(connection: AsyncConnection, period: Period) -> Rows:
    names = ("vendor", "scope", "tier", "action", "class")
    columns = [foreign_tracker.c[name] for name in names]
    statement = select(*columns, _MESSAGES, _TRACKERS).where(period.holds(foreign_tracker.c.at)).group_by(*columns)
    found = await connection.execute(statement.order_by(*columns))
    return [_tracked_row(dict(zip(names, row[:-2], strict=True)), row) for row in found]


def _tracked_row(values: dict[str, Any], row: Any) -> dict[str, Any]:
    return {**values, "vendor": values["vendor"] or UNKNOWN, "messages": row[-2], "trackers": int(row[-1])}


async def _senders(connection: AsyncConnection, keyring: Keyring, period: Period, *, reveal: bool) -> Rows:
    names = ("sender_hash", "vendor", "tier", "action")
    columns = [foreign_tracker.c[name] for name in names]
    here = period.holds(foreign_tracker.c.at)
    statement = select(*columns, _MESSAGES, _TRACKERS).where(here).group_by(*columns).order_by(*columns)
    known = await _addresses(connection, keyring, here) if reveal else {}
    rows = []
    for row in await connection.execute(statement):
        sender_hash, *rest = row[:-2]
        sender = known.get(sender_hash) or keyring.pseudonym(sender_hash)
        rows.append(_tracked_row({"sender": sender, **dict(zip(names[1:], rest, strict=True))}, row))
    return rows


async def _addresses(connection: AsyncConnection, keyring: Keyring, here: ColumnElement[bool]) -> dict[str, str]:
    """Return the senders' addresses by their keyed hash."""
    one_each = select(func.max(foreign_tracker.c.id)).where(here).group_by(foreign_tracker.c.sender_hash)
    statement = select(foreign_tracker.c.id, foreign_tracker.c.sender_hash, foreign_tracker.c.sealed)
    found = await connection.execute(statement.where(foreign_tracker.c.id.in_(one_each)))
    return {row.sender_hash: sender_of(keyring, row) or "<>" for row in found}


async def _consent(connection: AsyncConnection, period: Period) -> Rows:
    day = func.substr(consent_event.c.recorded_at, 1, 10)
    names = ("day", "purpose", "state")
    columns = (day, consent_event.c.purpose, consent_event.c.state)
    here = period.holds(consent_event.c.recorded_at)
    found = await connection.execute(select(*columns, func.count()).where(here).group_by(*columns).order_by(*columns))
    return [{**dict(zip(names, row[:-1], strict=True)), "events": row[-1]} for row in found]


async def _accesses(connection: AsyncConnection, period: Period) -> Rows:
    statement = select(access).where(period.holds(access.c.at)).order_by(access.c.at, access.c.id)
    return [
        {"at": row.at, "actor": row.actor, "action": row.action, "why": row.reason}
        for row in await connection.execute(statement)
    ]
