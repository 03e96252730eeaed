"""Every client, through the relay, to every upstream: all that is sent arrives, as it was sent or as consent says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.arrival import all_arrives
from tests.peers.authority import Certificates
from tests.peers.clients import CLIENTS, Login, Way
from tests.peers.exim import Exim
from tests.peers.login import ACCOUNT_PASSWORD, PASSWORDS, PEOPLE
from tests.peers.relay import Relay, Upstream

pytestmark = pytest.mark.peer

UPSTREAMS = ("postfix", "exim", "dovecot")


@pytest.mark.parametrize(
    ("tls", "onwards"),
    [("none", "starttls"), ("starttls", "implicit"), ("implicit", "starttls")],
    ids=["none-then-starttls", "starttls-then-implicit", "implicit-then-starttls"],
)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", UPSTREAMS)
def test_trusted_networks_and_a_service_login(
    name: str, client: str, tls: str, onwards: str, upstream_of: Callable[[str], Upstream],
    consenting_relay_before: Callable[[str], Relay], authority: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    """Without consent every message arrives byte for byte; with it, HTML differs by its links and the footer alone."""
    way = Way(consenting_relay_before(name).ports[tls], tls, authority.authority)
    all_arrives(client, way, upstream_of(name), tmp_path, PEOPLE[onwards])


@pytest.mark.parametrize(
    ("tls", "mechanism"), [("starttls", "PLAIN"), ("implicit", "LOGIN")], ids=["starttls-plain", "implicit-login"]
)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", UPSTREAMS)
def test_pass_through(
    name: str, client: str, tls: str, mechanism: str, upstream_of: Callable[[str], Upstream],
    consenting_relay_before: Callable[[str], Relay], authority: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    """The same holds for somebody who logs in, with a right password."""
    person = PEOPLE[tls]
    login = Login(person, PASSWORDS[person], mechanism)
    way = Way(consenting_relay_before(name).ports[f"login-{tls}"], tls, authority.authority, login)
    all_arrives(client, way, upstream_of(name), tmp_path, person)


@pytest.fixture(scope="module")
def relay_with_accounts(consenting_relay_before: Callable[[str], Relay]) -> Relay:
    """The relay before Exim, where the people have accounts too."""
    relay = consenting_relay_before("exim")
    for person in PEOPLE.values():
        relay.add_account(person, ACCOUNT_PASSWORD)
    return relay


@pytest.mark.parametrize(
    ("tls", "mechanism"), [("starttls", "LOGIN"), ("implicit", "PLAIN")], ids=["starttls-login", "implicit-plain"]
)
@pytest.mark.parametrize("client", CLIENTS)
def test_accounts(
    client: str, tls: str, mechanism: str, relay_with_accounts: Relay, exim: Exim, authority: Certificates,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The same holds for somebody who has an account of the relay's own, whose password no upstream takes."""
    login = Login(PEOPLE[tls], ACCOUNT_PASSWORD, mechanism)
    way = Way(relay_with_accounts.ports[f"account-{tls}"], tls, authority.authority, login)
    all_arrives(client, way, exim, tmp_path, PEOPLE[tls])
