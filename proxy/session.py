"""One client's session: its commands, transactions and limits (RFC 5321), on aiosmtpd's connection and STARTTLS.

Cut through: the upstream hears MAIL with the first RCPT and each RCPT as the client says it, so that every recipient
gets the upstream's own reply. What aiosmtpd would parse, log or answer by itself is done here instead, for the reasons
in docs/known-issues.md.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog
from aiosmtpd.smtp import TLSSetupException
from prometheus_client import Counter

from policies import Envelope
from proxy.auth import is_local
from proxy.bare import BareSMTP
from proxy.extensions import offered, protocol
from proxy.path import Offer, mail_parameters, parse_path, recipient
from proxy.proxyprotocol import Client
from proxy.reply import Reply, ReplyError, reply
from proxy.sasl import MAX_LINE, response
from proxy.tally import Tally
from proxy.transaction import Transaction
from proxy.wire import ClientGone, Wire

if TYPE_CHECKING:
    from proxy.server import Listener, Server

MAX_COMMAND_LINE = 2_048
"""RFC 5321 §4.5.3.1.4 says 512 and more for extensions; long SMTPUTF8 paths with parameters need it."""
MAX_RECIPIENTS = 1_000
MAX_ERRORS = 20
"""Errors of a client between two messages; then it hears 421."""
MAX_UNPRODUCTIVE = 100
"""Commands between two messages that bring none nearer (NOOP, RSET, VRFY …); then the client hears 421."""

COMMANDS = Tally(Counter("aboveboard_smtp_replies", "Replies to SMTP commands, by code.", ["code"]))

log = structlog.get_logger()


class Session(BareSMTP):
    """One client's session."""

    def __init__(self, server: "Server", listener: "Listener", client: Client | None = None) -> None:
        """Begin a session. ``client`` is whom a balancer speaks for, where one has connected."""
        super().__init__(listener.tls_context if listener.tls == "starttls" else None)
        self._server = server
        self._listener = listener
        self._wire: Wire | None = None
        self._transaction: Transaction | None = None
        self._admission = server.admission(listener)
        self._extended = False
        self._greeted = False
        self._client = client
        self._peer = ""
        self._errors = self._unproductive = 0
        self._idle = False
        self._silent_until = math.inf

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session, or go on with it behind TLS."""
        if self._original_transport is not None:
            super().connection_made(transport)
            return
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport
        peer: object = transport.get_extra_info("peername")
        self._peer = self._client.address if self._client else str(peer[0]) if isinstance(peer, tuple) else ""
        refusal = self._server.enter(self)
        if refusal is not None:
            COMMANDS.count(refusal.code)
            self._writer.write(refusal.wire())
            self.hang_up()
            return
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def connection_lost(self, error: Exception | None) -> None:
        """End the session, unless a delivery is under way: that goes on, and its end is the session's."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if self._original_transport is not None:
            self._original_transport.close()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if self._handler_coroutine is not None and self not in self._server.deliveries:
            self._handler_coroutine.cancel()
        self.transport = None
        self._server.leave(self)

    def eof_received(self) -> bool | None:
        """Let a client that has said all it had to say still hear our answers."""
        self._reader.feed_eof()
        return not self._secure

    @property
    def peer(self) -> str:
        """The client's address; empty where a balancer does not know it."""
        return self._peer

    @property
    def _secure(self) -> bool:
        return self._listener.tls == "implicit" or self._tls_protocol is not None

    def dismiss_if_idle(self) -> None:
        """Say 421 and end, unless the client is in the middle of something (RFC 5321 §3.8)."""
        if self._idle and self._transaction is None and self.transport is not None:
            self._writer.write(_SHUTTING_DOWN.wire())
            self.hang_up()

    def dismiss(self) -> None:
        """End whatever the client is in the middle of, with 421 unless its message is on its way already."""
        if self not in self._server.deliveries and self.transport is not None:
            self._writer.write(_SHUTTING_DOWN.wire())
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection, after what was written to it."""
        if self.transport is not None:
            self.transport.close()

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Begin anew to count the client's silence. The timer itself looks only when the time may be over."""
        seconds = self._server.idle_seconds
        self._silent_until = self.loop.time() + seconds
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(seconds, self._timeout_cb)

    def _rest_timeout(self) -> None:
        """Stop counting the client's silence: while we work, it is waiting for us."""
        self._silent_until = math.inf

    def _timeout_cb(self) -> None:
        left = self._silent_until - self.loop.time()
        if left > 0:
            self._timeout_handle = self.loop.call_later(min(left, self._server.idle_seconds), self._timeout_cb)
            return
        if self.transport is not None:
            self._writer.write(reply(421, "4.4.2 Nothing was heard for too long").wire())
        self.hang_up()

    async def _answer(self, answer: Reply) -> None:
        COMMANDS.count(answer.code)
        self._writer.write(answer.wire())
        await self._writer.drain()

    # The dialog

    async def _handle_client(self) -> None:
        """Answer commands until the client or we have had enough. Replaces aiosmtpd's loop."""
        self._wire = Wire(self._reader, self._reset_timeout)
        try:
            await self._answer(reply(220, f"{self._server.hostname} ESMTP"))
            while self.transport is not None and not self.transport.is_closing():
                if not await self._next_command(self._wire):
                    break
        except (ClientGone, ConnectionError, TLSSetupException):
            log.debug("smtp.client_gone")
        finally:
            self._end_transaction()
            self._admission.end()
            self.hang_up()

    async def _next_command(self, wire: Wire) -> bool:
        """Read and answer one command; return whether the session goes on."""
        if self._server.draining and self._transaction is None:
            await self._answer(_SHUTTING_DOWN)
            return False
        try:
            self._idle = True
            self._reset_timeout()
            limit = MAX_LINE if self._admission.takes_logins else MAX_COMMAND_LINE
            line = await wire.line(limit, normalise=self._listener.normalises)
            self._idle = False
            return await self._command(line)
        except ReplyError as error:
            self._errors += error.reply.code >= 500
            await self._answer(error.reply)
            if error.reply.code == 421 or error.close:
                return False
        except (ClientGone, ConnectionError, TLSSetupException):
            raise
        except Exception:
            # Only the log hears what it was (libraries.md §3.1, edge 11: a text could hold anything).
            log.exception("smtp.command_failed")
            self._end_transaction()
            await self._answer(reply(451, "4.3.0 Something went wrong here; please try again later"))
        if self._errors >= MAX_ERRORS:
            await self._answer(reply(421, "4.7.0 Too many errors"))
            return False
        return True

    async def _command(self, line: bytes) -> bool:
        verb, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
        verb = verb.upper()
        if len(line) > MAX_COMMAND_LINE and verb != "AUTH":
            raise ReplyError(reply(500, "5.5.2 The line is too long"))
        if verb == "PROXY":
            raise ReplyError(reply(502, "5.7.0 The PROXY protocol is not taken from this address"), close=True)
        if verb in ("GET", "POST", "CONNECT", "PUT", "HEAD", "OPTIONS", "DELETE"):
            raise ReplyError(reply(502, "5.7.0 This is not a web server"), close=True)
        command = _COMMANDS.get(verb)
        if command is None:
            raise ReplyError(reply(500, "5.5.1 That is not a command we know"))
        if verb in _UNPRODUCTIVE:
            self._unproductive += 1
            if self._unproductive > MAX_UNPRODUCTIVE:
                raise ReplyError(reply(421, "4.7.0 Too many commands that hand in nothing"))
        if not self._greeted and verb in ("MAIL", "RCPT", "DATA", "STARTTLS", "AUTH"):
            raise ReplyError(reply(503, "5.5.1 Say EHLO first"))
        await command(self, argument.strip(" "))
        return verb != "QUIT"

    async def _helo(self, argument: str) -> None:
        self._greet(argument, extended=False)
        await self._answer(reply(250, self._server.hostname))

    async def _ehlo(self, argument: str) -> None:
        self._greet(argument, extended=True)
        await self._answer(reply(250, self._server.hostname, *self._extensions()))

    def _greet(self, argument: str, *, extended: bool) -> None:
        if not argument:
            raise ReplyError(reply(501, "5.5.4 A host name belongs here"))
        self._end_transaction()
        self._greeted, self._extended = True, extended

    @property
    def _offer(self) -> Offer:
        common = self._server.upstreams.common
        auth = self._admission.takes_logins
        return Offer(extended=self._extended, smtputf8=common.smtputf8, dsn=common.dsn, auth=auth)

    def _extensions(self) -> list[str]:
        words = offered(self._server.upstreams.common, self._server.size_limit)
        if self.tls_context is not None and not self._secure:
            words.append("STARTTLS")
        return words + (self._admission.extensions() if self._is_private else [])

    @property
    def _is_private(self) -> bool:
        """Tell whether a login may travel: behind TLS, or where a listener without it is local."""
        local = self._client.is_private if self._client is not None else is_local(self.transport)
        return self._secure or (self._listener.tls == "none" and local)

    async def _auth(self, argument: str) -> None:
        if self._transaction is not None:
            raise ReplyError(reply(503, "5.5.1 Not in the middle of a transaction"))
        if self._admission.takes_logins and not self._is_private:
            raise ReplyError(reply(538, "5.7.11 Say STARTTLS first: a login does not travel in clear"))
        await self._answer(await self._admission.command(argument, self._peer, self._ask))

    async def _ask(self, challenge: str) -> bytes:
        """Send a challenge of AUTH and return the client's response, decoded."""
        await self._answer(reply(334, challenge))
        if self._wire is None:
            raise ClientGone
        return await response(self._wire, normalise=self._listener.normalises)

    async def _starttls(self, argument: str) -> None:
        if argument:
            raise ReplyError(reply(501, "5.5.4 STARTTLS takes no parameters"))
        if self.tls_context is None or self._secure:
            raise ReplyError(reply(503, "5.5.1 STARTTLS is not offered now"))
        # RFC 3207 §4.2: what was said, and what was sent ahead, before TLS is forgotten.
        self._end_transaction()
        self._greeted = False
        if self._wire is not None:
            self._wire.discard()
        self.session = self._create_session()
        await self.smtp_STARTTLS("")

    async def _mail(self, argument: str) -> None:
        if self._transaction is not None:
            raise ReplyError(reply(503, "5.5.1 A transaction is under way already"))
        if self._admission.takes_logins and not self._is_private:
            # RFC 3207 §4: people whose program is set to no encryption read this.
            raise ReplyError(reply(530, "5.7.0 Say STARTTLS and log in first: set your mail program to STARTTLS"))
        path = parse_path("FROM", argument)
        parameters = mail_parameters(path, self._offer)
        self._server.check_size(parameters.size or 0)
        source = self._admission.source(path.address, self._peer)
        self._transaction = Transaction(source, path.address, parameters)
        await self._answer(reply(250, "2.1.0 OK"))

    async def _rcpt(self, argument: str) -> None:
        transaction = self._transaction
        if transaction is None:
            raise ReplyError(reply(503, "5.5.1 Say MAIL first"))
        said = recipient(parse_path("TO", argument), self._offer, smtputf8=transaction.parameters.smtputf8)
        if len(transaction.recipients) >= MAX_RECIPIENTS:
            raise ReplyError(reply(452, "4.5.3 Too many recipients"))
        await self._pass_on(await transaction.rcpt(said))

    async def _pass_on(self, answer: Reply) -> None:
        """Give the client the upstream's own reply; a 421 ends both connections (RFC 5321 §3.8)."""
        if answer.code == 421:
            raise ReplyError(answer, close=True)
        await self._answer(answer)

    async def _data(self, argument: str) -> None:
        transaction = self._transaction
        if argument:
            raise ReplyError(reply(501, "5.5.4 DATA takes no parameters"))
        if transaction is None or not transaction.recipients or self._wire is None:
            raise ReplyError(reply(503, "5.5.1 No recipient was accepted"))
        await self._answer(reply(354, "End with a dot on a line of its own"))
        with self._server.held() as held:
            try:
                content = await self._wire.content(
                    self._server.size_limit, held.grow, normalise=self._listener.normalises
                )
                if self._admission.login is not None:
                    self._admission.login.check_author(content)
            except BaseException:
                # Nobody has the message: the upstream must not wait for a DATA that will not come.
                self._end_transaction()
                raise
            self._rest_timeout()
            self._transaction = None
            answer = await self._deliver(transaction, content)
        if answer.positive:
            self._errors = self._unproductive = 0
        await self._pass_on(answer)

    async def _deliver(self, transaction: Transaction, content: bytes) -> Reply:
        """Have the message passed on. A client that hangs up now does not stop it."""
        login = self._admission.login
        envelope = Envelope(
            transaction.mail_from,
            transaction.rcpt_to,
            login=login.address if login is not None else None,
            automated=self._listener.automated,
            listener=self._listener.address,
            client=self._peer,
        )
        utf8 = transaction.parameters.smtputf8
        way = protocol(extended=self._extended, utf8=utf8, tls=self._secure, auth=login is not None)
        self._server.deliveries.add(self)
        try:
            return await self._server.relay.deliver(content, envelope, await transaction.connection(), way)
        finally:
            transaction.end()
            self._server.deliveries.discard(self)

    async def _rset(self, argument: str) -> None:
        self._end_transaction()
        await self._answer(reply(250, "2.0.0 OK"))

    async def _noop(self, argument: str) -> None:
        await self._answer(reply(250, "2.0.0 OK"))

    async def _vrfy(self, argument: str) -> None:
        # RFC 5321 §3.5.3: whether the mailbox exists is not told.
        await self._answer(reply(252, "2.1.5 Send a message and see"))

    async def _help(self, argument: str) -> None:
        await self._answer(reply(214, "2.0.0 RFC 5321 is spoken here"))

    async def _not_here(self, argument: str) -> None:
        # EXPN would tell who is on a list; BDAT and TURN were not offered.
        raise ReplyError(reply(502, "5.5.1 That command is not offered here"))

    async def _quit(self, argument: str) -> None:
        await self._answer(reply(221, "2.0.0 Goodbye"))

    def _end_transaction(self) -> None:
        """Forget the transaction, and let the upstream forget it."""
        if self._transaction is not None:
            self._transaction.end()
            self._transaction = None


_UNPRODUCTIVE = frozenset({"NOOP", "RSET", "VRFY", "HELP", "EHLO", "HELO", "EXPN"})

_SHUTTING_DOWN = reply(421, "4.3.2 The service is shutting down; please try again")

_COMMANDS: dict[str, Callable[[Session, str], Awaitable[None]]] = {
    "HELO": Session._helo,
    "EHLO": Session._ehlo,
    "STARTTLS": Session._starttls,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "VRFY": Session._vrfy,
    "HELP": Session._help,
    "QUIT": Session._quit,
    "AUTH": Session._auth,
    **dict.fromkeys(("EXPN", "BDAT", "TURN", "ETRN"), Session._not_here),
}
