"""Folders: where files stand whose names must be on disk before the ledger relies on them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sync(folder: Path) -> None:
    """Have new names in a folder outlive a power cut: what the ledger says of the files would. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others who ask for the same folder waiting. Raises OSError where there is none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems of other machines lock no folders: there two at once are as they were.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
