"""Attempts: failed logins of the last day, so that all workers know of them. No row says who, where or with what."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.batch import Batch, Statement
from ledger.dialects import words_of
from ledger.schema import login_attempt, moment, stamp

KEPT = timedelta(hours=24)
SUCCESS = ""
"""In the place of a secret's hash: the account has logged in from there."""
_MAX_ROWS = 500


@dataclass(frozen=True, slots=True)
class Attempt:
    """That somebody tried, by keyed hashes: as whom, from which network, with which secret."""

    account: str
    network: str
    secret: str
    at: datetime


_COLUMNS = login_attempt.c
_RECENT = Statement(
    lambda words: (
        select(login_attempt)
        .where(
            or_(_COLUMNS.account_hash == bindparam("account"), _COLUMNS.network_hash == bindparam("network")),
            _COLUMNS.at > bindparam("since"),
        )
        .order_by(_COLUMNS.at.desc())
        .limit(_MAX_ROWS)
    )
)


def recent(batch: Batch, account: str, network: str, now: datetime) -> list[Attempt]:
    """Return the latest attempts of a day as an account or from a network."""
    rows = batch.rows(_RECENT, {"account": account, "network": network, "since": stamp(now - KEPT)})
    return [Attempt(row.account_hash, row.network_hash, row.secret_hash, moment(row.at)) for row in rows]


async def record(connection: AsyncConnection, one: Attempt) -> None:
    """Keep an attempt; the same again counts once, with the later time."""
    statement = (
        words_of(connection)
        .insert(login_attempt)
        .values(account_hash=one.account, network_hash=one.network, secret_hash=one.secret, at=stamp(one.at))
    )
    keys = ["account_hash", "network_hash", "secret_hash"]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"at": stamp(one.at)}))


async def succeeded(connection: AsyncConnection, one: Attempt) -> None:
    """Forget the failures of an account from a network, and keep that it has logged in from there."""
    theirs = (_COLUMNS.account_hash == one.account, _COLUMNS.network_hash == one.network)
    await connection.execute(delete(login_attempt).where(*theirs))
    await record(connection, Attempt(one.account, one.network, SUCCESS, one.at))
