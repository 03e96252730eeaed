"""Pass-through: a client's own login, checked by and used at real servers' SASL."""

import base64
import smtplib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from tests.peers.authority import Certificates
from tests.peers.clients import CLIENTS, Login, NotSent, Way
from tests.peers.letters import Letter
from tests.peers.login import PASSWORDS, PEOPLE, token
from tests.peers.relay import Relay, Upstream

pytestmark = pytest.mark.peer

WRONG = "not the password"
ALICE = PEOPLE["implicit"]


@contextmanager
def session(port: int, authority: Certificates) -> Iterator[smtplib.SMTP]:
    """Talk to a port behind TLS."""
    context = Way(port, "implicit", authority.authority).context
    with smtplib.SMTP_SSL("localhost", port, "laptop.example.org", context=context, timeout=60) as client:
        client.ehlo()
        yield client


def said(client: smtplib.SMTP, mechanism: str, *responses: str) -> tuple[int, bytes]:
    """Say AUTH with one response after the other and return the last answer."""
    answer = client.docmd("AUTH", mechanism)
    for response in responses:
        assert answer[0] == 334
        answer = client.docmd(base64.b64encode(response.encode()).decode())
    return answer


def responses(mechanism: str, user: str, secret: str) -> tuple[str, ...]:
    """Return what is said by a mechanism to log in."""
    if mechanism == "PLAIN":
        return (f"\0{user}\0{secret}",)
    return (user, secret) if mechanism == "LOGIN" else (f"user={user}\1auth=Bearer {secret}\1\1",)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("name", ["postfix", "exim", "dovecot"])
def test_the_upstream_tells_a_wrong_password_in_its_own_words(
    name: str, mechanism: str, upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay],
    authority: Certificates,
) -> None:  # fmt: skip
    """The client hears what the server itself says to the same wrong login, and may try again with the right one."""
    # Another one each time: what was wrong a moment ago is answered without asking the server.
    wrong = responses(mechanism, ALICE, f"{WRONG} by {mechanism}")
    with session(upstream_of(name).implicit_port, authority) as direct:
        own_words = said(direct, mechanism, *wrong)
    with session(relay_before(name).ports["login-implicit"], authority) as client:
        assert own_words == said(client, mechanism, *wrong)
        assert client.mail(ALICE)[0] == 530
        assert said(client, mechanism, *responses(mechanism, ALICE, PASSWORDS[ALICE]))[0] == 235
        assert [client.mail(ALICE)[0], client.rcpt("b@customer.test")[0]] == [250, 250]
    assert own_words[0] == 535


@pytest.mark.parametrize(("name", "named"), [
    ("postfix", "sasl_username=%s"), ("exim", "A=plain:%s"), ("dovecot", "Login: user=<%s>, method=PLAIN"),
])  # fmt: skip
def test_the_clients_own_login_is_used_at_the_upstream(
    name: str, named: str, upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay],
    authority: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    """The server's log names the person and not the relay's own login of that route; ours holds no secret."""
    upstream, relay = upstream_of(name), relay_before(name)
    before = upstream.log.count(named % ALICE)
    way = Way(relay.ports["login-implicit"], "implicit", authority.authority, Login(ALICE, PASSWORDS[ALICE]))
    CLIENTS["smtplib"](way, Letter("text", ALICE, "b@customer.test", f"own-login-{name}"), tmp_path)
    until(lambda: upstream.log.count(named % ALICE) == before + 1, "the login is in the server's log")
    secrets = (PASSWORDS[ALICE], base64.b64encode(PASSWORDS[ALICE].encode()).decode().rstrip("=")[:-1])
    assert [secret for secret in secrets if secret in relay.log] == []


def test_every_client_understands_that_its_password_is_wrong(
    upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay], authority: Certificates,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Each says that the login failed, and sends nothing."""
    upstream, relay = upstream_of("postfix"), relay_before("postfix")
    way = Way(relay.ports["login-implicit"], "implicit", authority.authority, Login(ALICE, WRONG))

    def outcome(client: str) -> str:
        folder = tmp_path / client
        folder.mkdir()
        try:
            CLIENTS[client](way, Letter("text", ALICE, "b@customer.test", f"wrong-{client}"), folder)
        except NotSent as error:
            return str(error)
        return "sent"

    with ThreadPoolExecutor() as threads:
        outcomes = dict(zip(CLIENTS, threads.map(outcome, CLIENTS), strict=True))
    words = {"curl": "Login denied", "mutt": "SASL authentication failed"}
    assert [name for name, text in outcomes.items() if words.get(name, "535") not in text] == [], outcomes
    assert upstream.maildir.delivered(b"Subject: wrong-") == []


@pytest.mark.parametrize("client", ["smtplib", "curl", "msmtp", "mutt"])
def test_a_token_logs_in_at_dovecot(
    client: str, upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay],
    authority: Certificates, tmp_path: Path,
) -> None:  # fmt: skip
    """With XOAUTH2 and a token of more than a kilobyte, mail goes through."""
    upstream, relay = upstream_of("dovecot"), relay_before("dovecot")
    login = Login(ALICE, token(ALICE), "XOAUTH2")
    way = Way(relay.ports["login-implicit"], "implicit", authority.authority, login)
    letter = Letter("text", ALICE, "b@customer.test", f"token-{client}")
    CLIENTS[client](way, letter, tmp_path)
    assert upstream.maildir.wait_for(f"Subject: {letter.subject}".encode())


@pytest.mark.parametrize("secret", [
    pytest.param(token(ALICE, seconds=-60), id="run out"),
    pytest.param(token("bob@implicit.example.org"), id="of somebody else"),
    pytest.param(token(ALICE)[:-4] + "AAAA", id="forged"),
])  # fmt: skip
def test_a_token_that_is_not_valid_is_refused_as_dovecot_refuses_it(
    secret: str, upstream_of: Callable[[str], Upstream], relay_before: Callable[[str], Relay], authority: Certificates
) -> None:
    """What Dovecot says to a bad token, its error message in base64 included, reaches the client."""
    heard = []
    for port in (upstream_of("dovecot").implicit_port, relay_before("dovecot").ports["login-implicit"]):
        with session(port, authority) as client:
            challenge = said(client, "XOAUTH2", *responses("XOAUTH2", ALICE, secret))
            heard.append([challenge, client.docmd("")] if challenge[0] == 334 else [challenge])
    assert heard[0] == heard[1]
    assert heard[0][-1][0] == 535
