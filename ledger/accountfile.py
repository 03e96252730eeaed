"""The copy of the accounts beside the ledger, for a process that starts while the ledger is away. Encrypted whole."""

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger.accounts import Account, Password
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.schema import moment, stamp

_PLACE = "accounts"


class AccountFile:
    """A file with all accounts, as they were when it was last written."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        self._path = path
        self._keyring = keyring

    def read(self) -> list[Account] | None:
        """Return the accounts in the file, or None where there is none that can be read."""
        try:
            content = json.loads(self._keyring.open_column(self._path.read_bytes(), _PLACE))
            return [_account(one) for one in content]
        except (OSError, LedgerError, ValueError, KeyError, TypeError):
            return None

    def write(self, accounts: Sequence[Account]) -> None:
        """Write the accounts so that a reader never sees half of them, and nobody else reads any. Raises OSError."""
        content = json.dumps([_written(one) for one in accounts]).encode("utf-8")
        # Several processes write the same, also of several containers, each to a file of its own until it is whole.
        fresh = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._keyring.seal_column(content, _PLACE))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        finally:
            fresh.unlink(missing_ok=True)


def _written(one: Account) -> dict[str, object]:
    passwords = [[each.label, each.tag, each.kept, stamp(each.created_at)] for each in one.passwords]
    return {"login": one.login, "senders": one.senders, "created_at": stamp(one.created_at), "passwords": passwords}


def _account(content: dict[str, Any]) -> Account:
    made = [Password(label, tag, kept, moment(at)) for label, tag, kept, at in content["passwords"]]
    return Account(content["login"], tuple(content["senders"]), moment(content["created_at"]), tuple(made))
