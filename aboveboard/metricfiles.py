"""Metric files: a worker makes sure of the room for what it counts before it counts anything.

Prometheus's client maps a file for each kind of metric into memory. Where there is no room for a page of one, as with a
full /dev/shm, writing to it ends the process with SIGBUS, and every one that is started in its place.
"""

import os
from contextlib import suppress
from pathlib import Path

import structlog

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that has the client share its metrics."""
SIZES = {"counter": 131_072, "histogram": 16_384, "gauge_livesum": 8_192, "gauge_livemax": 8_192}
"""By the names that the client gives its files: several times what all our metrics take with all their labels."""
LASTING = ("counter", "histogram")
"""What still counts once its process is dead."""

log = structlog.get_logger()


def reserve() -> None:
    """Take the room for this process's metrics, before the client is imported.

    Where there is none this process's metrics are not shared, and so not seen: no mail waits for the sake of a number.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    try:
        for kind, size in SIZES.items():
            with file_of(folder, kind, os.getpid()).open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        del os.environ[FOLDER]
        for kind in SIZES:
            with suppress(OSError):
                file_of(folder, kind, os.getpid()).unlink()
        log.error("metrics.not_shared", why=str(error))


def give_back(folder: str, kind: str, pid: int) -> None:
    """Give the room back that a dead process did not use in a file."""
    with suppress(OSError):
        shorten(file_of(folder, kind, pid))


def shorten(path: Path) -> None:
    """Cut the room that is not used off a file. Raises OSError."""
    with path.open("r+b") as file:
        # The first four bytes say how much of it is in use.
        file.truncate(max(8, int.from_bytes(file.read(4), "little")))


def file_of(folder: str, kind: str, pid: int) -> Path:
    """Return the file of a kind in which a process counts."""
    return Path(folder) / f"{kind}_{pid}.db"
