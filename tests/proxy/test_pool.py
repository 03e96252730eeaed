"""Connections to the upstream: kept, used again, replaced where they went stale, and no more than allowed."""

import asyncio
from pathlib import Path

import pytest

from proxy.route import Limits
from tests.proxy.sending import Sender, until
from tests.relaying import ASKED, running_relay
from tests.upstream import FakeUpstream


async def test_one_connection_for_many_messages(tmp_path: Path) -> None:
    """Messages of different clients, one after the other, go over one connection, without RSET between them."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        for _ in range(3):
            async with Sender(running.port) as sender:
                assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 3 == len(upstream.messages)
    assert ASKED + 1 == upstream.connections
    assert 0 == upstream.count("RSET")


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
    assert 3 == upstream.count("MAIL")


@pytest.mark.parametrize("pipelining", [(), ("PIPELINING",)], ids=["one by one", "pipelining"])
@pytest.mark.parametrize("enough", ["421 4.7.0 Too many messages", "452 4.5.3 Too many messages sent"])
async def test_too_many_messages_for_the_upstream(tmp_path: Path, enough: str, pipelining: tuple[str, ...]) -> None:
    """421 or OpenSMTPD's 452 to MAIL on a kept connection means a fresh one, and the client notices nothing."""
    async with (
        FakeUpstream(pipelining, mails_per_connection=1, enough=enough) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        for _ in range(3):
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert 3 == len(upstream.messages)
    assert ASKED + 3 == upstream.connections


async def test_too_many_messages_on_several_connections(tmp_path: Path) -> None:
    """Where one kept connection has had enough the message goes over a new one, not over another that is kept."""
    async with (
        FakeUpstream(mails_per_connection=1, enough="421 4.7.0 Too many messages") as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as one,
        Sender(running.port) as other,
    ):
        (pool,) = running.server.upstreams.pools
        for sender in (one, other):
            await sender.envelope()
        for sender in (one, other):
            await sender.content()
        await until(lambda: len(pool._idle) == 2)
        assert "250 2.0.0 Ok: queued as 4XYZ" == await one.message()
    assert 3 == len(upstream.messages)


async def test_421_on_a_fresh_connection(tmp_path: Path) -> None:
    """421 to MAIL on a fresh connection is the client's answer, and nothing is tried again."""
    async with (
        FakeUpstream(mails_per_connection=0) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        assert "421 4.7.0 Too many messages on this connection" == await sender.message()
    assert 1 == upstream.count("MAIL")


async def test_messages_per_connection(tmp_path: Path) -> None:
    """After so many messages a connection is ended with QUIT."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, limits=Limits(messages=2)) as running:
        async with Sender(running.port) as sender:
            for _ in range(3):
                await sender.message()
        assert ASKED + 2 == upstream.connections
        await until(lambda: upstream.count("QUIT") == ASKED + 1)


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
        await until(lambda: upstream.count("QUIT") == ASKED + 1)
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
        await until(lambda: upstream.count("RSET"))
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
    assert 1 == upstream.count("RSET")
    assert ASKED + 1 == upstream.connections
