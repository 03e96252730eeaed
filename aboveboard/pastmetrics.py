"""Past metrics: what dead workers have counted, added up in one file of each kind.

It still counts, so Prometheus's client leaves the files of dead processes where they are, and reads all of them for
every answer. A worker that dies every second would fill the memory with them.
"""

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector, CollectorRegistry

from aboveboard.metricfiles import LASTING, file_of, give_back, shorten

_adding = Lock()


class AllProcesses(Collector):
    """Collects the metrics of all processes, and not while those of a dead one are in two files, or in none."""

    def __init__(self, registry: CollectorRegistry, folder: str) -> None:
        """Begin, with the folder of their files."""
        self._files = MultiProcessCollector(None, path=folder)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return them, added up."""
        with _adding:
            found: Iterable[Metric] = self._files.collect()
        return found


def add_up(folder: str, pid: int) -> None:
    """Add what a dead process has counted to what others before it had; its own files go.

    Where there is no room for that, they stay as they are, less the room that they did not use.
    """
    with suppress(OSError):
        mark_process_dead(pid, folder)
    for kind in LASTING:
        try:
            _add(Path(folder) / f"{kind}_past.db", file_of(folder, kind, pid))
        except (OSError, RuntimeError, ValueError, struct.error):
            # No room, no folder, or a file that was cut off.
            give_back(folder, kind, pid)


def _add(past: Path, dead: Path) -> None:
    counted = [file for file in (past, dead) if file.exists()]
    fresh = past.with_suffix(".new")
    try:
        with fresh.open("wb") as file:
            # Room for both, and made sure of: what the client maps must not have to grow (see metricfiles).
            os.posix_fallocate(file.fileno(), 0, 8 + sum(one.stat().st_size for one in counted))
        sums = MmapedDict(fresh)
        for one in counted:
            for key, value, *_ in MmapedDict.read_all_values_from_file(one):
                sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
        sums.close()
        shorten(fresh)
        with _adding:
            fresh.replace(past)
            dead.unlink(missing_ok=True)
    finally:
        fresh.unlink(missing_ok=True)
