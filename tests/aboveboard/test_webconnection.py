"""The web connection: one that never comes to an end is ended, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from aboveboard import webconnection
from aboveboard.sockets import bind
from aboveboard.webconnection import MAX_HEADER, WebConnection
from tests.proxy.sending import until
from web.pages import SECURITY_HEADERS

SECONDS = 0.5
HEAD = b"Host: x\r\nContent-Type: text/plain\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with how many octets the body has; ``/much`` with more than any client is ready to take."""
    octets, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        octets, more = octets + len(message.get("body", b"")), message.get("more_body", False)
    answer = b"x" * 50_000_000 if scope["path"] == "/much" else b"%d octets" % octets
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def serving() -> AsyncIterator[uvicorn.Server]:
    """Serve the application as the web worker does, on a free port; connections at rest are kept for long."""
    settings = uvicorn.Config(app, log_config=None, http=WebConnection, lifespan="off", timeout_keep_alive=60)
    server = uvicorn.Server(settings)
    with bind("web.address", "127.0.0.1:0") as bound:
        settings.load()
        server.lifespan = settings.lifespan_class(settings)
        await server.startup(sockets=[bound])
        try:
            yield server
        finally:
            server.force_exit = True
            await server.shutdown(sockets=[bound])


async def connected(server: uvicorn.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to a server."""
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return await asyncio.open_connection(host, port)


async def gone(server: uvicorn.Server) -> None:
    """Wait until the server has no connection any more."""
    await until(lambda: not server.server_state.connections)


async def begun(server: uvicorn.Server) -> None:
    """Wait until the server has seen the beginning of a request."""
    await until(lambda: any(one.scope for one in server.server_state.connections))


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Return the status line and the body of an answer that says how long it is."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head.partition(b"\r\n")[0] + b" / " + await reader.readexactly(length)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:", id="half a header"),
        pytest.param(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\nhalf", id="half a body"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="no last chunk"),
        pytest.param(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n", id="an answer that is not taken"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n", id="half of the second request"),
    ],
)
async def test_no_end(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """A client that does not come to an end is let go of, wherever it stopped."""
    monkeypatch.setattr(webconnection, "SECONDS", SECONDS)
    async with serving() as server:
        _, writer = await connected(server)
        writer.write(said)
        await gone(server)
        writer.close()


async def test_half_a_request_at_the_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A process that is to end waits for half a request for a while, and nobody has to be cancelled."""
    monkeypatch.setattr(webconnection, "PARTING_SECONDS", SECONDS)
    async with serving() as server:
        _, writer = await connected(server)
        writer.write(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\nhalf")
        await begun(server)
        async with asyncio.timeout(10):
            await server.shutdown()
        writer.close()
    assert [] == [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]


async def test_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection at rest is not taken for one that has no end."""
    monkeypatch.setattr(webconnection, "SECONDS", SECONDS)
    async with serving() as server:
        reader, writer = await connected(server)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200 OK / 0 octets" == await answer(reader)
            await asyncio.sleep(2.2 * SECONDS)
        writer.close()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(b"GET /", b"a" * 1_000, id="path"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ", b"a" * 1_000, id="value"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"X: " + b"a" * 995 + b"\r\n", id="fields"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n" * 200, id="trailer"),
    ],
)
async def test_header_without_end(begin: bytes, more: bytes) -> None:
    """A header that does not end is refused in words, and not taken into memory."""
    async with serving() as server:
        reader, writer = await connected(server)
        writer.write(begin)
        # The octets that a request begins with, in one piece, are not counted.
        await begun(server)
        for _ in range(MAX_HEADER // len(more) + 1):
            writer.write(more)
            await writer.drain()
        assert b"HTTP/1.1 400 Bad Request / The header is too long." == await answer(reader)
        writer.close()


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\r\n\r\n", b"GET /a b HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_what_is_no_request(said: bytes) -> None:
    """What is no request hears so, and that answer is as private as any other."""
    async with serving() as server:
        reader, writer = await connected(server)
        writer.write(said)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    status, *lines = head.decode("ascii").split("\r\n")
    assert ("HTTP/1.1 400 Bad Request", b"Invalid HTTP request received.") == (status, body)
    assert SECURITY_HEADERS.items() <= dict(line.split(": ", 1) for line in lines).items()


async def test_body_is_no_header() -> None:
    """A body may be longer than a header, and many requests may come at once."""
    async with serving() as server:
        reader, writer = await connected(server)
        size = 3 * MAX_HEADER
        writer.write(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
        assert b"HTTP/1.1 200 OK / %d octets" % size == await answer(reader)
        count = MAX_HEADER // 10
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        assert {b"HTTP/1.1 200 OK / 0 octets"} == {await answer(reader) for _ in range(count)}
        writer.close()
