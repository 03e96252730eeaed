"""Folders: where files stand whose names must be on disk before the ledger relies on them."""

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Have new names in a folder outlive a power cut: what the ledger says of the files would. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
