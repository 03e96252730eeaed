"""The peers that the end-to-end tests run between: Postfix behind the relay, `aboveboard serve` itself."""

from collections.abc import Iterator

import pytest

from tests.e2e.serving import Service, running_service
from tests.peers.postfix import Postfix, running_postfix


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    """The upstream of all tests. Who stops it starts it again."""
    with running_postfix() as postfix:
        yield postfix


@pytest.fixture(scope="session")
def service(postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker of each part, for tests that leave it running; each has recipients of its own."""
    with running_service(tmp_path_factory.mktemp("service"), postfix.port) as service:
        yield service


@pytest.fixture
def own_service(postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for one test alone, which may harm or end it."""
    with running_service(tmp_path_factory.mktemp("service"), postfix.port) as service:
        yield service
