"""The metric files: room is made sure of before anything is counted, and none is no reason to stop."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aboveboard import metricfiles

COUNT = """
from aboveboard import metricfiles
metricfiles.reserve()
from prometheus_client import Counter, Gauge, Histogram
Counter("messages", "Messages.", ["reason"]).labels("tracked").inc(3)
Histogram("seconds", "Time.").observe(1)
Gauge("sessions", "Sessions.", multiprocess_mode="livesum").set(2)
Gauge("letters", "Letters.", multiprocess_mode="livemax").set(2)
"""


def sizes(folder: Path) -> dict[str, int]:
    """Return the files of a folder by kind, with the octets that each takes of the disk."""
    return {one.name.rpartition("_")[0]: one.stat().st_blocks * 512 for one in folder.iterdir()}


def counting(folder: Path) -> int:
    """Have a process reserve room and count; return its number."""
    environment = {**os.environ, metricfiles.FOLDER: str(folder)}
    with subprocess.Popen([sys.executable, "-c", COUNT], env=environment) as process:
        assert 0 == process.wait(60)
    return process.pid


def test_room_is_reserved(tmp_path: Path) -> None:
    """All that a worker can count has its room before it does, in the very files that Prometheus's client uses."""
    counting(tmp_path)
    assert metricfiles.SIZES == sizes(tmp_path)


def test_a_dead_process_gives_room_back(tmp_path: Path) -> None:
    """Of a process that is dead, what it has counted stays, and the room for more goes."""
    pid = counting(tmp_path)
    before = (tmp_path / f"counter_{pid}.db").read_bytes()
    metricfiles.give_back(str(tmp_path), "counter", pid)
    after = (tmp_path / f"counter_{pid}.db").read_bytes()
    assert before.startswith(after)
    assert b'"reason": "tracked"' in after
    assert 0 == before[len(after) :].count(b"reason")
    assert len(after) < 1_000


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room, or no folder any more, a process does not share its metrics, and leaves no files."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for folder, problem in ((tmp_path, full), (tmp_path / "gone", os.posix_fallocate)):
        monkeypatch.setenv(metricfiles.FOLDER, str(folder))
        monkeypatch.setattr(os, "posix_fallocate", problem)
        metricfiles.reserve()
        assert metricfiles.FOLDER not in os.environ
    assert [] == list(tmp_path.iterdir())
