"""A mail server for tests: says what it is told to say, and remembers what it heard."""

import asyncio
import base64
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class FakeUpstream:
    """An SMTP server on loopback. ``answers`` maps the beginning of a command to the reply to give instead of 250."""

    extensions: tuple[str, ...] = ("8BITMIME", "SMTPUTF8", "SIZE 50000000")
    answers: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    hang_up_on: str | None = None
    """The connection is cut without an answer when a command begins with this; "." is the final dot."""
    hang_up_once_on: str | None = None
    """The same, the first time only."""
    logins: dict[str, str] = field(default_factory=dict)
    """Passwords, or tokens, by user: what AUTH takes."""
    logged_in: list[str] = field(default_factory=list)
    """Who logged in, by mechanism and user, one for each time."""
    data_delay: float = 0.0
    greeting: str = "220 upstream.test ESMTP"
    mails_per_connection: int = 1_000
    """The next MAIL on a connection hears ``enough``."""
    enough: str = "421 4.7.0 Too many messages on this connection"
    """After 421 it hangs up."""
    most_at_once: int = 1_000
    """A connection more is greeted with 421 and closed."""
    connections: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    """For smtps://, and for STARTTLS where that is among the extensions."""
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    """The connections that are open."""

    async def __aenter__(self) -> "FakeUpstream":
        # Kept to the end, whoever listens there: where an upstream is away, nobody else is to be found at its port.
        self._place = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind((self.host, 0))
        self.port = self._place.getsockname()[1]
        self._server = await asyncio.start_server(
            self._session, self.host, self.port, limit=1 << 20, ssl=None if "STARTTLS" in self.extensions else self.tls
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._place.close()

    async def stop(self) -> None:
        """Take no more connections; whoever tries is refused."""
        self._server.close()

    def count(self, command: str) -> int:
        """Return how often it has heard a command that begins so."""
        return sum(line.startswith(command) for line in self.heard)

    def say(self, words: str) -> None:
        """Say something that nobody asked for, on every connection."""
        for writer in self.writers:
            writer.write(words.encode() + b"\r\n")

    def hang_up(self, words: str = "") -> None:
        """Close every connection, out of nothing or after some words."""
        if words:
            self.say(words)
        for writer in self.writers:
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            # A client that goes away in the middle is what some tests are about.
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._talk(reader, writer)
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.writers) > self.most_at_once:
            await self._say(writer, "421 Too many concurrent SMTP connections; please try again later.")
            return
        await self._say(writer, self.greeting)
        mails = 0
        while not self.greeting.startswith("4"):
            line = (await reader.readuntil(b"\r\n")).decode("utf-8").removesuffix("\r\n")
            line = line[:4].upper() + line[4:]  # Verbs are four letters; smtplib writes them small.
            self.heard.append(line)
            mails += line.startswith("MAIL")
            if self.hang_up_on is not None and line.startswith(self.hang_up_on):
                return
            if self.hang_up_once_on is not None and line.startswith(self.hang_up_once_on):
                self.hang_up_once_on = None
                return
            if line.startswith("EHLO") and self._answer(line) is None:
                lines = ["upstream.test", *self.extensions]
                for at, text in enumerate(lines):
                    await self._say(writer, f"250{'-' if at < len(lines) - 1 else ' '}{text}")
            elif line.startswith("AUTH ") and self._answer("AUTH") is None:
                await self._auth(reader, writer, line)
            elif line == "STARTTLS" and self.tls is not None:
                await self._say(writer, "220 2.0.0 go on")
                await writer.start_tls(self.tls)
            elif line.startswith("MAIL") and mails > self.mails_per_connection:
                await self._say(writer, self.enough)
                if self.enough.startswith("421"):
                    return
            elif line == "DATA" and self._answer("DATA") is None:
                if not await self._message(reader, writer):
                    return
            else:
                await self._say(writer, self._answer(line) or ("221 2.0.0 bye" if line == "QUIT" else "250 2.0.0 Ok"))
            if line == "QUIT":
                return

    async def _auth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str) -> None:
        _, mechanism, *initial = line.split(" ")
        said = [base64.b64decode(one) for one in initial]
        while len(said) < (2 if mechanism == "LOGIN" else 1):
            await self._say(writer, f"334 {base64.b64encode(b'Username:' if not said else b'Password:').decode()}")
            said.append(base64.b64decode((await reader.readuntil(b"\r\n")).strip()))
        user, secret = _credential(mechanism, said)
        if self.logins.get(user) == secret:
            self.logged_in.append(f"{mechanism} {user}")
            await self._say(writer, "235 2.7.0 Welcome")
            return
        if mechanism == "XOAUTH2":
            await self._say(writer, "334 eyJzdGF0dXMiOiI0MDAifQ==")
            self.heard.append((await reader.readuntil(b"\r\n")).decode().removesuffix("\r\n"))
        await self._say(writer, "535 5.7.8 Upstream says no")

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await self._say(writer, "354 go on")
        content = b""
        while (line := await reader.readuntil(b"\n")) != b".\r\n":
            content += line[1:] if line.startswith(b".") else line
        if self.hang_up_on == ".":
            return False
        await asyncio.sleep(self.data_delay)
        answer = self._answer(".") or "250 2.0.0 Ok: queued as 4XYZ"
        if answer.startswith("2"):
            self.messages.append(content)
        await self._say(writer, answer)
        return True

    def _answer(self, line: str) -> str | None:
        return next((answer for beginning, answer in self.answers.items() if line.startswith(beginning)), None)

    @staticmethod
    async def _say(writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(text.replace("\\n", "\r\n").encode() + b"\r\n")
        await writer.drain()


def _credential(mechanism: str, said: list[bytes]) -> tuple[str, str]:
    """Return user and password, or token, of what was said to log in."""
    if mechanism == "LOGIN":
        return said[0].decode(), said[1].decode()
    if mechanism == "PLAIN":
        _, user, secret = said[0].decode().split("\0")
        return user, secret
    match = re.fullmatch("user=(.*)\x01auth=Bearer (.*)\x01\x01", said[0].decode())
    return (match[1], match[2]) if match is not None else ("", "")
