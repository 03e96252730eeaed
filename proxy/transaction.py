"""The transaction: what a client said of one message, and the upstream's side of it (RFC 5321 §3.3).

The upstream hears MAIL with the first RCPT and each RCPT as the client says it. Where it hangs up before it has heard
anything of the message, everything it had accepted is said once more on a fresh connection.
"""

from typing import Protocol

import structlog

from proxy.path import MailParameters, Recipient
from proxy.reply import Reply, ReplyError, reply
from proxy.route import Route
from proxy.upstream import Connection, Lost

ENOUGH = (421, 452)
"""What MAIL hears on a connection that has carried all it may: OpenSMTPD says 452 4.5.3, and goes on to listen."""

log = structlog.get_logger()


class Source(Protocol):
    """Where transactions get their connections: a pool, or a login that has one of its own."""

    @property
    def route(self) -> Route:
        """Where the connections lead."""

    async def take(self, *, fresh: bool = False) -> Connection:
        """Return a connection for one transaction; a new one where ``fresh``. Raises ReplyError."""

    def give_back(self, connection: Connection) -> None:
        """Take a connection back, whatever was said on it."""


class Transaction:
    """One mail transaction, from MAIL to the upstream's answer to the message."""

    def __init__(self, source: Source, mail_from: str, parameters: MailParameters) -> None:
        self.mail_from = mail_from
        self.parameters = parameters
        self.recipients: list[Recipient] = []
        """Those that the upstream accepted."""
        self._source = source
        self._connection: Connection | None = None
        self._refusal: Reply | None = None
        """Why it could not begin."""

    @property
    def _is_begun(self) -> bool:
        """Tell whether the upstream has accepted MAIL, as far as is known."""
        return self._connection is not None and self._connection.is_up

    @property
    def rcpt_to(self) -> tuple[str, ...]:
        """The addresses of the recipients that the upstream accepted."""
        return tuple(recipient.address for recipient in self.recipients)

    async def rcpt(self, recipient: Recipient) -> Reply:
        """Have the upstream hear a recipient and return its own answer.

        Raises ReplyError with its answer to MAIL where it refuses that, and where it cannot be reached. Further
        recipients hear the same: a client that sends ahead names them all, and would have to wait for each.
        """
        if self._refusal is not None:
            return self._refusal
        if self.recipients or self._is_begun:
            answer = await (await self.connection()).rcpt(recipient)
        else:
            answer = await self._begin(recipient)
        if answer.positive:
            self.recipients.append(recipient)
        return answer

    async def _begin(self, first: Recipient) -> Reply:
        try:
            mail, rcpt = await self._say_mail(first)
            if not mail.positive:
                raise ReplyError(mail, close=mail.code == 421)
        except BaseException as error:
            self.end()
            # A connection may have been lost because of this one recipient.
            if isinstance(error, ReplyError) and not isinstance(error, Lost):
                self._refusal = error.reply
            raise
        return rcpt

    async def _say_mail(self, first: Recipient) -> tuple[Reply, Reply]:
        connection = await self._take()
        try:
            mail, rcpt = await connection.begin(self.mail_from, self.parameters, first)
        except Lost:
            if not connection.has_rested:
                raise
        else:
            if not connection.has_rested or mail.code not in ENOUGH:
                return mail, rcpt
            connection.most = 0
        # It had hung up, or had enough, while nothing was under way: on a fresh one nothing is said twice.
        connection = await self._take(fresh=True)
        return await connection.begin(self.mail_from, self.parameters, first)

    async def _take(self, *, fresh: bool = False) -> Connection:
        self.end()
        self._connection = await self._source.take(fresh=fresh)
        # However long the client takes from here on, the upstream must not lose its patience.
        self._connection.keep_alive(self._source.route.limits.keep_alive)
        return self._connection

    async def connection(self) -> Connection:
        """Return a connection on which the upstream has accepted MAIL and every recipient.

        Raises ReplyError where it had to be told once more, and now answers differently or not at all.
        """
        if self._connection is not None and self._connection.is_up:
            return self._connection
        log.info("upstream.told_again", recipients=len(self.recipients))
        try:
            return await self._tell_again()
        except BaseException:
            self.end()
            raise

    async def _tell_again(self) -> Connection:
        connection = await self._take(fresh=True)
        mail, first = await connection.begin(self.mail_from, self.parameters, self.recipients[0])
        others = [await connection.rcpt(recipient) for recipient in self.recipients[1:]]
        if not all(answer.positive for answer in (mail, first, *others)):
            different = "4.4.2 The mail server behind this relay now answers differently; please try again later"
            raise ReplyError(reply(451, different))
        return connection

    def end(self) -> None:
        """Give the connection back, whatever was said on it."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._source.give_back(connection)
