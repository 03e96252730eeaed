"""`check --online`: what does not work out there is one sentence with its key path, and what is to be done."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from aboveboard import autoconfig, premises, published
from aboveboard.config import loads
from aboveboard.online import Findings, try_everything
from aboveboard.settings import Config
from ledger.database import Place, upgrade
from tests.aboveboard.calling import CONFIG, Command
from tests.e2e.waiting import free_port
from tests.upstream import FakeUpstream

HEALTHY = json.dumps({"status": "ok", "ledger": "ok", "policy": {"version": "v", "stale": False}}).encode()
AUTH = ("AUTH PLAIN LOGIN", "8BITMIME", "SIZE 50000000")


def config(folder: Path, upstream: str, web: int = 9, login: bool = False, more: str = "") -> Config:
    """Return a configuration with an upstream and a web port, and a service login if wanted."""
    text = CONFIG.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{web}")
    extra = ""
    if login:
        (folder / "password").write_text("right\n")
        extra = '\nusername = "relay@example.org"\npassword_file = "password"'
    text = text.replace('url = "smtp://127.0.0.1:25"', f'url = "{upstream}"{extra}')
    return loads(text + more, folder / "aboveboard.toml")


@contextmanager
def web(status: int = 200, body: bytes = HEALTHY, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a web server that gives one answer to everything, and yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not like the certificate is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def serving(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """Return a server's TLS context with a certificate for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def found(upstream: FakeUpstream, folder: Path, scheme: str = "smtp", **options: object) -> Findings:
    """Return what is found with a healthy web part and this upstream."""
    with web() as port:
        return await try_everything(config(folder, f"{scheme}://127.0.0.1:{upstream.port}", port, **options))


async def test_everything_in_order(tmp_path: Path, authority: trustme.CA) -> None:
    """With certificate, login and health in order nothing is found, and no mail was begun."""
    upstream = FakeUpstream(
        extensions=("STARTTLS", *AUTH), answers={"AUTH": "235 2.7.0 Welcome"}, tls=serving(authority)
    )
    async with upstream:
        assert Findings(logins=[True]) == await found(upstream, tmp_path, "smtp+starttls", login=True)
    assert 0 == upstream.count("MAIL")
    assert "QUIT" == upstream.heard[-1]


@pytest.mark.parametrize(
    ("upstream", "scheme", "expected"),
    [
        (FakeUpstream(), "smtp+starttls", "it does not offer STARTTLS; "),
        (FakeUpstream(), "smtps", "it does not begin with TLS; use STARTTLS for this port"),
        (FakeUpstream(greeting="421 4.3.2 Not now"), "smtp", "it greets with 421 4.3.2 Not now; "),
        (FakeUpstream(answers={"EHLO": "550 5.7.1 Go away"}), "smtp", "it answers EHLO with 550 5.7.1 Go away; "),
        (FakeUpstream(hang_up_on="EHLO"), "smtp", "it hangs up, or falls silent; look into its log"),
    ],
    ids=["no STARTTLS", "no TLS", "busy", "no EHLO", "hangs up"],
)
async def test_upstream_that_does_not_do(upstream: FakeUpstream, scheme: str, expected: str, tmp_path: Path) -> None:
    """What is wrong with the server behind the relay is said, with what to do about it."""
    async with upstream:
        findings = await found(upstream, tmp_path, scheme)
        expected = f"relay.upstream[0].url: 127.0.0.1 port {upstream.port}: {expected}"
    (problem,) = findings.problems
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("scheme", "extensions"), [("smtps", AUTH), ("smtp+starttls", ("STARTTLS", *AUTH))], ids=["implicit", "starttls"]
)
@pytest.mark.parametrize(
    ("name", "expected"),
    [("mail.example.org", "its certificate is for another name than 127.0.0.1; "), (None, "its certificate is ")],
    ids=["another name", "unknown authority"],
)
async def test_upstream_certificates(
    scheme: str, extensions: tuple[str, ...], name: str | None, expected: str, tmp_path: Path, authority: trustme.CA
) -> None:
    """164: a certificate that is not for the server, or from nobody known, is named as such."""
    made = serving(authority, name) if name is not None else serving(trustme.CA())
    async with FakeUpstream(extensions=extensions, tls=made) as upstream:
        (problem,) = (await found(upstream, tmp_path, scheme)).problems
    assert problem.startswith(f"relay.upstream[0].url: 127.0.0.1 port {upstream.port}: {expected}")


@pytest.mark.parametrize(
    ("extensions", "answers", "expected"),
    [
        (AUTH, {"AUTH": "535 5.7.8 No"}, "it refuses the login with 535 5.7.8 No; check name and password"),
        (AUTH, {"AUTH": "454 4.7.0 Busy"}, "it refuses the login with 454 4.7.0 Busy; try later"),
        (("8BITMIME",), {}, "it offers no login; "),
        (("AUTH GSSAPI", "8BITMIME"), {}, "it offers no login by password; "),
    ],
    ids=["refused", "busy", "none", "others"],
)
async def test_login(extensions: tuple[str, ...], answers: dict[str, str], expected: str, tmp_path: Path) -> None:
    """A service login that does not work is named by its key, and the password by nobody."""
    async with FakeUpstream(extensions=extensions, answers=answers) as upstream:
        (problem,) = (await found(upstream, tmp_path, login=True)).problems
    assert problem.startswith(f"relay.upstream[0].username: 127.0.0.1 port {upstream.port}: {expected}")
    assert "right" not in problem


async def test_notes_about_what_is_offered(tmp_path: Path) -> None:
    """A server that takes less than the relay, or no 8-bit mail, works all the same; both are said."""
    async with FakeUpstream(extensions=("SIZE 1000",)) as upstream:
        findings = await found(upstream, tmp_path)
    assert [] == findings.problems
    first, second = findings.notes
    assert "takes messages of 1000 bytes, relay.max_message_bytes is 36700160." in first
    assert "does not offer 8BITMIME" in second


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("AUTH PLAIN", "SIZE 50000000", []), ("AUTH GSSAPI", "SIZE 50000000", ["relay.upstream: no server takes logins"])],
    ids=["one takes logins", "none does"],
)
async def test_pass_through_needs_logins(first: str, second: str, expected: list[str], tmp_path: Path) -> None:
    """Where people's own logins are to pass through, one upstream at least must take them."""
    listener = 'address = "127.0.0.1:1587"\nauth = "pass-through"'
    async with FakeUpstream((first, "8BITMIME")) as one, FakeUpstream((second, "8BITMIME")) as other:
        more = f'[[relay.upstream]]\nurl = "smtp://127.0.0.1:{other.port}"\n'
        text = CONFIG.replace("127.0.0.1:25", f"127.0.0.1:{one.port}").replace('address = "127.0.0.1:1587"', listener)
        with web() as port:
            text = text.replace(":8080", f":{port}") + more
            findings = await try_everything(loads(text, tmp_path / "aboveboard.toml"))
    assert expected == [problem.partition(",")[0] for problem in findings.problems]


@pytest.mark.peer
async def test_postgresql_answers_with_the_tables_of_this_version(postgresql_url: str, tmp_path: Path) -> None:
    """A PostgreSQL ledger that was not made ready, or is not there, is said before `serve` refuses to start."""

    async def said(url: str) -> list[str]:
        more = f'[ledger]\nurl = "{url}"\n'
        findings = await try_everything(config(tmp_path, "smtp://127.0.0.1:9", more=more))
        return [one for one in findings.problems if one.startswith("ledger.")]

    before = await said(postgresql_url)
    upgrade(Place(postgresql_url))
    after = await said(postgresql_url)
    away = await said(f"postgresql://x@127.0.0.1:{free_port()}/x")

    assert ["ledger.url: The ledger's tables are not of this version: run `aboveboard db upgrade` first."] == before
    assert [] == after
    assert ["ledger.url: The ledger cannot be opened"] == [one.rpartition(": connection failed")[0] for one in away]


async def test_nobody_there(tmp_path: Path) -> None:
    """A name without an address and a port without a server are told apart, for upstreams and web alike."""
    (tmp_path / "no").write_text("")
    text = CONFIG.replace("smtp://127.0.0.1:25", "smtps://nowhere.invalid").replace(":8080", ":9")
    more = '[system_mail]\nfrom = "privacy@example.org"\nurl = "smtp://127.0.0.1:9"\n'
    findings = await try_everything(loads(text + more, tmp_path / "aboveboard.toml"))
    assert [
        "relay.upstream[0].url: nowhere.invalid port 465: the name nowhere.invalid has no address; mend its spelling, "
        "or its entry in the DNS.",
        "system_mail.url: 127.0.0.1 port 9: nobody listens there; see that the server runs and that the port is right.",
        "web.public_url: http://127.0.0.1:9/health: nobody listens there; see that the web part runs, and the web "
        "server in front. Until then links in mail do not work.",
    ] == findings.problems


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (502, b"", "/health: answers 502; see where the web server in front hands it on to."),
        (200, b"<h1>It works</h1>", "/health: something else than aboveboard answers;"),
        (200, b"[]", "/health: something else than aboveboard answers;"),
        (200, HEALTHY.replace(b'"ledger": "ok"', b'"ledger": "unavailable"'), "/health: aboveboard answers without"),
    ],
    ids=["proxy only", "other page", "other JSON", "no ledger"],
)
async def test_public_url(status: int, body: bytes, expected: str, tmp_path: Path) -> None:
    """134: where public_url leads to something else, or to nothing behind a proxy, that is said."""
    with web(status, body) as port:
        (problem,) = published.problems(config(tmp_path, "smtp://127.0.0.1:25", port))
    assert problem.startswith(f"web.public_url: http://127.0.0.1:{port}{expected}")


def https(folder: Path, port: int, former: str = "[]") -> Config:
    """Return a configuration whose public_url is https on this machine."""
    text = CONFIG.replace('"http://127.0.0.1:8080"', f'"https://127.0.0.1:{port}"\nformer_urls = {former}')
    return loads(text, folder / "aboveboard.toml")


def test_134_public_url_needs_a_valid_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    """134: without valid TLS the sentence says what is wrong with the certificate; former URLs are tried as well."""
    with (
        web(tls=serving(authority)) as right,
        web(tls=serving(authority, "other.example")) as wrong,
        web() as clear,
    ):
        assert [] == published.problems(https(tmp_path, right))
        (other_name,) = published.problems(https(tmp_path, wrong))
        former, no_tls = (
            published.problems(https(tmp_path, right, f'["https://127.0.0.1:{wrong}"]')),
            published.problems(https(tmp_path, clear)),
        )
    assert "its certificate is for another name than 127.0.0.1; use the name that it is for" in other_name
    assert former[0].startswith(f"web.former_urls[0]: https://127.0.0.1:{wrong}/health: its certificate")
    assert "/health: what listens there speaks no TLS; put a web server with a certificate in front." in no_tls[0]


AUTOCONFIG = '[autoconfig]\nincoming = "imaps://imap.example.org"\n'
FIRST = "https://autoconfig.example.org/mail/config-v1.1.xml"
SECOND = "https://example.org/.well-known/autoconfig/mail/config-v1.1.xml"


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        ([FIRST], None),
        ([SECOND], None),
        ([], f"autoconfig.domains: neither {FIRST} nor {SECOND} answers; let one of them lead here."),
        (["other"], f"autoconfig.domains: mail programs get other settings than these for example.org; see {FIRST}."),
    ],
    ids=["host", "well-known", "neither", "others"],
)
def test_autoconfig_is_reached(answering: list[str], expected: str | None, tmp_path: Path) -> None:
    """Where mail programs ask for their settings, one of both addresses must answer with these."""
    settings = config(tmp_path, "smtp://127.0.0.1:25", more=AUTOCONFIG)
    told = autoconfig.told(settings)
    assert told is not None

    def fetched(url: str) -> bytes:
        if url.endswith("/health"):
            return HEALTHY
        if answering == ["other"]:
            return b"<clientConfig/>"
        if url not in answering:
            raise published.NoAnswer("does not answer")
        return told

    assert ([expected] if expected else []) == published.problems(settings, fetched)


def test_the_command(command: Command, tmp_path: Path, authority: trustme.CA) -> None:
    """`check --online` prints notes and problems, exits with 1 for a problem, and names each problem once."""
    certificate = authority.issue_cert("mail.example.org")
    (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(authority.issue_cert("x.example").private_key_pem.bytes())
    listener = 'address = "127.0.0.1:1587"\ntls = "starttls"\ncertificate = "chain.pem"\nkey = "key.pem"'
    (tmp_path / "aboveboard.toml").write_text(CONFIG.replace('address = "127.0.0.1:1587"', listener))
    done = command("check", "--online")
    assert 1 == done.exit_code
    assert 1 == done.stderr.count("relay.listener[0].key: ")
    (tmp_path / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    done = command("check", "--online")
    assert "note: relay.listener[0].certificate: is for mail.example.org; mail programs must come" in done.stdout
    assert "relay.listener" not in done.stderr
    assert "web.public_url: " in done.stderr


def test_certificates_are_compared_with_the_names_people_use(tmp_path: Path, authority: trustme.CA) -> None:
    """The listener's certificate must be for relay.hostname, or for what mail programs are told."""
    certificate = authority.issue_cert("mail.example.org")
    (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    listener = 'address = "0.0.0.0:1587"\ntls = "starttls"\ncertificate = "chain.pem"\nkey = "key.pem"'
    text = CONFIG.replace('address = "127.0.0.1:1587"', listener).replace(":8080", ":9") + (
        '[relay]\nhostname = "relay.example.org"\n'
    )

    def about_certificates(more: str) -> list[str]:
        settings = loads(text + more, tmp_path / "aboveboard.toml")
        assert [] == premises.problems(settings)
        problems = asyncio.run(try_everything(settings)).problems
        return [one for one in problems if one.startswith("relay.listener")]

    (problem,) = about_certificates("")
    assert "is for mail.example.org and not for relay.example.org, by which mail programs come" in problem
    outgoing = 'outgoing = "smtp+starttls://mail.example.org"\n'
    assert [] == about_certificates(AUTOCONFIG.replace("example.org", "example.invalid") + outgoing)
