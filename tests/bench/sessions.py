"""Sessions a second: with STARTTLS, and with STARTTLS and AUTH; no message is sent."""

import asyncio
import base64
import ssl
import time

COUNT, AT_ONCE = 300, 10
LOGIN, PASSWORD = "alice", "correct horse battery staple"
AUTH = b"AUTH PLAIN " + base64.b64encode(f"\0{LOGIN}\0{PASSWORD}".encode()) + b"\r\n"


async def reply(reader: asyncio.StreamReader) -> bytes:
    """Return the last line of the next reply."""
    while (line := await reader.readline())[3:4] == b"-":
        pass
    return line


async def session(port: int, context: ssl.SSLContext, commands: tuple[bytes, ...]) -> None:
    """Have one session: STARTTLS, commands that must be answered well, and QUIT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reply(reader)
    for line in (b"EHLO bench.test\r\n", b"STARTTLS\r\n"):
        writer.write(line)
        await reply(reader)
    await writer.start_tls(context, server_hostname="127.0.0.1")
    for line in commands:
        writer.write(line)
        answer = await reply(reader)
        assert answer.startswith(b"2"), answer
    writer.write(b"QUIT\r\n")
    await reader.read()
    writer.close()


async def rate(port: int, context: ssl.SSLContext, *commands: bytes) -> float:
    """Return how many such sessions can be had a second, some at once."""

    async def some() -> None:
        for _ in range(COUNT // AT_ONCE):
            await session(port, context, commands)

    await session(port, context, commands)
    start = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return COUNT / (time.perf_counter() - start)


async def table(tls: int, login: int, context: ssl.SSLContext) -> None:
    """Print both rates, for the port of a listener with STARTTLS, and of one with accounts too."""
    print(f"  sessions with STARTTLS: {await rate(tls, context):.0f}/s")
    known = await rate(login, context, b"EHLO bench.test\r\n", AUTH)
    print(f"  sessions with STARTTLS and AUTH, of somebody who logged in a while ago: {known:.0f}/s")
