"""Past metrics: what dead workers have counted still counts, and takes no more room with every one that dies."""

import errno
import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from aboveboard import pastmetrics
from tests.aboveboard.test_metricfiles import counting

FILES = ["counter_past.db", "histogram_past.db"]


def collected(folder: Path) -> dict[str, float | None]:
    """Return what the metrics of all processes say."""
    registry = CollectorRegistry()
    pastmetrics.AllProcesses(registry, str(folder))
    names = {"messages_total": {"reason": "tracked"}, "seconds_count": {}, "seconds_sum": {}}
    return {name: registry.get_sample_value(name, labels) for name, labels in names.items()}


def test_what_the_dead_counted_is_in_one_file(tmp_path: Path) -> None:
    """However many workers have died, their metrics are in one file of each kind, and come to the same."""
    sizes = []
    for deaths in (1, 2):
        pastmetrics.add_up(str(tmp_path), counting(tmp_path))
        assert FILES == sorted(file.name for file in tmp_path.iterdir())
        assert {"messages_total": 3.0 * deaths, "seconds_count": deaths, "seconds_sum": deaths} == collected(tmp_path)
        sizes.append([(tmp_path / name).stat().st_size for name in FILES])
    assert sizes[0] == sizes[-1]


def test_the_dead_and_the_living_count_together(tmp_path: Path) -> None:
    """What is added up does not change what a scrape says of all, dead or alive."""
    living, dead = counting(tmp_path), counting(tmp_path)
    before = collected(tmp_path)
    pastmetrics.add_up(str(tmp_path), dead)
    assert before == collected(tmp_path)
    assert (tmp_path / f"counter_{living}.db").exists()


def test_one_that_died_before_it_counted(tmp_path: Path) -> None:
    """A worker that leaves nothing, or files that were never filled, adds nothing."""
    (tmp_path / "counter_4711.db").write_bytes(bytes(64))
    pastmetrics.add_up(str(tmp_path), 4711)
    assert {"messages_total": None, "seconds_count": None, "seconds_sum": None} == collected(tmp_path)
    assert FILES == sorted(file.name for file in tmp_path.iterdir())


def test_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room to add up, the dead worker's files stay, and count."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    dead = counting(tmp_path)
    before = collected(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    pastmetrics.add_up(str(tmp_path), dead)
    assert before == collected(tmp_path)
    assert [f"counter_{dead}.db", f"histogram_{dead}.db"] == sorted(file.name for file in tmp_path.iterdir())
