"""Nobody waits for somebody else's large message (DESIGN.md §5): how long a step of the relay's event loop takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aboveboard.serve import IN_PLACE
from tests.proxy.stalls import LIMIT, TEXTS

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", TEXTS)
def test_a_large_message_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    """From the first byte to the answer no step takes longer than others may have to wait.

    On a busy machine memory is slow to come, which is not what is measured: one of three tries will do.
    """
    command = [sys.executable, "-W", "error", "-m", "tests.proxy.stalls", kind, str(tmp_path)]
    # Large pieces of memory grow in place, as in a worker.
    environment = {**os.environ, **IN_PLACE}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    longest, reasons = json.loads(done.stdout.splitlines()[-1])
    assert ["tracked"] == reasons
    assert longest < LIMIT
