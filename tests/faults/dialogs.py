"""Faults in the dialog: the upstream dies, hangs up, is slow, full, choosy or confused; the client leaves.

Every scenario has a sender and an upstream of its own behind one service, so that they can happen at the same time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.account import Account, Letter, Row, letter
from tests.faults.client import STEPS, Client, Leaving, deliver
from tests.faults.places import READER, ROUTE, TLS_ROUTE, Scene, place, ports
from tests.faults.upstream import Fault, Upstream, running

FRESH = ("connect", "greeting", "EHLO", "STARTTLS", "AUTH")
"""Steps that only a new connection has."""
UPSTREAM_STEPS = (*FRESH, "MAIL", "RCPT", "DATA", "content", "dot", "kept", "replied")
"""Each before the reply to it; "content" is in the middle, "dot" behind the end, "kept" when it is in the mailbox."""
GROUP = ("one@customer.test", "two@customer.test", "three@customer.test")
BIG = 2_000_000
AT_ONCE = 6


@dataclass(frozen=True)
class Scenario:
    """What goes wrong, and for whom."""

    name: str
    faults: tuple[Fault, ...] = ()
    recipients: tuple[str, ...] = (READER,)
    letters: int = 3
    size: int = 0
    messages_per_connection: int = 100
    leaving: Leaving | None = None
    between: dict[str, Any] = field(default_factory=dict)
    """Ordered between one message and the next, which then come one after the other."""
    outcome: str = ""
    """What the ledger must say of a message in the end, of one at least."""
    refused: int = 0
    """How many deliveries the upstream refuses for good."""
    patience: float = 60.0

    @property
    def kills(self) -> bool:
        """Tell whether the upstream's process dies of it."""
        return any(one["do"] == "kill" for one in self.faults)

    @property
    def waits(self) -> bool:
        """Tell whether it takes as long as the relay has patience."""
        return any(one["do"] == "silent" for one in self.faults)


def _at(step: str, do: str, value: Any = None, **more: Any) -> tuple[Fault, ...]:
    return ({"at": step, "do": do, "value": value, **more},)


def _ends(how: str, verb: str) -> list[Scenario]:
    found = []
    for step in UPSTREAM_STEPS:
        reuse = 1 if step in FRESH else 100
        outcome = "unknown" if step == "kept" else ""
        found.append(
            Scenario(f"upstream {how}: {step}", _at(step, verb), messages_per_connection=reuse, outcome=outcome)
        )
    found.append(Scenario(f"upstream {how}: content of 2 MB", _at("content", verb), size=BIG))
    return found


def _slow(seconds: float) -> list[Scenario]:
    return [
        Scenario(
            f"upstream slow: {step}", _at(step, "wait", seconds, times=2), letters=2,
            messages_per_connection=1 if step in FRESH else 100,
        )
        for step in UPSTREAM_STEPS
    ]  # fmt: skip


def _silent() -> list[Scenario]:
    return [
        Scenario(
            f"upstream silent: {step}", _at(step, "silent"), letters=1, patience=700.0,
            messages_per_connection=1 if step in FRESH else 100, outcome="unknown" if step == "kept" else "",
        )
        for step in UPSTREAM_STEPS[:-1]
    ]  # fmt: skip


def _says() -> list[Scenario]:
    full = "452 4.3.1 Insufficient system storage"
    two = GROUP[1]
    found = [
        Scenario(f"upstream full: {step}", _at(step, "say", full, times=2)) for step in ("MAIL", "RCPT", "DATA", "dot")
    ]
    choosy = _at("RCPT", "say", "550 5.1.1 No such user", to=two, times=99)
    found += [
        Scenario("upstream refuses one of three", choosy, GROUP, refused=3),
        Scenario("upstream greylists one of three", _at("RCPT", "say", "450 4.2.0 Greylisted", to=two, times=3), GROUP),
        Scenario("upstream refuses the message", _at("dot", "say", "554 5.7.1 Not this", times=99), refused=4),
        Scenario("upstream says 421: MAIL", _at("MAIL", "say", "421 4.3.2 Going down")),
        Scenario("upstream says 421: dot", _at("dot", "say", "421 4.3.2 Going down")),
        Scenario("upstream hangs up at rest", between={"hang_up": True}),
    ]
    nonsense = {
        "connect": "HTTP/1.1 400 Bad Request",
        "EHLO": "250-upstream.test\r\n354 what",
        "MAIL": "354 odd",
        "RCPT": "250 ok\r\n250 extra",
        "DATA": "354 go on\r\n250 early",
        "dot": "354 once more",
        "kept": "354 once more",
    }
    found += [
        Scenario(
            f"upstream out of turn: {step}", _at(step, "say", said), outcome="unknown" if step == "kept" else "",
            messages_per_connection=1 if step in FRESH else 100,
        )
        for step, said in nonsense.items()
    ]  # fmt: skip
    found += [
        Scenario("upstream out of turn: 250 at rest", between={"say": "250 hello"}),
        Scenario("upstream out of turn: 421 at rest", between={"say": "421 4.4.2 Timeout", "hang_up": True}),
    ]
    return found


def _gone(*, abruptly: bool) -> list[Scenario]:
    slow = tuple(
        {"at": step, "do": "wait", "value": 0.1, "times": 999} for step in ("MAIL", "RCPT", "DATA", "dot", "kept")
    )
    return [
        Scenario(
            f"client {'cut off' if abruptly else 'gone'}: {step}", slow, letters=4,
            size=400_000 if step == "content" else 0, leaving=Leaving(step, abruptly),
        )
        for step in STEPS
    ]  # fmt: skip


def scenarios(*, thorough: bool) -> list[Scenario]:
    """Return all of them; thorough takes ten minutes, as long as the relay waits for the upstream's last word."""
    found = [*_ends("killed", "kill"), *_ends("hangs up", "close"), *_says(), *_gone(abruptly=False)]
    if not thorough:
        return [*found, *_slow(0.3)]
    return [*found, *_slow(5.0), *_ends("resets", "reset"), *_gone(abruptly=True), *_silent()]


class Stage:
    """One service, an upstream for every scenario, and one for everything else."""

    def __init__(self, at: Scene, shared: Upstream, doors: dict[str, int]) -> None:
        self.place = at
        self.shared = shared
        self._doors = doors
        self._room = asyncio.Semaphore(AT_ONCE)

    async def play(self, scenario: Scenario) -> Row:
        """Let a scenario happen and return what came of it."""
        if scenario.waits:
            return await self._play(scenario, self.shared)
        async with self._room:
            if not scenario.kills:
                return await self._play(scenario, self.shared)
            port = self._doors[scenario.name]
            async with running(self.place.folder, self.place.certificate, [port]) as upstream:
                return await self._play(scenario, upstream)

    async def _play(self, scenario: Scenario, upstream: Upstream) -> Row:
        account = Account(scenario.name)
        port, sender = self._doors[scenario.name], _sender(self._doors[scenario.name])
        letters = [letter(f"{port}-{at}", sender, scenario.recipients, scenario.size) for at in range(scenario.letters)]
        if scenario.messages_per_connection > 1 and not scenario.refused:
            # Connections that are at rest when it begins.
            await asyncio.gather(
                *(self._deliver(account, letter(f"{port}-w{at}", sender, (READER,))) for at in range(3))
            )
        await upstream.order(port, faults=list(scenario.faults))
        reviving = asyncio.create_task(upstream.revive()) if scenario.kills else None
        if scenario.leaving is not None:
            await asyncio.gather(*(self._leave(account, one, scenario.leaving) for one in letters))
        await self._deliver_all(account, scenario, letters, upstream)
        wrong = await self._happened(scenario, upstream, reviving)
        after = letter(f"{port}-after", sender, (READER,))
        await self._deliver(account, after)
        if len(account.attempts[after.id]) != 1:
            wrong.append(f"afterwards it took {len(account.attempts[after.id])} tries")
        record = upstream.record()
        wrong += await self.place.misrecorded(account, record, outcome=scenario.outcome)
        row = account.row(record, wrong)
        if row.refused != scenario.refused:
            row.wrong.append(f"{row.refused} were refused, and not {scenario.refused}")
        return row

    async def _happened(
        self, scenario: Scenario, upstream: Upstream, reviving: "asyncio.Task[None] | None"
    ) -> list[str]:
        """See that what was to go wrong did."""
        if reviving is not None:
            done, _ = await asyncio.wait({reviving}, timeout=20)
            reviving.cancel()
            return [] if done else ["the upstream was never killed"]
        struck = await upstream.order(self._doors[scenario.name])
        return [] if struck or not scenario.faults else ["nothing went wrong"]

    async def _deliver_all(
        self, account: Account, scenario: Scenario, letters: Sequence[Letter], upstream: Upstream
    ) -> None:
        if not scenario.between:
            await asyncio.gather(*(self._deliver(account, one, scenario.patience) for one in letters))
            return
        for one in letters:
            await upstream.order(self._doors[scenario.name], **scenario.between)
            await self._deliver(account, one)

    async def _deliver(self, account: Account, one: Letter, seconds: float = 60.0) -> None:
        await deliver(self.place.port, account, one, seconds=seconds)

    async def _leave(self, account: Account, one: Letter, leaving: Leaving) -> None:
        async with Client(self.place.port, leaving) as client:
            account.add(one, await client.hand_in(one, one.recipients))


def _sender(port: int) -> str:
    return f"sender-{port}@example.org"


@asynccontextmanager
async def stage(folder: Path, played: Sequence[Scenario]) -> AsyncIterator[Stage]:
    """Run a service and the upstreams for some scenarios, and one for senders without a scenario."""
    everybody, *own = ports(len(played) + 1)
    doors = dict(zip((one.name for one in played), own, strict=True))
    routes = "".join(
        TLS_ROUTE.format(port=doors[one.name], sender=_sender(doors[one.name]), messages=one.messages_per_connection)
        for one in played
    )
    async with place(folder, routes + ROUTE.format(port=everybody)) as found:
        shared_doors = [everybody, *(doors[one.name] for one in played if not one.kills)]
        async with running(folder, found.certificate, shared_doors) as shared:
            yield Stage(found, shared, doors)
