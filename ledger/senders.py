"""Senders: what each of them saved for their next messages, by the keyed hash of their address."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.batch import Batch, Statement
from ledger.dialects import words_of
from ledger.keys import Keyring
from ledger.schema import moment, sender_setting, stamp
from policies.address import folded, untagged
from policies.words import Purpose

Saved = frozenset[Purpose]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a sender saved, and when."""

    purposes: Saved
    changed_at: datetime


def _purposes(row: Any) -> Saved:
    chosen = {purpose for purpose, on in ((Purpose.OPEN, row.open), (Purpose.CLICK, row.click)) if on}
    # As in a message, detail has no choice of its own: it goes with what is chosen, as far as policy allows.
    return frozenset({*chosen, Purpose.DETAIL} if chosen else ())


_SAVED = Statement(
    lambda words: select(sender_setting.c.sender_hash, sender_setting.c.open, sender_setting.c.click).where(
        words.among(sender_setting.c.sender_hash, "senders")
    )
)


def sender_hashes(keyring: Keyring, sender: str) -> tuple[str, ...]:
    """Return by which keyed hashes a sender may have saved something.

    A return path with a tag for each message, as ``anna+x7@`` for ``anna@``, is still the one sender's.
    """
    address = folded(sender)
    return tuple(keyring.folded(one) for one in dict.fromkeys((address, untagged(address))))


def least(saved: Iterable[Saved | None]) -> Saved | None:
    """Return what several settings of one sender want together; None where nothing is saved."""
    found = [one for one in saved if one is not None]
    return frozenset.intersection(*found) if found else None


def saved_by(batch: Batch, sender_hashes: Iterable[str]) -> dict[str, Saved]:
    """Return what several senders saved, with one query; who saved nothing is missing."""
    return {row.sender_hash: _purposes(row) for row in batch.rows(_SAVED, {"senders": list(set(sender_hashes))})}


async def setting_of(connection: AsyncConnection, sender_hash: str) -> Setting | None:
    """Return what a sender saved, or None."""
    statement = select(sender_setting).where(sender_setting.c.sender_hash == sender_hash)
    row = (await connection.execute(statement)).first()
    return Setting(_purposes(row), moment(row.changed_at)) if row is not None else None


async def save(connection: AsyncConnection, sender_hash: str, purposes: Saved | None, now: datetime) -> None:
    """Keep what a sender chose, in the place of what they chose before; None keeps nothing."""
    if purposes is None:
        await connection.execute(delete(sender_setting).where(sender_setting.c.sender_hash == sender_hash))
        return
    chosen = {"open": Purpose.OPEN in purposes, "click": Purpose.CLICK in purposes, "changed_at": stamp(now)}
    statement = words_of(connection).insert(sender_setting).values(sender_hash=sender_hash, **chosen)
    await connection.execute(statement.on_conflict_do_update(index_elements=["sender_hash"], set_=chosen))
