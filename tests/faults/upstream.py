"""The upstream from the outside: its process is started, told what to do wrong, killed, and started again."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

Copy = dict[str, Any]
"""A message on the upstream's record: ``id``, ``to`` whom, the ``relay_id`` of our trace line, ``sha``, ``tracked``."""
Fault = dict[str, Any]
"""``at`` a step, ``do`` kill, close, reset, wait, silent or say, with a ``value``; ``times``, once unless said."""


class Upstream:
    """A mail server that keeps account of what it accepted, over all its lives."""

    def __init__(self, folder: Path, certificate: Path, ports: Sequence[int]) -> None:
        self._record = folder / f"upstream-{ports[0]}.jsonl"
        self._record.touch()
        self._command = [sys.executable, "-m", "tests.faults.server", self._record, certificate, *map(str, ports)]
        self._process: asyncio.subprocess.Process | None = None
        self._ordering = asyncio.Lock()

    async def start(self) -> None:
        """Start it; returns when it listens."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        await self._confirmed(self._process)

    @staticmethod
    async def _confirmed(process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        return int(await process.stdout.readline())

    async def order(self, port: int, **order: Any) -> int:
        """Have something done at one port: ``faults``, ``say`` or ``hang_up``.

        Returns, when it is done, how often something has gone wrong there as ordered.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        async with self._ordering:
            process.stdin.write(json.dumps({"port": port, **order}).encode() + b"\n")
            return await self._confirmed(process)

    async def revive(self) -> None:
        """Wait until it is dead, and start it again a little later, without faults."""
        assert self._process is not None
        await self._process.wait()
        await asyncio.sleep(0.2)
        await self.start()

    async def end(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def record(self) -> list[Copy]:
        """Return everything that was accepted: whose message it is, for whom, and whether it is as it was."""
        return [json.loads(line) for line in self._record.read_text("utf-8").splitlines()]


@asynccontextmanager
async def running(folder: Path, certificate: Path, ports: Sequence[int]) -> AsyncIterator[Upstream]:
    """Run an upstream until the block ends."""
    upstream = Upstream(folder, certificate, ports)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.end()
