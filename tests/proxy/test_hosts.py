"""The upstream's hosts: which of them gets the mail, what they can do, and that TLS is what the route says."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from proxy.pool import Upstreams
from proxy.reply import ReplyError
from proxy.route import Capabilities, Limits, parse_route
from proxy.upstream import Connection
from tests.proxy.sending import Sender, until
from tests.relaying import ASKED, running_relay
from tests.upstream import FakeUpstream


@pytest.mark.parametrize("greeting", ["421 4.3.2 not now", "450 4.3.2 not now"])
async def test_next_host(tmp_path: Path, greeting: str) -> None:
    """Where the first host lets nobody in, the next one gets the mail, and the first is left alone for a while."""
    async with AsyncExitStack() as stack:
        full = await stack.enter_async_context(FakeUpstream(greeting=greeting))
        away = await stack.enter_async_context(FakeUpstream())
        await away.stop()
        others = tuple(f"smtp://127.0.0.1:{one.port}" for one in (full, away))
        upstream = await stack.enter_async_context(FakeUpstream())
        limits = Limits(messages=1)
        relay = running_relay(tmp_path, upstream.port, other_hosts=others, limits=limits)
        running = await stack.enter_async_context(relay)
        sender = await stack.enter_async_context(Sender(running.port))
        for _ in range(2):
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 2 == len(upstream.messages)
    assert 1 == full.connections


async def test_an_upstream_that_has_enough_at_ehlo(tmp_path: Path) -> None:
    """An upstream that says 421 to EHLO lets nobody in now: it hears no HELO, and the client 451."""
    async with (
        FakeUpstream(answers={"EHLO": "421 4.3.2 not now"}) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        assert (await sender.message()).startswith("451 4.3.2")
    assert 0 == upstream.count("HELO")


async def test_every_host_away(tmp_path: Path) -> None:
    """Where no host answers the client hears 451; as soon as one does, mail flows."""
    async with FakeUpstream(greeting="421 no") as first, FakeUpstream(greeting="421 no") as second:
        others = (f"smtp://127.0.0.1:{first.port}",)
        async with running_relay(tmp_path, second.port, other_hosts=others) as running, Sender(running.port) as sender:
            assert (await sender.message()).startswith("451 4.3.2")
            first.greeting = "220 here again"
            await sender.say("RSET")
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 1 == len(first.messages)


async def test_capabilities_are_learnt_anew(tmp_path: Path) -> None:
    """What the upstream says on a new connection is what clients are offered from then on."""
    upstream = FakeUpstream(extensions=())
    async with upstream, running_relay(tmp_path, upstream.port, limits=Limits(messages=1)) as running:
        async with Sender(running.port) as sender:
            assert "8BITMIME" not in sender.offered
            upstream.extensions = ("8BITMIME", "DSN", "SIZE 1000")
            await sender.message()
        async with Sender(running.port) as sender:
            assert {"8BITMIME", "DSN", "SIZE 1000"} <= set(sender.offered)


async def test_only_what_every_route_can_do() -> None:
    """165: with several routes clients are offered what all of them can do; while one is not known, a safe minimum."""
    can, less, away = ("8BITMIME", "DSN", "SIZE 9000"), ("8BITMIME", "SMTPUTF8", "SIZE 5000"), FakeUpstream()
    async with away, FakeUpstream(extensions=can) as one, FakeUpstream(extensions=less) as other:
        await away.stop()
        routes = [parse_route(f"smtp://127.0.0.1:{port.port}", ["*"], "relay.test") for port in (one, other, away)]
        both, all_three = Upstreams(routes[:2]), Upstreams(routes)
        for upstreams in (both, all_three):
            await upstreams.learn()
            await upstreams.close()
    assert Capabilities(size=5_000, eight_bit=True) == both.common
    assert Capabilities(size=5_000) == all_three.common


@pytest.mark.parametrize("number", ["9" * 5_000, "\u0663", "-1", "many"], ids=["endless", "Arabic", "negative", "word"])
async def test_a_size_that_is_none(tmp_path: Path, number: str) -> None:
    """An upstream that says a size which is no number of octets is believed to have said none."""
    async with (
        FakeUpstream(extensions=(f"SIZE {number}",)) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        assert "SIZE 10000000" in sender.offered
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()


@pytest.mark.parametrize(("scheme", "extensions"), [("smtps", ()), ("smtp+starttls", ("STARTTLS", "PIPELINING"))])
async def test_encrypted_connections_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, extensions: tuple[str, ...]
) -> None:
    """A connection with TLS carries many messages, large ones too, and one that went stale is replaced."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    monkeypatch.setattr("proxy.upstream.tls_context", lambda: client)
    upstream = FakeUpstream(extensions=extensions, tls=server)
    async with (
        upstream,
        running_relay(tmp_path, upstream.port, scheme=scheme) as running,
        Sender(running.port) as sender,
    ):
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
        assert (await sender.envelope()).startswith("354")
        large = b"Subject: x\r\n\r\n" + (b"x" * 900 + b"\r\n") * 1_000
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.content(large)
        assert ASKED + 1 == upstream.connections
        (pool,) = running.server.upstreams.pools
        upstream.hang_up()
        await until(lambda: not pool._idle)
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 3 == len(upstream.messages)


async def test_an_encrypted_connection_that_ends_with_the_answer_to_ehlo(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that answers EHLO behind TLS and hangs up in one go cannot be reached, and counts no more."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    monkeypatch.setattr("proxy.upstream.tls_context", lambda: client)

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 upstream.test\r\n")
        await reader.readline()
        writer.write(b"250 upstream.test\r\n")
        writer.close()

    async with await asyncio.start_server(session, "127.0.0.1", 0, ssl=server) as listening:
        port = listening.sockets[0].getsockname()[1]
        upstreams = Upstreams([parse_route(f"smtps://127.0.0.1:{port}", ["*"], "relay.test")])
        with pytest.raises(ReplyError, match=r"4\.4\.1 The mail server behind this relay cannot be reached"):
            await upstreams.pools[0].take()
        await until(lambda: not upstreams.census.connected(0))


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    """164: an upstream whose certificate is not valid gets no mail, and the client hears 451."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    upstream = FakeUpstream(tls=server)
    async with (
        upstream,
        running_relay(tmp_path, upstream.port, scheme="smtps") as running,
        Sender(running.port) as sender,
    ):
        assert (await sender.message()).startswith("451 4.7.5")
    assert [] == upstream.heard


async def test_an_upstream_without_starttls(tmp_path: Path) -> None:
    """S6: an upstream that should offer STARTTLS and does not hears nothing in clear."""
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, scheme="smtp+starttls") as running,
        Sender(running.port) as sender,
    ):
        assert (await sender.message()).startswith("451 4.7.5")
    assert 0 == upstream.count("MAIL")


@pytest.mark.parametrize("offer", [(), ("AUTH GSSAPI",), ("AUTH PLAIN",)], ids=["no AUTH", "no password", "refused"])
@pytest.mark.parametrize("scheme", ["smtp", "smtps", "smtp+starttls"])
async def test_a_service_login_that_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, scheme: str, offer: tuple[str, ...]
) -> None:
    """The client hears that it is about the login, not about TLS, also where no login that we know is offered."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    monkeypatch.setattr("proxy.upstream.tls_context", lambda: client)
    starttls = ("STARTTLS",) if scheme == "smtp+starttls" else ()
    async with FakeUpstream(extensions=(*starttls, *offer), tls=server if scheme != "smtp" else None) as upstream:
        route = parse_route(f"{scheme}://127.0.0.1:{upstream.port}", ["*"], "relay.test", "relay", "secret")
        with pytest.raises(ReplyError, match=r"4\.7\.0 The mail server behind this relay does not accept its login"):
            await Connection.open(route)
