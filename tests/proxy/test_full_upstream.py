"""An upstream that takes fewer connections than the relay would make: who waits, for whose, and for how long."""

import asyncio
import base64
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from proxy import pool
from proxy.limits import Census, prepare
from proxy.route import LIMITS, Limits
from proxy.server import Listener
from tests.proxy.sending import Sender, until
from tests.relaying import running_relay
from tests.upstream import FakeUpstream


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
        (theirs,) = running.server.upstreams.pools
        waiting = [asyncio.create_task(one.message()) for one in (third, fourth)]
        await until(lambda: len(theirs._hoping) == 2)
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
        (theirs,) = running.server.upstreams.pools
        async with Sender(running.port) as first:
            await first.envelope()
            waiting = asyncio.create_task(second.message())
            await until(lambda: theirs._hoping or waiting.done())
            if patience < 1:
                assert (await waiting).startswith("451 4.3.2 The mail server behind this relay takes no more")
        expected = "250 2.0.0 Ok: queued as 4XYZ" if patience > 1 else "451 4.3.2"
        assert (await waiting).startswith(expected)


class Slow(FakeUpstream):
    """A mail server that counts a connection a little longer than the other side has it."""

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super()._talk(reader, writer)
        await asyncio.sleep(0.1)


async def test_an_upstream_that_hears_late_of_an_end(tmp_path: Path) -> None:
    """Who waits for an upstream that is full goes on waiting where it does not know yet that a connection went."""
    async with (
        Slow(most_at_once=1) as upstream,
        running_relay(tmp_path, upstream.port, limits=Limits(messages=1)) as running,
        Sender(running.port) as first,
        Sender(running.port) as second,
    ):
        await until(lambda: not upstream.writers)
        (theirs,) = running.server.upstreams.pools
        await first.envelope()
        waiting = asyncio.create_task(second.message())
        await until(lambda: theirs._hoping)
        await first.content()
        await until(lambda: not theirs._open)
        theirs._wake()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await waiting


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


async def test_an_upstream_that_stays_full_with_another_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for another worker's connection has an end, too, and of those who wait only one asks again."""
    monkeypatch.setattr(pool, "AGAIN_SECONDS", 0.05)
    async with (
        FakeUpstream(most_at_once=1) as upstream,
        two_workers(tmp_path, upstream, Limits(patience=0.6)) as (one, other),
        Sender(one) as first,
        Sender(other) as second,
        Sender(other) as third,
    ):
        await first.envelope()
        asked, begun = upstream.connections, time.monotonic()
        answers = await asyncio.gather(second.message(), third.message())
        assert ["451 4.3.2", "451 4.3.2"] == [one[:9] for one in answers]
        # Each asks when it comes and when it goes, and in between one of them whenever it is time; both would be twice
        # as many.
        assert upstream.connections - asked <= 5 + (time.monotonic() - begun) / pool.AGAIN_SECONDS
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
