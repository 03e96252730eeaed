"""What all workers together allow: connections, connections of one client, octets of messages under way."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.limits import Census, Held, SharedLimits, prepare
from tests.proxy.sending import Sender, until
from tests.relaying import running_relay
from tests.upstream import FakeUpstream


@pytest.fixture
def two() -> list[Census]:
    """The census of two workers."""
    with tempfile.TemporaryFile() as file:
        prepare(file.fileno(), 2)
        return [Census.shared(file.fileno(), 2, row) for row in range(2)]


def test_workers_count_together(two: list[Census]) -> None:
    """Every worker sees what both have, and tells clients apart, in either family."""
    for client in ("192.0.2.1", "192.0.2.1", "2001:db8::1"):
        two[0].enter(client)
    two[1].enter("192.0.2.1")
    two[1].leave("192.0.2.1")
    two[1].enter("192.0.2.1")

    assert [4, 4] == [one.connections for one in two]
    assert [(3, 1, 0)] * 2 == [tuple(map(one.of_client, ("192.0.2.1", "2001:db8::1", "192.0.2.2"))) for one in two]


def test_a_worker_that_died_is_forgotten() -> None:
    """The successor in a row begins with nothing; what the others count stays."""
    with tempfile.TemporaryFile() as file:
        prepare(file.fileno(), 2)
        first, second = (Census.shared(file.fileno(), 2, row) for row in range(2))
        for one in (first, second):
            one.enter("192.0.2.1")
            one.hold(1_000)
        Census.shared(file.fileno(), 2, 0)

    assert (1, 1, 1_000) == (second.connections, second.of_client("192.0.2.1"), second.bytes_in_flight)


def test_connections_to_upstreams(two: list[Census]) -> None:
    """Every worker sees how many connections all have to the upstream of a route, and whether another can get none."""
    two[0].connect(0, 2)
    two[1].connect(0, 1)
    two[1].starve(1, starving=True)

    assert [(3, 0)] * 2 == [(one.connected(0), one.connected(1)) for one in two]
    assert [(False, True), (False, False)] == [(one.others_starve(0), one.others_starve(1)) for one in two]
    two[0].connect(0, -2)
    two[1].starve(1, starving=False)
    assert (1, False) == (two[0].connected(0), two[0].others_starve(1))


def test_octets_are_held_until_the_message_is_done_with(two: list[Census]) -> None:
    """A message grows while there is room in all workers, and its octets are free again at its end."""
    other = Held(two[1], 1_000)
    assert other.grow(600)
    with Held(two[0], 1_000) as held:
        assert held.grow(300)
        assert held.grow(400)
        assert not held.grow(401)
        assert [1_000] * 2 == [one.bytes_in_flight for one in two]
    assert [600] * 2 == [one.bytes_in_flight for one in two]


async def test_connections_of_one_client(tmp_path: Path) -> None:
    """S16: the 51st connection from an address gets 421, until another one ends; the 50 are served."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        async with AsyncExitStack() as stack:
            senders = [await stack.enter_async_context(Sender(running.port)) for _ in range(50)]
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            assert b"421 4.7.0 Too many connections from your address\r\n" == await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert "250 2.0.0 Ok: queued as 4XYZ" == await senders[-1].message()
        await until(lambda: not running.server.sessions)
        async with Sender(running.port) as again:
            assert "250 2.0.0 Ok: queued as 4XYZ" == await again.message()


async def test_connections_in_all(tmp_path: Path) -> None:
    """S16: one connection more than there may be in all gets 421."""
    limits = SharedLimits(connections=1)
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, shared=limits) as running,
        Sender(running.port),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        assert b"421 4.3.2 Too many connections; please try again later\r\n" == await asyncio.wait_for(
            reader.read(), 10
        )
        writer.close()


async def test_a_client_that_goes_away(tmp_path: Path) -> None:
    """What a client had sent of a message, and its connection, count no more once it has hung up."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        census = running.server._census
        async with Sender(running.port) as sender:
            await sender.envelope()
            sender.begin(b"x" * 70 + b"\r\n")
            await until(lambda: census.bytes_in_flight)
            assert (1, 1) == (census.connections, census.of_client("127.0.0.1"))
        await until(lambda: not running.server.sessions)
        assert (0, 0, 0) == (census.bytes_in_flight, census.connections, census.of_client("127.0.0.1"))


async def test_messages_under_way(tmp_path: Path) -> None:
    """While one message takes up the room, another hears 452 at MAIL or at its end; afterwards it goes."""
    large = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 300
    upstream = FakeUpstream(data_delay=0.5)
    async with (
        upstream,
        running_relay(tmp_path, upstream.port, shared=SharedLimits(bytes_in_flight=1_000)) as running,
        Sender(running.port) as one,
        Sender(running.port) as other,
    ):
        await one.envelope()
        first = asyncio.create_task(one.content(large))
        await until(lambda: running.server.deliveries)
        assert (await other.say("MAIL FROM:<alice@example.org> SIZE=700")).startswith("452 4.3.1")
        assert (await other.envelope()).startswith("354")
        assert (await other.content(large)).startswith("452 4.3.1")
        assert "250 2.0.0 Ok: queued as 4XYZ" == await first
        await other.envelope()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await other.content(large)
    assert 2 == len(upstream.messages)
