"""The workers of a running ``aboveboard``: how much CPU and memory they have used."""

import os
from pathlib import Path


def workers(parent: int) -> list[Path]:
    """Return the folders in /proc of a parent's workers."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [Path("/proc") / child for child in children]


def spent(parent: int) -> float:
    """Return the seconds of CPU that a parent's workers have used so far."""
    ticks = [worker.joinpath("stat").read_text().rpartition(")")[2].split() for worker in workers(parent)]
    return sum(int(one[11]) + int(one[12]) for one in ticks) / os.sysconf("SC_CLK_TCK")


def peak(parent: int) -> int:
    """Return the most memory that one of a parent's workers has had so far, in bytes."""
    status = [worker.joinpath("status").read_text() for worker in workers(parent)]
    return max(int(one.partition("VmHWM:")[2].split()[0]) for one in status) * 1_024
