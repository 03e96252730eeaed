"""Every client, through the relay, to every upstream: all that is sent arrives, as it was sent or as consent says."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.letters import behind_trace, footer_in
from tests.peers.authority import Certificates
from tests.peers.clients import CLIENTS, Login, Way, html_part
from tests.peers.conftest import AGREED
from tests.peers.letters import Letter
from tests.peers.login import PASSWORDS, PEOPLE
from tests.peers.relay import Relay, Upstream

pytestmark = pytest.mark.peer

UPSTREAMS = ("postfix", "exim", "dovecot")
OWN_TO_A_COPY = re.compile(rb"^(?:Status|Content-Length|Lines|Date): .*\r\n", re.M)
"""What mutt writes otherwise, a second later, into the copy that it keeps, or only into that."""


def sent_and_arrived(
    client: str, way: Way, upstream: Upstream, folder: Path, kind: str, recipient: str, sender: str
) -> tuple[bytes, bytes]:
    """Return a message as a client sent it, and as it arrived behind the relay's trace line."""
    letter = Letter(kind, sender, recipient, f"s{uuid.uuid4().hex}")
    sent = CLIENTS[client](way, letter, folder)
    _, arrived = behind_trace(upstream.maildir.wait_for(f"Subject: {letter.subject}".encode()))
    if client == "mutt":
        return OWN_TO_A_COPY.sub(b"", sent), OWN_TO_A_COPY.sub(b"", arrived.content)
    return sent, arrived.content


@pytest.mark.parametrize(
    ("tls", "onwards"),
    [("none", "starttls"), ("starttls", "implicit"), ("implicit", "starttls")],
    ids=["none-then-starttls", "starttls-then-implicit", "implicit-then-starttls"],
)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", UPSTREAMS)
def test_trusted_networks_and_a_service_login(
    name: str, client: str, tls: str, onwards: str, upstream_of: Callable[[str], Upstream],
    relay_before: Callable[[str], Relay], authority: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    """Without consent every message arrives byte for byte; with it, HTML differs by its links and the footer alone."""
    way = Way(relay_before(name).ports[tls], tls, authority.authority)
    all_arrives(client, way, upstream_of(name), tmp_path, PEOPLE[onwards])


@pytest.mark.parametrize(
    ("tls", "mechanism"), [("starttls", "PLAIN"), ("implicit", "LOGIN")], ids=["starttls-plain", "implicit-login"]
)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", UPSTREAMS)
def test_pass_through(
    name: str, client: str, tls: str, mechanism: str, upstream_of: Callable[[str], Upstream],
    relay_before: Callable[[str], Relay], authority: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    """The same holds for somebody who logs in, with a right password."""
    person = PEOPLE[tls]
    login = Login(person, PASSWORDS[person], mechanism)
    way = Way(relay_before(name).ports[f"login-{tls}"], tls, authority.authority, login)
    all_arrives(client, way, upstream_of(name), tmp_path, person)


def all_arrives(client: str, way: Way, upstream: Upstream, folder: Path, sender: str) -> None:
    """Have a client send everything there is, with and without consent, and look at what arrives."""
    for kind in ("text", "html", "8bit"):
        sent, arrived = sent_and_arrived(client, way, upstream, folder, kind, "unknown@customer.test", sender)
        assert sent == arrived
    sent, arrived = sent_and_arrived(client, way, upstream, folder, "html", AGREED, sender)
    footer = footer_in(arrived, sent, html_part(client))
    assert [footer.count(word) for word in (b"/o/", b"/stop/", b"/l/")] == [1, 1, 0]
