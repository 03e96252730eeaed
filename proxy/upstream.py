"""The upstream: the mail server that people already use, and the dialog with it.

aiosmtplib connects, negotiates TLS and EHLO and logs in; MAIL, RCPT, DATA and the body are said by us on its
connection, with parameters built afresh and the body in slices.
"""

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

import aiosmtplib
import structlog
from aiosmtplib.protocol import SMTPProtocol

from policies.address import folded
from policies.glob import address_pattern, matches
from proxy.path import MailParameters
from proxy.reply import Reply, ReplyError, reply
from proxy.wire import with_dots

CONNECT_SECONDS = 30.0
COMMAND_SECONDS = 300.0
"""RFC 5321 §4.5.3.2: five minutes for MAIL and RCPT, two for the answer to DATA, three for a block of data."""
BLOCK_SECONDS = 180.0
FINAL_SECONDS = 600.0
_SLICE = 262_144

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an upstream said it can do, as far as it concerns us. The defaults are what every server can."""

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False


@dataclass(slots=True)
class Route:
    """One upstream, and whose mail goes there."""

    host: str
    port: int
    tls: str
    """``none``, ``starttls`` or ``implicit``."""
    senders: re.Pattern[str] | None
    local_hostname: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    known: Capabilities | None = None
    """What it said when last asked; None before it ever answered."""

    def serves(self, sender: str) -> bool:
        """Tell whether mail of this sender goes here."""
        return matches(self.senders, folded(sender))


DEFAULT_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_TLS = {"smtp": "none", "smtp+starttls": "starttls", "smtps": "implicit"}


def parse_route(
    url: str, senders: list[str], local_hostname: str, username: str | None = None, password: str | None = None
) -> Route:
    """Return the route for an upstream's URL (``smtp://``, ``smtp+starttls://`` or ``smtps://``)."""
    parts = urlsplit(url)
    return Route(
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORTS[parts.scheme],
        tls=_TLS[parts.scheme],
        senders=address_pattern(senders),
        local_hostname=local_hostname,
        username=username,
        password=password,
    )


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    """Certificates are verified, TLS 1.2 is the least; there is no way to switch that off."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class OutcomeUnknown(ReplyError):
    """The upstream went silent after the final dot: it may have the message. Never sent again by us."""


def _away(text: str = "The mail server behind this relay cannot be reached; please try again later") -> ReplyError:
    return ReplyError(reply(451, f"4.4.1 {text}"))


def _lost() -> ReplyError:
    return ReplyError(reply(451, "4.4.2 The connection to the mail server behind this relay was lost"))


class Connection:
    """One connection to an upstream, and where its dialog stands."""

    def __init__(self, client: aiosmtplib.SMTP, capabilities: Capabilities) -> None:
        self._client = client
        self.capabilities = capabilities
        self.used = False
        """Has carried a transaction before: then the upstream may have hung up in the meantime."""

    @classmethod
    async def open(cls, route: Route) -> "Connection":
        """Connect, with TLS and login as the route says. Raises ReplyError with what the client is to hear."""
        client = aiosmtplib.SMTP(
            hostname=route.host,
            port=route.port,
            local_hostname=route.local_hostname,
            use_tls=route.tls == "implicit",
            start_tls=route.tls == "starttls",
            tls_context=_tls_context() if route.tls != "none" else None,
            username=route.username,
            password=route.password,
            timeout=CONNECT_SECONDS,
        )
        try:
            await client.connect()
            await cls._greet(client)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError) as error:
            client.close()
            raise cls._refused(route, error) from error
        connection = cls(client, _capabilities(client))
        route.known = connection.capabilities
        return connection

    @staticmethod
    async def _greet(client: aiosmtplib.SMTP) -> None:
        if client.is_ehlo_or_helo_needed:
            try:
                await client.ehlo()
            except aiosmtplib.SMTPHeloError:
                await client.helo()

    @staticmethod
    def _refused(route: Route, error: Exception) -> ReplyError:
        log.warning("upstream.unreachable", host=route.host, port=route.port, why=f"{type(error).__name__}: {error}")
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            return ReplyError(reply(451, "4.7.0 The mail server behind this relay does not accept its login"))
        if isinstance(error, (ssl.SSLError, aiosmtplib.SMTPNotSupported)) or isinstance(error.__cause__, ssl.SSLError):
            return ReplyError(reply(451, "4.7.5 No secure connection to the mail server behind this relay"))
        return _away()

    @property
    def open_still(self) -> bool:
        """Tell whether the connection is up as far as is known."""
        return self._client.is_connected

    async def _say(self, *words: bytes, seconds: float = COMMAND_SECONDS) -> Reply:
        try:
            answer = await self._client.execute_command(*words, timeout=seconds)
        except (aiosmtplib.SMTPException, OSError) as error:
            self.close()
            raise _lost() from error
        return _reply(answer)

    async def _ask(self, *words: bytes) -> Reply:
        """Say a command and return its answer; one that does not belong there ends the connection."""
        answer = await self._say(*words)
        if answer.code // 100 not in (2, 4, 5) or self._out_of_step:
            self.close()
            return _unexpected(answer)
        return answer

    @property
    def _out_of_step(self) -> bool:
        """Tell whether more was said than was asked: then no later answer could be told from it."""
        protocol = self._client.protocol
        return protocol is not None and bool(protocol._buffer)

    async def mail(self, address: str, parameters: MailParameters) -> Reply:
        """Say MAIL. SIZE is left out: what we send need not be as long as what we were told."""
        self.used = True
        words = [b"MAIL", b"FROM:<" + address.encode("utf-8") + b">"]
        if self.capabilities.eight_bit and parameters.eight_bit:
            words.append(b"BODY=8BITMIME")
        if parameters.smtputf8:
            if not self.capabilities.smtputf8:
                return reply(550, "5.6.7 The mail server behind this relay does not offer SMTPUTF8")
            words.append(b"SMTPUTF8")
        return await self._ask(*words)

    async def rcpt(self, address: str) -> Reply:
        """Say RCPT for one recipient."""
        return await self._ask(b"RCPT", b"TO:<" + address.encode("utf-8") + b">")

    async def reset(self) -> None:
        """Say RSET, after a transaction that ended before its end. Never raises: what does not listen is closed."""
        with suppress(ReplyError):
            if (await self._ask(b"RSET")).positive:
                return
        self.close()

    async def data(self, content: bytes) -> Reply:
        """Say DATA and send a message, in slices, and return the upstream's answer.

        Raises ReplyError when the connection is lost before the final dot, OutcomeUnknown after it.
        """
        answer = await self._say(b"DATA")
        protocol = self._client.protocol
        if answer.code == 354 and protocol is None:
            raise _lost()
        if answer.code != 354 or protocol is None:
            if answer.code < 400:
                # It may take what we say next for a message, or the other way round.
                self.close()
            return answer if answer.code >= 400 else _unexpected(answer)
        # Listening begins before the first byte: an upstream that has heard enough says so in the middle.
        early = _left_over(protocol)
        listening = asyncio.ensure_future(protocol.read_response(timeout=None))
        await asyncio.sleep(0)
        try:
            early = early or await self._send(protocol, content, listening)
            answer = early or await self._final(listening)
            if early is not None or self._out_of_step or answer.code // 100 not in (2, 4, 5):
                self.close()
            if answer.code // 100 in (4, 5) or (answer.positive and early is None):
                return answer
            return _unexpected(answer)
        finally:
            if not listening.done():
                listening.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await listening

    async def _send(
        self, protocol: SMTPProtocol, content: bytes, listening: "asyncio.Future[aiosmtplib.SMTPResponse]"
    ) -> Reply | None:
        """Send the message up to its final dot; return an answer that came too early, or None."""
        try:
            for start in range(0, len(content), _SLICE):
                protocol.write(with_dots(content, start, min(start + _SLICE, len(content))))
                await asyncio.wait_for(protocol._drain_helper(), BLOCK_SECONDS)
                if listening.done():
                    return _reply(listening.result())
            # What has arrived by now was said before the final dot: it is no answer to the message.
            for _ in range(2):
                await asyncio.sleep(0)
            if listening.done():
                return _reply(listening.result())
            protocol.write(b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            self.close()
            if listening.done() and not listening.cancelled() and listening.exception() is None:
                # It refused and hung up: its own reply is what counts.
                return _reply(listening.result())
            raise _lost() from error
        return None

    async def _final(self, listening: "asyncio.Future[aiosmtplib.SMTPResponse]") -> Reply:
        try:
            return _reply(await asyncio.wait_for(asyncio.shield(listening), FINAL_SECONDS))
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            self.close()
            silent = reply(451, "4.4.2 The mail server behind this relay did not confirm; it may have the message")
            raise OutcomeUnknown(silent) from error

    async def quit(self) -> None:
        """Say QUIT and close, without waiting long for an answer."""
        if self.open_still:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await self._client.execute_command(b"QUIT", timeout=5.0)
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _left_over(protocol: SMTPProtocol) -> Reply | None:
    """Return an answer that came together with the one to DATA, before anything was sent; None where there is none."""
    if not protocol._buffer:
        return None
    try:
        answer = protocol._read_response_from_buffer()
    except aiosmtplib.SMTPException:
        answer = None
    return (
        _reply(answer) if answer is not None else reply(451, "4.5.0 The mail server behind this relay is out of step")
    )


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+")


def _reply(answer: aiosmtplib.SMTPResponse) -> Reply:
    """Return an answer as ours; a control character in it could end a line, and begin another, for the client."""
    return Reply(answer.code, tuple(_CONTROLS.sub(" ", line) for line in answer.message.split("\n")))


def _unexpected(answer: Reply) -> Reply:
    log.warning("upstream.unexpected", code=answer.code)
    return reply(451, "4.5.0 The mail server behind this relay gave an answer that does not belong here")


def _capabilities(client: aiosmtplib.SMTP) -> Capabilities:
    size = client.esmtp_extensions.get("size", "") if client.supports_extension("size") else ""
    return Capabilities(
        size=int(size) or None if size.isascii() and size.isdigit() else None,
        eight_bit=client.supports_extension("8bitmime"),
        smtputf8=client.supports_extension("smtputf8"),
    )


@dataclass(slots=True)
class Upstreams:
    """All routes, in order."""

    routes: list[Route]

    def route(self, sender: str) -> Route | None:
        """Return the first route that serves a sender; the null sender's mail goes to the first of all."""
        if not sender:
            return self.routes[0]
        return next((route for route in self.routes if route.serves(sender)), None)

    @property
    def common(self) -> Capabilities:
        """What every route can do, as far as is known: what the client may be offered."""
        known = [route.known or Capabilities() for route in self.routes]
        sizes = [one.size for one in known if one.size is not None]
        return Capabilities(
            size=min(sizes) if sizes else None,
            eight_bit=all(one.eight_bit for one in known),
            smtputf8=all(one.smtputf8 for one in known),
        )

    async def learn(self) -> None:
        """Ask every route once what it can do, so that the first client is offered it. Never raises."""
        await asyncio.gather(*(self._learn(route) for route in self.routes))

    @staticmethod
    async def _learn(route: Route) -> None:
        # An upstream that is away now is asked again by the first message to it; _refused has logged why.
        with suppress(ReplyError, TimeoutError):
            connection = await asyncio.wait_for(Connection.open(route), 3.0)
            await connection.quit()
