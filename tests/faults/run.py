"""All scenarios in a row: which there are, and what came of each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import dialogs, ledgers, workers
from tests.faults.account import Row
from tests.faults.dialogs import Stage
from tests.faults.places import ROUTE, Scene, place, ports
from tests.faults.upstream import Upstream, running
from tests.postgresql import cluster

KILLED = "workers killed with -9"
ROLLING = "rolling restart"
NOT_MOUNTED = "a small file system cannot be mounted here"
ON_SQLITE: dict[str, tuple[ledgers.Fault, bool]] = {
    "ledger locked": (ledgers.locked, True),
    "ledger deleted": (ledgers.deleted, False),
    "ledger and log on a full disk": (ledgers.full, True),
    "ledger and log not writable": (ledgers.unwritable, False),
}
"""What happens, and whether a worker is killed meanwhile."""
ON_POSTGRESQL = ("PostgreSQL stopped", "PostgreSQL standing still")


@dataclass(frozen=True)
class Extent:
    """How much is done."""

    messages: int
    """Handed in while workers are killed; half as many while they are replaced."""
    kills: int
    without_ledger: int
    """Handed in while the ledger is not there, and once more when a worker was killed then."""
    thorough: bool
    """Also what takes minutes: an upstream that falls silent, and the service replaced as a whole."""


SHORT = Extent(messages=300, kills=2, without_ledger=20, thorough=False)
LONG = Extent(messages=10_000, kills=40, without_ledger=200, thorough=True)

Tell = Callable[[Row], None]


def names(extent: Extent) -> list[str]:
    """Return the names of all scenarios, in order."""
    played = [one.name for one in dialogs.scenarios(thorough=extent.thorough)]
    return [*played, KILLED, ROLLING, *ON_SQLITE, *ON_POSTGRESQL]


async def everything(folder: Path, extent: Extent, tell: Tell) -> None:
    """Let all scenarios happen and tell what came of each."""
    played = dialogs.scenarios(thorough=extent.thorough)
    # Those that wait for minutes have a service to themselves, which nobody kills.
    waiting = [one for one in played if one.waits]
    await asyncio.gather(
        _dialogs(_made(folder / "waiting"), waiting, tell),
        _in_turn(_made(folder / "sqlite"), [one for one in played if not one.waits], extent, tell),
        _on_postgresql(_made(folder / "postgresql"), extent.without_ledger, tell),
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _dialogs(folder: Path, played: list[dialogs.Scenario], tell: Tell) -> None:
    if played:
        async with dialogs.stage(folder, played) as stage:
            await _play(stage, played, tell)


async def _play(stage: Stage, played: list[dialogs.Scenario], tell: Tell) -> None:
    async def one(scenario: dialogs.Scenario) -> None:
        tell(await stage.play(scenario))

    await asyncio.gather(*map(one, played))


async def _in_turn(folder: Path, played: list[dialogs.Scenario], extent: Extent, tell: Tell) -> None:
    async with dialogs.stage(folder, played) as stage:
        await _play(stage, played, tell)
        for name, (fault, kill) in ON_SQLITE.items():
            if fault is ledgers.full and not stage.place.small:
                tell(Row(name, skipped=NOT_MOUNTED))
            else:
                tell(
                    await ledgers.without_ledger(
                        stage.place, stage.shared, name, fault, extent.without_ledger, kill=kill
                    )
                )
        tell(await workers.killed(stage, KILLED, extent.messages, extent.kills))
        tell(await workers.rolling(stage, ROLLING, extent.messages // 2, whole=extent.thorough))


async def _on_postgresql(folder: Path, messages: int, tell: Tell) -> None:
    stopped, still = ON_POSTGRESQL
    with ExitStack() as stack:
        try:
            # It takes its time, during which the others go on.
            running_cluster = await asyncio.to_thread(stack.enter_context, cluster())
            url = await asyncio.to_thread(stack.enter_context, running_cluster.database())
        except pytest.skip.Exception as missing:
            for name in ON_POSTGRESQL:
                tell(Row(name, skipped=str(missing)))
            return
        async with _with_ledger(folder, url) as (found, upstream):
            for name, fault, kill in ((stopped, ledgers.stopped, True), (still, ledgers.standing_still, False)):
                came = fault(running_cluster)
                tell(await ledgers.without_ledger(found, upstream, name, came, messages, kill=kill))


@asynccontextmanager
async def _with_ledger(folder: Path, url: str) -> AsyncIterator[tuple[Scene, Upstream]]:
    (port,) = ports(1)
    async with (
        place(folder, ROUTE.format(port=port), url) as found,
        running(folder, found.certificate, [port]) as upstream,
    ):
        yield found, upstream
