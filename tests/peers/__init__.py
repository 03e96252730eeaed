"""Real peer programs: where one is missing, a test is skipped, or fails where somebody counts on its running."""

import os
import pwd
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

REQUIRED = "ABOVEBOARD_REQUIRE_PEERS"
"""Set to 1, this environment variable makes a missing peer a failure."""
UNPACKED = Path(os.environ.get("ABOVEBOARD_PEERS", "/var/cache/aboveboard-peers")) / "root"
"""Where ``.ci/peers`` unpacks those that are not installed."""


def require(reason: str) -> NoReturn:
    """End the test because of a peer that is not there: as a failure where peers are required, else as skipped."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str, *folders: Path) -> Path:
    """Return a program found in PATH, in one of some folders, or unpacked; else the test ends as ``require`` says."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    for folder in (*folders, UNPACKED / "usr/sbin", UNPACKED / "usr/bin"):
        if (folder / name).is_file():
            return folder / name
    require(f"{name} is neither installed nor unpacked by .ci/peers")


@lru_cache
def environment() -> dict[str, str]:
    """Return the environment in which an unpacked program finds its libraries; others do not mind it."""
    folders = [str(found) for found in (*UNPACKED.glob("usr/lib/*-linux-gnu*"), UNPACKED / "usr/lib/dovecot")]
    return {**os.environ, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(folders)}


@lru_cache
def account(*names: str) -> dict[str, Any]:
    """Return how to start a program as somebody who is not root: as the first of some accounts, else as "nobody"."""
    if os.geteuid() != 0:
        return {}
    for name in (*names, "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    require("there is no account to run it with but root")
