"""Accounts: local logins, checked against the ledger; mail goes upstream by the service's own credentials."""

import asyncio
import hmac
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from ledger import passwords
from ledger.accounts import Account, Password
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from policies.address import folded
from policies.glob import address_pattern, matches
from proxy.auth import WRONG, Login, known
from proxy.ownership import Ownership
from proxy.pool import Upstreams
from proxy.reply import Reply, ReplyError, reply
from proxy.sasl import LOGIN, PLAIN, Ask, Credential
from proxy.transaction import Source

THREADS = 2
"""How many passwords are compared at once: each takes a core, and 19 MiB."""
MAX_WAITING = 100
"""Logins that may wait for that."""
PROVED_SECONDS = 600.0
"""How long a password that was right need not be compared again in this process."""
REFRESH_SECONDS = 60.0
"""Between two looks at all accounts, for when the ledger is away."""

log = structlog.get_logger()


class Accounts:
    """Has the ledger's accounts tell who may log in."""

    mechanisms = (PLAIN, LOGIN)

    def __init__(self, ledger: Ledger, upstreams: Upstreams, ownership: Ownership) -> None:
        self._ledger = ledger
        self._upstreams = upstreams
        self._ownership = ownership
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._copy: dict[str, Account] | None = None
        """All accounts as they were last seen, by folded login: mail must not wait for a ledger that is away."""
        self._key = secrets.token_bytes(32)
        self._proved: dict[str, tuple[bytes, float]] = {}
        """Of passwords that were right: a digest that no other process could make, and until when it counts."""

    async def keep_fresh(self) -> None:
        """Look at all accounts again and again, for when the ledger is away. Ends when it is cancelled."""
        written: list[Account] | None = None
        while True:
            try:
                found = await self._ledger.accounts()
                self._copy = {folded(one.login): one for one in found}
                if found != written:
                    await self._ledger.keep_copy(found)
                    written = found
            except (LedgerUnavailable, OSError) as error:
                log.warning("accounts.not_refreshed", why=type(error).__name__)
            except Exception:
                log.exception("accounts.not_refreshed")
            await asyncio.sleep(REFRESH_SECONDS)

    async def verify(self, credential: Credential, client: str, ask: Ask) -> tuple[Reply, Login | None]:
        """Return what the client is to hear, and who it is if it is right. Raises ReplyError where nobody can tell."""
        account = await self._find(credential.user)
        if not await self._is_right(account, credential.secret) or account is None:
            return WRONG, None
        return reply(235, "2.7.0 You are logged in"), AccountLogin(account, self._upstreams, self._ownership)

    async def _find(self, login: str) -> Account | None:
        """Return the account of a login as the ledger has it now, or had it last."""
        try:
            account = await self._ledger.account(login)
        except LedgerUnavailable as error:
            if self._copy is None:
                kept = await self._ledger.copy_of_accounts()
                self._copy = {folded(one.login): one for one in kept} if kept is not None else None
            if self._copy is None:
                raise ReplyError(reply(454, "4.7.0 Logins cannot be checked now; please try again later")) from error
            return self._copy.get(folded(login))
        if self._copy is not None:
            if account is not None:
                self._copy[folded(login)] = account
            else:
                self._copy.pop(folded(login), None)
        return account

    async def _is_right(self, account: Account | None, secret: bytes) -> bool:
        """Tell whether a password is one of the account's. It takes as long where there is no account."""
        password = _candidate(account, passwords.tag(self._ledger.keyring, secret))
        kept = password.kept if password is not None else passwords.NOBODYS
        said = passwords.normalised(secret) if password is not None and password.tag is not None else secret
        digest = hmac.digest(self._key, said, "sha256")
        proof, until = self._proved.get(kept, (b"", 0.0))
        if hmac.compare_digest(proof, digest) and time.monotonic() < until:
            return True
        right = await self._compare(kept, said) and password is not None
        if right:
            self._proved[kept] = (digest, time.monotonic() + PROVED_SECONDS)
        return right

    async def _compare(self, kept: str, secret: bytes) -> bool:
        if self._waiting >= MAX_WAITING:
            raise ReplyError(reply(454, "4.7.0 Too many logins at once; please try again later"))
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, passwords.matches, self._ledger.keyring, kept, secret)
        finally:
            self._waiting -= 1


def _candidate(account: Account | None, tag: str) -> Password | None:
    """Return the one password that a secret may be: the app password of its tag, else the one that people chose."""
    kept = account.passwords if account is not None else ()
    marked = next((one for one in kept if one.tag is not None and hmac.compare_digest(one.tag, tag)), None)
    return marked or next((one for one in kept if one.tag is None), None)


class AccountLogin:
    """An account that is logged in."""

    def __init__(self, account: Account, upstreams: Upstreams, ownership: Ownership) -> None:
        self.address = ownership.address_of(account.login)
        self._senders = account.senders
        self._upstreams = upstreams
        self._ownership = ownership

    def source(self, sender: str) -> Source:
        """Return the pool for mail of a sender, who must be the account's: the upstream knows only the service.

        Raises ReplyError. The null sender, of read receipts and the like, is everybody's.
        """
        others = address_pattern(self._senders)
        if sender and not self._ownership.owns(self.address, sender) and not matches(others, folded(sender)):
            raise ReplyError(reply(553, "5.7.1 The login may not send as this address"))
        return known(self._upstreams.pool(sender or self.address))

    def check_author(self, content: bytes) -> None:
        """Raise ReplyError where a message says to be written by somebody else of the organisation."""
        self._ownership.check_author(content, self.address, self._senders)

    def end(self) -> None:
        """Nothing is held for a session: connections belong to the service."""
