"""Logins: who tells whether somebody may log in, as the configuration says it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aboveboard.settings import Config
from ledger.ledger import Ledger
from proxy.accounts import Accounts
from proxy.auth import Verifier
from proxy.ownership import Ownership, parse_alias
from proxy.passthrough import PassThrough
from proxy.pool import Upstreams
from proxy.throttle import Throttle


class Logins:
    """The verifiers of one worker, and what they go by."""

    def __init__(self, config: Config, ledger: Ledger, upstreams: Upstreams) -> None:
        aliases = tuple(parse_alias(one.login, one.addresses) for one in config.relay.alias)
        self._ownership = Ownership(tuple(config.organisation.domains), aliases)
        self._accounts = Accounts(ledger, upstreams, self._ownership)
        self._passing = PassThrough(upstreams, self._ownership)
        self._used = {one.auth for one in config.relay.listener}
        self.verifiers: dict[str, Verifier] = {
            "pass-through": Throttle(self._passing, ledger),
            "accounts": Throttle(self._accounts, ledger),
        }
        """By what listeners call them."""

    def adopt(self, config: Config) -> None:
        """Go by other domains from now on; aliases need a restart, as all of the relay's section does."""
        self._ownership.domains = tuple(config.organisation.domains)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep a copy of the accounts, and hear what logins upstreams take, where listeners ask for them."""
        chores = {"accounts": self._accounts.keep_fresh, "pass-through": self._passing.keep_learning}
        tasks = [asyncio.create_task(chore()) for auth, chore in chores.items() if auth in self._used]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
