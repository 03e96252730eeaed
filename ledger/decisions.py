"""Decisions on record: one row per message, so that each can be explained (DESIGN.md §1, promise 8).

The row of an untracked message holds no subject and no address, only keyed hashes, and is gone after seven days.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Executable, bindparam, delete, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import merge
from ledger.batch import Batch, Statement
from ledger.dialects import Words
from ledger.keys import Keyring
from ledger.schema import decision_count, hit, message, stamp
from policies.decide import Decision
from policies.envelope import Envelope
from policies.tracker import FoundTracker
from policies.words import Outcome, Purpose, Reason


@dataclass(frozen=True, slots=True)
class DecidedMessage:
    """What is recorded of one message."""

    id: str
    decision: Decision
    envelope: Envelope
    subject: str
    decided_at: datetime
    outcome: Outcome = Outcome.PENDING
    found: tuple[FoundTracker, ...] = ()
    """The trackers in it, and what was done about them."""


def to_row(keyring: Keyring, decided: DecidedMessage) -> dict[str, Any]:
    """Return the row for a message; who and what about only where it is tracked, and then encrypted."""
    decision, envelope = decided.decision, decided.envelope
    recipients = len(envelope.recipients)
    alone = envelope.rcpt_to[0] if recipients == 1 else None
    sealed = None
    if decision.tracked and alone is not None:
        who = {"sender": envelope.sender, "recipient": alone, "subject": decided.subject}
        sealed = keyring.seal_column(
            json.dumps(who, ensure_ascii=False).encode("utf-8", "replace"), f"message/{decided.id}"
        )
    return {
        "id": decided.id,
        "decided_at": stamp(decided.decided_at),
        "class": decision.message_class.value,
        "reason": decision.reason.value,
        "reasons": json.dumps({purpose.value: reason.value for purpose, reason in decision.reasons.items()}),
        "detail": decision.detail.value if decision.detail else None,
        "rules": json.dumps(list(decision.rules)),
        "policy_version": decision.policy_version,
        "consent_events": json.dumps(list(decision.consent_events)),
        "recipients": recipients,
        "sender_hash": keyring.folded(envelope.sender),
        "exact_hash": keyring.exact(alone) if alone else None,
        "folded_hash": keyring.folded(alone) if alone else None,
        "outcome": decided.outcome.value,
        "sealed": sealed,
    }


_CLASS = message.c["class"].label("message_class")
_INSERT = Statement(lambda _: insert(message))
_OUTCOME = Statement(
    lambda _: update(message).where(message.c.id == bindparam("message")).values(outcome=bindparam("said"))
)
_VOID = Statement(
    lambda _: (
        update(message)
        .where(message.c.id == bindparam("message"))
        .values(reason=bindparam("why"), reasons=bindparam("whys"), sealed=null())
    )
)
_TRACKED = Statement(
    lambda words: (
        select(message.c.id, message.c.decided_at, _CLASS)
        .where(words.among(message.c.id, "messages"), message.c.reason == Reason.TRACKED.value)
        # Whoever records a hit waits for this transaction, or this one for the hit, which is then deleted. In one order
        # everywhere, so that two writers never wait for each other's rows.
        .order_by(message.c.id)
        .with_for_update()
    )
)
_FORGET = Statement(lambda _: delete(hit).where(hit.c.message_id == bindparam("message")))


def _upsert(words: Words) -> Executable:
    statement = words.insert(decision_count)
    counted = decision_count.c.count + statement.excluded.count
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=["day", "class", "reason"], set_={"count": counted}
    )
    return upsert


_ADD = Statement(_upsert)


def record(batch: Batch, rows: list[dict[str, Any]]) -> None:
    """Write the rows of several messages, and count them.

    One whose run has become bulk since it was decided upon is taken back at once: it is already on its way.
    """
    tracked = [row["id"] for row in rows if row["reason"] == Reason.TRACKED]
    too_many = merge.taken_back(batch, tracked) if tracked else []
    batch.execute(_INSERT, rows)
    _add(batch, Counter((row["decided_at"][:10], row["class"], row["reason"]) for row in rows))
    void(batch, [(one, Reason.BULK) for one in too_many])


def _add(batch: Batch, counts: Counter[tuple[str, str, str]]) -> None:
    """Add to the counts by day, class and reason; what is taken off is negative."""
    # In one order everywhere, so that two writers never wait for each other's rows.
    values = [
        {"day": day, "class": class_, "reason": reason, "count": count}
        for (day, class_, reason), count in sorted(counts.items())
        if count
    ]
    if values:
        batch.execute(_ADD, values)


def record_outcomes(batch: Batch, outcomes: list[tuple[str, Outcome]]) -> None:
    """Write what the upstream said in the end, by message id."""
    # In one order everywhere, here and below, so that two writers never wait for each other's rows.
    values = [{"message": found, "said": outcome.value} for found, outcome in sorted(outcomes, key=itemgetter(0))]
    batch.execute(_OUTCOME, values)


def void(batch: Batch, ids: Iterable[tuple[str, Reason]]) -> None:
    """Take back that messages are tracked: say why not, name nobody any more, delete their hits, and count anew.

    For what went out untracked after all, and for what turned out to be bulk. An untracked message stays as it is.
    """
    reasons = dict(ids)
    rows = batch.rows(_TRACKED, {"messages": list(reasons)}) if reasons else []
    if not rows:
        return
    batch.execute(_FORGET, [{"message": row.id} for row in rows])
    counts: Counter[tuple[str, str, str]] = Counter()
    values = []
    for row in rows:
        day, why = row.decided_at[:10], reasons[row.id].value
        counts[day, row.message_class, Reason.TRACKED.value] -= 1
        counts[day, row.message_class, why] += 1
        values.append({"message": row.id, "why": why, "whys": json.dumps({purpose.value: why for purpose in Purpose})})
    batch.execute(_VOID, values)
    _add(batch, counts)


def to_public(keyring: Keyring, row: Any) -> dict[str, Any]:
    """Return a message's row in the product's words, with what is sealed opened."""
    who: dict[str, Any] = {"sender": None, "recipient": None, "subject": None}
    if row.sealed is not None:
        who = json.loads(keyring.open_column(row.sealed, f"message/{row.id}"))
    reasons = json.loads(row.reasons)
    return {
        "message": row.id,
        "decided_at": row.decided_at,
        "class": row._mapping["class"],
        "reason": row.reason,
        "reasons": reasons,
        **{purpose.value: reasons.get(purpose.value) == Reason.TRACKED for purpose in Purpose},
        "detail_of_protection": row.detail,
        "rules": json.loads(row.rules),
        "policy_version": row.policy_version,
        "consent": json.loads(row.consent_events),
        "recipients": row.recipients,
        "outcome": row.outcome,
        **who,
    }


async def recipient_of(connection: AsyncConnection, keyring: Keyring, folded_hash: str) -> str | None:
    """Return the address of a person that a tracked message went to, or None where none is on record."""
    statement = select(message.c.id, message.c.sealed).where(
        message.c.folded_hash == folded_hash, message.c.sealed.is_not(None)
    )
    row = (await connection.execute(statement.order_by(message.c.decided_at.desc()).limit(1))).first()
    if row is None:
        return None
    recipient: str = json.loads(keyring.open_column(row.sealed, f"message/{row.id}"))["recipient"]
    return recipient


async def messages(
    connection: AsyncConnection, keyring: Keyring, *, sender_hash: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the messages on record, newest first; with a hash, only that sender's."""
    statement = select(message).order_by(message.c.decided_at.desc(), message.c.id)
    if sender_hash is not None:
        statement = statement.where(message.c.sender_hash == sender_hash)
    found = await connection.execute(statement.limit(limit))
    return [to_public(keyring, row) for row in found]


async def messages_to(connection: AsyncConnection, keyring: Keyring, folded_hash: str) -> list[dict[str, Any]]:
    """Return the messages on record to one person alone, newest first."""
    statement = select(message).where(message.c.folded_hash == folded_hash)
    found = await connection.execute(statement.order_by(message.c.decided_at.desc(), message.c.id))
    return [to_public(keyring, row) for row in found]
