"""One client's session: its commands, transactions and limits (RFC 5321), on aiosmtpd's connection and STARTTLS.

Cut through: the upstream hears MAIL with the first RCPT and each RCPT as the client says it, so that every recipient
gets the upstream's own reply. What aiosmtpd would parse, log or answer by itself is done here instead, for the reasons
in docs/known-issues.md.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog
from aiosmtpd.smtp import TLSSetupException
from prometheus_client import Counter

from ledger.tally import Tally
from policies import Envelope
from proxy.auth import is_local
from proxy.bare import BareSMTP
from proxy.extensions import offered, protocol
from proxy.path import Offer, Recipient, mail_parameters, parse_path, recipient
from proxy.proxyprotocol import Client
from proxy.reply import Reply, ReplyError, reply
from proxy.sasl import MAX_LINE, response
from proxy.transaction import Transaction
from proxy.wire import ClientGone

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
        super().__init__(listener.tls_context if listener.tls == "starttls" else None, server.idle_seconds)
        self._server = server
        self._listener = listener
        self._transaction: Transaction | None = None
        self._admission = server.admission(listener)
        self._extended = False
        self._greeted = False
        self._client = client
        self._peer = ""
        self._errors = self._unproductive = 0
        self._work: asyncio.Task[None] | None = None
        """The command that is being carried out, of those that take their time."""

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session, or go on with it behind TLS."""
        super().connection_made(transport)
        if self._original_transport is not None:
            return
        peer: object = transport.get_extra_info("peername")
        self._peer = self._client.address if self._client else str(peer[0]) if isinstance(peer, tuple) else ""
        refusal = self._server.enter(self)
        self._answer(refusal or reply(220, f"{self._server.hostname} ESMTP"))
        if refusal is not None:
            self.hang_up()
        self._reset_timeout()

    def connection_lost(self, error: Exception | None) -> None:
        """End the session, unless a delivery is under way: that goes on, and its end is the session's."""
        super().connection_lost(error)
        if self._work is None:
            self._end()
        elif self not in self._server.deliveries:
            self._work.cancel()
        self._server.leave(self)

    def hang_up(self, *, read_on: bool = False) -> None:
        """Close the connection, after what was written to it, and end the session with it or with its delivery."""
        super().hang_up(read_on=read_on)
        if self._work is None:
            self._end()

    def _end(self) -> None:
        self._end_transaction()
        self._admission.end()

    @property
    def peer(self) -> str:
        """The client's address; empty where a balancer does not know it."""
        return self._peer

    @property
    def _secure(self) -> bool:
        return self._listener.tls == "implicit" or self._tls_protocol is not None

    def dismiss_if_idle(self) -> None:
        """Say 421 and end, unless the client is in the middle of something (RFC 5321 §3.8)."""
        if self._work is None and self._transaction is None:
            self.dismiss()

    def dismiss(self) -> None:
        """End whatever the client is in the middle of, with 421 unless its message is on its way already."""
        if self not in self._server.deliveries:
            self.say(_SHUTTING_DOWN)
        self.hang_up()

    def _answer(self, answer: Reply) -> None:
        COMMANDS.count(answer.code)
        self.say(answer)

    # The dialog

    def go_on(self) -> None:
        """Carry out the commands that have come in, up to one that takes its time."""
        while self._work is None and self.is_open and not self._is_unheard:
            if self._server.draining and self._transaction is None:
                self._close_with(_SHUTTING_DOWN)
                return
            try:
                line = self._wire.next_line(
                    MAX_LINE if self._admission.takes_logins else MAX_COMMAND_LINE, normalise=self._listener.normalises
                )
                if line is None:
                    self._wait()
                    return
                work = self._command(line)
            except Exception as error:  # noqa: BLE001  # the client gets an answer, whatever it is
                self._failed(error)
            else:
                # The client was heard, also if it takes us long to answer.
                self._reset_timeout()
                if work is not None:
                    self._work = self.loop.create_task(work)
                    self._work.add_done_callback(self._finished)

    def _wait(self) -> None:
        """Wait for the next command, if there will be one."""
        self._reset_timeout()
        if self._wire.at_end:
            self.hang_up()

    def _finished(self, work: "asyncio.Task[None]") -> None:
        """Answer what came of a command that took its time, if only that it was cancelled before it began; go on."""
        self._work = None
        self._reset_timeout()
        if not work.cancelled() and (error := work.exception()) is not None:
            self._failed(error)
        if work.cancelled() or not self.is_open:
            self._end()
        self.go_on()

    def _failed(self, error: BaseException) -> None:
        """Answer a command that could not be carried out, and end the session where that is too much."""
        if isinstance(error, ClientGone | ConnectionError | TLSSetupException):
            log.debug("smtp.client_gone")
            self.hang_up()
        elif isinstance(error, ReplyError):
            self._errors += error.reply.code >= 500
            self._answer(error.reply)
            if error.reply.code == 421 or error.close:
                self.hang_up(read_on=error.read_on)
        else:
            # Only the log hears what it was (libraries.md §3.1, edge 11: a text could hold anything).
            log.error("smtp.command_failed", exc_info=error)
            self._end_transaction()
            self._answer(reply(451, "4.3.0 Something went wrong here; please try again later"))
        if self._errors >= MAX_ERRORS and self.is_open:
            self._close_with(reply(421, "4.7.0 Too many errors"))

    def _close_with(self, answer: Reply) -> None:
        self._answer(answer)
        self.hang_up()

    def _command(self, line: bytes) -> Coroutine[Any, Any, None] | None:
        """Carry out a command; return what is left to be done of one that takes its time. Raises ReplyError."""
        verb, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
        verb = verb.upper()
        command = _COMMANDS.get(verb)
        if len(line) > MAX_COMMAND_LINE and verb != "AUTH":
            raise ReplyError(reply(500, "5.5.2 The line is too long"))
        if command is None:
            raise _unknown(verb)
        if verb in _UNPRODUCTIVE:
            self._unproductive += 1
            if self._unproductive > MAX_UNPRODUCTIVE:
                raise ReplyError(reply(421, "4.7.0 Too many commands that hand in nothing"))
        if not self._greeted and verb in _GREETED_ONLY:
            raise ReplyError(reply(503, "5.5.1 Say EHLO first"))
        return command(self, argument.strip(" "))

    def _helo(self, argument: str) -> None:
        self._greet(argument, extended=False)
        self._answer(reply(250, self._server.hostname))

    def _ehlo(self, argument: str) -> None:
        self._greet(argument, extended=True)
        self._answer(reply(250, self._server.hostname, *self._extensions()))

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

    def _auth(self, argument: str) -> Coroutine[Any, Any, None]:
        if self._transaction is not None:
            raise ReplyError(reply(503, "5.5.1 Not in the middle of a transaction"))
        if self._admission.takes_logins and not self._is_private:
            raise ReplyError(reply(538, "5.7.11 Say STARTTLS first: a login does not travel in clear"))
        return self._log_in(argument)

    async def _log_in(self, argument: str) -> None:
        self._answer(await self._admission.command(argument, self._peer, self._ask))

    async def _ask(self, challenge: str) -> bytes:
        """Send a challenge of AUTH and return the client's response, decoded."""
        self._answer(reply(334, challenge))
        return await response(self._wire, normalise=self._listener.normalises)

    def _starttls(self, argument: str) -> Coroutine[Any, Any, None]:
        if argument:
            raise ReplyError(reply(501, "5.5.4 STARTTLS takes no parameters"))
        if self.tls_context is None or self._secure:
            raise ReplyError(reply(503, "5.5.1 STARTTLS is not offered now"))
        # RFC 3207 §4.2: what was said, and what was sent ahead, before TLS is forgotten.
        self._end_transaction()
        self._greeted = False
        self._wire.discard()
        return self.begin_tls()

    def _mail(self, argument: str) -> None:
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
        self._answer(_OK_SENDER)

    def _rcpt(self, argument: str) -> Coroutine[Any, Any, None]:
        transaction = self._transaction
        if transaction is None:
            raise ReplyError(reply(503, "5.5.1 Say MAIL first"))
        said = recipient(parse_path("TO", argument), self._offer, smtputf8=transaction.parameters.smtputf8)
        if len(transaction.recipients) >= MAX_RECIPIENTS:
            raise ReplyError(reply(452, "4.5.3 Too many recipients"))
        return self._say_rcpt(transaction, said)

    async def _say_rcpt(self, transaction: Transaction, said: Recipient) -> None:
        self._pass_on(await transaction.rcpt(said))

    def _pass_on(self, answer: Reply) -> None:
        """Give the client the upstream's own reply; a 421 ends both connections (RFC 5321 §3.8)."""
        if answer.code == 421:
            raise ReplyError(answer, close=True)
        self._answer(answer)

    def _data(self, argument: str) -> Coroutine[Any, Any, None]:
        transaction = self._transaction
        if argument:
            raise ReplyError(reply(501, "5.5.4 DATA takes no parameters"))
        if transaction is None or not transaction.recipients:
            raise ReplyError(reply(503, "5.5.1 No recipient was accepted"))
        self._answer(_GO_AHEAD)
        return self._take_message(transaction)

    async def _take_message(self, transaction: Transaction) -> None:
        """Read the message, have it passed on, and give the client the upstream's answer."""
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
        self._pass_on(answer)

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

    def _rset(self, argument: str) -> None:
        self._end_transaction()
        self._answer(_OK)

    def _noop(self, argument: str) -> None:
        self._answer(_OK)

    def _vrfy(self, argument: str) -> None:
        # RFC 5321 §3.5.3: whether the mailbox exists is not told.
        self._answer(reply(252, "2.1.5 Send a message and see"))

    def _help(self, argument: str) -> None:
        self._answer(reply(214, "2.0.0 RFC 5321 is spoken here"))

    def _not_here(self, argument: str) -> None:
        # EXPN would tell who is on a list; BDAT and TURN were not offered.
        raise ReplyError(reply(502, "5.5.1 That command is not offered here"))

    def _quit(self, argument: str) -> None:
        self._close_with(reply(221, "2.0.0 Goodbye"))

    def _end_transaction(self) -> None:
        """Forget the transaction, and let the upstream forget it."""
        if self._transaction is not None:
            self._transaction.end()
            self._transaction = None


_UNPRODUCTIVE = frozenset({"NOOP", "RSET", "VRFY", "HELP", "EHLO", "HELO", "EXPN"})

_GREETED_ONLY = frozenset({"MAIL", "RCPT", "DATA", "STARTTLS", "AUTH"})
_WEB = frozenset({"GET", "POST", "CONNECT", "PUT", "HEAD", "OPTIONS", "DELETE"})

_OK = reply(250, "2.0.0 OK")
_OK_SENDER = reply(250, "2.1.0 OK")
_GO_AHEAD = reply(354, "End with a dot on a line of its own")
_SHUTTING_DOWN = reply(421, "4.3.2 The service is shutting down; please try again")


def _unknown(verb: str) -> ReplyError:
    if verb == "PROXY":
        return ReplyError(reply(502, "5.7.0 The PROXY protocol is not taken from this address"), close=True)
    if verb in _WEB:
        return ReplyError(reply(502, "5.7.0 This is not a web server"), close=True)
    return ReplyError(reply(500, "5.5.1 That is not a command we know"))


_COMMANDS: dict[str, Callable[[Session, str], Coroutine[Any, Any, None] | None]] = {
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
