"""What mail programs are told that set themselves up: Mozilla's autoconfig format, from the file, and nothing else."""

import tomllib
from pathlib import Path
from xml.etree import ElementTree

import httpx2
import pytest

from aboveboard import autoconfig, showing
from aboveboard.config import ConfigError, parse
from aboveboard.settings import Config
from tests.relaying import open_ledger
from web.app import build

FILE = """
[organisation]
name = "Example & Söhne <GmbH>"
domains = ["example.org", "bücher.example"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"
{listeners}
[[relay.upstream]]
url = "smtps://secret-upstream.example.net"
[relay]
hostname = "relay.example.org"
[web]
public_url = "https://track.example.org"
{more}
"""
WITH_TLS = 'tls = "{}"\ncertificate = "test_autoconfig.py"\nkey = "test_autoconfig.py"\n'
NETWORKS = f'[[relay.listener]]\naddress = "0.0.0.0:587"\n{WITH_TLS.format("starttls")}networks = ["10.0.0.0/8"]\n'
IMPLICIT = f'[[relay.listener]]\naddress = "[::]:465"\n{WITH_TLS.format("implicit")}networks = ["10.0.0.0/8"]\n'
INWARD = '[[relay.listener]]\naddress = "127.0.0.1:1587"\n'
BALANCED = IMPLICIT + 'proxy_protocol_from = ["10.0.0.5"]\n'
LOGIN = f'[[relay.listener]]\naddress = "0.0.0.0:2587"\nauth = "pass-through"\n{WITH_TLS.format("starttls")}'
PRINTERS = '[[relay.listener]]\naddress = "0.0.0.0:25"\nclass = "automated"\nnetworks = ["10.0.0.0/8"]\n'
IMAP = '[autoconfig]\nincoming = "imaps://imap.example.org"\n'
ASKED = ["/.well-known/autoconfig/mail/config-v1.1.xml", "/mail/config-v1.1.xml?emailaddress=alice%40example.org"]


def config(listeners: str = NETWORKS, more: str = IMAP) -> Config:
    """Return a configuration with some listeners."""
    return parse(tomllib.loads(FILE.format(listeners=listeners, more=more)), Path(__file__).parent)


def told(listeners: str = NETWORKS, more: str = IMAP) -> ElementTree.Element:
    """Return the root of what mail programs are told."""
    written = autoconfig.told(config(listeners, more))
    assert written is not None
    return ElementTree.fromstring(written)


def servers(root: ElementTree.Element, kind: str) -> list[dict[str, str | None]]:
    """Return what is said of the servers of one kind, element by element."""
    return [{one.tag: one.text for one in server} for server in root.iterfind(f"emailProvider/{kind}")]


OUTGOING = {
    "hostname": "relay.example.org", "port": "587", "socketType": "STARTTLS", "authentication": "client-IP-address",
}  # fmt: skip
INCOMING = {
    "hostname": "imap.example.org", "port": "993", "socketType": "SSL", "authentication": "password-cleartext",
    "username": "%EMAILADDRESS%",
}  # fmt: skip


def test_the_document_is_what_the_format_asks_for() -> None:
    """Provider, domains as A-labels, names escaped, and both servers with their elements in the format's words."""
    root = told()
    assert ("clientConfig", {"version": "1.1"}) == (root.tag, root.attrib)
    (provider,) = root
    assert {"id": "example.org"} == provider.attrib
    assert ["example.org", "xn--bcher-kva.example"] == [one.text for one in provider.iterfind("domain")]
    assert "Example & Söhne <GmbH>" == provider.findtext("displayName") == provider.findtext("displayShortName")
    assert [INCOMING] == servers(root, "incomingServer")
    assert [OUTGOING] == servers(root, "outgoingServer")
    assert ["imap", "smtp"] == [one.get("type") for one in provider if "type" in one.attrib]


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [
        (NETWORKS + IMPLICIT, [("465", "SSL"), ("587", "STARTTLS")]),
        (INWARD + NETWORKS, [("587", "STARTTLS")]),
        (PRINTERS + NETWORKS, [("587", "STARTTLS")]),
        (BALANCED + NETWORKS, [("587", "STARTTLS")]),
        (NETWORKS + LOGIN, [("2587", "STARTTLS")]),
    ],
    ids=["implicit TLS first", "none on loopback", "none for printers", "none behind a balancer", "with a login"],
)
def test_listeners_for_people_are_told(listeners: str, expected: list[tuple[str, str]]) -> None:
    """RFC 8314 §3: implicit TLS is preferred; what others cannot reach, and what is for machines, is left out."""
    found = servers(told(listeners), "outgoingServer")
    assert expected == [(one["port"], one["socketType"]) for one in found]


def test_who_logs_in_does_so_by_password() -> None:
    """A listener with logins is told with the placeholder for the address, and with PLAIN or LOGIN inside TLS."""
    (server,) = servers(told(LOGIN), "outgoingServer")
    assert ("password-cleartext", "%EMAILADDRESS%") == (server["authentication"], server["username"])


def test_passwords_never_travel_in_clear() -> None:
    """Where people log in, a server without TLS is not told, and naming one is refused."""
    with pytest.raises(ConfigError) as mistakes:
        config(LOGIN, IMAP + 'outgoing = "smtp://relay.example.org"\n')
    assert ["autoconfig.outgoing: passwords would travel in clear; name a server with TLS."] == mistakes.value.problems


def test_on_one_machine_the_listener_on_loopback_is_told() -> None:
    """Where everything runs on the person's own machine, its listener on loopback is what they hand mail in at."""
    content = FILE.format(listeners=INWARD, more=IMAP).replace('"relay.example.org"', '"localhost"')
    written = autoconfig.told(parse(tomllib.loads(content), Path(__file__).parent))
    assert written is not None
    (server,) = servers(ElementTree.fromstring(written), "outgoingServer")
    assert ("localhost", "1587", "plain") == (server["hostname"], server["port"], server["socketType"])


def test_what_is_configured_is_told() -> None:
    """Servers, login, domains and name from the section come before what would follow from others."""
    root = told(
        more='[autoconfig]\nincoming = ["imap+starttls://mail.example.org:1143", "pop3s://pop.example.org"]\n'
        'outgoing = "smtps://balancer.example.org"\nusername = "local-part"\ndomains = ["one.example"]\n'
        'display_name = "Mail"\n'
    )
    first, second = servers(root, "incomingServer")
    assert ("mail.example.org", "1143", "STARTTLS", "%EMAILLOCALPART%") == (
        first["hostname"], first["port"], first["socketType"], first["username"],
    )  # fmt: skip
    assert ("pop.example.org", "995", "SSL") == (second["hostname"], second["port"], second["socketType"])
    assert ["imap", "pop3"] == [one.get("type") for one in root.iterfind("emailProvider/incomingServer")]
    (server,) = servers(root, "outgoingServer")
    assert ("balancer.example.org", "465", "SSL") == (server["hostname"], server["port"], server["socketType"])
    assert ["one.example", "Mail"] == [root.findtext(f"emailProvider/{name}") for name in ("domain", "displayName")]


@pytest.mark.parametrize(
    ("listeners", "more", "expected"),
    [
        (INWARD, IMAP, "autoconfig.outgoing: is missing: no listener is for people on other machines;"),
        (NETWORKS, '[autoconfig]\nincoming = "imap://imap.example.org"', 'autoconfig.incoming: must be "imaps://HOST"'),
        (NETWORKS, '[autoconfig]\nincoming = "imaps://a.example:99999"', 'autoconfig.incoming: must be "imaps://HOST"'),
        (NETWORKS, "[autoconfig]\nincoming = []", "autoconfig.incoming: must not be empty"),
        # XML 1.0 §2.2 has no way to say these.
        (NETWORKS, IMAP + 'display_name = "Mail\\u0007"', "autoconfig.display_name: must be one line of text without"),
        (NETWORKS, IMAP + 'display_name = "Mail\\uFFFE"', "autoconfig.display_name: must be one line of text without"),
        (NETWORKS, IMAP + 'outgoing = "smtps://a.example:0"', "autoconfig.outgoing: must have a port from 1 to 65535"),
        (NETWORKS, "[autoconfig]", "autoconfig.incoming: is missing."),
    ],
    ids=["nobody reaches it", "in clear", "no port", "no server", "a control", "no character", "port 0", "nothing"],
)
def test_mistakes_are_named(listeners: str, more: str, expected: str) -> None:
    """What cannot be told is one sentence with its key path."""
    with pytest.raises(ConfigError) as mistakes:
        config(listeners, more)
    (problem,) = mistakes.value.problems
    assert problem.startswith(expected)


@pytest.mark.parametrize("path", ASKED, ids=["well-known", "autoconfig host"])
async def test_mail_programs_get_it(path: str, tmp_path: Path) -> None:
    """At both addresses it comes as XML, without the ledger, and names neither the upstream nor a network."""
    async with open_ledger(tmp_path) as ledger:
        app = build(showing.site(config(), ledger))
        for file in tmp_path.glob("*.db*"):
            file.unlink()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="https://autoconfig.example.org"
        ) as client:
            answer, head = await client.get(path), await client.head(path)
    assert (200, "text/xml; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert (200, b"") == (head.status_code, head.content)
    assert [OUTGOING] == servers(ElementTree.fromstring(answer.content), "outgoingServer")
    assert [] == [word for word in ("secret-upstream", "10.0.0.0", "privacy", "alice") if word in answer.text]


@pytest.mark.parametrize("path", ASKED, ids=["well-known", "autoconfig host"])
async def test_without_the_section_there_is_nothing(path: str, tmp_path: Path) -> None:
    """Without [autoconfig] both addresses answer 404."""
    async with open_ledger(tmp_path) as ledger:
        app = build(showing.site(config(more=""), ledger))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="https://autoconfig.example.org"
        ) as client:
            assert 404 == (await client.get(path)).status_code
