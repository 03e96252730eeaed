"""Connecting: of a host's addresses one that answers is enough."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from proxy import connecting
from proxy.route import Route, parse_route
from proxy.upstream import Connection

Address = tuple[int, int, int, str, tuple[str, int]]


def as_found(server: socket.socket) -> Address:
    """Return a server's address as the resolver would."""
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", server.getsockname())


@pytest.fixture
def silent() -> Iterator[Address]:
    """An address that does not even refuse: so many wait there already that Linux drops the next."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield as_found(server)


@pytest.fixture
def refusing() -> Iterator[Address]:
    """An address where nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield as_found(server)


def know(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> Route:
    """Have every name stand for these addresses; return a route to one."""

    async def found(_host: str, _port: int) -> tuple[Address, ...]:
        return addresses

    monkeypatch.setattr(connecting, "_addresses", found)
    return parse_route("smtp://mail.example.test:25", ["*"], "relay.test")


@pytest.mark.parametrize("first", ["silent", "refusing"])
async def test_another_address_does(
    first: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305: where the first address is silent, or refuses, mail goes by the second."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while await reader.readline():
            writer.write(b"250 ok\r\n")
        writer.close()

    async with await asyncio.start_server(session, "127.0.0.1", 0) as server:
        route = know(monkeypatch, request.getfixturevalue(first), as_found(server.sockets[0]))
        connection = await asyncio.wait_for(Connection.reach(route, route.hosts[0]), 10)
        assert connection.is_up
        connection.close()


async def test_where_all_are_silent_it_ends(monkeypatch: pytest.MonkeyPatch, silent: Address) -> None:
    """However many addresses do not answer, it takes no longer than it may, and the log will say so."""
    know(monkeypatch, silent, silent)
    with pytest.raises(TimeoutError, match=r"No answer within 0\.4 seconds"):
        await connecting.connected("mail.example.test", 25, 0.4)
