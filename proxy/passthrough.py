"""Pass-through: the client's login is checked by, and used at, the upstream of its domain.

The secret is held in memory while the session lasts, for a connection that has to be replaced, and nowhere else.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace

import structlog

from proxy.auth import Login
from proxy.ownership import Ownership
from proxy.pool import Pool, Upstreams
from proxy.reply import Reply, ReplyError, reply
from proxy.route import Route
from proxy.sasl import LOGIN, MECHANISMS, PLAIN, Ask, Credential, encoded
from proxy.upstream import Connection, Lost

LEARN_AGAIN_SECONDS = 60.0
ANSWER_SECONDS = 15.0
"""How long a client may take to answer what its upstream asks. Programs do at once; nobody else has the connection."""
MAX_CHALLENGES = 3
"""Challenges of an upstream beyond those that its mechanism has."""
_MAX_INITIAL = 500
"""Octets of a line up to which the response goes with the command: RFC 5321 §4.5.3.1.4 promises 512."""

log = structlog.get_logger()


class PassThrough:
    """Has upstreams tell who may log in."""

    def __init__(self, upstreams: Upstreams, ownership: Ownership) -> None:
        self._upstreams = upstreams
        self._ownership = ownership

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The ways to log in that every upstream takes which takes any; the usual ones until one was asked."""
        known = [host.known for route in self._upstreams.routes for host in route.hosts]
        if not any(known):
            return (PLAIN, LOGIN)
        taken = [frozenset(one.auth) for one in known if one is not None and one.auth]
        return tuple(name for name in MECHANISMS if taken and all(name in one for one in taken))

    async def keep_learning(self) -> None:
        """Ask the upstreams again and again as long as there is no way to log in. Ends when it is cancelled."""
        while True:
            await asyncio.sleep(LEARN_AGAIN_SECONDS)
            if not self.mechanisms:
                # Who cannot log in has nobody connect, and so we would never hear that they can by now.
                await self._upstreams.learn()

    async def verify(self, credential: Credential, client: str, ask: Ask) -> tuple[Reply, Login | None]:
        """Return the upstream's own answer, and the login with its connection where that is positive.

        Raises ReplyError where the upstream cannot be reached.
        """
        address = self._ownership.address_of(credential.user)
        pool = self._upstreams.pool(address)
        if pool is None:
            return reply(535, "5.7.8 No mail server is set for this login"), None
        login = UpstreamLogin(pool, credential, address, self._ownership)
        try:
            answer = await login.open(ask)
        except ReplyError as error:
            if error.reply.code in (421, 451):
                # RFC 4954 §6: the login could not be checked.
                raise ReplyError(Reply(454, error.reply.lines)) from error
            raise
        if not answer.positive:
            return answer, None
        login.rest()
        return answer, login


class UpstreamLogin:
    """A login at an upstream and its one connection there, which nobody else uses. Gives connections as a pool does."""

    def __init__(self, pool: Pool, credential: Credential, address: str, ownership: Ownership) -> None:
        self.address = address
        # A service login of the same route is not for clients that bring their own.
        self.route: Route = replace(pool.route, username=None, password=None)
        self._pool = pool
        self._credential = credential
        self._ownership = ownership
        self._connection: Connection | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._ended = False

    def source(self, sender: str) -> "UpstreamLogin":
        """Return itself: whether the login may send as this sender is for the upstream to say."""
        return self

    def check_author(self, content: bytes) -> None:
        """Raise ReplyError where a message says to be written by somebody else of the organisation."""
        self._ownership.check_author(content, self.address)

    async def open(self, ask: Ask) -> Reply:
        """Connect and log in; return the upstream's answer. Raises ReplyError where it cannot be reached."""
        await self._pool.reserve()
        connection = None
        try:
            connection = await self._pool.open(self.route)
            answer = await _log_in(connection, self._credential, ask)
        except BaseException:
            if connection is not None:
                connection.close()
            self._pool.release()
            raise
        if answer.positive:
            self._connection = connection
        else:
            self._pool.dismiss(connection)
        return answer

    def rest(self) -> None:
        """Have the connection rest until there is a message."""
        if self._connection is not None:
            self._begin_rest(self._connection)

    # Connections, as a pool gives them

    async def take(self, *, fresh: bool = False) -> Connection:
        """Return the login's connection; one that is gone or has had its time is replaced. Raises ReplyError."""
        if self._tidying is not None:
            # Not awaited by itself: a client that goes away must not stop it.
            await asyncio.wait({self._tidying})
        # Not before: it rests once it is tidy, and whatever rests may be ended at any moment.
        self._stop_resting()
        connection = self._connection
        if connection is not None:
            connection.settle(at_rest=False)
            if connection.is_up and not fresh and not self._pool.is_worn(connection):
                return connection
            self._let_go()
        answer = await self.open(_nobody_answers)
        if self._connection is None:
            # A token that has run out, a password that was changed: the client knows what to do when it connects anew.
            log.info("passthrough.login_ended", code=answer.code)
            raise ReplyError(reply(421, "4.7.0 The mail server does not take this login any more"), close=True)
        return self._connection

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for the session's next transaction, after RSET where one was left open."""
        connection.rest()
        if connection is not self._connection:
            return
        if connection.is_clean and connection.is_up:
            self._begin_rest(connection)
        else:
            self._tidying = asyncio.get_running_loop().create_task(self._tidy(connection))

    async def _tidy(self, connection: Connection) -> None:
        try:
            is_tidy = connection.is_up and await connection.reset()
        finally:
            self._tidying = None
        if is_tidy:
            self._begin_rest(connection)
        else:
            self._let_go()

    def _begin_rest(self, connection: Connection) -> None:
        """Keep the connection, but not for a client that has nothing to send: it counts at the upstream."""
        if self._ended:
            self._let_go()
            return
        connection.settle(at_rest=True)
        self._rest = asyncio.get_running_loop().call_later(self.route.limits.idle, self._let_go)
        self._pool.rests(self, self._let_go)
        if connection.transactions:
            # Before its first message it is about to be used: who lost it then would only log in twice.
            self._pool.make_way()

    def _stop_resting(self) -> None:
        self._pool.works(self)
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _let_go(self) -> None:
        """End the connection; the next transaction logs in anew."""
        self._stop_resting()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.settle(at_rest=False)
            self._pool.dismiss(connection)

    def end(self) -> None:
        """End the connection, or have it ended once it is tidied: the session is over."""
        self._ended = True
        if self._tidying is None:
            self._let_go()


async def _nobody_answers(challenge: str) -> bytes:
    """Answer a challenge for a client that is not asked a second time: nothing, as mechanisms do at their end."""
    return b""


async def _log_in(connection: Connection, credential: Credential, ask: Ask) -> Reply:
    """Say AUTH by the client's own mechanism, or one that says the same; return the last answer. Raises ReplyError."""
    mechanism = _mechanism(credential.mechanism, connection.capabilities.auth)
    if mechanism is None:
        return reply(504, "5.5.4 The mail server behind this relay does not offer this way to log in")
    responses = [encoded(one) for one in credential.responses(mechanism)]
    command = f"AUTH {mechanism}"
    if len(responses) == 1 and len(command) + len(responses[0]) < _MAX_INITIAL:
        command = f"{command} {responses.pop()}"
    answer = await connection.exchange(command)
    for _ in range(len(responses) + MAX_CHALLENGES):
        if answer.code != 334:
            return answer
        # What the upstream has to say beyond that is for the client: with XOAUTH2, why it refuses.
        said = responses.pop(0) if responses else encoded(await _asked(ask, answer.lines[-1]))
        answer = await connection.exchange(said)
    with suppress(Lost):
        await connection.exchange("*")
    return reply(454, "4.7.0 The mail server behind this relay does not come to an end")


async def _asked(ask: Ask, challenge: str) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await ask(challenge)
    except TimeoutError:
        raise ReplyError(reply(501, "5.7.0 The login was not brought to its end"), close=True) from None


def _mechanism(wanted: str, offered: tuple[str, ...]) -> str | None:
    """Return how to say a login: PLAIN and LOGIN say the same."""
    alike = [wanted, *(PLAIN, LOGIN)] if wanted in (PLAIN, LOGIN) else [wanted]
    return next((name for name in alike if name in offered), None)
