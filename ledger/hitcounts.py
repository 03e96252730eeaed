"""Counts of hits: what is left of a day's hits when they go, where enough people made them that it names nobody."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, distinct, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.schema import hit, hit_count, message, stamp

FEWEST = 5
"""People; a count of fewer could tell of one of them (A18)."""
_DAY = func.substr(hit.c.first_at, 1, 10)
_GROUP = (_DAY, hit.c.purpose, hit.c.verdict)


def going(now: datetime, period: timedelta, old_messages: Select[Any]) -> ColumnElement[bool]:
    """Return which hits go at ``now``: those of days that lie before the period, whole days only, and old messages'.

    A day goes as a whole, in UTC, when its first hit would be over, so that it is counted once and no hit stays longer.
    """
    today = stamp(now - period)[:10]
    return or_(today >= _DAY, hit.c.message_id.in_(old_messages))


async def count(connection: AsyncConnection, those: ColumnElement[bool]) -> int:
    """Add the hits that are about to go to the counts, and return how many counts there were."""
    people = func.count(distinct(message.c.folded_hash))
    statement = select(*_GROUP, func.sum(hit.c.count)).join_from(hit, message, hit.c.message_id == message.c.id)
    statement = statement.where(those).group_by(*_GROUP).having(people >= FEWEST)
    found = (await connection.execute(statement)).all()
    for day, purpose, verdict, total in found:
        await _add(connection, day, purpose, verdict, int(total))
    return len(found)


async def _add(connection: AsyncConnection, day: str, purpose: str, verdict: str, total: int) -> None:
    where = (hit_count.c.day == day, hit_count.c.purpose == purpose, hit_count.c.verdict == verdict)
    added = await connection.execute(update(hit_count).where(*where).values(count=hit_count.c.count + total))
    if not added.rowcount:
        values = {"day": day, "purpose": purpose, "verdict": verdict, "count": total}
        await connection.execute(insert(hit_count).values(values))


async def report(connection: AsyncConnection, first: str, last: str) -> list[dict[str, Any]]:
    """Return how many hits there were in a period of days, by purpose and verdict.

    Of days whose hits are on record still, and of those that are gone; None instead of a number where fewer than five
    people made them.
    """
    kept = select(hit_count.c.purpose, hit_count.c.verdict, func.sum(hit_count.c.count))
    kept = kept.where(hit_count.c.day.between(first, last)).group_by(hit_count.c.purpose, hit_count.c.verdict)
    found = {(row[0], row[1]): int(row[2]) for row in await connection.execute(kept)}
    people = func.count(distinct(message.c.folded_hash))
    fresh = select(hit.c.purpose, hit.c.verdict, func.sum(hit.c.count), people)
    fresh = fresh.join_from(hit, message, hit.c.message_id == message.c.id).where(_DAY.between(first, last))
    few: set[tuple[str, str]] = set()
    for purpose, verdict, total, who in await connection.execute(fresh.group_by(hit.c.purpose, hit.c.verdict)):
        if who >= FEWEST:
            found[purpose, verdict] = found.get((purpose, verdict), 0) + int(total)
        elif (purpose, verdict) not in found:
            few.add((purpose, verdict))
    rows = {**found, **dict.fromkeys(few)}
    return [{"purpose": key[0], "verdict": key[1], "hits": rows[key]} for key in sorted(rows)]
