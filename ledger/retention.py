"""Retention: what is over its time is removed. Counts stay, for they name nobody; consent events are proof."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import decisions, merge
from ledger.batch import WithinTransaction
from ledger.schema import foreign_tracker, hit, message, stamp
from policies.words import Reason

UNTRACKED = timedelta(days=7)
"""How long the decision of an untracked message is kept (DESIGN.md §1, promise 8)."""


@dataclass(frozen=True, slots=True)
class Periods:
    """How long things are kept."""

    recording: timedelta = timedelta(days=30)
    """After sending, hits of a message are recorded."""
    hits: timedelta = timedelta(days=90)
    messages: timedelta = timedelta(days=90)
    """Who a tracked message was from and to, and its subject."""
    decisions: timedelta = timedelta(days=365)
    """The decision about a tracked message, without the above."""
    foreign: timedelta = timedelta(days=90)
    """What trackers of other people were found in a message."""
    consent: timedelta = timedelta(days=365)
    """For how long a grant counts."""


async def purge(connection: AsyncConnection, periods: Periods, now: datetime) -> dict[str, int]:
    """Remove what is over its time at ``now`` and return how much of each kind there was."""
    left = [(one, Reason.BULK) for one in await merge.left_tracked(connection)]
    await connection.run_sync(lambda inside: decisions.void(WithinTransaction(inside), left))
    tracked = message.c.reason == Reason.TRACKED.value
    old_decisions = select(message.c.id).where(tracked, message.c.decided_at < stamp(now - periods.decisions))
    removals = {
        "hits": delete(hit).where((hit.c.first_at < stamp(now - periods.hits)) | hit.c.message_id.in_(old_decisions)),
        "untracked": delete(message).where(~tracked, message.c.decided_at < stamp(now - UNTRACKED)),
        "names": update(message)
        .where(message.c.sealed.is_not(None), message.c.decided_at < stamp(now - periods.messages))
        .values(sealed=None),
        "trackers": delete(foreign_tracker).where(foreign_tracker.c.at < stamp(now - periods.foreign)),
        "decisions": delete(message).where(tracked, message.c.decided_at < stamp(now - periods.decisions)),
    }
    # Not counted: fingerprints come and go by the hour.
    await connection.execute(merge.expired(now))
    return {name: (await connection.execute(statement)).rowcount for name, statement in removals.items()}
