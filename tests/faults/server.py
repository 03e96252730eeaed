"""The scripted upstream: a mail server in a process of its own that does wrong what it is told to.

``python -m tests.faults.server RECORD CERTIFICATE PORT...`` listens on every port. Orders come on standard input, a
line of JSON each, and are confirmed on standard output. What it accepts is in the record, a line of JSON each, before
anybody hears 250: a process that is killed has not forgotten it.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import signal
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 1 << 26
_ID = re.compile(rb"^X-Account: (\S+)\r$", re.M)
_OURS = re.compile(rb"Received: by \S+ with \S+ id ([0-9a-f]{32}); [^\r]+\r\n")


class HangUp(Exception):
    """The connection ends here, without a word."""


@dataclass
class Door:
    """One port, and what goes wrong behind it."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    struck: int = 0
    """How often something went wrong as ordered."""
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def fault(self, step: str, line: str) -> dict[str, Any] | None:
        """Return what is to go wrong now, at this step and with these words, and count it."""
        for one in self.faults:
            if one["at"] == step and one.get("to", "") in line and one.get("times", 1) > 0:
                one["times"] = one.get("times", 1) - 1
                self.struck += 1
                return one
        return None


class Session:
    """One connection."""

    def __init__(
        self, server: "Server", door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._door = door
        self._reader = reader
        self._writer = writer
        self._recipients: list[str] = []

    async def run(self) -> None:
        """Talk until somebody hangs up."""
        self._door.writers.add(self._writer)
        try:
            with suppress(HangUp, asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                instead = await self._strike("connect")
                await self._strike("greeting", before=b"220 upst")
                await self._say(instead or "220 upstream.test ESMTP")
                while True:
                    line = (await self._reader.readuntil(b"\r\n")).decode().removesuffix("\r\n")
                    await self._command(line)
        finally:
            self._door.writers.discard(self._writer)
            self._writer.close()

    async def _command(self, line: str) -> None:
        verb = line[:4].upper().removesuffix(" ")
        step = "STARTTLS" if verb == "STAR" else verb
        instead = await self._strike(step, line)
        if instead is not None:
            await self._say(instead)
            if verb == "DATA" and instead.startswith("354"):
                await self._message()
            return
        if verb == "STAR":
            await self._say("220 2.0.0 go on")
            await self._writer.start_tls(self._server.tls)
        elif verb == "DATA":
            await self._say("354 go on")
            await self._message()
        elif verb == "QUIT":
            await self._say("221 2.0.0 bye")
            raise HangUp
        else:
            await self._say(self._answer(verb, line))

    def _answer(self, verb: str, line: str) -> str:
        if verb == "EHLO":
            offered = ["PIPELINING", "8BITMIME", "SIZE 60000000", "ENHANCEDSTATUSCODES", "AUTH PLAIN"]
            return "\r\n".join(["250-upstream.test", *(f"250-{one}" for one in offered), "250 STARTTLS"])
        if verb == "AUTH":
            return "235 2.7.0 welcome"
        if verb == "MAIL" or verb == "RSET":
            self._recipients = []
        if verb == "RCPT":
            self._recipients.append(line[line.index("<") + 1 : line.index(">")])
        return "250 2.0.0 ok"

    async def _message(self) -> None:
        content = b""
        for _ in range(10):
            # Into the message, but not to its end.
            content += await self._reader.readuntil(b"\r\n")
        said = await self._strike("content")
        if said is not None:
            await self._say(said)
            raise HangUp
        content += await self._reader.readuntil(b"\r\n.\r\n")
        said = await self._strike("dot")
        if said is not None:
            await self._say(said)
            return
        await self._server.keep(content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."), self._recipients)
        await self._say(await self._strike("kept") or "250 2.0.0 Ok: queued")
        await self._strike("replied")

    async def _strike(self, step: str, line: str = "", before: bytes = b"") -> str | None:
        """Do what is to go wrong here; return what is to be said instead of what is right, or None."""
        one = self._door.fault(step, line)
        if one is None:
            return None
        do, value = one["do"], one.get("value")
        if before and do != "wait":
            self._writer.write(before)
            await self._writer.drain()
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "close":
            raise HangUp
        if do == "reset":
            self._writer.transport.abort()
            raise HangUp
        if do == "wait":
            await asyncio.sleep(value)
            return None
        if do == "silent":
            await self._reader.read()
            raise HangUp
        return str(value)

    async def _say(self, text: str) -> None:
        self._writer.write(text.encode() + b"\r\n")
        await self._writer.drain()


class Server:
    """All doors, and the record."""

    def __init__(self, record: Path, certificate: Path) -> None:
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._doors: dict[int, Door] = {}
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)

    async def keep(self, content: bytes, recipients: list[str]) -> None:
        """Put a message on record: whose it is, and enough to see whether it is as it was."""
        found, ours = _ID.search(content), _OURS.match(content)
        as_sent = content[ours.end() :] if ours else content
        line = {
            "id": found[1].decode() if found else "",
            "to": recipients,
            "relay_id": ours[1].decode() if ours else "",
            "sha": hashlib.sha256(as_sent).hexdigest(),
            "tracked": b"/o/" in as_sent,
        }
        os.write(self._record, json.dumps(line).encode() + b"\n")

    async def listen(self, port: int) -> None:
        """Open a door."""
        door = self._doors[port] = Door()

        async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Session(self, door, reader, writer).run()

        await asyncio.start_server(session, "127.0.0.1", port, limit=LIMIT, reuse_address=True, backlog=500)

    def obey(self, order: dict[str, Any]) -> int:
        """Do as ordered: ``faults`` of a port from now on, ``say`` out of nothing, ``hang_up`` on everybody.

        Returns how often something has gone wrong at that port so far.
        """
        door = self._doors[order["port"]]
        door.faults = order.get("faults", door.faults)
        for writer in list(door.writers):
            if "say" in order:
                writer.write(order["say"].encode() + b"\r\n")
            if order.get("hang_up"):
                writer.close()
        return door.struck


async def main(record: Path, certificate: Path, ports: list[int]) -> None:
    """Listen, and take orders until standard input ends."""
    server = Server(record, certificate)
    for port in ports:
        await server.listen(port)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print(0, flush=True)
    while line := await orders.readline():
        print(server.obey(json.loads(line)), flush=True)


if __name__ == "__main__":
    # asyncio warns of every connection that ends after STARTTLS.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
