"""A worker's end: it comes, whatever the worker waits for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

STUCK = """
import asyncio, sys
from pathlib import Path
from aboveboard import worker

async def part(task, ready, stop):
    ready()
    await stop.wait()
    await asyncio.Event().wait()

worker.END_SECONDS = 0.5
worker.run(part, worker.Handover(Path(), (), 1, 0, 0, int(sys.argv[1]), int(sys.argv[2])))
"""
"""One that never comes to its end, as where the ledger does not answer any more."""


@pytest.fixture
def stuck() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A worker that serves, and will not end; and the end of the pipe that closes with its parent."""
    ready, say_ready = os.pipe()
    life, parent = os.pipe()
    command = [sys.executable, "-c", STUCK, str(say_ready), str(life)]
    with subprocess.Popen(command, pass_fds=[say_ready, life]) as process:
        for descriptor in (say_ready, life):
            os.close(descriptor)
        assert b"r" == os.read(ready, 1)
        os.close(ready)
        try:
            yield process, parent
        finally:
            process.kill()


def test_told_to_end_it_does(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    """A worker that hears SIGTERM and is stuck ends by its own alarm."""
    process, parent = stuck
    process.terminate()
    assert -signal.SIGALRM == process.wait(30)
    os.close(parent)


def test_without_a_parent_it_ends(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    """A worker whose parent is gone and that is stuck ends by its own alarm: nobody else would end it."""
    process, parent = stuck
    os.close(parent)
    assert -signal.SIGALRM == process.wait(30)
