"""Connections to the upstream: kept, used again, replaced where they went stale, and no more than allowed."""

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from proxy.limits import Census, prepare
from proxy.pool import Upstreams
from proxy.route import LIMITS, Capabilities, Limits, parse_route
from proxy.server import Listener
from tests.proxy.sending import Sender, until
from tests.relaying import running_relay
from tests.upstream import FakeUpstream

ASKED = 1
"""The connection on which the relay asked, when it started, what the upstream can do."""


def count(upstream: FakeUpstream, command: str) -> int:
    """Return how often the upstream heard a command."""
    return sum(line.startswith(command) for line in upstream.heard)


async def test_one_connection_for_many_messages(tmp_path: Path) -> None:
    """Messages of different clients, one after the other, go over one connection, without RSET between them."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        for _ in range(3):
            async with Sender(running.port) as sender:
                assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 3 == len(upstream.messages)
    assert ASKED + 1 == upstream.connections
    assert 0 == count(upstream, "RSET")


@pytest.mark.parametrize(
    "words", ["", "421 4.4.2 timeout exceeded", "250 what", "4"], ids=["EOF", "421", "250", "half"]
)
async def test_an_idle_connection_that_is_spoken_on_is_dropped(tmp_path: Path, words: str) -> None:
    """A kept connection on which the upstream hangs up, or says anything, carries no message any more."""
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        await sender.message()
        (pool,) = running.server.upstreams.pools
        await until(lambda: pool._idle)
        upstream.say(words) if words else upstream.hang_up()
        await until(lambda: not pool._idle)
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 2 == len(upstream.messages)
    assert ASKED + 2 == upstream.connections


async def test_stale_connection_is_replaced(tmp_path: Path) -> None:
    """A connection that the upstream closes in answer to MAIL, after it was kept, costs no message."""
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as one,
    ):
        await one.message()
        upstream.hang_up_once_on = "MAIL"
        assert "250 2.0.0 Ok: queued as 4XYZ" == await one.message()
    assert 2 == len(upstream.messages)
    assert 3 == count(upstream, "MAIL")


async def test_too_many_messages_for_the_upstream(tmp_path: Path) -> None:
    """421 to MAIL on a kept connection means a fresh one, and the client notices nothing."""
    async with (
        FakeUpstream(mails_per_connection=1) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        for _ in range(3):
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 3 == len(upstream.messages)
    assert ASKED + 3 == upstream.connections


async def test_421_on_a_fresh_connection(tmp_path: Path) -> None:
    """421 to MAIL on a fresh connection is the client's answer, and nothing is tried again."""
    async with (
        FakeUpstream(mails_per_connection=0) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        assert "421 4.7.0 Too many messages on this connection" == await sender.message()
    assert 1 == count(upstream, "MAIL")


async def test_messages_per_connection(tmp_path: Path) -> None:
    """After so many messages a connection is ended with QUIT."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, limits=Limits(messages=2)) as running:
        async with Sender(running.port) as sender:
            for _ in range(3):
                await sender.message()
        assert ASKED + 2 == upstream.connections
        await until(lambda: count(upstream, "QUIT") == ASKED + 1)


async def test_exim_gets_ten_messages_on_a_connection(tmp_path: Path) -> None:
    """However many are allowed: Exim takes in those that follow, and delivers them much later."""
    async with FakeUpstream(greeting="220 upstream.test ESMTP Exim 4.96 Sun, 22 Nov 2026") as upstream:
        async with running_relay(tmp_path, upstream.port) as running, Sender(running.port) as sender:
            for _ in range(11):
                assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
        assert ASKED + 2 == upstream.connections


@pytest.mark.parametrize("limits", [Limits(idle=0.05), Limits(age=0.0)], ids=["idle", "age"])
async def test_old_connections_are_ended(tmp_path: Path, limits: Limits) -> None:
    """A connection that rests too long, or is too old, is ended with QUIT."""
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, limits=limits) as running,
        Sender(running.port) as sender,
    ):
        await sender.message()
        await until(lambda: count(upstream, "QUIT") == ASKED + 1)
        await sender.message()
    assert 2 == len(upstream.messages)
    assert ASKED + 2 == upstream.connections


async def test_connections_stay_under_the_limit(tmp_path: Path) -> None:
    """A message that finds every connection in use waits for one."""
    limits = Limits(connections=1)
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, limits=limits) as running,
        Sender(running.port) as first,
        Sender(running.port) as second,
    ):
        await first.envelope()
        waiting = asyncio.create_task(second.message())
        await until(lambda: running.server.upstreams.pools[0]._slots._waiters)
        assert 1 == len(upstream.writers)
        await first.content()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await waiting
    assert ASKED + 1 == upstream.connections


async def test_no_connection_is_free_in_time(tmp_path: Path) -> None:
    """A message that waits too long for a connection is put off, and the session goes on."""
    limits = Limits(connections=1, patience=0.05)
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, limits=limits) as running,
        Sender(running.port) as first,
        Sender(running.port) as second,
    ):
        await first.envelope()
        assert (await second.message()).startswith("451 4.3.2 All connections")
        await first.content()
        await second.say("RSET")
        assert "250 2.0.0 Ok: queued as 4XYZ" == await second.message()
    assert 2 == len(upstream.messages)


async def test_an_upstream_that_takes_fewer_connections_than_it_was_believed_to(tmp_path: Path) -> None:
    """A message that the upstream has no connection for waits for one that another message has."""
    async with (
        FakeUpstream(most_at_once=2) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as first,
        Sender(running.port) as second,
        Sender(running.port) as third,
        Sender(running.port) as fourth,
    ):
        await until(lambda: not upstream.writers)
        await first.envelope()
        await second.envelope()
        (pool,) = running.server.upstreams.pools
        waiting = [asyncio.create_task(one.message()) for one in (third, fourth)]
        await until(lambda: len(pool._hoping) == 2)
        await first.content()
        assert ["250 2.0.0 Ok: queued as 4XYZ"] * 2 == await asyncio.gather(*waiting)
        await second.content()
    assert 4 == len(upstream.messages)


@pytest.mark.parametrize("patience", [30.0, 0.05], ids=["a client hangs up", "in vain"])
async def test_waiting_for_an_upstream_that_is_full(tmp_path: Path, patience: float) -> None:
    """A connection that ends instead of being given back is as good; without one in time the client hears 451."""
    async with (
        FakeUpstream(most_at_once=1) as upstream,
        running_relay(tmp_path, upstream.port, limits=Limits(patience=patience, messages=1)) as running,
        Sender(running.port) as second,
    ):
        await until(lambda: not upstream.writers)
        (pool,) = running.server.upstreams.pools
        async with Sender(running.port) as first:
            await first.envelope()
            waiting = asyncio.create_task(second.message())
            await until(lambda: pool._hoping or waiting.done())
            if patience < 1:
                assert (await waiting).startswith("451 4.3.2 The mail server behind this relay takes no more")
        expected = "250 2.0.0 Ok: queued as 4XYZ" if patience > 1 else "451 4.3.2"
        assert (await waiting).startswith(expected)


@asynccontextmanager
async def two_workers(folder: Path, upstream: FakeUpstream, limits: Limits = LIMITS) -> AsyncIterator[tuple[int, int]]:
    """Run two relays that count together, as workers do, in front of one upstream; the ports of both."""
    with tempfile.TemporaryFile() as file:
        prepare(file.fileno(), 2)
        async with AsyncExitStack() as stack:
            ports = []
            for row in range(2):
                (folder / str(row)).mkdir()
                census = Census.shared(file.fileno(), 2, row)
                relay = running_relay(folder / str(row), upstream.port, limits=limits, census=census)
                ports.append((await stack.enter_async_context(relay)).port)
            await until(lambda: not upstream.writers)
            yield ports[0], ports[1]


async def test_an_upstream_that_is_full_with_another_worker(tmp_path: Path) -> None:
    """A message in a worker without a connection waits until another worker has done with one of its own."""
    async with (
        FakeUpstream(most_at_once=1) as upstream,
        two_workers(tmp_path, upstream) as (one, other),
        Sender(one) as first,
        Sender(other) as second,
    ):
        await first.envelope()
        asked = upstream.connections
        waiting = asyncio.create_task(second.message())
        await until(lambda: upstream.connections >= asked + 2)
        assert not waiting.done()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await first.content()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await waiting
    assert 2 == len(upstream.messages)


async def test_another_worker_gives_up_a_connection_at_rest(tmp_path: Path) -> None:
    """A worker with connections at rest ends one for a worker that has none."""
    async with (
        FakeUpstream(most_at_once=2) as upstream,
        two_workers(tmp_path, upstream) as (one, other),
        Sender(one) as first,
        Sender(one) as second,
        Sender(other) as third,
    ):
        await first.envelope()
        await second.message()
        await first.content()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await third.message()
        assert 2 == len(upstream.writers)
    assert 3 == len(upstream.messages)


async def test_an_upstream_that_stays_full_with_another_worker(tmp_path: Path) -> None:
    """Waiting for another worker's connection has an end, too, and of those who wait only one asks again."""
    async with (
        FakeUpstream(most_at_once=1) as upstream,
        two_workers(tmp_path, upstream, Limits(patience=0.6)) as (one, other),
        Sender(one) as first,
        Sender(other) as second,
        Sender(other) as third,
    ):
        await first.envelope()
        asked = upstream.connections
        answers = await asyncio.gather(second.message(), third.message())
        assert ["451 4.3.2", "451 4.3.2"] == [one[:9] for one in answers]
        assert upstream.connections - asked <= 5
        assert "250 2.0.0 Ok: queued as 4XYZ" == await first.content()


async def test_a_login_waits_for_an_upstream_that_is_full(tmp_path: Path) -> None:
    """Who logs in while the upstream is full waits, too, and somebody's connection at rest makes room."""
    listener = Listener((), auth="pass-through")
    login = "AUTH PLAIN " + base64.b64encode(b"\0alice@example.org\0pw").decode()
    logins = {"alice@example.org": "pw"}
    async with (
        FakeUpstream(most_at_once=1, extensions=("8BITMIME", "AUTH PLAIN"), logins=logins) as upstream,
        running_relay(tmp_path, upstream.port, listener=listener) as running,
        Sender(running.port) as first,
        Sender(running.port) as second,
    ):
        await until(lambda: not upstream.writers)
        for sender in (first, second):
            assert "235 2.7.0 Welcome" == await sender.say(login)
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await first.message()
    assert 3 == len(upstream.logged_in)


async def test_many_log_in_where_the_upstream_takes_few(tmp_path: Path) -> None:
    """Nobody is put off while those before them hand in their mail and go, however many wait."""
    names = [f"person{number}@example.org" for number in range(12)]
    logins = dict.fromkeys(names, "pw")
    listener = Listener((), auth="pass-through")
    upstream = FakeUpstream(most_at_once=2, extensions=("8BITMIME", "AUTH PLAIN"), logins=logins, data_delay=0.02)
    async with upstream, running_relay(tmp_path, upstream.port, listener=listener) as running:
        await until(lambda: not upstream.writers)

        async def hand_in(name: str) -> tuple[str, str]:
            async with Sender(running.port) as sender:
                login = "AUTH PLAIN " + base64.b64encode(f"\0{name}\0pw".encode()).decode()
                return await sender.say(login), await sender.message()

        answers = await asyncio.gather(*map(hand_in, names))
    assert {("235 2.7.0 Welcome", "250 2.0.0 Ok: queued as 4XYZ")} == set(answers)


async def test_an_upstream_that_is_full_with_others(tmp_path: Path) -> None:
    """Where no worker has a connection there is nothing to wait for."""
    async with (
        FakeUpstream(most_at_once=0) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        assert (await sender.message()).startswith("451 4.3.2")


@pytest.mark.parametrize("answer", ["552 5.3.4 too much", "452 4.3.1 full"])
async def test_a_refused_message_is_forgotten(tmp_path: Path, answer: str) -> None:
    """After a message that was refused the upstream hears RSET: Dovecot would refuse the next sender otherwise."""
    async with (
        FakeUpstream(answers={".": answer}) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        assert answer == await sender.message()
        upstream.answers.clear()
        await until(lambda: count(upstream, "RSET"))
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert ASKED + 1 == upstream.connections


async def test_client_that_goes_away_gives_its_connection_back(tmp_path: Path) -> None:
    """A client that hangs up in the middle leaves a connection that is reset and used again."""
    limits = Limits(connections=1)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, limits=limits) as running:
        async with Sender(running.port) as sender:
            await sender.envelope()
        async with Sender(running.port) as sender:
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 1 == count(upstream, "RSET")
    assert ASKED + 1 == upstream.connections


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
    assert 0 == count(upstream, "HELO")


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


async def test_only_what_every_route_can_do(tmp_path: Path) -> None:
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
    assert 0 == count(upstream, "MAIL")
