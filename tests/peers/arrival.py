"""What must arrive of what a client sends: everything, as it was sent or as consent says."""

import re
import uuid
from pathlib import Path

from tests.e2e.letters import behind_trace, footer_in
from tests.peers.clients import CLIENTS, Way, html_part
from tests.peers.letters import Letter
from tests.peers.relay import Upstream

AGREED = "agreed@customer.test"
"""Has agreed to everything."""
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


def all_arrives(client: str, way: Way, upstream: Upstream, folder: Path, sender: str) -> None:
    """Have a client send everything there is, with and without consent, and look at what arrives."""
    for kind in ("text", "html", "8bit"):
        sent, arrived = sent_and_arrived(client, way, upstream, folder, kind, "unknown@customer.test", sender)
        assert sent == arrived
    sent, arrived = sent_and_arrived(client, way, upstream, folder, "html", AGREED, sender)
    footer = footer_in(arrived, sent, html_part(client))
    assert [footer.count(word) for word in (b"/o/", b"/stop/", b"/l/")] == [1, 1, 0]
