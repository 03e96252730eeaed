"""Mail that flows while something happens: many clients, many messages, each until it is acknowledged."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from tests.faults.account import Account, Letter, letter
from tests.faults.client import Client
from tests.faults.places import READER

SENDER = "alice@example.org"
COLLEAGUES = ("one@customer.test", "two@customer.test")
PER_CONNECTION = 5
GROUP_EVERY = 5
PATIENCE_SECONDS = 120.0


class Load:
    """So many messages, handed in by so many clients at once; mostly to one who agreed, some to two people."""

    def __init__(self, port: int, account: Account, count: int, clients: int = 16, name: str = "") -> None:
        self._port = port
        self._account = account
        self._clients = clients
        self._waiting = self._letters(count, f"{account.name} {name}".strip().replace(" ", "-"))
        self.count = count
        self.done = 0
        """Messages that were acknowledged."""
        self._one_more = asyncio.Event()

    @staticmethod
    def _letters(count: int, name: str) -> Iterator[Letter]:
        for at in range(count):
            yield letter(f"{name}-{at}", SENDER, COLLEAGUES if at % GROUP_EVERY == 0 else (READER,))

    async def run(self) -> None:
        """Hand everything in."""
        await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def reach(self, share: float) -> None:
        """Wait until such a share of the messages was acknowledged."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.done < share * self.count:
                    self._one_more.clear()
                    await self._one_more.wait()

    async def _client(self) -> None:
        while batch := list(itertools.islice(self._waiting, PER_CONNECTION)):
            until = time.monotonic() + PATIENCE_SECONDS
            while batch and time.monotonic() < until:
                async with Client(self._port) as client:
                    batch = await self._hand_in(client, batch)
                if batch:
                    await asyncio.sleep(0.1)

    async def _hand_in(self, client: Client, batch: list[Letter]) -> list[Letter]:
        """Hand messages in on one connection; return those that are left, from the first that was not acknowledged."""
        for at, one in enumerate(batch):
            attempt = await client.hand_in(one, one.recipients)
            self._account.add(one, attempt)
            if not attempt.taken:
                return batch[at:]
            self.done += 1
            self._one_more.set()
        return []


async def during(load: Load, happening: Callable[[], Awaitable[None]]) -> None:
    """Have something happen while the mail flows; ends when both are over."""
    flowing = asyncio.create_task(load.run())
    try:
        await happening()
    finally:
        await flowing
