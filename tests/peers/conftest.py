"""The real peers, each started once for all tests that ask for it; and a relay in front of each upstream."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.peers.arrival import AGREED
from tests.peers.authority import Certificates, certificates
from tests.peers.dovecot import Dovecot, running_dovecot
from tests.peers.exim import Exim, running_exim
from tests.peers.postfix import Postfix, running_postfix
from tests.peers.relay import Relay, Upstream, running_relay


@pytest.fixture(scope="session")
def authority() -> Iterator[Certificates]:
    """Certificates for every server."""
    with certificates() as made:
        yield made


@pytest.fixture(scope="session")
def submission(authority: Certificates) -> Iterator[Postfix]:
    """Postfix with TLS and Cyrus SASL."""
    with running_postfix(certificates=authority) as postfix:
        yield postfix


@pytest.fixture(scope="session")
def exim(authority: Certificates) -> Iterator[Exim]:
    """Exim with TLS and its own authenticators."""
    with running_exim(authority) as exim:
        yield exim


@pytest.fixture(scope="session")
def dovecot(authority: Certificates, submission: Postfix) -> Iterator[Dovecot]:
    """Dovecot's submission service, in front of Postfix."""
    with running_dovecot(authority, submission) as dovecot:
        yield dovecot


@pytest.fixture(scope="session")
def upstream_of(request: pytest.FixtureRequest) -> Callable[[str], Upstream]:
    """How to come by an upstream: it is started when it is first asked for."""
    fixtures = {"postfix": "submission", "exim": "exim", "dovecot": "dovecot"}
    return lambda name: request.getfixturevalue(fixtures[name])


@pytest.fixture(scope="session")
def relay_before(
    upstream_of: Callable[[str], Upstream], authority: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Relay]]:
    """How to come by a relay in front of an upstream: it is started when it is first asked for."""
    running: dict[str, Relay] = {}
    with ExitStack() as stack:

        def relay(name: str) -> Relay:
            if name not in running:
                folder = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(running_relay(folder, upstream_of(name), authority))
            return running[name]

        yield relay


@pytest.fixture(scope="session")
def consenting_relay_before(relay_before: Callable[[str], Relay]) -> Callable[[str], Relay]:
    """The same, and one recipient has agreed to everything."""

    @cache
    def relay(name: str) -> Relay:
        found = relay_before(name)
        found.grant(AGREED)
        return found

    return relay
