"""Every client, through the relay, to every upstream: all that is sent arrives, as it was sent or as consent says."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.letters import behind_trace, footer_in
from tests.peers.authority import Certificates
from tests.peers.clients import CLIENTS, Way, html_part
from tests.peers.conftest import AGREED
from tests.peers.letters import Letter
from tests.peers.login import PEOPLE
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
    upstream, relay = upstream_of(name), relay_before(name)
    way = Way(relay.ports[tls], tls, authority.authority)
    for kind in ("text", "html", "8bit"):
        ends = ("unknown@customer.test", PEOPLE[onwards])
        sent, arrived = sent_and_arrived(client, way, upstream, tmp_path, kind, *ends)
        assert sent == arrived
    sent, arrived = sent_and_arrived(client, way, upstream, tmp_path, "html", AGREED, PEOPLE[onwards])
    footer = footer_in(arrived, sent, html_part(client))
    assert [footer.count(word) for word in (b"/o/", b"/stop/", b"/l/")] == [1, 1, 0]
