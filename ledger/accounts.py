"""Accounts: who may log in at the relay itself, with which passwords, and as whom they may send."""

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.batch import Batch, Statement
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.schema import account, account_password, moment, stamp

MAX_PASSWORDS = 50
"""App passwords of one account."""


class AccountError(LedgerError):
    """What was asked for does not go together with the accounts there are; says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Password:
    """One password of an account."""

    label: str
    """What an app password is for; empty for the one that people chose."""
    tag: str | None
    """By what an app password is found; None for the one that people chose."""
    kept: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """One account."""

    login: str
    senders: tuple[str, ...]
    """Globs of addresses that it may send as, beside its own."""
    created_at: datetime
    passwords: tuple[Password, ...] = ()


_FIND = Statement(
    lambda words: (
        select(
            account.c.id,
            account.c.created_at,
            account.c.sealed,
            account_password.c.id.label("password_id"),
            account_password.c.created_at.label("password_at"),
            account_password.c.tag,
            account_password.c.hash,
            account_password.c.sealed.label("password_sealed"),
        )
        .outerjoin(account_password, account.c.id == account_password.c.account_id)
        .where(account.c.folded_hash == bindparam("folded_hash"))
        .order_by(account_password.c.created_at)
    )
)


def find(batch: Batch, keyring: Keyring, login: str) -> Account | None:
    """Return the account of a login, however it is spelled, or None."""
    rows = batch.rows(_FIND, {"folded_hash": keyring.folded(login)})
    passwords = tuple(
        _password(keyring, row.password_id, row.password_sealed, row.tag, row.hash, row.password_at)
        for row in rows
        if row.password_id is not None
    )
    return _account(keyring, rows[0], passwords) if rows else None


async def of(connection: AsyncConnection, keyring: Keyring, folded_hash: str) -> list[Account]:
    """Return the account of a person, by their keyed hash; there is one at most."""
    return await _accounts(connection, keyring, account.c.folded_hash == folded_hash)


async def listed(connection: AsyncConnection, keyring: Keyring) -> list[Account]:
    """Return all accounts, in the order of their logins."""
    return sorted(await _accounts(connection, keyring, account.c.id.is_not(None)), key=lambda one: one.login)


async def _accounts(connection: AsyncConnection, keyring: Keyring, which: Any) -> list[Account]:
    rows = (await connection.execute(select(account).where(which))).all()
    statement = select(account_password).join(account, account.c.id == account_password.c.account_id).where(which)
    passwords: dict[str, list[Password]] = {row.id: [] for row in rows}
    for row in await connection.execute(statement.order_by(account_password.c.created_at)):
        found = _password(keyring, row.id, row.sealed, row.tag, row.hash, row.created_at)
        passwords[row.account_id].append(found)
    return [_account(keyring, row, tuple(passwords[row.id])) for row in rows]


def _password(keyring: Keyring, row_id: str, sealed: bytes, tag: str | None, kept: str, at: str) -> Password:
    label = keyring.open_column(sealed, f"account_password/{row_id}").decode("utf-8")
    return Password(label, tag, kept, moment(at))


def _account(keyring: Keyring, row: Any, passwords: tuple[Password, ...]) -> Account:
    content = json.loads(keyring.open_column(row.sealed, f"account/{row.id}"))
    return Account(content["login"], tuple(content["senders"]), moment(row.created_at), passwords)


async def add(connection: AsyncConnection, keyring: Keyring, one: Account) -> None:
    """Add an account with its passwords. Raises AccountError where there is one of this login."""
    if await _id_of(connection, keyring, one.login) is not None:
        raise AccountError(f"There is an account {one.login} already.")
    account_id = secrets.token_hex(16)
    row = {"id": account_id, "folded_hash": keyring.folded(one.login), "created_at": stamp(one.created_at)}
    await connection.execute(insert(account), [{**row, "sealed": _sealed(keyring, account_id, one)}])
    for password in one.passwords:
        await _put(connection, keyring, account_id, password)


async def change(connection: AsyncConnection, keyring: Keyring, one: Account) -> None:
    """Put the account's senders, and the passwords of the same labels, in the place of those there were.

    Raises AccountError where there is no account of this login.
    """
    account_id = await _need(connection, keyring, one.login)
    sealed = _sealed(keyring, account_id, one)
    await connection.execute(update(account).where(account.c.id == account_id).values(sealed=sealed))
    for password in one.passwords:
        await _drop(connection, keyring, account_id, password.label)
        await _put(connection, keyring, account_id, password)


async def add_password(connection: AsyncConnection, keyring: Keyring, login: str, password: Password) -> None:
    """Add an app password. Raises AccountError where the account is missing, or has one of this name or too many."""
    account_id = await _need(connection, keyring, login)
    labels = [each.label for one in await of(connection, keyring, keyring.folded(login)) for each in one.passwords]
    if password.label in labels:
        raise AccountError(f"The account {login} has an app password {password.label} already; remove that first.")
    if len(labels) > MAX_PASSWORDS:
        raise AccountError(f"The account {login} has {MAX_PASSWORDS} app passwords; remove one first.")
    await _put(connection, keyring, account_id, password)


async def remove(connection: AsyncConnection, keyring: Keyring, login: str) -> None:
    """Remove an account with its passwords. Raises AccountError where there is none."""
    account_id = await _need(connection, keyring, login)
    await connection.execute(delete(account_password).where(account_password.c.account_id == account_id))
    await connection.execute(delete(account).where(account.c.id == account_id))


async def remove_password(connection: AsyncConnection, keyring: Keyring, login: str, label: str) -> None:
    """Remove an app password. Raises AccountError where there is none of this name."""
    account_id = await _need(connection, keyring, login)
    if not await _drop(connection, keyring, account_id, label):
        raise AccountError(f"The account {login} has no app password {label}.")


async def _id_of(connection: AsyncConnection, keyring: Keyring, login: str) -> str | None:
    statement = select(account.c.id).where(account.c.folded_hash == keyring.folded(login))
    return (await connection.execute(statement)).scalar_one_or_none()


async def _need(connection: AsyncConnection, keyring: Keyring, login: str) -> str:
    found = await _id_of(connection, keyring, login)
    if found is None:
        raise AccountError(f"There is no account {login}; `aboveboard account list` names them.")
    return found


def _sealed(keyring: Keyring, account_id: str, one: Account) -> bytes:
    content = json.dumps({"login": one.login, "senders": one.senders}).encode()
    return keyring.seal_column(content, f"account/{account_id}")


async def _put(connection: AsyncConnection, keyring: Keyring, account_id: str, password: Password) -> None:
    password_id = secrets.token_hex(16)
    row = {
        "id": password_id,
        "account_id": account_id,
        "created_at": stamp(password.created_at),
        "tag": password.tag,
        "hash": password.kept,
        "sealed": keyring.seal_column(password.label.encode("utf-8"), f"account_password/{password_id}"),
    }
    await connection.execute(insert(account_password), [row])


async def _drop(connection: AsyncConnection, keyring: Keyring, account_id: str, label: str) -> bool:
    """Remove the password of a label, and tell whether there was one."""
    statement = select(account_password.c.id, account_password.c.sealed)
    for row in (await connection.execute(statement.where(account_password.c.account_id == account_id))).all():
        if keyring.open_column(row.sealed, f"account_password/{row.id}") == label.encode("utf-8"):
            await connection.execute(delete(account_password).where(account_password.c.id == row.id))
            return True
    return False
