"""The upstream: a connection to the mail server that people already use, and what is said on it.

aiosmtplib connects, negotiates TLS and EHLO and logs in; MAIL, RCPT, DATA and the body are said by us on its
connection, with parameters built afresh and the body in slices.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import aiosmtplib
import structlog

from proxy.connecting import connected
from proxy.dialog import Dialog
from proxy.path import MailParameters, Recipient
from proxy.reply import Reply, ReplyError, reply
from proxy.route import REST_SECONDS, Capabilities, Host, Route, tls_context
from proxy.wire import with_dots

CONNECT_SECONDS = 30.0
NEXT_HOST_SECONDS = 10.0
"""How long a host may take to answer where there is another one."""
COMMAND_SECONDS = 300.0
"""RFC 5321 §4.5.3.2: five minutes for MAIL and RCPT, two for the answer to DATA, three for a block of data."""
BLOCK_SECONDS = 180.0
FINAL_SECONDS = 600.0
RESET_SECONDS = 30.0
LOGIN_SECONDS = 60.0
QUIT_SECONDS = 5.0
EXIM_MESSAGES = 10
"""What Exim, as it comes, delivers at once of one connection; the rest waits for a queue run, half an hour in Debian
(``smtp_accept_queue_per_connection``)."""
_SLICE = 262_144
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_ADDRESS = re.compile(r"(?<![^\s<>()\"',;:])[^\s<>()\"',;:]+@[^\s<>()\"',;:]+")

_AWAY = reply(451, "4.4.1 The mail server behind this relay cannot be reached; please try again later")

log = structlog.get_logger()


class OutcomeUnknown(ReplyError):
    """The upstream went silent after the final dot: it may have the message. Never sent again by us."""


class Lost(ReplyError):
    """The connection is gone, and so is the transaction that was under way on it."""

    def __init__(self) -> None:
        super().__init__(reply(451, "4.4.2 The connection to the mail server behind this relay was lost"))


class TurnedAway(ReplyError):
    """The upstream lets in no further connection now; those that it has let in go on."""


class Connection:
    """One connection to an upstream, and where its dialog stands."""

    def __init__(self, dialog: Dialog, capabilities: Capabilities, most: float = math.inf) -> None:
        self._dialog = dialog
        self.most = most
        """How many transactions this server should see on it."""
        self.capabilities = capabilities
        self.opened_at = asyncio.get_running_loop().time()
        self.transactions = 0
        """How many were begun."""
        self.has_rested = False
        """It was at rest in between: the upstream may have hung up meanwhile."""
        self.is_clean = True
        """No transaction is open: the next MAIL needs no RSET before it."""
        self._noop: asyncio.Task[None] | None = None
        self._silence = math.inf
        """How long the upstream may be silent before it hears NOOP."""
        self._look: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, route: Route) -> "Connection":
        """Connect to the first host that answers. Raises ReplyError with what the client is to hear."""
        now = asyncio.get_running_loop().time
        hosts = route.hosts_at(now())
        for host in hosts[:-1]:
            try:
                return await cls.reach(route, host, NEXT_HOST_SECONDS)
            except ReplyError as error:
                if isinstance(error.__cause__, aiosmtplib.SMTPAuthenticationError):
                    # The next host knows the same logins; every further try could lock the account.
                    raise
                host.away_until = now() + REST_SECONDS
        return await cls.reach(route, hosts[-1])

    @classmethod
    async def reach(cls, route: Route, host: Host, seconds: float = CONNECT_SECONDS) -> "Connection":
        """Connect to a host, with TLS and login as the route says. Raises ReplyError."""
        client = aiosmtplib.SMTP(
            hostname=host.name,
            local_hostname=route.local_hostname,
            use_tls=host.tls == "implicit",
            start_tls=host.tls == "starttls",
            tls_context=tls_context() if host.tls != "none" else None,
            username=route.username,
            password=route.password,
            timeout=seconds,
        )
        try:
            greeting = await client.connect(sock=await connected(host.name, host.port, seconds))
            await cls._greet(client)
            dialog = cls._taken_over(client)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError) as error:
            client.close()
            raise cls._refused(host, error) from error
        except BaseException:
            client.close()
            raise
        host.known, host.away_until = _capabilities(client), 0.0
        return cls(dialog, host.known, EXIM_MESSAGES if " Exim " in f"{greeting.message} " else math.inf)

    @staticmethod
    async def _greet(client: aiosmtplib.SMTP) -> None:
        if client.is_ehlo_or_helo_needed:
            try:
                await client.ehlo()
            except aiosmtplib.SMTPHeloError as error:
                if error.code == 421:
                    raise
                await client.helo()

    @staticmethod
    def _taken_over(client: aiosmtplib.SMTP) -> Dialog:
        if client.protocol is None or client.transport is None or client.protocol._buffer:
            raise aiosmtplib.SMTPServerDisconnected("The server is gone, or says more than it was asked")
        return Dialog(cast("asyncio.Transport", client.transport))

    @staticmethod
    def _refused(host: Host, error: Exception) -> ReplyError:
        # What it says of a login may name somebody; no address stands in a log.
        why = _ADDRESS.sub("(address)", f"{type(error).__name__}: {error}")
        log.warning("upstream.unreachable", host=host.name, port=host.port, why=why)
        if isinstance(error, aiosmtplib.SMTPResponseException) and error.code == 421:
            return TurnedAway(reply(451, "4.3.2 The mail server behind this relay takes no more connections now"))
        if isinstance(error, aiosmtplib.SMTPServerDisconnected):
            # After 421 it hangs up, and aiosmtplib may have gone on to the next way to log in.
            return TurnedAway(_AWAY)
        # aiosmtplib says nothing more special where STARTTLS is not offered, or no way to log in by a password.
        lacks = str(error) if type(error) is aiosmtplib.SMTPException else ""
        if isinstance(error, aiosmtplib.SMTPAuthenticationError) or "auth" in lacks.lower():
            return ReplyError(reply(451, "4.7.0 The mail server behind this relay does not accept its login"))
        no_tls = host.tls == "starttls" and lacks
        broken = next((one for one in (error, error.__cause__) if isinstance(one, ssl.SSLError)), None)
        if no_tls or broken is not None:
            # Exim says 421 in clear where TLS is expected.
            kind = TurnedAway if broken is not None and broken.reason == "WRONG_VERSION_NUMBER" else ReplyError
            return kind(reply(451, "4.7.5 No secure connection to the mail server behind this relay"))
        return ReplyError(_AWAY)

    @property
    def is_up(self) -> bool:
        """Tell whether the connection is up and in step as far as is known."""
        return self._dialog.is_up

    def on_end(self, ended: Callable[[], None]) -> None:
        """Have ``ended`` called when the connection is gone."""
        self._dialog.ended = ended

    # Commands

    async def _say(self, *commands: bytes, seconds: float = COMMAND_SECONDS) -> list[Reply]:
        """Say commands, all at once, and return their answers. Raises Lost."""
        if self._noop is not None:
            await asyncio.wait({self._noop})  # not the task itself: a client that goes away must not stop it
        try:
            answers = [self._dialog.expect() for _ in commands]
            self._dialog.write(b"".join(commands))
            return await self._dialog.within(seconds, *answers)
        except OSError as error:
            self.close()
            raise Lost from error

    async def _ask(self, *commands: bytes, seconds: float = COMMAND_SECONDS, also: tuple[int, ...] = ()) -> list[Reply]:
        """Say commands and return their answers; one that does not belong there ends the connection.

        ``also`` are codes that belong there beside those that end a command.
        """
        answers = await self._say(*commands, seconds=seconds)
        odd = next((one for one in answers if one.code // 100 not in (2, 4, 5) and one.code not in also), None)
        if odd is not None or not self._dialog.is_in_step:
            self.close()
            return [_unexpected(odd or answers[-1]) for _ in answers]
        if any(one.code == 421 for one in answers):
            # RFC 5321 §3.8: it closes the connection after that.
            self.close()
        return answers

    async def exchange(self, line: str) -> Reply:
        """Say AUTH, or a response, and return the answer: positive is 235, and 334 asks for more. Raises Lost."""
        (answer,) = await self._ask(line.encode("ascii") + b"\r\n", seconds=LOGIN_SECONDS, also=(334,))
        return _unexpected(answer) if answer.positive and answer.code != 235 else answer

    async def begin(self, sender: str, parameters: MailParameters, first: Recipient) -> tuple[Reply, Reply]:
        """Say MAIL and the first RCPT, at once where the upstream offers that; return both answers. Raises Lost.

        Where MAIL is refused, the second answer means nothing.
        """
        self.transactions += 1
        if parameters.smtputf8 and not self.capabilities.smtputf8:
            refusal = reply(550, "5.6.7 The mail server behind this relay does not offer SMTPUTF8")
            return refusal, refusal
        self.is_clean = False
        mail, rcpt = self._mail(sender, parameters), self._rcpt(first)
        if self.capabilities.pipelining:
            answers = await self._ask(mail, rcpt)
        else:
            answers = await self._ask(mail)
            answers += await self._ask(rcpt) if answers[0].positive else answers
        return answers[0], answers[1]

    def _mail(self, sender: str, parameters: MailParameters) -> bytes:
        """Return MAIL. SIZE is left out: what we send need not be as long as what we were told."""
        words = ["MAIL", f"FROM:<{sender}>"]
        if self.capabilities.eight_bit and parameters.eight_bit:
            words.append("BODY=8BITMIME")
        if parameters.smtputf8:
            words.append("SMTPUTF8")
        return _line(words, parameters.dsn if self.capabilities.dsn else ())

    def _rcpt(self, recipient: Recipient) -> bytes:
        return _line(["RCPT", f"TO:<{recipient.address}>"], recipient.dsn if self.capabilities.dsn else ())

    async def rcpt(self, recipient: Recipient) -> Reply:
        """Say RCPT for one more recipient. Raises Lost."""
        (answer,) = await self._ask(self._rcpt(recipient))
        return answer

    async def reset(self) -> bool:
        """Say RSET, after a transaction that ended before its end, and return whether the connection is as new."""
        with suppress(Lost):
            (answer,) = await self._ask(b"RSET\r\n", seconds=RESET_SECONDS)
            self.is_clean = answer.positive
        return self.is_clean and self.is_up

    # Time

    def keep_alive(self, seconds: float) -> None:
        """From now on say NOOP whenever the upstream has been silent for so long: it must not give the client up."""
        self._silence = seconds
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(seconds, self._look_after)

    def _look_after(self) -> None:
        self._look = None
        if math.isinf(self._silence):
            return
        loop = asyncio.get_running_loop()
        left = self._dialog.heard_at + self._silence - loop.time()
        if left <= 0 and self.is_up and not self._dialog.is_waiting:
            self._noop = loop.create_task(self._say_noop())
        self._look = loop.call_later(left if left > 0 else self._silence, self._look_after)

    async def _say_noop(self) -> None:
        try:
            answer = self._dialog.expect()
            self._dialog.write(b"NOOP\r\n")
            (said,) = await self._dialog.within(COMMAND_SECONDS, answer)
            if not said.positive:
                self.close()
        except OSError:
            self.close()
        finally:
            self._noop = None

    def rest(self) -> None:
        """Say no NOOP any more."""
        self._silence = math.inf

    # The message

    async def data(self, content: bytes) -> Reply:
        """Say DATA and send a message, in slices, and return the upstream's answer.

        Raises ReplyError when the connection is lost before the final dot, OutcomeUnknown after it.
        """
        self.rest()
        (answer,) = await self._say(b"DATA\r\n")
        if answer.code != 354:
            if answer.code // 100 not in (4, 5) or answer.code == 421:
                # It may take what we say next for a message, or the other way round.
                self.close()
            return answer if answer.code // 100 in (4, 5) else _unexpected(answer)
        try:
            answer = await self._message(content)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | TimeoutError):
                raise Lost from error
            raise
        # RFC 5321 §4.1.1.4: a message that is refused ends the transaction too. Dovecot's submission service keeps it
        # until RSET, and refuses the next MAIL, of somebody else, for good.
        self.is_clean = answer.positive and self.is_up
        return answer

    async def _message(self, content: bytes) -> Reply:
        # What was said together with the answer to DATA, or comes before the final dot, is no answer to the message.
        early = self._dialog.unasked
        final = self._dialog.expect()
        early = early or await self._send(content, final)
        answer = early or await self._final(final)
        if early is not None or not self.is_up or answer.code // 100 not in (2, 4, 5) or answer.code == 421:
            self.close()
        if answer.code // 100 in (4, 5) or (answer.positive and early is None):
            return answer
        if early is None:
            # It has heard all of it, and nobody can tell what it made of that.
            raise OutcomeUnknown(_unexpected(answer, "; it may have the message"))
        return _unexpected(answer)

    async def _send(self, content: bytes, final: "asyncio.Future[Reply]") -> Reply | None:
        """Send the message up to its final dot; return an answer that came too early, or None."""
        try:
            for start in range(0, len(content) - _SLICE, _SLICE):
                self._dialog.write(with_dots(content, start, start + _SLICE))
                await self._dialog.drain(BLOCK_SECONDS)
                # The loop looks what has come in meanwhile.
                await asyncio.sleep(0)
                if final.done():
                    return final.result()
            # The last slice and the dot in one: a packet less, and the other side wakes up once.
            start = max(0, (len(content) - 1) // _SLICE * _SLICE)
            end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
            self._dialog.write(with_dots(content, start, len(content)) + end)
        except (OSError, TimeoutError):
            self.close()
            if final.done() and final.exception() is None:
                # It refused and hung up: its own reply is what counts.
                return final.result()
            raise
        return None

    async def _final(self, final: "asyncio.Future[Reply]") -> Reply:
        try:
            (answer,) = await self._dialog.within(FINAL_SECONDS, final)
        except OSError as error:
            self.close()
            silent = reply(451, "4.4.2 The mail server behind this relay did not confirm; it may have the message")
            raise OutcomeUnknown(silent) from error
        return answer

    # The end

    async def quit(self) -> None:
        """Say QUIT and close, without waiting long for an answer."""
        self.rest()
        if self.is_up and not self._dialog.is_waiting:
            with suppress(Lost):
                await self._say(b"QUIT\r\n", seconds=QUIT_SECONDS)
        self.close()

    def settle(self, *, at_rest: bool) -> None:
        """Say whether the connection is at rest between two messages: then whatever comes in ends it."""
        self._dialog.expects_nothing = at_rest
        self.has_rested = True

    def close(self) -> None:
        """Close the connection."""
        self.rest()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._dialog.close()


def _line(words: list[str], parameters: tuple[str, ...]) -> bytes:
    """Return a command line. Raises ValueError for a control character, which could end it and begin another."""
    line = " ".join((*words, *parameters)).encode("utf-8")
    if _CONTROLS.search(line):
        raise ValueError("a control character in a command")
    return line + b"\r\n"


def _unexpected(answer: Reply, more: str = "") -> Reply:
    log.warning("upstream.unexpected", code=answer.code)
    return reply(451, f"4.5.0 The mail server behind this relay gave an answer that does not belong here{more}")


def _capabilities(client: aiosmtplib.SMTP) -> Capabilities:
    size = client.esmtp_extensions.get("size", "") if client.supports_extension("size") else ""
    return Capabilities(
        size=int(size) or None if size.isascii() and size.isdigit() and len(size) <= 20 else None,
        eight_bit=client.supports_extension("8bitmime"),
        smtputf8=client.supports_extension("smtputf8"),
        enhanced_codes=client.supports_extension("enhancedstatuscodes"),
        dsn=client.supports_extension("dsn"),
        pipelining=client.supports_extension("pipelining"),
        auth=tuple(method.upper() for method in client.server_auth_methods),
    )
