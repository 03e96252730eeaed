"""SASL: what a client says to log in, and how the same is said to an upstream (RFC 4954, RFC 4616, XOAUTH2).

Secrets are bytes that pass through: they are shown by no ``repr``, and no reply, log line or exception holds them.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxy.reply import ReplyError, reply
from proxy.wire import Wire

PLAIN, LOGIN, XOAUTH2 = "PLAIN", "LOGIN", "XOAUTH2"
MECHANISMS = (PLAIN, LOGIN, XOAUTH2)
"""Those that are understood here, in the order in which they are offered."""
MAX_LINE = 12_288
"""Octets of a line with a response in it (RFC 4954 §4); tokens have a few thousand."""
_MAX_USER = 254
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
# As Google and Microsoft describe it: no standard stands behind it.
_XOAUTH2 = re.compile(rb"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01", re.IGNORECASE)

Ask = Callable[[str], Awaitable[bytes]]
"""Sends the client a challenge, in base64 as it goes over the wire, and returns its response, decoded.

Raises ReplyError where the client gives up or says what is no base64.
"""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who a client says it is, and what it says to prove it."""

    mechanism: str
    user: str
    secret: bytes = field(repr=False)
    """A password, or with XOAUTH2 a bearer token."""

    def responses(self, mechanism: str) -> list[bytes]:
        """Return what a client says, one response after the other, to log in by a mechanism."""
        user = self.user.encode("utf-8")
        if mechanism == LOGIN:
            return [user, self.secret]
        if mechanism == PLAIN:
            return [b"\0" + user + b"\0" + self.secret]
        return [b"user=" + user + b"\x01auth=Bearer " + self.secret + b"\x01\x01"]


def encoded(content: bytes) -> str:
    """Return content as it goes over the wire."""
    return base64.b64encode(content).decode("ascii")


def decoded(text: str) -> bytes:
    """Return the content of a response. Raises ReplyError for ``*``, which gives up, and for what is no base64."""
    if text == "*":
        raise ReplyError(reply(501, "5.7.0 The login was given up"))
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        # Not "from": the cause would hold the response.
        raise ReplyError(reply(501, "5.5.2 That is not base64")) from None


async def response(wire: Wire, *, normalise: bool) -> bytes:
    """Return a client's response, decoded; ``normalise`` as for every line. Raises ReplyError."""
    try:
        line = await wire.line(MAX_LINE, normalise=normalise)
    except ReplyError as error:
        raise ReplyError(reply(500, "5.5.6 The line is too long, or not strict"), close=error.close) from None
    return decoded(line.decode("ascii", "replace"))


async def hear(mechanism: str, initial: str, ask: Ask) -> Credential:
    """Return what a client says to log in, beginning with the initial response if there is one. Raises ReplyError."""
    # RFC 4954 §4: "=" is an initial response of no length.
    first = None if not initial else b"" if initial == "=" else decoded(initial)
    if mechanism == LOGIN:
        user = first if first is not None else await ask(encoded(b"Username:"))
        return _credential(LOGIN, user, await ask(encoded(b"Password:")))
    whole = first if first is not None else await ask("")
    return _plain(whole) if mechanism == PLAIN else _xoauth2(whole)


def _plain(whole: bytes) -> Credential:
    """Return what RFC 4616 §2 writes as authorization identity, NUL, authentication identity, NUL, password."""
    parts = whole.split(b"\0")
    if len(parts) != 3:
        raise _malformed()
    acting_for, user, secret = parts
    if acting_for not in (b"", user):
        raise ReplyError(reply(535, "5.7.8 Nobody can act for somebody else here"))
    return _credential(PLAIN, user, secret)


def _xoauth2(whole: bytes) -> Credential:
    match = _XOAUTH2.fullmatch(whole)
    if match is None:
        raise _malformed()
    return _credential(XOAUTH2, match[1], match[2])


def _credential(mechanism: str, user: bytes, secret: bytes) -> Credential:
    try:
        name = user.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed() from None
    if not name or len(user) > _MAX_USER or _CONTROLS.search(name) or not secret or b"\0" in secret:
        raise _malformed()
    return Credential(mechanism, name, secret)


def _malformed() -> ReplyError:
    return ReplyError(reply(501, "5.5.2 That is no response to this challenge"))
