"""Pass-through: the client's login is used at its upstream, for its session and for nothing else."""

import asyncio
import base64
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from proxy import auth, passthrough
from proxy.ownership import Ownership
from proxy.passthrough import PassThrough
from proxy.pool import Upstreams
from proxy.relay import Relay
from proxy.route import Limits, parse_route
from proxy.server import Listener, Server
from tests.proxy.sending import BODY, Sender, until
from tests.relaying import ASKED, Running, conduct, open_ledger, running_relay
from tests.upstream import FakeUpstream

ALICE, BOB = "alice@example.org", "bob@example.org"
SECRET = "correct horse battery"
ACCEPTED = "250 2.0.0 Ok: queued as 4XYZ"


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here for the answer to a failed login."""
    monkeypatch.setattr(auth, "DELAYS", (0.0, 0.0, 0.0))


def fake(**more: object) -> FakeUpstream:
    """Return an upstream that takes two logins."""
    known = {ALICE: SECRET, BOB: "another"}
    return FakeUpstream(extensions=("AUTH PLAIN LOGIN XOAUTH2", "8BITMIME"), logins=known, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def relay(folder: Path, upstream: FakeUpstream, limits: Limits | None = None) -> AsyncIterator[Running]:
    """Run a relay that passes logins through."""
    listener = Listener((), auth="pass-through")
    async with running_relay(folder, upstream.port, limits=limits or Limits(), listener=listener) as running:
        yield running


def plain(user: str = ALICE, secret: str = SECRET) -> str:
    """Return AUTH PLAIN with its response."""
    return "AUTH PLAIN " + base64.b64encode(f"\0{user}\0{secret}".encode()).decode()


async def test_one_connection_for_a_session(tmp_path: Path) -> None:
    """All messages of a session go over one connection, on which its login was said once; it ends with the session."""
    async with fake() as upstream, relay(tmp_path, upstream) as running:
        async with Sender(running.port) as sender:
            assert "235 2.7.0 Welcome" == await sender.say(plain())
            assert [ACCEPTED] * 3 == [await sender.message() for _ in range(3)]
        await until(lambda: not upstream.writers)
    assert [f"PLAIN {ALICE}"] == upstream.logged_in
    assert ASKED + 1 == upstream.connections
    assert "QUIT" == upstream.heard[-1]


async def test_no_connection_is_shared(tmp_path: Path) -> None:
    """Two sessions, of one login or of two, never use the same connection, one after the other either."""
    async with fake() as upstream, relay(tmp_path, upstream) as running:
        for user, secret in ((ALICE, SECRET), (BOB, "another"), (BOB, "another")):
            async with Sender(running.port) as sender:
                assert "235" == (await sender.say(plain(user, secret)))[:3]
                await sender.say("MAIL FROM:<x@example.org>")
                assert "250" == (await sender.say("RCPT TO:<bob@customer.test>"))[:3]
    assert [f"PLAIN {ALICE}", f"PLAIN {BOB}", f"PLAIN {BOB}"] == upstream.logged_in
    assert ASKED + 3 == upstream.connections


async def test_stale_connection_is_replaced_with_its_login(tmp_path: Path) -> None:
    """Where the upstream hung up between two messages, the login is said again on a fresh connection."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        await sender.say(plain())
        assert ACCEPTED == await sender.message()
        upstream.hang_up()
        await until(lambda: not upstream.writers)
        assert ACCEPTED == await sender.message()
    assert [f"PLAIN {ALICE}"] * 2 == upstream.logged_in


async def test_upstream_that_hangs_up_in_a_transaction(tmp_path: Path) -> None:
    """Where the upstream hangs up before it heard of the message, login, MAIL and RCPT are said again."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        await sender.say(plain())
        assert "354" == (await sender.envelope())[:3]
        upstream.hang_up()
        await until(lambda: not upstream.writers)
        assert ACCEPTED == await sender.content()
    assert [f"PLAIN {ALICE}"] * 2 == upstream.logged_in
    assert 1 == len(upstream.messages)


async def test_login_that_ended_meanwhile(tmp_path: Path) -> None:
    """A password that is no longer taken when the connection is replaced ends the session, and says so."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        await sender.say(plain())
        upstream.logins.clear()
        upstream.hang_up()
        await until(lambda: not upstream.writers)
        assert "421 4.7.0" == (await sender.envelope())[:9]


async def test_connection_at_rest_is_not_held(tmp_path: Path) -> None:
    """A session without messages gives its place at the upstream back, and logs in anew for its next message."""
    limits = Limits(connections=1, idle=0.05, patience=5.0)
    async with fake() as upstream, relay(tmp_path, upstream, limits) as running, Sender(running.port) as sender:
        await sender.say(plain())
        await until(lambda: not upstream.writers)
        assert ACCEPTED == await sender.message()
        await until(lambda: not upstream.writers)
        async with Sender(running.port) as other:
            assert "235" == (await other.say(plain(BOB, "another")))[:3]
        assert ACCEPTED == await sender.message()
    assert [f"PLAIN {one}" for one in (ALICE, ALICE, BOB, ALICE)] == upstream.logged_in


async def test_connection_at_rest_makes_room(tmp_path: Path) -> None:
    """Where all connections are taken, one of a session without messages ends for who needs one now."""
    limits = Limits(connections=2, patience=5.0)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(fake())
        running = await stack.enter_async_context(relay(tmp_path, upstream, limits))
        senders = [await stack.enter_async_context(Sender(running.port)) for _ in range(5)]
        for sender in senders:
            assert "235" == (await sender.say(plain()))[:3]
            assert ACCEPTED == await sender.message()
            assert 2 >= len(upstream.writers)
        assert [ACCEPTED] * 5 == [await sender.message() for sender in senders]


async def begin(sender: Sender) -> None:
    """Log in and begin a transaction."""
    assert "235" == (await sender.say(plain()))[:3]
    for said in ("MAIL FROM:<alice@example.org>", "RCPT TO:<bob@customer.test>"):
        assert "250" == (await sender.say(said))[:3]


async def begin_after_reset(sender: Sender) -> None:
    """Leave the transaction, and begin the next one in the same breath, up to the answer to DATA."""
    sender.begin(b"RSET\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@customer.test>\r\nDATA\r\n")
    assert ["250", "250", "250", "354"] == [(await sender.heard())[:3] for _ in range(4)]


async def test_connection_in_use_is_not_taken_for_one_at_rest(tmp_path: Path) -> None:
    """A message that is begun while the connection is still being tidied keeps it to its end, and arrives once."""
    async with (
        fake(data_delay=0.5) as upstream,
        relay(tmp_path, upstream) as running,
        Sender(running.port) as sender,
    ):
        await begin(sender)
        (session,) = running.server.sessions
        login = session._admission.login
        # Only now: at rest for so short a time it would be gone before a busy machine comes to the first message.
        login.route = replace(login.route, limits=Limits(idle=0.1))
        await begin_after_reset(sender)
        assert ACCEPTED == await sender.content()
    assert 1 == len(upstream.messages)
    assert [f"PLAIN {ALICE}"] == upstream.logged_in


@pytest.mark.parametrize(
    ("connections", "most_at_once"), [(1, 100), (2, 1)], ids=["we allow no more", "the upstream lets in no more"]
)
async def test_who_waits_has_the_connection_that_comes_to_rest(
    tmp_path: Path, connections: int, most_at_once: int
) -> None:
    """A session that waits while all connections are in use has its turn once a message is done, and not before."""
    limits = Limits(connections=connections, patience=5.0)
    async with (
        fake(data_delay=0.5, most_at_once=most_at_once) as upstream,
        relay(tmp_path, upstream, limits) as running,
        Sender(running.port) as sender,
        Sender(running.port) as other,
    ):
        await until(lambda: not upstream.writers)
        await begin(sender)
        await begin_after_reset(sender)
        other.begin(plain(BOB, "another").encode() + b"\r\n")
        assert ACCEPTED == await sender.content()
        assert "235" == (await other.heard())[:3]
        assert ACCEPTED == await other.message()
        assert ACCEPTED == await sender.message()
    assert 3 == len(upstream.messages)
    assert [f"PLAIN {ALICE}", f"PLAIN {BOB}", f"PLAIN {ALICE}"] == upstream.logged_in


async def test_who_waited_for_a_login_logs_in_once(tmp_path: Path) -> None:
    """Of many who wait for one connection each logs in once, and keeps it until its message is done.

    Who comes once nobody waits any more keeps it for the next message too.
    """
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(fake(data_delay=0.1))
        running = await stack.enter_async_context(relay(tmp_path, upstream, Limits(connections=1, patience=10.0)))
        first, *others = [await stack.enter_async_context(Sender(running.port)) for _ in range(5)]
        assert "235" == (await first.say(plain()))[:3]
        assert "354" == (await first.envelope())[:3]
        for one in others:
            one.begin(f"{plain()}\r\n".encode())
        (pool,) = running.server.upstreams.pools
        await until(lambda: pool._waiting == len(others))

        async def send(sender: Sender) -> str:
            return await sender.message() if "235" == (await sender.heard())[:3] else ""

        assert [ACCEPTED] * 5 == await asyncio.gather(first.content(), *map(send, others))
        assert [f"PLAIN {ALICE}"] * 5 == upstream.logged_in
        assert [ACCEPTED] * 2 == [await first.message() for _ in range(2)]
    assert [f"PLAIN {ALICE}"] * 6 == upstream.logged_in


async def test_connections_count_together(tmp_path: Path) -> None:
    """Connections of logins count among those that the upstream allows; who finds none hears 454, not a refusal."""
    limits = Limits(connections=2, patience=0.05)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(fake())
        running = await stack.enter_async_context(relay(tmp_path, upstream, limits))
        senders = [await stack.enter_async_context(Sender(running.port)) for _ in range(3)]
        answers = []
        for sender in senders:
            answers.append((await sender.say(plain()))[:9])
            # From here on it is in use.
            await sender.envelope()
    assert ["235 2.7.0", "235 2.7.0", "454 4.3.2"] == answers


async def test_failed_logins_leave_nothing_open(tmp_path: Path) -> None:
    """A login that the upstream refuses keeps no connection and no place there."""
    limits = Limits(connections=1, patience=5.0)
    async with fake() as upstream, relay(tmp_path, upstream, limits) as running, Sender(running.port) as sender:
        assert "535 5.7.8 Upstream says no" == await sender.say(plain(secret="wrong"))
        await until(lambda: not upstream.writers)
        assert "235" == (await sender.say(plain()))[:3]


async def test_upstream_away(tmp_path: Path) -> None:
    """A login that nobody can check is answered 454: the password is not wrong."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        await upstream.stop()
        assert "454 4.4.1" == (await sender.say(plain()))[:9]


async def test_long_token_does_not_go_with_the_command(tmp_path: Path) -> None:
    """166: a token of many octets is said as a response of its own: a command line may have no more than 512."""
    token = "t" * 6_000
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        upstream.logins[ALICE] = token
        said = base64.b64encode(f"user={ALICE}\x01auth=Bearer {token}\x01\x01".encode()).decode()
        assert "235" == (await sender.say(f"AUTH XOAUTH2 {said}"))[:3]
        assert "AUTH XOAUTH2" in upstream.heard
        assert ACCEPTED == await sender.message()


async def test_the_login_is_the_sender(tmp_path: Path) -> None:
    """The ledger knows a message by the login, whatever envelope sender there is, and Received says how it came."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        await running.agree("bob@customer.test")
        await sender.say(plain(BOB, "another"))
        await sender.envelope()
        header = b"From: bob@example.org\r\nTo: bob@customer.test\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
        assert ACCEPTED == await sender.content(header + b"<p>See <a href='https://a.test/'>it</a></p>\r\n")
        (recorded,) = await running.ledger.messages()
    assert ("tracked", BOB) == (recorded["reason"], recorded["sender"])
    assert b" with ESMTPA id " in upstream.messages[0].splitlines()[0]


async def test_login_without_a_domain(tmp_path: Path) -> None:
    """A bare user name is a person of the organisation's first domain, and goes upstream as it was said."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        upstream.logins["carol"] = "c"
        assert "235" == (await sender.say(plain("carol", "c")))[:3]
        await sender.envelope()
        assert ACCEPTED == await sender.content(b"From: carol@example.org\r\n\r\nhi\r\n")
        await sender.envelope()
        assert "553 5.7.1" == (await sender.content(b"From: alice@example.org\r\n\r\nhi\r\n"))[:9]


@pytest.mark.parametrize(
    ("user", "place"), [("a@one.test", 0), ("b@two.test", 1), ("b@TWO.test", 1)], ids=["first", "second", "case"]
)
async def test_upstream_by_domain_of_the_login(tmp_path: Path, user: str, place: int) -> None:
    """Logins go to the upstream whose globs match them, by a mechanism that says the same where theirs is not there."""
    async with AsyncExitStack() as stack:
        both = [FakeUpstream(extensions=(f"AUTH {ways}",)) for ways in ("PLAIN LOGIN", "PLAIN")]
        for one in both:
            one.logins = {user: "s"}
            await stack.enter_async_context(one)
        ledger = await stack.enter_async_context(open_ledger(tmp_path))
        routes = [
            parse_route(f"smtp://127.0.0.1:{one.port}", [f"*@{name}.test"], "relay.test")
            for name, one in zip(("one", "two"), both, strict=True)
        ]
        upstreams = Upstreams(routes)
        verifiers = {"pass-through": PassThrough(upstreams, Ownership(("example.org",)))}
        server = Server(Relay(conduct(), ledger), upstreams, 10_000_000, "relay.test", verifiers=verifiers)
        bound = socket.create_server(("127.0.0.1", 0))
        listener = Listener((ipaddress.ip_network("127.0.0.0/8"),), auth="pass-through")
        await server.listen([(bound, listener)])
        async with Sender(bound.getsockname()[1]) as sender:
            assert "AUTH PLAIN" in sender.offered
            assert "235" == (await sender.say(plain(user, "s")))[:3]
            assert ACCEPTED == await sender.message()
        assert "504 5.5.4" == (await _once(bound.getsockname()[1], "AUTH LOGIN"))[:9]
        assert "535 5.7.8" == (await _once(bound.getsockname()[1], plain("c@three.test", "s")))[:9]
        await server.drain(2.0)
    assert [1, 0] if place == 0 else [0, 1] == [len(one.messages) for one in both]


async def _once(port: int, command: str) -> str:
    async with Sender(port) as sender:
        return await sender.say(command)


async def test_login_is_said_by_what_the_upstream_takes(tmp_path: Path) -> None:
    """A mechanism that the upstream took when it was asked, and takes no more, is replaced by one of the same words."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        upstream.extensions = ("AUTH LOGIN",)
        assert "235" == (await sender.say(plain()))[:3]
        async with Sender(running.port) as other:
            upstream.extensions = ("AUTH XOAUTH2",)
            assert "504 5.5.4" == (await other.say(plain()))[:9]
    assert [f"LOGIN {ALICE}"] == upstream.logged_in


async def test_no_secret_is_written_anywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither password nor login stands in any log line or file, whatever becomes of the login and of the message."""
    caplog.set_level(logging.DEBUG)
    wrong = "not the right horse"
    async with fake() as upstream, relay(tmp_path, upstream) as running:
        with structlog.testing.capture_logs() as events:
            async with Sender(running.port) as sender:
                await sender.say(plain(secret=wrong))
                await sender.say(plain() + "!")
                await sender.say(plain())
                await sender.message()
                upstream.hang_up()
                await until(lambda: not upstream.writers)
                await sender.message()
                upstream.greeting = "421 4.3.2 busy"
                upstream.hang_up()
                await until(lambda: not upstream.writers)
                await sender.envelope()
    shown = "".join(capsys.readouterr()) + caplog.text + repr(events)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert events
    assert kept
    forms = [form for text in (SECRET, wrong) for form in (text, base64.b64encode(text.encode()).decode())]
    forms += [plain()[11:], plain(secret=wrong)[11:], ALICE]
    assert [] == [form for form in forms if form in shown or form.encode() in kept]


async def test_client_that_goes_away_in_the_middle(tmp_path: Path) -> None:
    """A client that hangs up while it logs in leaves neither connection nor session behind."""
    limits = Limits(connections=1, patience=5.0)
    async with fake() as upstream, relay(tmp_path, upstream, limits) as running:
        async with Sender(running.port) as sender:
            said = base64.b64encode(f"user={ALICE}\x01auth=Bearer stale\x01\x01".encode()).decode()
            assert "334" == (await sender.say(f"AUTH XOAUTH2 {said}"))[:3]
        await until(lambda: not running.server.sessions and not upstream.writers)
        assert "235" == (await _once(running.port, plain()))[:3]


async def test_client_that_does_not_go_on_with_its_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that says nothing to what the upstream asks it does not keep a connection there from others."""
    monkeypatch.setattr(passthrough, "ANSWER_SECONDS", 0.1)
    limits = Limits(connections=1, patience=5.0)
    said = base64.b64encode(f"user={ALICE}\x01auth=Bearer stale\x01\x01".encode()).decode()
    async with fake() as upstream, relay(tmp_path, upstream, limits) as running, Sender(running.port) as sender:
        assert "334" == (await sender.say(f"AUTH XOAUTH2 {said}"))[:3]
        assert "235" == (await _once(running.port, plain()))[:3]
        assert "501 5.7.0" == (await sender.heard())[:9]


async def test_nothing_is_sent_without_a_login(tmp_path: Path) -> None:
    """S9: without a login there is no MAIL, on loopback either, and so no message."""
    async with fake() as upstream, relay(tmp_path, upstream) as running, Sender(running.port) as sender:
        assert "530 5.7.0" == (await sender.say("MAIL FROM:<alice@example.org>"))[:9]
        assert "503 5.5.1" == (await sender.say("RCPT TO:<bob@customer.test>"))[:9]
        assert "503 5.5.1" == (await sender.say("DATA"))[:9]
        assert "500" == (await sender.say(BODY.decode().split("\r\n")[0]))[:3]
    assert [] == upstream.messages
