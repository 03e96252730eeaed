"""The log: one line per event, and never a reason for mail to suffer."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
SAY = """
import logging, structlog
from aboveboard import logs
logs.set_up(serving=True)
for at in range(2_000):
    structlog.get_logger().info("event", number=at, filler="x" * 100)
logging.getLogger("somebody").warning("else: %s", "this")
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
try:
    raise ValueError("bad")
except ValueError:
    logging.getLogger("somebody").exception("twice\\nbad")
print("still here")
"""


def said(stderr: object) -> tuple[str, str]:
    """Run a process that logs a lot to some standard error; return what it said, and what it logged to a pipe."""
    done = subprocess.run(
        [sys.executable, "-c", SAY], stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=60
    )  # type: ignore[call-overload]
    return done.stdout, done.stderr or ""


def test_a_line_per_event() -> None:
    """Every event, of libraries too, is a line of JSON on standard error, and so readable for other programs."""
    stdout, stderr = said(subprocess.PIPE)
    lines = stderr.splitlines()
    assert "still here\n" == stdout
    assert list(range(2_000)) == [json.loads(line)["number"] for line in lines[:2_000]]
    others = [json.loads(line) for line in lines[2_000:]]
    assert [("somebody", "else: this", "warning"), ("somebody", "twice\nbad", "error")] == [
        (one["logger"], one["event"], one["level"]) for one in others
    ]
    assert others[1]["exception"].endswith("ValueError: bad")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_full_disk_ends_nothing() -> None:
    """Issue 6: where the log cannot be written, lines are lost, and whoever logs goes on."""
    with FULL.open("w") as full:
        assert ("still here\n", "") == said(full)


def test_a_reader_that_is_gone_ends_nothing() -> None:
    """The same where the log is a pipe that nobody reads any more."""
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    assert reader.stdin is not None
    try:
        assert ("still here\n", "") == said(reader.stdin)
    finally:
        reader.stdin.close()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_stands_still_holds_nobody_up(kind: str) -> None:
    """The same where the log's reader is there and reads nothing: what was taken in is whole lines."""
    ends = os.pipe() if kind == "pipe" else tuple(end.detach() for end in reversed(socket.socketpair()))
    with os.fdopen(ends[0], "rb") as reading, os.fdopen(ends[1], "wb") as writing:
        done = subprocess.run(
            [sys.executable, "-c", SAY.replace("2_000", "9_000")],
            stdout=subprocess.PIPE,
            stderr=writing,
            check=False,
            timeout=60,
        )
        writing.close()
        lines = reading.read().splitlines()
    assert b"still here\n" == done.stdout
    assert list(range(len(lines))) == [json.loads(line)["number"] for line in lines]
    assert 100 < len(lines) < 9_000
