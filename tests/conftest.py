"""What tests of every part may ask for."""

from collections.abc import Iterator

import pytest

from tests.postgresql import Cluster, cluster


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
