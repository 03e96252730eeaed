"""Retention: what is over its time is removed. Counts stay, for they name nobody; consent events are proof."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Update, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import decisions, hitcounts, merge
from ledger.attempts import KEPT
from ledger.batch import Batch, WithinTransaction
from ledger.informing import TELLING, by_others
from ledger.outbox import LetterState
from ledger.schema import (
    access,
    consent_event,
    foreign_tracker,
    hit,
    login_attempt,
    mailbox_link,
    message,
    outbox,
    question,
    request_case,
    stamp,
)
from policies.words import Outcome, Reason

UNTRACKED = timedelta(days=7)
"""How long the decision of an untracked message is kept (DESIGN.md §1, promise 8)."""

QUESTIONS = timedelta(days=730)
"""How long it is known that somebody was asked: longer than they must not be asked again."""
LETTERS = timedelta(days=1_095)
"""How long it is known that a mail of our own was sent: it is proof that somebody was told. Of what stands on record
by others' doing it is known for as long as that, or they would be told again."""
UNDER_WAY = timedelta(days=1)
"""Longer than a message takes to be handed on, however slow the upstream is."""


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
    cases: timedelta = timedelta(days=1_095)
    """Requests, after they are closed."""
    access: timedelta = timedelta(days=730)
    """Who looked at what is recorded."""
    consent: timedelta = timedelta(days=365)
    """For how long a grant counts."""
    consent_events: timedelta = timedelta(days=1_095)
    """After a person's last event, their consent events; of a refusal the keyed hash stays."""


def _take_back(batch: Batch, now: datetime) -> None:
    """Take back what was left of bulk runs. Fingerprints are forgotten uncounted: they come and go by the hour."""
    decisions.void(batch, [(one, Reason.BULK) for one in merge.left_tracked(batch)])
    merge.sweep(batch, now)


def _still_tells() -> ColumnElement[bool]:
    """Return which letters told somebody of what is on record still."""
    about = select(consent_event.c.sequence).where(consent_event.c.folded_hash == outbox.c.folded_hash, by_others())
    return and_(outbox.c.kind.in_(TELLING), about.exists())


def _never_known(now: datetime) -> Update:
    """Have it on record that nobody knows what became of a message whose process died while it was under way."""
    pending = message.c.outcome == Outcome.PENDING.value
    lost = update(message).where(pending, message.c.decided_at < stamp(now - UNDER_WAY))
    return lost.values(outcome=Outcome.UNKNOWN.value)


async def purge(connection: AsyncConnection, periods: Periods, now: datetime) -> dict[str, int]:
    """Remove what is over its time at ``now`` and return how much of each kind there was.

    "counts" are what stays of the hits: how many there were on a day, of those made by enough people.
    """
    await connection.run_sync(lambda inside: _take_back(WithinTransaction(inside), now))
    await connection.execute(_never_known(now))
    tracked = message.c.reason == Reason.TRACKED.value
    old_decisions = select(message.c.id).where(tracked, message.c.decided_at < stamp(now - periods.decisions))
    those = hitcounts.going(now, periods.hits, old_decisions)
    counted = await hitcounts.count(connection, those)
    removals = {
        "hits": delete(hit).where(those),
        "untracked": delete(message).where(~tracked, message.c.decided_at < stamp(now - UNTRACKED)),
        "names": update(message)
        .where(message.c.sealed.is_not(None), message.c.decided_at < stamp(now - periods.messages))
        .values(sealed=None),
        "trackers": delete(foreign_tracker).where(foreign_tracker.c.at < stamp(now - periods.foreign)),
        "decisions": delete(message).where(tracked, message.c.decided_at < stamp(now - periods.decisions)),
        # A day later than it is over: how many were mailed in a day is counted.
        "links": delete(mailbox_link).where(mailbox_link.c.expires_at < stamp(now - timedelta(days=1))),
        "questions": delete(question).where(question.c.asked_at < stamp(now - QUESTIONS)),
        "letters": delete(outbox).where(
            outbox.c.state != LetterState.QUEUED.value, outbox.c.created_at < stamp(now - LETTERS), ~_still_tells()
        ),
        # An open case has no such time, and stays.
        "cases": delete(request_case).where(request_case.c.answered_at < stamp(now - periods.cases)),
        "logins": delete(login_attempt).where(login_attempt.c.at < stamp(now - KEPT)),
        "accesses": delete(access).where(access.c.at < stamp(now - periods.access)),
    }
    removed = {name: (await connection.execute(statement)).rowcount for name, statement in removals.items()}
    return {**removed, "counts": counted}
