"""The ledger locked, deleted, on a full disk, stopped: mail flows untouched, and is not held up."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path

from tests.faults.account import Account, Row, letter
from tests.faults.client import deliver
from tests.faults.load import SENDER, Load
from tests.faults.places import READER, Scene
from tests.faults.upstream import Upstream
from tests.postgresql import Cluster

HELD_UP_SECONDS = 4.0
"""Many times the ledger's patience, for a busy machine, and less than SQLite waits for a lock (five seconds)."""

Fault = Callable[[Scene], AbstractAsyncContextManager[None]]


async def without_ledger(
    place: Scene, upstream: Upstream, name: str, fault: Fault, messages: int, *, kill: bool = True
) -> Row:
    """Hand messages in while the ledger is not there; see that it counts again after; a worker may be killed, too."""
    account = Account(name)
    await _until_tracked(place, upstream, account, "before")
    wrong = await place.misrecorded(account, upstream.record())
    async with fault(place):
        await Load(place.port, account, messages, clients=4, name="during").run()
        if kill:
            killed = (await asyncio.to_thread(place.service.workers, "relay"))[0]
            os.kill(killed, signal.SIGKILL)
            await place.healed([killed])
            # To the one that is new as well as to the other.
            await Load(place.port, account, messages, clients=4, name="killed").run()
    untouched = [one for one in upstream.record() if one["id"] in account.letters and not one["tracked"]]
    wrong += await _until_tracked(place, upstream, account, "after")
    record = upstream.record()
    wrong += await place.misrecorded(account, record, killed=True)
    if len(untouched) < messages:
        wrong.append(f"only {len(untouched)} went out untracked")
    row = account.row(record, wrong)
    if row.slowest > HELD_UP_SECONDS:
        row.wrong.append(f"one was held up for {row.slowest:.1f} s")
    return row


async def _until_tracked(place: Scene, upstream: Upstream, account: Account, when: str) -> list[str]:
    """Hand in messages to somebody who agreed until one arrives tracked; return what is wrong where none does."""
    for at in range(60):
        one = letter(f"{account.name}-{when}-{at}".replace(" ", "-"), SENDER, (READER,))
        await deliver(place.port, account, one)
        if any(copy["id"] == one.id and copy["tracked"] for copy in upstream.record()):
            return []
        await asyncio.sleep(0.2)
    return [f"{when} it, nothing was tracked"]


@asynccontextmanager
async def locked(place: Scene) -> AsyncIterator[None]:
    """Another process has the ledger for itself."""
    with closing(sqlite3.connect(place.service.database, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@asynccontextmanager
async def deleted(place: Scene) -> AsyncIterator[None]:
    """The ledger's files are deleted; in the end they are put back from a backup."""
    database, backup = place.service.database, place.folder / "backup.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    for file in database.parent.glob(f"{database.name}*"):
        if file.suffix not in (".head", ".journal"):
            file.unlink()
    yield
    shutil.move(backup, database)


@asynccontextmanager
async def full(place: Scene) -> AsyncIterator[None]:
    """Ledger, log and temporary files are on a file system that is full."""
    _empty_log(place.service.database)
    with _filled(place.service.folder / "filler"):
        yield


def _empty_log(database: Path) -> None:
    """Cut SQLite's write-ahead log: what has been allocated could be written to on a full disk."""
    with closing(sqlite3.connect(database, timeout=30)) as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _filled(filler: Path) -> Iterator[None]:
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        size = 1 << 20
        while size:
            try:
                os.write(descriptor, bytes(size))
            except OSError:
                size //= 2
        yield
    finally:
        os.close(descriptor)
        filler.unlink()


@asynccontextmanager
async def unwritable(place: Scene) -> AsyncIterator[None]:
    """No worker may make a file longer, its log included, as over quota; needs no rights, and one that is new may."""
    workers = [*place.service.workers("relay"), *place.service.workers("web")]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def stopped(cluster: Cluster) -> Fault:
    """Return a fault: PostgreSQL is shut down, and started again in the end."""
    return _around(cluster.stopped)


def standing_still(cluster: Cluster) -> Fault:
    """Return a fault: PostgreSQL answers nothing any more, as behind a network that swallows packets."""
    return _around(cluster.paused)


def _around(fault: Callable[[], AbstractContextManager[None]]) -> Fault:
    @asynccontextmanager
    async def happening(_: Scene) -> AsyncIterator[None]:
        block = fault()
        await asyncio.to_thread(block.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(block.__exit__, None, None, None)

    return happening
