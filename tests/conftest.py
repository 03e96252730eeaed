"""What tests of every part may ask for."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import structlog
import uvloop

from tests.postgresql import Cluster, cluster


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
