"""Real peer programs: where one is missing, a test is skipped, or fails where somebody counts on its running."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "ABOVEBOARD_REQUIRE_PEERS"
"""Set to 1, this environment variable makes a missing peer a failure."""


def require(reason: str) -> NoReturn:
    """End the test because of a peer that is not there: as a failure where peers are required, else as skipped."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str, *folders: Path) -> Path:
    """Return a program found in PATH or in one of some folders; without it, the test ends as ``require`` says."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    require(f"{name} is not installed")
