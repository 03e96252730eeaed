"""What tests of every part may ask for."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator

import pytest
import structlog
import uvloop
from hypothesis import settings

from tests.postgresql import Cluster, cluster

MEMORY = "/dev/shm"  # pytest makes a folder in it that is ours alone
ROOM = 1 << 30
"""Octets that must be free there; a run takes two fifths of it."""

# A slow machine is no failure. Before any test is read: each takes what holds when it is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_configure() -> None:
    """Have what tests write kept in memory where that can be, unless TMPDIR says where temporary files belong.

    A message that the ledger does not take within its patience goes untracked: on a disk that others keep busy, what
    a test tells of everything else would hang on that. Of disks, ``make faults`` tells.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    if shutil.disk_usage(MEMORY).free >= ROOM and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = MEMORY
        # pytest has looked already, for a file to put what tests print in.
        tempfile.tempdir = None


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loop that tests run on: the workers' own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Cluster]:
    """A PostgreSQL cluster for this session of tests; skips where the programs are not installed."""
    with cluster() as running:
        yield running


@pytest.fixture
def postgresql_url(postgresql_cluster: Cluster) -> Iterator[str]:
    """The URL of an empty PostgreSQL database for one test."""
    with postgresql_cluster.database() as url:
        yield url


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a command sets up for its own process does not outlive the test that ran it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
