"""The clients: they hand messages in, try again as mail servers do, leave where they are told to, and keep account."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.faults.account import Account, Attempt, Letter

SECONDS = 700.0
"""A client waits longer than the relay ever does (ten minutes for the upstream's last word)."""
STEPS = ("connect", "greeting", "EHLO", "MAIL", "MAIL said", "RCPT", "RCPT said", "DATA", "DATA said", "content", "dot")
"""Where a client may leave: before a command's reply or, where it is "said", after it."""


class Left(Exception):
    """The client left here, as it was told to."""


@dataclass
class Leaving:
    """Where a client leaves, and how: by closing, or so that the other side gets a reset."""

    step: str = ""
    abruptly: bool = False


@dataclass
class _Progress:
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    dot: bool = False
    last: str = ""


class Client:
    """One connection to the relay; opened when it is needed."""

    def __init__(self, port: int, leaving: Leaving | None = None) -> None:
        self._port = port
        self._leaving = leaving or Leaving()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, *, abruptly: bool = False) -> None:
        """Leave."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if abruptly:
            writer.transport.abort()
        else:
            writer.close()

    async def hand_in(self, sent: Letter, recipients: Sequence[str]) -> Attempt:
        """Try once, and return what was heard of it."""
        progress = _Progress()
        started = time.monotonic()
        left = False
        try:
            await self._dialog(sent, recipients, progress)
        except (ConnectionError, asyncio.IncompleteReadError):
            await self.close()
        except Left:
            left = True
            await self.close(abruptly=self._leaving.abruptly)
        reply = progress.last
        cut = bool(progress.accepted) and not reply and not left
        seconds = time.monotonic() - (self._dot_at if progress.dot else started)
        attempt = Attempt(reply, tuple(progress.accepted), tuple(progress.refused), progress.dot, cut, seconds)
        return attempt if progress.dot else replace(attempt, seconds=0.0)

    async def _dialog(self, sent: Letter, recipients: Sequence[str], progress: _Progress) -> None:
        reply = await self._greeted()
        if reply[:1] == "2":
            reply = await self._say(f"MAIL FROM:<{sent.sender}>", "MAIL")
        for recipient in recipients if reply[:1] == "2" else ():
            reply = await self._say(f"RCPT TO:<{recipient}>", "RCPT")
            (progress.accepted if reply[:1] == "2" else progress.refused if reply[:1] == "5" else []).append(recipient)
            if reply.startswith("421"):
                break
        if progress.accepted and not reply.startswith("421"):
            reply = await self._say("DATA", "DATA")
            if reply.startswith("354"):
                reply = await self._content(sent.content, progress)
        progress.last = reply
        if reply.startswith("421"):
            await self.close()
        elif not progress.dot:
            await self._say("RSET", "")

    async def _greeted(self) -> str:
        if self._writer is not None:
            return "250"
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._leave("connect")
        reply = await self._reply()
        self._leave("greeting")
        return await self._say("EHLO client.test", "EHLO") if reply.startswith("220") else reply

    async def _content(self, content: bytes, progress: _Progress) -> str:
        assert self._writer is not None
        wire = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        half = len(wire) // 2
        self._writer.write(wire[:half])
        await self._writer.drain()
        self._leave("content")
        # From here on it may have everything, whatever comes of it.
        progress.dot, self._dot_at = True, time.monotonic()
        self._writer.write(wire[half:])
        await self._writer.drain()
        self._dot_at = time.monotonic()
        self._leave("dot")
        return await self._reply()

    async def _say(self, line: str, step: str) -> str:
        assert self._writer is not None
        self._writer.write(line.encode() + b"\r\n")
        self._leave(step)
        reply = await self._reply()
        self._leave(f"{step} said")
        return reply

    async def _reply(self) -> str:
        assert self._reader is not None
        async with asyncio.timeout(SECONDS):
            while True:
                line = await self._reader.readuntil(b"\n")
                if line[3:4] != b"-":
                    return line.decode().removesuffix("\r\n")

    def _leave(self, step: str) -> None:
        if self._leaving.step == step:
            raise Left


async def deliver(port: int, account: Account, sent: Letter, pause: float = 0.2, seconds: float = 60.0) -> None:
    """Hand a message in until every recipient is accepted or refused for good, as a mail server does.

    Gives up after so many seconds; what is left over then shows in the account.
    """
    left = list(sent.recipients)
    until = time.monotonic() + seconds
    while left and time.monotonic() < until:
        async with Client(port) as client:
            attempt = await client.hand_in(sent, left)
        account.add(sent, attempt)
        done = {*attempt.refused, *(attempt.accepted if attempt.taken or attempt.reply.startswith("5") else ())}
        left = [one for one in left if one not in done]
        if left:
            await asyncio.sleep(pause)
