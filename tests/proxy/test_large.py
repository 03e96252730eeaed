"""A message of 25 MB: held no more than a few times, and others are served meanwhile."""

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.proxy.sending import Sender
from tests.relaying import running_relay

LINE = b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123\r\n"
MEGABYTES = 25
HEAD = b"From: alice@example.org\r\nSubject: plans\r\nContent-Type: application/octet-stream\r\n\r\n"
BODY = LINE * (MEGABYTES * 1_048_576 // len(LINE))


@asynccontextmanager
async def sink() -> AsyncIterator[tuple[int, list[int]]]:
    """Run a mail server that counts the octets of messages and keeps none."""
    sizes: list[int] = []

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            writer.write(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 ok\r\n")
            if line == b"DATA\r\n":
                size, end = 0, b""
                while not end.endswith(b"\r\n.\r\n"):
                    piece = await reader.read(262_144)
                    size, end = size + len(piece), (end + piece)[-5:]
                sizes.append(size)
                writer.write(b"250 2.0.0 ok\r\n")
        writer.close()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], sizes
    server.close()


def hand_in(port: int) -> bytes:
    """Hand in the message from a thread, without copies of it; return the answer."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        said = b"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@customer.test>\r\nDATA\r\n"
        client.sendall(said)
        heard = b""
        while b"\r\n354" not in heard:
            heard += client.recv(65_536)
        for piece in (HEAD, BODY, b".\r\n"):
            client.sendall(piece)
        return client.recv(65_536)


async def test_25_megabytes(tmp_path: Path) -> None:
    """167: a message of 25 MB is held about twice, and another session is answered again and again meanwhile."""
    answered = 0
    async with sink() as (port, sizes), running_relay(tmp_path, port, max_message_bytes=40_000_000) as running:
        tracemalloc.start()
        large = asyncio.create_task(asyncio.to_thread(hand_in, running.port))
        try:
            while not large.done():
                # A session each fifty times: whoever only says NOOP is sent away after a hundred.
                async with Sender(running.port) as other:
                    for _ in range(50):
                        answered += (await other.say("NOOP")).startswith("250")
                        if large.done():
                            break
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (await large).startswith(b"250 2.0.0 ok")
    (size,) = sizes
    assert size > len(HEAD) + len(BODY)
    assert answered >= 20
    assert peak < 2.5 * size
