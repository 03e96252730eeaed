"""Logins: what they ask of the ledger, and leave there."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from ledger import accounts, attempts, patience
from ledger.accountfile import AccountFile
from ledger.accounts import Account, Password
from ledger.attempts import Attempt
from ledger.batch import Batch
from ledger.errors import LedgerUnavailable
from ledger.store import Store, utc_now

Result = TypeVar("Result")


class Logins(Store):
    """What logins have to do with the ledger. What raises LedgerUnavailable does so within the patience."""

    async def account(self, login: str) -> Account | None:
        """Return the account of a login, or None. Raises LedgerUnavailable."""
        return await self._in_time(lambda batch: accounts.find(batch, self.keyring, login))

    async def accounts(self) -> list[Account]:
        """Return all accounts. Raises LedgerUnavailable."""
        return await self.read(lambda connection: accounts.listed(connection, self.keyring))

    async def keep_copy(self, found: Sequence[Account]) -> None:
        """Write all accounts to their file, for when the ledger is away. Raises OSError."""
        if self._settings.account_file is not None:
            await asyncio.to_thread(AccountFile(self._settings.account_file, self.keyring).write, found)

    async def copy_of_accounts(self) -> list[Account] | None:
        """Return the accounts as they were last written to their file, or None."""
        if self._settings.account_file is None:
            return None
        return await asyncio.to_thread(AccountFile(self._settings.account_file, self.keyring).read)

    async def add_account(self, one: Account) -> None:
        """Add an account. Raises AccountError where there is one of this login, or LedgerUnavailable."""
        await self.job(lambda connection: accounts.add(connection, self.keyring, one))

    async def change_account(self, one: Account) -> None:
        """Give an account other senders and passwords. Raises AccountError where there is none; LedgerUnavailable."""
        await self.job(lambda connection: accounts.change(connection, self.keyring, one))

    async def add_app_password(self, login: str, password: Password) -> None:
        """Add a password to an account. Raises AccountError where that cannot be, or LedgerUnavailable."""
        await self.job(lambda connection: accounts.add_password(connection, self.keyring, login, password))

    async def remove_account(self, login: str) -> None:
        """Remove an account. Raises AccountError where there is none, or LedgerUnavailable."""
        await self.job(lambda connection: accounts.remove(connection, self.keyring, login))

    async def remove_app_password(self, login: str, label: str) -> None:
        """Remove one password of an account. Raises AccountError where there is none, or LedgerUnavailable."""
        await self.job(lambda connection: accounts.remove_password(connection, self.keyring, login, label))

    async def attempts(self, account: str, network: str) -> list[Attempt]:
        """Return the last day's attempts as an account or from a network. Raises LedgerUnavailable."""
        return await self._in_time(lambda batch: attempts.recent(batch, account, network, utc_now()))

    async def record_attempt(self, one: Attempt) -> bool:
        """Keep a failed attempt, or one that succeeded, which ends the failures there. Never raises.

        Returns whether it is on disk within the patience.
        """
        work = attempts.succeeded if one.secret == attempts.SUCCESS else attempts.record
        waiting = asyncio.ensure_future(self.job(lambda connection: work(connection, one)))
        waiting.add_done_callback(self._attempt_recorded)
        await asyncio.wait({waiting}, timeout=patience.PATIENCE)
        return waiting.done() and not waiting.cancelled() and waiting.exception() is None

    def _attempt_recorded(self, done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and done.exception() is not None:
            self._complain("logins", done.exception())

    async def _in_time(self, work: Callable[[Batch], Result]) -> Result:
        try:
            return await asyncio.wait_for(self._apart(self._database.batch(work, writes=False)), patience.PATIENCE)
        except TimeoutError as error:
            raise LedgerUnavailable("The ledger does not answer in time.") from error
