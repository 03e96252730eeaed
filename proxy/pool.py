"""The pool: connections to an upstream that are kept open between messages, and no more of them than it allows."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from proxy.reply import ReplyError, reply
from proxy.route import Capabilities, Route, shared
from proxy.upstream import QUIT_SECONDS, Connection, TurnedAway

LEARN_SECONDS = 3.0
_FULL = reply(451, "4.3.2 The mail server behind this relay takes no more connections now")

log = structlog.get_logger()


class Pool:
    """The connections of one process to one route. A connection is of one route, and so of one login, for ever."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._slots = asyncio.Semaphore(route.limits.connections)
        self._idle: dict[Connection, float] = {}
        """The connections at rest, and since when; the one that was used last comes last."""
        self._in_use = 0
        """Connections that carry a message, and those that are being opened for one."""
        self._hoping: deque[asyncio.Future[None]] = deque()
        """Who has a slot and no connection, because the upstream takes fewer than it was believed to take."""
        self._guests: dict[object, Callable[[], None]] = {}
        """Reserved connections at rest, and how each is ended; the one that has rested longest comes first."""
        self._sweeping: asyncio.TimerHandle | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self, *, fresh: bool = False) -> Connection:
        """Return a connection for one transaction, to be given back by ``give_back``; a new one where ``fresh``.

        Raises ReplyError where no host answers, or where all connections stay in use for too long.
        """
        await self._acquire()
        self._in_use += 1
        try:
            if fresh:
                self._make_room()
            return self._rested() or await self._opened()
        except BaseException:
            self._in_use -= 1
            self._release()
            raise

    async def _opened(self) -> Connection:
        """Return a new connection; where the upstream lets in no more, one that was given back meanwhile."""
        deadline = asyncio.get_running_loop().time() + self.route.limits.patience
        refusal = TurnedAway(_FULL)
        # While others wait because it is full, asking once more would only be one more to turn away.
        is_full = bool(self._hoping)
        while True:
            if not is_full:
                try:
                    return await Connection.open(self.route)
                except TurnedAway as error:
                    refusal = error
            rested = self._rested()
            if rested is None:
                if not await self._given_back(deadline):
                    raise refusal
                rested = self._rested()
            if rested is not None:
                return rested
            is_full = False

    async def _given_back(self, deadline: float) -> bool:
        """Wait until somebody gives a connection back, and tell whether somebody did."""
        self._in_use -= 1
        hope: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hoping.append(hope)
        try:
            if not self._in_use:
                return False
            async with asyncio.timeout_at(deadline):
                await hope
        except TimeoutError:
            return False
        finally:
            self._in_use += 1
            with suppress(ValueError):
                self._hoping.remove(hope)
        return True

    def _release(self) -> None:
        """Let somebody else have the slot, and with it the connection if there is one."""
        self._slots.release()
        while self._hoping:
            hope = self._hoping.popleft()
            if not hope.done():
                hope.set_result(None)
                break

    async def reserve(self) -> None:
        """Have a connection that is not the pool's count among its own, until it is released or dismissed.

        Raises ReplyError where all stay in use for too long.
        """
        await self._acquire()
        for connection in list(self._idle)[:1]:
            # The one that rested longest: the upstream counts those at rest too.
            self._retire(connection)

    def rests(self, guest: object, end: Callable[[], None]) -> None:
        """Have a reserved connection that is at rest ended, by ``end``, when somebody waits for one."""
        self._guests[guest] = end

    def works(self, guest: object) -> None:
        """Have a reserved connection not ended any more."""
        self._guests.pop(guest, None)

    def release(self) -> None:
        """Have a connection that was reserved count no more."""
        self._slots.release()

    def dismiss(self, connection: Connection) -> None:
        """End a connection that was reserved; it counts until then."""
        self._begin(self._dismissed(connection))

    async def _dismissed(self, connection: Connection) -> None:
        try:
            await connection.quit()
        finally:
            self._slots.release()

    async def _acquire(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        for guest in list(self._guests)[:1]:
            self._guests.pop(guest)()
        try:
            async with asyncio.timeout(self.route.limits.patience):
                await self._slots.acquire()
        except TimeoutError as error:
            busy = "4.3.2 All connections to the mail server behind this relay are in use; please try again later"
            raise ReplyError(reply(451, busy)) from error

    def _rested(self) -> Connection | None:
        """Return the connection that was used last: the others may grow old and go."""
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.settle(at_rest=False)
            if connection.is_up and not self.is_worn(connection):
                return connection
            connection.close()
        return None

    def _make_room(self) -> None:
        """Close what is at rest: where one connection was stale, the others are no better."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def is_worn(self, connection: Connection) -> bool:
        """Tell whether a connection has carried enough messages or been open for long enough."""
        limits, now = self.route.limits, asyncio.get_running_loop().time()
        return (
            connection.transactions >= min(limits.messages, connection.most) or now - connection.opened_at > limits.age
        )

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next transaction, after RSET where one was left open; or end it."""
        connection.rest()
        if connection.is_clean and connection.is_up and not self.is_worn(connection) and not self._closed:
            self._keep(connection)
            self._in_use -= 1
            self._release()
        else:
            self._begin(self._tidy(connection))

    def _keep(self, connection: Connection) -> None:
        connection.settle(at_rest=True)
        connection.on_end(partial(self._forget, connection))
        self._idle[connection] = asyncio.get_running_loop().time()
        if self._sweeping is None:
            self._sweep()

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def _sweep(self) -> None:
        """End the connections that have rested for too long, and look again when the next one may have."""
        loop, self._sweeping = asyncio.get_running_loop(), None
        for connection, since in list(self._idle.items()):
            left = since + self.route.limits.idle - loop.time()
            if left > 0:
                self._sweeping = loop.call_later(left, self._sweep)
                break
            self._retire(connection)

    def _retire(self, connection: Connection) -> None:
        if self._idle.pop(connection, None) is not None:
            connection.settle(at_rest=False)
            self._begin(connection.quit())

    async def _tidy(self, connection: Connection) -> None:
        """Have a connection keep its slot until it is as new or closed: the upstream counts it until then."""
        try:
            if self.is_worn(connection) or self._closed or not await connection.reset():
                await connection.quit()
            else:
                self._keep(connection)
        finally:
            self._in_use -= 1
            self._release()

    def _begin(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def close(self) -> None:
        """End every connection at rest, and wait for those that are being ended, but not for long."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._idle):
            self._retire(connection)
        if self._chores:
            await asyncio.wait(self._chores, timeout=QUIT_SECONDS)

    async def learn(self) -> None:
        """Ask the route what it can do. Never raises."""
        # An upstream that is away now is asked again by the first message to it; why has been logged.
        with suppress(ReplyError, TimeoutError):
            async with asyncio.timeout(LEARN_SECONDS):
                connection = await Connection.open(self.route)
            await connection.quit()


@dataclass(slots=True)
class Upstreams:
    """All routes, in order, each with its pool."""

    routes: list[Route]
    pools: list[Pool] = field(init=False)
    _known: list[Capabilities | None] = field(init=False, default_factory=list)
    _common: Capabilities = field(init=False, default=Capabilities())

    def __post_init__(self) -> None:
        self.pools = [Pool(route) for route in self.routes]

    def pool(self, sender: str) -> Pool | None:
        """Return the pool of the first route that serves a sender; the null sender's mail goes to the first of all."""
        if not sender:
            return self.pools[0]
        return next((pool for pool in self.pools if pool.route.serves(sender)), None)

    @property
    def common(self) -> Capabilities:
        """What every route can do, as far as is known: what the client may be offered."""
        known = [host.known for route in self.routes for host in route.hosts]
        if known != self._known:
            self._known, self._common = known, shared([route.known for route in self.routes])
        return self._common

    async def learn(self) -> None:
        """Ask every route once what it can do, so that the first client is offered it. Never raises."""
        await asyncio.gather(*(pool.learn() for pool in self.pools))

    async def close(self) -> None:
        """End the connections of all pools."""
        await asyncio.gather(*(pool.close() for pool in self.pools))
