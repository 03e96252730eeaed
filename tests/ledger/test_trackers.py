"""Trackers on record: by kind and host, with the sender sealed, in the decision's own commit, for their time."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from ledger import retention, trackers
from ledger.decisions import DecidedMessage
from ledger.ledger import Ledger
from ledger.tokens import new_message_id
from policies import (
    Decision,
    Envelope,
    FoundTracker,
    MessageClass,
    Purpose,
    Reason,
    Scope,
    Surface,
    Tier,
    TrackerAction,
)
from tests.relaying import open_ledger

NOW = datetime.now(UTC)
SENDER = "Alice@example.org"
FOUND = (
    FoundTracker(Scope.TOOL, "yesware", Surface.IMAGE, Tier.B, TrackerAction.REMOVED, "t.yesware.com", 2),
    FoundTracker(Scope.QUOTED, None, Surface.IMAGE, Tier.D, TrackerAction.REPORTED, "x.example", 1),
)


def message_with(found: tuple[FoundTracker, ...], age: timedelta = timedelta(0)) -> DecidedMessage:
    """Return an untracked message with trackers."""
    decision = Decision(MessageClass.GROUP, Reason.GROUP, dict.fromkeys(Purpose, Reason.GROUP), "v1")
    envelope = Envelope(SENDER, ("bob@customer.test", "carol@customer.test"))
    return DecidedMessage(new_message_id(), decision, envelope, "Offer", NOW - age, found=found)


async def record(ledger: Ledger, age: timedelta = timedelta(0), found: tuple[FoundTracker, ...] = FOUND) -> str:
    """Record an untracked message with trackers, and return its id."""
    message = message_with(found, age)
    assert await ledger.record_decision(message)
    return message.id


def rows(folder: Path) -> list[Any]:
    """Return what the table holds, as the database has it."""
    engine = create_engine(f"sqlite:///{folder}/ledger.db", poolclass=NullPool)
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM foreign_tracker ORDER BY scope DESC")))


async def test_what_is_recorded(tmp_path: Path) -> None:
    """One row for each kind: message, class, scope, vendor, surface, tier, action, host and count; the sender opens."""
    async with open_ledger(tmp_path) as ledger:
        message_id = await record(ledger)
        found = rows(tmp_path)
        senders = {trackers.sender_of(ledger.keyring, row) for row in found}
        hashes = {ledger.keyring.folded(SENDER)}

    assert [
        (message_id, "group", "tool", "yesware", "image", "B", "removed", "t.yesware.com", 2),
        (message_id, "group", "quoted", None, "image", "D", "reported", "x.example", 1),
    ] == [tuple(row[1:2]) + tuple(row[3:11]) for row in found]
    assert ({SENDER}, hashes) == (senders, {row.sender_hash for row in found})


async def test_nobody_stands_there_in_clear(tmp_path: Path) -> None:
    """No address, no subject and no recipient can be read from the table."""
    async with open_ledger(tmp_path) as ledger:
        await record(ledger)
    content = b"".join(bytes(str(row), "utf-8") + bytes(row.sealed) for row in rows(tmp_path)).lower()

    assert [] == [word for word in (b"alice", b"bob", b"carol", b"offer", b"example.org") if word in content]


async def test_a_message_without_trackers_has_no_row(tmp_path: Path) -> None:
    """Nothing found, nothing recorded."""
    async with open_ledger(tmp_path) as ledger:
        await record(ledger, found=())

    assert [] == rows(tmp_path)


async def test_what_came_too_late_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a decision is not written in time, nothing of what was found is written either."""
    monkeypatch.setattr("ledger.patience.PATIENCE", 0.25)
    under_way, over = asyncio.Event(), asyncio.Event()

    async def hold(_: AsyncConnection) -> None:
        under_way.set()
        await over.wait()

    async with open_ledger(tmp_path) as ledger:
        holding = asyncio.create_task(ledger.job(hold))
        await under_way.wait()
        assert not await ledger.record_decision(message_with(FOUND))
        over.set()
        await holding

    assert [] == rows(tmp_path)


@pytest.mark.parametrize(("days", "left"), [(89, 2), (91, 0)])
async def test_retention(tmp_path: Path, days: int, left: int) -> None:
    """Trackers found are forgotten after their own time, 90 days unless said otherwise."""
    async with open_ledger(tmp_path) as ledger:
        await record(ledger, timedelta(days=days))
        await ledger.purge()

    assert left == len(rows(tmp_path))


def test_periods_default() -> None:
    """The default is 90 days."""
    assert timedelta(days=90) == retention.Periods().foreign
