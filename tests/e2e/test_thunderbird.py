"""Thunderbird, set up by its own reading of our settings, sends through the relay with its user's own login."""

import email
import os
import re
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.letters import links_undone, opened, the_insertion
from tests.e2e.serving import Service, running_service
from tests.e2e.waiting import free_port
from tests.peers.authority import Certificates, certificates
from tests.peers.login import PASSWORDS, SERVICE
from tests.peers.postfix import Postfix, running_postfix
from tests.peers.thunderbird import Thunderbird, running_thunderbird

pytestmark = pytest.mark.peer

MORE = """
[[relay.listener]]
address = "127.0.0.1:{starttls}"
tls = "starttls"
auth = "pass-through"
certificate = "{certificates.certificate}"
key = "{certificates.key}"

[[relay.listener]]
address = "127.0.0.1:{implicit}"
tls = "implicit"
auth = "pass-through"
certificate = "{certificates.certificate}"
key = "{certificates.key}"

[autoconfig]
incoming = "imaps://localhost:{imap}"
display_name = "Mail of Example GmbH & Co"
"""
USER = SERVICE
IMPLICIT, STARTTLS = 0, 1
"""The outgoing servers in the order in which they are announced; the second is entered by hand too."""
SSL, ALWAYS_STARTTLS, PASSWORD = 3, 2, 3
"""Thunderbird's numbers: nsMsgSocketType.SSL, .alwaysSTARTTLS and nsMsgAuthMethod.passwordCleartext."""
LINK = "https://shop.example/offer?a=1&amp;b=2"
HTML = f'<p>Guten Tag, schöne Grüße! <a href="{LINK}">Our offer</a></p>'


@pytest.fixture(scope="module")
def made() -> Iterator[Certificates]:
    """Certificates for every server."""
    with certificates() as made:
        yield made


@pytest.fixture(scope="module")
def submission(made: Certificates) -> Iterator[Postfix]:
    """Postfix with TLS and SASL: a provider's submission."""
    with running_postfix(certificates=made) as postfix:
        yield postfix


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """The ports that mail programs are told of."""
    return {name: free_port() for name in ("starttls", "implicit", "imap")}


@pytest.fixture(scope="module")
def relay(
    submission: Postfix, made: Certificates, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The relay in front of that, with both kinds of TLS and pass-through."""
    more = MORE.format(certificates=made, **ports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made.authority))
        folder = tmp_path_factory.mktemp("relay")
        with running_service(folder, f"smtp+starttls://localhost:{submission.starttls_port}", more=more) as service:
            yield service


@pytest.fixture(scope="module")
def thunderbird(made: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thunderbird]:
    """Thunderbird, which trusts the authority of the tests."""
    with running_thunderbird(tmp_path_factory.mktemp("thunderbird")) as thunderbird:
        thunderbird.trust(made.authority)
        yield thunderbird


def url(relay: Service) -> str:
    """Return where the settings are."""
    return f"{relay.url}/.well-known/autoconfig/mail/config-v1.1.xml"


@pytest.fixture(scope="module")
def identities(thunderbird: Thunderbird, relay: Service, ports: dict[str, int]) -> list[str]:
    """Two accounts: one as the relay announces it, and one whose outgoing server was entered by hand."""
    password = PASSWORDS[USER]
    announced, by_hand = (thunderbird.set_up(url(relay), USER, "Alice", password) for _ in range(2))
    entered = {"hostname": "localhost", "port": f"{ports['starttls']}", "socketType": "2", "authMethod": "3"}
    thunderbird.enter(by_hand, password, **entered, smtpUsername=USER)
    return [announced, by_hand]


def test_thunderbird_reads_the_settings(relay: Service, thunderbird: Thunderbird, ports: dict[str, int]) -> None:
    """What Thunderbird understands of autoconfig is what is configured: servers, TLS, login, name."""
    outgoing = [
        ["smtp", "127.0.0.1", ports["implicit"], SSL, PASSWORD, USER],
        ["smtp", "127.0.0.1", ports["starttls"], ALWAYS_STARTTLS, PASSWORD, USER],
    ]
    for choice in (IMPLICIT, STARTTLS):
        assert {
            "name": "Mail of Example GmbH & Co",
            "domains": ["example.org"],
            "incoming": ["imap", "localhost", ports["imap"], SSL, PASSWORD, USER],
            "outgoing": outgoing[choice],
            "others": 1,
        } == thunderbird.autoconfig(url(relay), USER, choice)


def attachment(message: bytes) -> tuple[str | None, str]:
    """Return the name of a message's attachment and its content's hash."""
    parsed = email.message_from_bytes(message, _class=EmailMessage, policy=policy.default)
    (found,) = parsed.iter_attachments()
    return found.get_filename(), sha256(found.get_content()).hexdigest()


def as_sent(thunderbird: Thunderbird, subject: str) -> bytes:
    """Return a message from Thunderbird's folder for sent mail, without what belongs to the folder."""
    for kept in re.split(rb"^From - .*\r?\n", thunderbird.sent(), flags=re.MULTILINE):
        if f"\nSubject: {subject}\r\n".encode() in kept:
            return re.sub(rb"^X-Mozilla-.*\r\n", b"", kept, flags=re.MULTILINE).removesuffix(b"\r\n")
    raise AssertionError(f"{subject} is not in the folder")


def test_settings_by_autoconfig_and_by_hand(
    thunderbird: Thunderbird, identities: list[str], ports: dict[str, int]
) -> None:
    """The account that was set up by itself, and the server that was entered in the dialog, have the right settings."""
    assert [
        ["127.0.0.1", ports["implicit"], SSL, PASSWORD, USER],
        ["localhost", ports["starttls"], ALWAYS_STARTTLS, PASSWORD, USER],
    ] == [thunderbird.server_of(identity) for identity in identities]


@pytest.mark.parametrize("choice", [IMPLICIT, STARTTLS], ids=["implicit-announced", "starttls-by-hand"])
@pytest.mark.parametrize("agreed", [False, True], ids=["unknown", "agreed"])
def test_thunderbird_sends(
    relay: Service, submission: Postfix, thunderbird: Thunderbird, identities: list[str], tmp_path: Path,
    choice: int, agreed: bool,
) -> None:  # fmt: skip
    """By its user's login a message arrives as Thunderbird's own copy has it; with consent links and footer differ."""
    to, subject = f"{agreed}-{choice}@customer.test".lower(), f"To-{agreed}-{choice}"
    if agreed:
        relay.grant(to)
    attached = tmp_path / "Angebot 2026.pdf"
    attached.write_bytes(os.urandom(300_000))
    thunderbird.send(identities[choice], to, subject, HTML, attached)
    delivered = submission.next_delivered(to)
    arrived, sent = opened(delivered), as_sent(thunderbird, subject)
    assert delivered.startswith(f"Return-Path: <{USER}>\n".encode())
    assert ("Angebot 2026.pdf", sha256(attached.read_bytes()).hexdigest()) == attachment(arrived.content)
    if not agreed:
        assert sent == arrived.content
        return
    footer = the_insertion(sent, links_undone(arrived.content, (LINK,)))
    assert [1, 1, 1, 0] == [footer.count(word) for word in (b"<img ", b"/o/", b"/stop/", b"/l/")]
    assert 1 == len(arrived.wrapped)
