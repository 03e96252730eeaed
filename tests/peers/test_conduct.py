"""What real servers do that stand-ins do not: their refusals, their limits, and what they leave open behind them."""

import smtplib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.peers.authority import Certificates
from tests.peers.clients import Way
from tests.peers.exim import Exim
from tests.peers.login import PASSWORDS, PEOPLE, SERVICE
from tests.peers.relay import Relay, Upstream

pytestmark = pytest.mark.peer

UPSTREAMS = ("postfix", "exim", "dovecot")
ALICE = PEOPLE["implicit"]
UNKNOWN = "nobody-here@customer.test"
MEGABYTE = (b"x" * 76 + b"\r\n") * 13_000


def connected(relay: Relay) -> smtplib.SMTP:
    """Return a client that has said EHLO on the port of trusted networks."""
    client = smtplib.SMTP("127.0.0.1", relay.ports["none"], "laptop.example.org", timeout=60)
    client.ehlo()
    return client


@pytest.mark.parametrize("name", UPSTREAMS)
def test_a_recipient_is_refused_in_the_servers_own_words(
    name: str, upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay], authority: Certificates
) -> None:
    """The client hears for an unknown recipient what the server says itself, and the others get the message."""
    upstream, relay = upstream_of(name), relay_before(name)
    context = Way(0, "implicit", authority.authority).context
    with smtplib.SMTP_SSL("localhost", upstream.implicit_port, context=context) as direct:
        direct.login(SERVICE, PASSWORDS[SERVICE])
        direct.mail(ALICE)
        own_words = direct.rcpt(UNKNOWN)
    with connected(relay) as client:
        to = ["first@customer.test", UNKNOWN, "third@customer.test"]
        assert {UNKNOWN: own_words} == client.sendmail(ALICE, to, f"Subject: refused-{name}\r\n\r\nhi\r\n")
    assert own_words[0] == 550
    assert upstream.maildir.wait_for(f"Subject: refused-{name}".encode())


@pytest.mark.parametrize("name", UPSTREAMS)
def test_more_at_once_than_the_server_lets_in(
    name: str, upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay]
) -> None:
    """Forty clients at once get their messages through: Dovecot lets in ten of one login, Exim twenty of everybody."""
    relay = relay_before(name)

    def send(number: int) -> str:
        with connected(relay) as client:
            try:
                client.sendmail(ALICE, ["b@customer.test"], f"Subject: crowd-{name}-{number}.\r\n\r\nhi\r\n")
            except smtplib.SMTPException as error:
                return str(error)
        return "sent"

    with ThreadPoolExecutor(40) as threads:
        assert {"sent": 80} == Counter(threads.map(send, range(80)))
    for number in range(80):
        assert upstream_of(name).maildir.wait_for(f"Subject: crowd-{name}-{number}.".encode())


def test_exim_delivers_every_message_of_a_session_at_once(exim: Exim, relay_before: Callable[[str], Relay]) -> None:
    """More messages of one client than Exim delivers from one connection arrive without waiting for its queue run."""
    with connected(relay_before("exim")) as client:
        for number in range(12):
            client.sendmail(ALICE, ["b@customer.test"], f"Subject: row-{number}.\r\n\r\nhi\r\n")
    for number in range(12):
        assert exim.maildir.wait_for(f"Subject: row-{number}.".encode())


def test_a_message_too_large_for_the_server_behind_dovecot(relay_before: Callable[[str], Relay]) -> None:
    """Dovecot names no SIZE, and keeps the transaction of a message that it refused: the next sender's goes through."""
    with connected(relay_before("dovecot")) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(ALICE, ["b@customer.test"], b"Subject: large\r\n\r\n" + MEGABYTE * 11)
        assert {} == client.sendmail(ALICE, ["b@customer.test"], b"Subject: next\r\n\r\nhi\r\n")
    assert refused.value.smtp_code == 552


def test_a_message_too_large_for_postfix(relay_before: Callable[[str], Relay]) -> None:
    """Postfix names its SIZE, the client hears it from the relay, and a larger message ends before it is sent."""
    with connected(relay_before("postfix")) as client:
        assert client.esmtp_features["size"] == "10240000"
        assert client.mail(ALICE, ["SIZE=10240001"])[0] == 552


@pytest.mark.parametrize(("name", "offered"), [
    ("postfix", {"8bitmime", "smtputf8", "dsn", "enhancedstatuscodes"}),
    ("exim", {"8bitmime", "smtputf8", "dsn"}),
    ("dovecot", {"8bitmime", "enhancedstatuscodes"}),
])  # fmt: skip
def test_what_is_offered_is_what_the_server_can_do(
    name: str, offered: set[str], relay_before: Callable[[str], Relay]
) -> None:
    """EHLO shows PIPELINING and SIZE, which are the relay's own, and nothing beyond the server's; never CHUNKING."""
    with connected(relay_before(name)) as client:
        assert offered | {"pipelining", "size"} == set(client.esmtp_features)
