"""The pool: connections to an upstream that are kept open between messages, and no more of them than it allows."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from proxy.limits import Census
from proxy.reply import ReplyError, reply
from proxy.route import Capabilities, Route, shared
from proxy.upstream import QUIT_SECONDS, Connection, TurnedAway

LEARN_SECONDS = 3.0
AGAIN_SECONDS = 0.25
"""How often an upstream that is full is asked once more: another worker's connection may have gone."""
EARLY_SECONDS = 0.001
"""How much too early uvloop may say that a time has come: whoever asked then would ask once more at the time itself."""
SWEEP_SECONDS = 1.0
"""How often connections at rest are looked at, at least."""
_FULL = reply(451, "4.3.2 The mail server behind this relay takes no more connections now")

log = structlog.get_logger()

Rested = Callable[[], Connection | None]
"""Returns a connection that somebody has given back, if there is one."""


class Pool:
    """The connections of one process to one route. A connection is of one route, and so of one login, for ever."""

    def __init__(self, route: Route, census: Census, number: int) -> None:
        """Begin without connections. They are counted in the census, as those to the route of this number."""
        self.route = route
        self._census = census
        self._number = number
        self._slots = asyncio.Semaphore(route.limits.connections)
        self._open = 0
        self._ended_at = -math.inf
        """When the latest connection went, by the loop's clock."""
        self._idle: dict[Connection, float] = {}
        """The connections at rest, and since when; the one that was used last comes last."""
        self._hoping: deque[asyncio.Event] = deque()
        """Who has a slot and no connection, because the upstream takes fewer than it was believed to take."""
        self._waiting = 0
        """How many wait for a slot."""
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
        try:
            if fresh:
                self._make_room()
            return self._rested() or await self.open(self.route, self._rested)
        except BaseException:
            self._release()
            raise

    async def open(self, route: Route, rested: Rested = lambda: None) -> Connection:
        """Return a new connection, by this pool's route or the same one with another login.

        Where the upstream lets in no more it may come later, or be one that ``rested`` returns, which was given back
        meanwhile. Raises ReplyError where no host answers, and where the upstream stays full for too long.
        """
        refusal = TurnedAway(_FULL)
        # While others wait because it is full, asking once more would only be one more to turn away.
        if not self._hoping and not self._census.others_starve(self._number):
            try:
                return await self._opened(route)
            except TurnedAway as error:
                refusal = self._unless_full_with_others(error)
        self._end_a_guest()
        until, hope = asyncio.get_running_loop().time() + self.route.limits.patience, asyncio.Event()
        self._hoping.append(hope)
        self._say_whether_starving()
        try:
            return await self._hoped_for(hope, until, route, rested, refusal)
        finally:
            self._hoping.remove(hope)
            self._say_whether_starving()
            if hope.is_set():
                self._wake()

    async def _hoped_for(
        self, hope: asyncio.Event, until: float, route: Route, rested: Rested, refusal: TurnedAway
    ) -> Connection:
        """Wait for a connection, until a time by the loop's clock. Raises the refusal where there is none."""
        loop = asyncio.get_running_loop()
        found = rested()
        while found is None:
            if loop.time() >= until - EARLY_SECONDS:
                raise refusal
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(until, loop.time() + AGAIN_SECONDS)):
                    await hope.wait()
            told = hope.is_set()
            hope.clear()
            found = rested()
            if found is None and (told or hope is self._hoping[0]):
                try:
                    found = await self._opened(route)
                    # There may be room for more than one.
                    hope.set()
                except TurnedAway as error:
                    refusal = self._unless_full_with_others(error)
        return found

    def _unless_full_with_others(self, refusal: TurnedAway) -> TurnedAway:
        """Return the refusal; raise it where no worker has a connection there, so that none will go.

        One that has just gone may still count at the upstream, which hears of it a moment later.
        """
        went = asyncio.get_running_loop().time() - self._ended_at
        if not self._census.connected(self._number) and went > AGAIN_SECONDS:
            raise refusal
        return refusal

    async def _opened(self, route: Route) -> Connection:
        """Return a new connection, counted from its beginning to its end. Raises ReplyError."""
        self._census.connect(self._number, 1)
        try:
            connection = await Connection.open(route)
        except BaseException:
            self._census.connect(self._number, -1)
            raise
        connection.on_end(partial(self._ended, connection))
        self._open += 1
        self._say_whether_starving()
        return connection

    def _ended(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open -= 1
        self._ended_at = asyncio.get_running_loop().time()
        self._census.connect(self._number, -1)
        self._say_whether_starving()

    def _say_whether_starving(self) -> None:
        """Let the other workers know, who may have all connections that the upstream takes."""
        self._census.starve(self._number, starving=bool(self._hoping) and not self._open)

    def _release(self) -> None:
        """Let somebody else have the slot, and with it the connection if there is one."""
        self._slots.release()
        if not self._census.others_starve(self._number):
            self._wake()

    def _wake(self) -> None:
        """Have the next one who hopes look what there is."""
        hope = next((one for one in self._hoping if not one.is_set()), None)
        if hope is not None:
            hope.set()

    async def reserve(self) -> None:
        """Have a connection that is not the pool's count among its own, until it is released or dismissed.

        Raises ReplyError where all stay in use for too long.
        """
        await self._acquire()
        for connection in list(self._idle)[:1]:
            # The one that rested longest: the upstream counts those at rest too.
            self._retire(connection)

    def rests(self, guest: object, end: Callable[[], None]) -> None:
        """Have a reserved connection that is at rest ended, by ``end``, when somebody begins to wait for one."""
        self._guests[guest] = end
        self._begin_to_sweep()

    def make_way(self) -> None:
        """End a reserved connection at rest where somebody waits for one already."""
        if self._waiting or self._hoping:
            self._end_a_guest()

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

    def _end_a_guest(self) -> None:
        for guest in list(self._guests)[:1]:
            self._guests.pop(guest)()

    async def _acquire(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        self._end_a_guest()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.route.limits.patience):
                await self._slots.acquire()
        except TimeoutError as error:
            busy = "4.3.2 All connections to the mail server behind this relay are in use; please try again later"
            raise ReplyError(reply(451, busy)) from error
        finally:
            self._waiting -= 1

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
        if connection.is_clean and connection.is_up and not self._is_to_go(connection):
            self._keep(connection)
            self._release()
        else:
            self._begin(self._tidy(connection))

    def _keep(self, connection: Connection) -> None:
        connection.settle(at_rest=True)
        self._idle[connection] = asyncio.get_running_loop().time()
        self._begin_to_sweep()

    def _is_to_go(self, connection: Connection) -> bool:
        """Tell whether a connection has had its time, here or altogether: a worker that has none shall have one."""
        return self.is_worn(connection) or self._closed or self._census.others_starve(self._number)

    def _begin_to_sweep(self) -> None:
        if self._sweeping is None:
            self._sweep()

    def _sweep(self) -> None:
        """End what has rested for too long, or one where another worker has none, as long as something rests."""
        loop, self._sweeping, left = asyncio.get_running_loop(), None, SWEEP_SECONDS
        others_starve = self._census.others_starve(self._number)
        for connection, since in list(self._idle.items()):
            left = since + self.route.limits.idle - loop.time()
            if left > 0 and not others_starve:
                break
            self._retire(connection)
            others_starve = False
        if others_starve:
            self._end_a_guest()
        if self._idle or self._guests:
            self._sweeping = loop.call_later(min(max(left, 0.0), SWEEP_SECONDS), self._sweep)

    def _retire(self, connection: Connection) -> None:
        if self._idle.pop(connection, None) is not None:
            connection.settle(at_rest=False)
            self._begin(connection.quit())

    async def _tidy(self, connection: Connection) -> None:
        """Have a connection keep its slot until it is as new or closed: the upstream counts it until then."""
        try:
            if self._is_to_go(connection) or not await connection.reset():
                await connection.quit()
            else:
                self._keep(connection)
        finally:
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
    census: Census = field(default_factory=Census.alone)
    """Of the connections to them, with those of other workers."""
    pools: list[Pool] = field(init=False)
    _known: list[Capabilities | None] = field(init=False, default_factory=list)
    _common: Capabilities = field(init=False, default=Capabilities())

    def __post_init__(self) -> None:
        self.pools = [Pool(route, self.census, number) for number, route in enumerate(self.routes)]

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
