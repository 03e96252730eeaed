"""HAProxy in front: who the client is comes by the PROXY protocol, and TLS goes through to the relay."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from tests.ipv6 import needs_ipv6
from tests.peers.arrival import all_arrives
from tests.peers.authority import Certificates
from tests.peers.clients import CLIENTS, Login, NotSent, Way
from tests.peers.haproxy import HAProxy, running_haproxy
from tests.peers.letters import Letter
from tests.peers.login import PASSWORDS, PEOPLE
from tests.peers.postfix import Postfix
from tests.peers.relay import BALANCED_CLIENT, Relay

pytestmark = pytest.mark.peer

ALICE = PEOPLE["implicit"]
STRANGER = "127.0.0.3"


@pytest.fixture(scope="module")
def relay(consenting_relay_before: Callable[[str], Relay]) -> Relay:
    """The relay before Postfix."""
    return consenting_relay_before("postfix")


@pytest.fixture(scope="module")
def haproxy(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    """A HAProxy before every port of the relay that expects one."""
    behind = {name: port for name, port in relay.ports.items() if name.startswith("balanced-")}
    with running_haproxy(tmp_path_factory.mktemp("haproxy"), behind) as haproxy:
        yield haproxy


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("client", ["smtplib", "curl"])
def test_a_trusted_client_behind_the_balancer(
    client: str, version: str, tls: str, haproxy: HAProxy, submission: Postfix, authority: Certificates, tmp_path: Path
) -> None:
    """Whom HAProxy names and the relay trusts can send, with TLS from end to end, and everything arrives."""
    way = Way(haproxy.ports[f"{version}-balanced-{tls}"], tls, authority.authority, source=BALANCED_CLIENT)
    all_arrives(client, way, submission, tmp_path, ALICE)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_login_behind_the_balancer(
    client: str, version: str, haproxy: HAProxy, submission: Postfix, authority: Certificates, tmp_path: Path
) -> None:
    """Somebody who logs in can send, wherever they are."""
    port, login = haproxy.ports[f"{version}-balanced-login-implicit"], Login(ALICE, PASSWORDS[ALICE])
    letter = Letter("text", ALICE, "b@customer.test", f"balanced-login-{version}-{client}")
    CLIENTS[client](Way(port, "implicit", authority.authority, login), letter, tmp_path)
    assert submission.maildir.wait_for(f"Subject: {letter.subject}".encode())


@needs_ipv6
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_trusted_client_by_ipv6(
    version: str, haproxy: HAProxy, submission: Postfix, authority: Certificates, tmp_path: Path
) -> None:
    """An IPv6 address that HAProxy names is trusted as one."""
    way = Way(
        haproxy.ports[f"{version}-balanced-starttls-ipv6"], "starttls", authority.authority, source="::1", host="::1"
    )
    letter = Letter("text", ALICE, "b@customer.test", f"balanced-ipv6-{version}")
    CLIENTS["smtplib"](way, letter, tmp_path)
    assert submission.maildir.wait_for(f"Subject: {letter.subject}".encode())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_stranger_behind_the_balancer(
    version: str, haproxy: HAProxy, authority: Certificates, tmp_path: Path
) -> None:
    """Whom HAProxy names and the relay does not trust cannot send."""
    way = Way(haproxy.ports[f"{version}-balanced-none"], "none", authority.authority, source=STRANGER)
    with pytest.raises(NotSent, match="Your network address may not send through this relay"):
        CLIENTS["smtplib"](way, Letter("text", ALICE, "b@customer.test", "stranger"), tmp_path)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_stranger_who_brings_a_header_along(version: str, haproxy: HAProxy) -> None:
    """A client's own header, behind that of HAProxy, is no command, and makes nobody trusted."""
    with socket.create_connection(("127.0.0.1", haproxy.ports[f"{version}-balanced-none"]), 30) as client:
        lines = client.makefile("rb")
        assert lines.readline().startswith(b"220 ")
        client.sendall(f"PROXY TCP4 {BALANCED_CLIENT} 127.0.0.1 1 25\r\n".encode())
        assert lines.readline().startswith(b"50")


def test_the_balancers_probes_find_the_relay_well(haproxy: HAProxy, relay: Relay) -> None:
    """HAProxy's own SMTP probes, which name no client, are answered on every port and are no cause for complaint."""
    until(lambda: set(haproxy.health().values()) == {"L7OK"}, "every port is well")
    assert "smtp.no_proxy_header" not in relay.log
