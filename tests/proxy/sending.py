"""A client that hands in mail, for tests of what happens behind the relay."""

import asyncio
from collections.abc import Callable
from typing import Self

BODY = b"Subject: x\r\n\r\nhi\r\n"


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until a condition holds."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass in time")


class Sender:
    """One session with the relay, on a socket."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.offered: list[str] = []

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self._reply()
        self.offered = [line[4:] for line in await self._ask("EHLO client.test")]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def _reply(self) -> list[str]:
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = await asyncio.wait_for(self._reader.readline(), 10)
            assert line, f"closed after {lines}"
            lines.append(line.decode().removesuffix("\r\n"))
        return lines

    async def _ask(self, command: str) -> list[str]:
        self._writer.write(command.encode() + b"\r\n")
        return await self._reply()

    async def heard(self) -> str:
        """Return the last line of the next answer."""
        return (await self._reply())[-1]

    async def say(self, command: str) -> str:
        """Say a command and return the last line of its answer."""
        return (await self._ask(command))[-1]

    async def envelope(self, *recipients: str) -> str:
        """Say everything up to DATA; return the first answer that is not positive, or the one to DATA."""
        commands = [f"RCPT TO:<{address}>" for address in recipients or ("bob@customer.test",)]
        answer = ""
        for command in ("MAIL FROM:<alice@example.org>", *commands, "DATA"):
            answer = await self.say(command)
            if answer[0] not in "23":
                break
        return answer

    def begin(self, body: bytes) -> None:
        """Send the beginning of a message."""
        self._writer.write(body)

    async def content(self, body: bytes = BODY) -> str:
        """Send the message itself, and return the last line of the answer."""
        self._writer.write(body + b".\r\n")
        return (await self._reply())[-1]

    async def message(self) -> str:
        """Hand in a message and return the answer that ended it."""
        answer = await self.envelope()
        return await self.content() if answer.startswith("354") else answer
