"""A worker's beginning, with the ledger ready for the first message; and its end, whatever the worker waits for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aboveboard import compose
from aboveboard.config import load
from aboveboard.reload import Current
from aboveboard.worker import opened
from tests.e2e.serving import CONFIG

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
    with subprocess.Popen(command, pass_fds=[say_ready, life], stderr=subprocess.PIPE) as process:
        for descriptor in (say_ready, life):
            os.close(descriptor)
        assert b"r" == os.read(ready, 1)
        os.close(ready)
        try:
            yield process, parent
        finally:
            process.kill()


def test_told_to_end_it_does(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    """A worker that hears SIGTERM and is stuck ends by its own alarm, and says where it stands."""
    process, parent = stuck
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert -signal.SIGALRM == process.returncode
    assert b"Timeout (0:00:00.500000)!\nThread 0x" in said
    assert b"aboveboard/worker.py" in said
    os.close(parent)


def test_told_again_and_again_it_ends_no_later(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    """What counts is when a worker was told to end first: whoever says it again does not give it more time."""
    process, parent = stuck
    for _ in range(100):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            break
    assert -signal.SIGALRM == process.returncode
    os.close(parent)


def test_without_a_parent_it_ends(stuck: tuple[subprocess.Popen[bytes], int]) -> None:
    """A worker whose parent is gone and that is stuck ends by its own alarm: nobody else would end it."""
    process, parent = stuck
    os.close(parent)
    assert -signal.SIGALRM == process.wait(30)


async def test_the_first_commit_is_made_before_the_first_message(tmp_path: Path) -> None:
    """A worker that serves has written to the ledger: what a connection's first commit takes more is behind it."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(CONFIG.format(smtp=1587, web=8080, metrics=9108, upstream="smtp://127.0.0.1:9"))
    (tmp_path / "ledger").mkdir()
    config = load(path)
    await compose.make_ready(config)
    log = tmp_path / "ledger/aboveboard.db-wal"
    assert not log.exists()
    async with opened(Current(config)):
        assert log.stat().st_size > 0
