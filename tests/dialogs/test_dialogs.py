"""SMTP conversations written as text, played against the socket: they know nothing of the library behind it.

A dialog is a file of lines:

    # a comment; the first one says what must hold
    upstream: BEGINNING => REPLY     the upstream answers commands that begin so with REPLY
    upstream: offers A, B            what the upstream offers at EHLO
    limit: BYTES                     the largest message the relay takes
    networks: A, B                   the trusted networks
    auth: KIND                       who may send, as listeners say it
    tls: KIND                        how the listener encrypts: none, starttls (the default) or implicit
    login: USER SECRET               the upstream takes this login
    account: LOGIN SECRET [SENDER]   the relay has this account, which may send as SENDER too
    alias: LOGIN ADDRESS             this login may also write as this address
    newlines: normalise              bare CR and LF are made CRLF
    c: TEXT                          the client sends TEXT and CRLF
    c| TEXT                          the client sends TEXT as it is, with \\r \\n \\t \\0 \\xNN meaning those bytes
    s: TEXT                          the next reply begins with TEXT
    s+ TEXT                          one line of the last reply is TEXT
    s- TEXT                          no line of the last reply contains TEXT
    s: (closed)                      the server ends the connection
    <<TEXT>>                         in any line: TEXT in base64, where \\0 and \\x01 mean those bytes
    tls                              the connection goes on encrypted
    u: TEXT                          the upstream has heard this line, after the ones named before
    u- TEXT                          the upstream has heard nothing that contains TEXT
    u= COUNT                         the upstream has accepted so many messages
    u| TEXT                          the last accepted message, without our Received line, is exactly TEXT
"""

import asyncio
import base64
import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from ledger import passwords
from ledger.accounts import Account, Password
from ledger.ledger import Ledger
from proxy import auth
from proxy.ownership import parse_alias
from proxy.server import Listener
from tests.relaying import running_relay
from tests.time_enough import give_time
from tests.upstream import FakeUpstream

DIALOGS = sorted(Path(__file__).parent.glob("*.txt"))
SECONDS = 10.0
SETTINGS = ("limit:", "networks:", "newlines:", "auth:", "tls:", "account:", "alias:")


@dataclass
class Client:
    """One side of the conversation, on a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    last: list[str] = field(default_factory=list)

    async def send(self, content: bytes) -> None:
        """Send bytes; a server that has hung up already is no error, the dialog says what it expects."""
        try:
            self.writer.write(content)
            await self.writer.drain()
        except ConnectionError:
            return

    async def reply(self) -> str:
        """Return the last line of the next reply; "(closed)" where the connection ended instead."""
        self.last = []
        while True:
            try:
                line = await asyncio.wait_for(self.reader.readline(), SECONDS)
            except ConnectionError:
                return "(closed)"
            if not line:
                return "(closed)"
            text = line.decode().removesuffix("\r\n")
            self.last.append(text[:3] + " " + text[4:])
            if text[3:4] != "-":
                return self.last[0] if len(self.last) > 1 else self.last[-1]


def unescaped(text: str) -> bytes:
    """Return the bytes that a raw line means."""
    return text.encode().decode("unicode_escape").encode("latin-1")


def in_base64(text: str) -> str:
    """Return a line with what stands in double angle brackets encoded."""
    return re.sub("<<(.*?)>>", lambda match: base64.b64encode(unescaped(match[1])).decode(), text)


@dataclass
class Dialog:
    """A dialog being played."""

    client: Client
    upstream: FakeUpstream
    authority: trustme.CA
    heard: int = 0

    async def play(self, number: int, mark: str, text: str) -> None:
        """Play one line; raises AssertionError with its number where it does not hold."""
        where = f"line {number}: {mark} {text}"
        text = in_base64(text)
        if mark == "c:":
            await self.client.send(text.encode() + b"\r\n")
        elif mark == "c|":
            await self.client.send(unescaped(text))
        elif mark == "s:":
            answer = await self.client.reply()
            assert answer.startswith(text), f"{where}\n got {answer}"
        elif mark == "s+":
            assert any(line[4:] == text for line in self.client.last), f"{where}\n got {self.client.last}"
        elif mark == "s-":
            assert not any(text in line for line in self.client.last), f"{where}\n got {self.client.last}"
        elif mark == "tls":
            await self._encrypt()
        else:
            self._upstream(where, mark, text)

    def _upstream(self, where: str, mark: str, text: str) -> None:
        upstream = self.upstream
        if mark == "u:":
            assert text in upstream.heard[self.heard :], f"{where}\n heard {upstream.heard}"
            self.heard = upstream.heard.index(text, self.heard) + 1
        elif mark == "u-":
            assert not any(text in line for line in upstream.heard), f"{where}\n heard {upstream.heard}"
        elif mark == "u=":
            assert int(text) == len(upstream.messages), where
        elif mark == "u|":
            received, _, rest = upstream.messages[-1].partition(b"\r\n")
            assert received.startswith(b"Received: by relay.test with "), where
            assert unescaped(text) == rest, where
        else:
            raise AssertionError(f"{where}\n is not a line of a dialog")

    async def _encrypt(self) -> None:
        await self.client.writer.start_tls(trusting(self.authority), server_hostname="relay.test")


async def add_account(ledger: Ledger, login: str, secret: str, *senders: str) -> None:
    """Give the relay an account."""
    kept = passwords.hashed(ledger.keyring, secret.encode())
    now = datetime.now(UTC)
    await ledger.add_account(Account(login, senders, now, (Password("", None, kept, now),)))


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return how a client encrypts that trusts an authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def parse(path: Path) -> list[tuple[int, str, str]]:
    """Return the lines of a dialog that say something: number, mark, text."""
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            mark, _, text = line.partition(" ")
            found.append((number, mark, text))
    return found


def set_up(lines: list[tuple[int, str, str]], upstream: FakeUpstream) -> dict[str, str]:
    """Apply the settings at the head of a dialog to the upstream and return those for the relay."""
    settings = {}
    for _, mark, text in lines:
        if mark == "upstream:" and text.startswith("offers"):
            upstream.extensions = tuple(word.strip() for word in text.removeprefix("offers").split(",") if word.strip())
        elif mark == "upstream:":
            beginning, _, answer = text.partition(" => ")
            upstream.answers[beginning] = answer
        elif mark == "login:":
            user, _, secret = text.partition(" ")
            upstream.logins[user] = secret
        elif mark in SETTINGS:
            settings[mark] = text
    return settings


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dialog goes as it is written down."""
    monkeypatch.setattr(auth, "DELAYS", (0.0, 0.0, 0.0))
    give_time(monkeypatch)
    lines = parse(path)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("relay.test").configure_cert(context)
    upstream = FakeUpstream()
    settings = set_up(lines, upstream)
    encryption = settings.get("tls:", "starttls")
    networks = settings.get("networks:", "127.0.0.0/8").replace(" ", "").split(",")
    listener = Listener(
        networks=tuple(map(ipaddress.ip_network, networks)),
        tls=encryption,
        tls_context=context if encryption != "none" else None,
        auth=settings.get("auth:", "networks"),
        normalises="newlines:" in settings,
    )
    limit = int(settings.get("limit:", 10_000_000))
    login, *addresses = settings.get("alias:", "nobody").split()
    async with (
        upstream,
        running_relay(
            tmp_path,
            upstream.port,
            max_message_bytes=limit,
            listener=listener,
            aliases=(parse_alias([login], addresses),),
        ) as running,
    ):
        # What the relay itself asked when it started is no part of the dialog.
        upstream.heard.clear()
        if "account:" in settings:
            await add_account(running.ledger, *settings["account:"].split())
        implicit = trusting(authority) if encryption == "implicit" else None
        name = "relay.test" if implicit is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=implicit, server_hostname=name)
        dialog = Dialog(Client(reader, writer), upstream, authority)
        try:
            for number, mark, text in lines:
                if mark not in ("upstream:", "login:", *SETTINGS):
                    await dialog.play(number, mark, text)
        finally:
            writer.close()
