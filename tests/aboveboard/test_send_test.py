"""`send-test`: each step says what happened, and the one that fails says what to do."""

import asyncio
import email
import ssl
from email import policy
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from aboveboard.cli import main
from tests.upstream import FakeUpstream

ALICE, BOB = "alice@example.org", "bob@customer.test"
AUTH = "AUTH PLAIN LOGIN"


def serving(authority: trustme.CA) -> ssl.SSLContext:
    """Return a server's TLS context with a certificate for loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def called(server: FakeUpstream, *words: str, typed: str = "") -> Result:
    """Return what the command did against a server."""
    call = ["send-test", "--host", "127.0.0.1", "--port", str(server.port), "--from", ALICE, "--to", BOB, *words]
    return await asyncio.to_thread(CliRunner().invoke, main, call, typed)


@pytest.mark.parametrize(
    ("tls", "extensions"), [("starttls", ("STARTTLS", AUTH, "SIZE 36700160")), ("implicit", (AUTH,))]
)
async def test_every_step_is_told(tls: str, extensions: tuple[str, ...], authority: trustme.CA) -> None:
    """With TLS and login every step says that it went well, and the message arrives with the number that is named."""
    server = FakeUpstream(extensions, {"AUTH": "235 2.7.0 Welcome"}, tls=serving(authority))
    async with server:
        done = await called(server, "--tls", tls, "--login", ALICE, typed="s3cret-word\n")
    assert 0 == done.exit_code, done.output
    assert [] == [line for line in done.stdout.splitlines() if line.startswith("failed")]
    for words in (
        "ok      Name 127.0.0.1: is 127.0.0.1",
        "TLSv1.3, the certificate is right",
        "-       Logins offered: PLAIN LOGIN",
        f"ok      Login as {ALICE}: accepted",
        f"ok      Sender {ALICE}: 250 ",
        f"ok      Recipient {BOB}: 250 ",
        "ok      Message: 250 2.0.0 Ok: queued as 4XYZ",
    ):
        assert words in done.stdout
    assert "s3cret-word" not in done.output
    (message,) = server.messages
    subject = email.message_from_bytes(message, policy=policy.default)["Subject"]
    assert f"Look into the mailbox of {BOB} for “{subject}”." in done.stdout
    assert "QUIT" == server.heard[-1]


@pytest.mark.parametrize(
    ("server", "words", "step", "remedy"),
    [
        (FakeUpstream(), ["--tls", "starttls"], "STARTTLS: it does not offer STARTTLS.", "use the port that has TLS"),
        (FakeUpstream(), ["--tls", "none", "--login", "a"], "Login as a: it offers no login.", "leave the login out"),
        (
            FakeUpstream((AUTH,), {"AUTH": "535 5.7.8 Wrong"}),
            ["--tls", "none", "--login", "a"],
            "Login as a: it refuses the login with 535 5.7.8 Wrong.",
            "check name and password",
        ),
        (
            FakeUpstream(("AUTH CRAM-MD5",), {"AUTH": "334 abc"}),
            ["--tls", "none", "--login", "a"],
            "Login as a: it offers no login by password.",
            "use a port where it does",
        ),
        (
            FakeUpstream(answers={"MAIL": "530 5.7.0 Log in first"}),
            ["--tls", "none"],
            f"Sender {ALICE}: it refuses the sender with 530 5.7.0 Log in first.",
            "give a login, behind TLS",
        ),
        (
            FakeUpstream(answers={"MAIL": "553 5.7.1 Not yours"}),
            ["--tls", "none"],
            f"Sender {ALICE}: it refuses the sender with 553 5.7.1 Not yours.",
            "send from an address that belongs to this login, and to the server's own domains; "
            "without a login, see that this machine is in one of the networks that may send there",
        ),
        (
            FakeUpstream(answers={"RCPT": "550 5.7.1 Relaying denied"}),
            ["--tls", "none"],
            f"Recipient {BOB}: it refuses the recipient with 550 5.7.1 Relaying denied.",
            "see whether this machine or login may send through it",
        ),
        (
            FakeUpstream(answers={"RCPT": "450 4.7.1 Greylisted"}),
            ["--tls", "none"],
            f"Recipient {BOB}: it refuses the recipient with 450 4.7.1 Greylisted.",
            "that is for now: try again in some minutes",
        ),
        (
            FakeUpstream(answers={".": "554 5.7.1 Spam\x1b[2J"}),
            ["--tls", "none"],
            "Message: it refuses the message with 554 5.7.1 Spam[2J.",
            "its words say why",
        ),
        (
            FakeUpstream(hang_up_on="."),
            ["--tls", "none"],
            "Message: it hangs up, or falls silent.",
            "look into its log",
        ),
        (
            FakeUpstream(greeting=" " * 3),
            ["--tls", "none", "--seconds", "1"],
            "Connection to port",
            "",
        ),
    ],
    ids=[
        "no TLS",
        "no login",
        "login",
        "no challenge",
        "login first",
        "sender",
        "recipient",
        "later",
        "message",
        "hangs up",
        "nonsense",
    ],
)
async def test_the_step_that_fails_says_what_to_do(
    server: FakeUpstream, words: list[str], step: str, remedy: str
) -> None:
    """A step that fails is the last, names the server's own words without control characters, and helps."""
    async with server:
        done = await called(server, *words, typed="secret\n")
    assert 1 == done.exit_code
    assert done.stdout.splitlines()[-1].startswith(f"failed  {step}")
    assert f"What to do: {remedy}" in done.stderr
    assert [] == server.messages


async def test_a_certificate_that_is_not_trusted() -> None:
    """An unknown authority's certificate ends it before anything is said, the password above all."""
    server = FakeUpstream(("STARTTLS", AUTH), tls=serving(trustme.CA()))
    async with server:
        done = await called(server, "--tls", "starttls", "--login", ALICE, typed="secret\n")
    assert 1 == done.exit_code
    assert "failed  STARTTLS: its certificate is " in done.stdout
    assert 0 == server.count("AUTH")


def test_nobody_listens() -> None:
    """A port with nobody behind it, and a name without address, are told apart."""
    common = ["send-test", "--from", ALICE, "--to", BOB]
    closed = CliRunner().invoke(main, [*common, "--host", "127.0.0.1", "--port", "9"])
    unknown = CliRunner().invoke(main, [*common, "--host", "nowhere.invalid"])
    assert (1, 1) == (closed.exit_code, unknown.exit_code)
    assert "failed  Connection to port 9: nobody listens there." in closed.stdout
    assert "failed  Name nowhere.invalid: the name nowhere.invalid has no address." in unknown.stdout


async def test_the_password_comes_from_a_file_or_standard_input(tmp_path: Path) -> None:
    """A password in a file or on standard input is used without its line end."""
    (tmp_path / "password").write_text("right\n")
    heard = []
    for place, typed in ((str(tmp_path / "password"), ""), ("-", "right\n")):
        server = FakeUpstream(("AUTH PLAIN",), {"AUTH": "235 2.7.0 Welcome"})
        async with server:
            done = await called(server, "--tls", "none", "--login", "a", "--password-file", place, typed=typed)
        assert 0 == done.exit_code, done.output
        heard += [line for line in server.heard if line.startswith("AUTH")]
    assert ["AUTH PLAIN AGEAcmlnaHQ="] * 2 == heard


@pytest.mark.parametrize(
    "words",
    [
        ["--host", "relay.example.org", "--tls", "none", "--login", "a"],
        ["--host", "relay.example.org", "--password-file", "-"],
        ["--host", "relay.example.org", "--to", "<>"],
        ["--host", "relay.example.org", "--port", "0"],
    ],
    ids=["in clear", "no login", "nobody", "port"],
)
def test_wrong_calls(words: list[str]) -> None:
    """What cannot be meant, a password in clear among it, is refused with exit code 2 before anything is tried."""
    done = CliRunner().invoke(main, ["send-test", "--from", ALICE, "--to", BOB, *words])
    assert (2, "") == (done.exit_code, done.stdout)


async def test_addresses_beyond_ascii() -> None:
    """Addresses beyond ASCII go by SMTPUTF8 where that is offered, and are refused by us where it is not."""
    async with FakeUpstream(extensions=("SMTPUTF8", "8BITMIME")) as server:
        done = await called(server, "--tls", "none", "--to", "bär@customer.test")
    assert 0 == done.exit_code, done.output
    assert "mail FROM:<alice@example.org> SMTPUTF8".upper() in [line.upper() for line in server.heard]
    assert "To: bär@customer.test".encode() in server.messages[0]
    async with FakeUpstream(extensions=()) as server:
        done = await called(server, "--tls", "none", "--to", "bär@customer.test")
    assert "it takes no addresses beyond ASCII." in done.stdout
