"""One worker: one part, on sockets that the parent bound. Ends when told to, or when the parent is gone.

The parts are ``relayworker`` and ``webworker``: a process imports the one that it is.

It goes by what the parent has put in force, and takes up what the parent puts in force later.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from aboveboard import compose
from aboveboard.ending import end_within
from aboveboard.reload import Current, InForce, signature
from aboveboard.upkeep import keep_up
from ledger import tally
from ledger.batch import write_statements
from ledger.database import Place
from ledger.errors import LedgerUnavailable
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.patience import PATIENCE
from ledger.versions import PolicyVersion

DRAIN_SECONDS = 30.0
END_SECONDS = DRAIN_SECONDS + 10.0
"""After which a worker that was asked to end is gone, whatever it still waits for."""

log = structlog.get_logger()

LOOK_SECONDS = 0.5
"""Between two looks at what the parent has put in force."""
AGAIN_SECONDS = 5.0
"""Before what did not work is tried again."""

Ready = Callable[[], None]
Adopt = Callable[[InForce], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Task:
    """What the parent hands over to a worker."""

    place: Path
    """Where it writes what is in force."""
    sockets: Sequence[socket.socket]
    workers: int
    """How many workers do the same."""
    number: int
    """Which of them this one is, from 0."""
    census: int
    """Descriptor of the memory in which all of them count."""


Part = Callable[[Task, Ready, asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def opened(current: Current) -> AsyncIterator[Ledger]:
    """Open the ledger, ready for the first message or hit, and look after it while it is open."""
    write_statements(sqlite=Place(current.config.ledger.url).sqlite is not None)
    async with compose.ledger(current.config, Keyring.load(current.config.ledger.key_file)) as ledger:
        # The first commit of a connection to SQLite waits for the disk three times, every other one once. Made for the
        # first message, it may take longer than that waits.
        await ledger.tick()
        upkeep = asyncio.create_task(keep_up(current, ledger))
        try:
            yield ledger
        finally:
            upkeep.cancel()


class Follower:
    """Keeps a worker at what is in force, and has the ledger keep every version of the policy that rules."""

    def __init__(self, place: Path, ledger: Ledger, current: Current, adopt: Adopt) -> None:
        self._place = place
        self._current = current
        self._ledger = ledger
        self._adopt = adopt
        self._recording: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def following(self, in_force: InForce) -> AsyncIterator[None]:
        """Follow, beginning with what the worker began with, until the block ends."""
        await self._keep(in_force)
        following = asyncio.create_task(self._follow(in_force))
        try:
            yield
        finally:
            for task in (following, *self._recording):
                task.cancel()

    async def _follow(self, in_force: InForce) -> None:
        # Whatever was written between our start and now is looked at once, too.
        seen = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            found = signature(self._place)
            if found is None or found == seen:
                continue
            try:
                # In a thread, as is all that takes its time here: mail and hits go on meanwhile.
                fresh = await asyncio.to_thread(in_force.read_again, self._place)
                if fresh != in_force:
                    await self._take_up(in_force, fresh)
            except Exception:
                # Tried again: a worker that gave up would go by an old policy for ever.
                log.exception("worker.not_reloaded")
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                seen, in_force = found, fresh

    async def _take_up(self, before: InForce, fresh: InForce) -> None:
        if fresh.since != before.since:
            await self._keep(fresh)
        self._ledger.adopt(compose.teller(fresh.config), compose.periods(fresh.config))
        await self._adopt(fresh)
        self._current.config = fresh.config
        if fresh.config != before.config:  # and not only that the file is wrong, or a certificate was renewed
            log.info("worker.reloaded", policy_version=fresh.policy_version)

    async def _keep(self, in_force: InForce) -> None:
        """Have the ledger keep the policy before it rules, or later where the ledger does not answer in time."""
        recording = asyncio.create_task(self._record(in_force))
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)
        await asyncio.wait({recording}, timeout=PATIENCE)

    async def _record(self, in_force: InForce) -> None:
        one = PolicyVersion(in_force.policy_version, in_force.policy_text, in_force.author, in_force.since)
        while True:
            try:
                await self._ledger.record_policy(one)
            except LedgerUnavailable:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


@dataclass(frozen=True, slots=True)
class Handover:
    """What the parent hands over, as numbers of the descriptors that a worker inherits."""

    place: Path
    """Where the parent writes what is in force."""
    sockets: Sequence[int]
    """The bound sockets."""
    workers: int
    number: int
    census: int
    ready: int
    """One byte is written to it when clients are served."""
    life: int
    """The end of a pipe that closes when the parent does."""


def run(part: Part, given: Handover) -> None:
    """Run one part until SIGTERM, SIGINT, or the end of the parent."""
    # What is imported by now stays: looking through it for garbage again and again would hold everybody up.
    gc.freeze()
    sockets = [socket.socket(fileno=descriptor) for descriptor in given.sockets]
    task = Task(given.place, sockets, given.workers, given.number, given.census)
    # The parent alone minds SIGHUP; one that a terminal sends to all of them must not end a worker.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A tenth less of the processor than asyncio's own loop takes, for a message as for a pixel.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(part, task, given.ready, given.life))


async def _run(part: Part, task: Task, ready: int, life: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        if not stop.is_set():
            # The parent sees to it too; but one that is gone does not, and the sockets would stay taken.
            end_within(END_SECONDS)
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)

    def parent_gone() -> None:
        loop.remove_reader(life)
        end()

    loop.add_reader(life, parent_gone)

    def say_ready() -> None:
        os.write(ready, b"r")
        os.close(ready)

    await part(task, say_ready, stop)
    tally.hand_over()
