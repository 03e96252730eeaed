"""What comes in from the client: command lines, and the content after DATA. Strict about line ends.

One buffer for both, so that nothing is lost between them and everything can be thrown away at once at STARTTLS.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from proxy.content import END, Content
from proxy.reply import Reply, ReplyError, reply

SLOW_SECONDS = 600.0
"""How long a message may take that comes at any rate."""
LEAST_RATE = 512
"""Octets a second that one must come at which takes longer: less is nobody's connection, only somebody's patience."""
_READ_AHEAD = 524_288
"""Octets that wait to be read before the client is made to wait."""
_MAX_DRAINED = 33_554_432
"""How much of a message that is too large is read to its end, so that the client hears why (RFC 5321 §4.5.3.1.10)."""
_MAX_ENDLESS_LINE = 65_536
"""How long a line may be once the message is too large; longer means that no end is to be expected."""


class ClientGone(Exception):
    """The client closed the connection."""


class Wire:
    """Gives out lines and message content as they come in. ``alive`` is called when something came that was awaited."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive
        self._buffer = bytearray()
        self._transport: asyncio.ReadTransport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self.at_end = False
        """The client will send nothing more than what is here."""

    def begin(self, transport: asyncio.ReadTransport) -> None:
        """Begin to take in what comes by a transport, and nothing that came by another one before."""
        self.discard()
        self._transport = transport

    def discard(self) -> None:
        """Throw away what was read ahead: after STARTTLS nothing sent in clear counts (RFC 3207 §4.2)."""
        self._buffer.clear()
        self._relieve()

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        self._buffer += data
        if len(self._buffer) > _READ_AHEAD and self._transport is not None and not self._is_paused:
            self._transport.pause_reading()
            self._is_paused = True
        self._wake()

    def feed_eof(self) -> None:
        """Take in that nothing more will come."""
        self.at_end = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _relieve(self) -> None:
        """Let the client go on, once there is room again for what it sends."""
        if self._is_paused and self._transport is not None and len(self._buffer) <= _READ_AHEAD:
            self._is_paused = False
            self._transport.resume_reading()

    async def _fill(self) -> None:
        """Wait until there is more than there was. Raises ClientGone."""
        self._relieve()
        before = len(self._buffer)
        while len(self._buffer) == before:
            if self.at_end:
                raise ClientGone
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._alive()

    async def line(self, limit: int, *, normalise: bool = False) -> bytes:
        """Return the next line, as ``next_line`` does, as soon as it is there."""
        while (line := self.next_line(limit, normalise=normalise)) is None:
            await self._fill()
        return line

    def next_line(self, limit: int, *, normalise: bool = False) -> bytes | None:
        """Return the next line without its CRLF; None while it is not all there.

        Raises ReplyError for one that is too long or not strict. ``normalise`` takes one that ends with LF alone, too.
        """
        at = self._buffer.find(b"\n")
        if at == -1:
            # The first half of its end may be here already.
            if len(self._buffer) - self._buffer.endswith(b"\r") > limit:
                raise ReplyError(_too_long(self._buffer), close=True)
            return None
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        self._relieve()
        if normalise and not line.endswith(b"\r"):
            line += b"\r"
        if line.find(b"\r") != len(line) - 1 or not line or b"\0" in line:
            # RFC 5321 §2.3.8: only CRLF ends a line. A lone LF or CR is how one server's line becomes another's two.
            raise ReplyError(_not_strict(line), close=True)
        if len(line) - 1 > limit:
            raise ReplyError(_too_long(line))
        return line[:-1]

    async def content(self, limit: int, grow: Callable[[int], bool], *, normalise: bool = False) -> bytes:
        """Return the message after DATA, without its dots (RFC 5321 §4.5.2), ending with CRLF unless it is empty.

        ``grow`` is told how many octets have come and says whether there is room for them. ``normalise`` makes a CRLF
        of every bare CR and LF. Raises ReplyError: 521 at the first NUL or bare CR or LF, 552 for more than ``limit``
        octets, 452 where there is no room, 421 for one that comes too slowly to ever end.
        """
        content, begun = Content(normalise=normalise), monotonic()
        while (rest := content.add(self._buffer)) is None:
            self._buffer.clear()
            refusal = _too_large(limit) if content.size > limit + len(END) else None if grow(content.size) else _FULL
            if refusal is not None:
                await self._drain(content.discard(), refusal, begun)
                raise ReplyError(refusal)
            await self._more(begun, content.size)
        self._buffer[:] = rest
        self._relieve()
        if content.size > limit:
            raise ReplyError(_too_large(limit))
        if not grow(content.size):
            raise ReplyError(_FULL)
        return content.getvalue()

    async def _drain(self, held: bytes, refusal: Reply, begun: float) -> None:
        """Read a message that is refused to its end, keeping nothing of it."""
        tail, drained, line = held, 0, 0
        while (at := tail.find(END)) == -1:
            line = len(tail) - 1 - tail.rfind(b"\n") if b"\n" in tail else line + len(tail)
            if line >= _MAX_ENDLESS_LINE or drained > _MAX_DRAINED:
                raise ReplyError(refusal, close=True)
            await self._more(begun, drained)
            drained += len(self._buffer)
            tail = tail[-4:] + bytes(self._buffer)
            self._buffer.clear()
        self._buffer += tail[at + len(END) :]
        self._relieve()

    async def _more(self, begun: float, size: int) -> None:
        """Wait for more of a message, of which so many octets have come, unless it comes too slowly."""
        if monotonic() - begun > SLOW_SECONDS + size / LEAST_RATE:
            raise ReplyError(reply(421, "4.4.2 The message comes too slowly"), close=True)
        await self._fill()


_FULL = reply(452, "4.3.1 Too much mail is under way here; please try again later")


def _too_long(line: bytes | bytearray) -> Reply:
    # RFC 4954 §6 has a code of its own for AUTH.
    return reply(500, f"{'5.5.6' if line[:5].upper() == b'AUTH ' else '5.5.2'} The line is too long")


def _not_strict(line: bytes) -> Reply:
    # The verb is known where the line itself ends well, and then it is the path of MAIL or RCPT that is not one.
    code = 501 if line.endswith(b"\r") and line[:5].upper() in (b"MAIL ", b"RCPT ") else 500
    return reply(code, "5.5.2 Lines end with CRLF, and have no other CR, LF or NUL")


def _too_large(limit: int) -> Reply:
    return reply(552, f"5.3.4 The message is larger than {limit} octets")


def with_dots(content: bytes, start: int, end: int) -> bytes:
    """Return a slice of a message as it goes over the wire: a dot doubled where it begins a line (RFC 5321 §4.5.2)."""
    piece = b"\r\n..".join(content[start:end].split(b"\r\n."))
    if piece.startswith(b".") and (start == 0 or content.endswith(b"\r\n", 0, start)):
        piece = b"." + piece
    elif piece.startswith(b"\n.") and content.endswith(b"\r", 0, start):
        piece = b"\n." + piece[1:]
    return piece
