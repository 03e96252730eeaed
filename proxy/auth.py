"""AUTH: one client's attempts to log in, and who it is then (RFC 4954)."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol

import structlog
from prometheus_client import Counter

from ledger.tally import Tally
from proxy.pool import Pool, Upstreams
from proxy.reply import Reply, ReplyError, reply
from proxy.sasl import Ask, Credential, hear
from proxy.transaction import Source

MAX_TRIES = 3
"""Failed logins on one connection."""
DELAYS = (1.0, 3.0, 5.0)
"""Seconds before a client hears that its first, second, third try failed."""

WRONG = reply(535, "5.7.8 User name or password is wrong")

LOGINS = Tally(Counter("aboveboard_logins", "Attempts to log in, by what became of them.", ["result"]))

log = structlog.get_logger()


def is_local(transport: asyncio.BaseTransport | None) -> bool:
    """Tell whether a connection came to this machine's own loopback address: nobody can listen in."""
    own: object = transport.get_extra_info("sockname") if transport is not None else None
    return isinstance(own, tuple) and ip_address(str(own[0]).partition("%")[0]).is_loopback


def known(pool: Pool | None) -> Pool:
    """Return the pool that was found for a sender. Raises ReplyError where there is none."""
    if pool is None:
        raise ReplyError(reply(550, "5.7.1 No mail server is set for this sender"))
    return pool


class Throttled(ReplyError):
    """Nobody was asked about a login: too many failed before it."""


class Login(Protocol):
    """Somebody who is logged in, for one session."""

    address: str
    """Whose mail it is."""

    def source(self, sender: str) -> Source:
        """Return where connections for mail of a sender come from.

        Raises ReplyError where the login may not send as this sender, or no upstream is set for it.
        """

    def check_author(self, content: bytes) -> None:
        """Raise ReplyError where a message says to be written by somebody else of the organisation."""

    def end(self) -> None:
        """The session is over."""


class Verifier(Protocol):
    """Tells who may log in."""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The ways to log in that are offered."""

    async def verify(self, credential: Credential, client: str, ask: Ask) -> tuple[Reply, Login | None]:
        """Return what the client is to hear, and who it is if it is somebody.

        ``client`` is its IP address, ``ask`` for when there is something more to be said. Raises ReplyError.
        """


class Admission(Protocol):
    """Whether one session may send, and by which upstream."""

    login: Login | None
    takes_logins: bool

    def source(self, sender: str, client: str) -> Source:
        """Return where connections for mail of a sender come from.

        ``client`` is the client's IP address. Raises ReplyError where it may not send, or no upstream is set.
        """

    def extensions(self) -> list[str]:
        """Return what EHLO says of AUTH where logins are taken."""

    async def command(self, argument: str, client: str, ask: Ask) -> Reply:
        """Carry out AUTH and return the answer. Raises ReplyError with the answer where nobody is logged in."""

    def end(self) -> None:
        """The session is over."""


class Trust:
    """Admission by network: nobody logs in."""

    login: Login | None = None
    takes_logins = False

    def __init__(self, upstreams: Upstreams, trusts: Callable[[str], bool]) -> None:
        self._upstreams = upstreams
        self._trusts = trusts

    def source(self, sender: str, client: str) -> Source:
        """Return the pool for mail of a sender. Raises ReplyError for a client in no trusted network."""
        if not self._trusts(client):
            raise ReplyError(reply(550, "5.7.1 Your network address may not send through this relay"))
        return known(self._upstreams.pool(sender))

    def extensions(self) -> list[str]:
        """Return nothing: AUTH is not offered."""
        return []

    async def command(self, argument: str, client: str, ask: Ask) -> Reply:
        """Raise ReplyError: AUTH is not offered."""
        raise ReplyError(reply(502, "5.5.1 That command is not offered here"))

    def end(self) -> None:
        """Nobody was logged in."""


class Authentication:
    """Admission by login: the attempts of one session."""

    takes_logins = True

    def __init__(self, verifier: Verifier) -> None:
        self.login: Login | None = None
        self._verifier = verifier
        self._failures = 0

    def source(self, sender: str, client: str) -> Source:
        """Return where the login's connections come from. Raises ReplyError where nobody is logged in."""
        if self.login is None:
            raise ReplyError(reply(530, "5.7.0 Log in first"))
        return self.login.source(sender)

    def extensions(self) -> list[str]:
        """Return what EHLO says of AUTH: nothing where nobody could log in, or somebody has."""
        mechanisms = self._verifier.mechanisms if self.login is None else ()
        return [" ".join(("AUTH", *mechanisms))] if mechanisms else []

    async def command(self, argument: str, client: str, ask: Ask) -> Reply:
        """Carry out AUTH and return the answer. Raises ReplyError with the answer where nobody is logged in."""
        if self.login is not None:
            raise ReplyError(reply(503, "5.5.1 You are logged in already"))
        if self._failures >= MAX_TRIES:
            LOGINS.count("too_many")
            raise ReplyError(reply(421, "4.7.0 Too many failed logins"), close=True)
        mechanism, _, initial = argument.partition(" ")
        if not mechanism:
            raise ReplyError(reply(501, "5.5.4 Syntax: AUTH mechanism"))
        if mechanism.upper() not in self._verifier.mechanisms:
            raise ReplyError(reply(504, "5.5.4 This way to log in is not offered"))
        credential = await hear(mechanism.upper(), initial.strip(" "), ask)
        try:
            answer, self.login = await self._verifier.verify(credential, client, ask)
        except Throttled as error:
            await self._failed(error.reply, "throttled")
            raise
        if self.login is None:
            await self._failed(answer, "refused" if answer.code >= 500 else "unavailable")
            raise ReplyError(answer, close=answer.code == 421)
        LOGINS.count("accepted")
        return answer

    async def _failed(self, answer: Reply, result: str) -> None:
        """Count a login that failed, and have its client wait for the answer where it may have been guessing."""
        LOGINS.count(result)
        log.info("auth.failed", code=answer.code, result=result)
        if result != "unavailable":
            self._failures += 1
            await asyncio.sleep(DELAYS[self._failures - 1])

    def end(self) -> None:
        """The session is over."""
        if self.login is not None:
            self.login.end()
