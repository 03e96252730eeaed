"""What comes in from the client: command lines, and the content after DATA. Strict about line ends.

One buffer for both, so that nothing is lost between them and everything can be thrown away at once at STARTTLS.
"""

import asyncio
from collections.abc import Callable
from io import BytesIO, IncrementalNewlineDecoder

from proxy.reply import ReplyError, reply

_CHUNK = 262_144
_END = b"\r\n.\r\n"
_MAX_DRAINED = 33_554_432
"""How much of a message that is too large is read to its end, so that the client hears why (RFC 5321 §4.5.3.1.10)."""
_MAX_ENDLESS_LINE = 65_536
"""How long a line may be once the message is too large; longer means that no end is to be expected."""


class ClientGone(Exception):
    """The client closed the connection."""


class Wire:
    """Reads lines and message content from a stream. ``alive`` is called whenever something arrives."""

    def __init__(self, reader: asyncio.StreamReader, alive: Callable[[], None]) -> None:
        self._reader = reader
        self._alive = alive
        self._buffer = bytearray()

    def discard(self) -> None:
        """Throw away what was read ahead: after STARTTLS nothing sent in clear counts (RFC 3207 §4.2)."""
        self._buffer.clear()

    async def _fill(self) -> None:
        chunk = await self._reader.read(_CHUNK)
        if not chunk:
            raise ClientGone
        self._alive()
        self._buffer += chunk

    async def line(self, limit: int) -> bytes:
        """Return the next command line without its CRLF. Raises ReplyError for one that is too long or not strict."""
        searched = 0
        while (at := self._buffer.find(b"\n", searched)) == -1:
            searched = len(self._buffer)
            if searched > limit:
                raise ReplyError(reply(500, "5.5.2 The line is too long"), close=True)
            await self._fill()
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
            # RFC 5321 §2.3.8: only CRLF ends a line. A lone LF or CR is how one server's line becomes another's two.
            raise ReplyError(reply(500, "5.5.2 Lines end with CRLF, and have no other CR, LF or NUL"), close=True)
        if len(line) - 1 > limit:
            raise ReplyError(reply(500, "5.5.2 The line is too long"))
        return line[:-1]

    async def content(self, limit: int) -> bytes:
        """Return the message after DATA, without its dots (RFC 5321 §4.5.2), ending with CRLF unless it is empty.

        Raises ReplyError: 521 at the first bare CR, LF or NUL, 552 for more than ``limit`` octets.
        """
        # BytesIO grows in place and gives its bytes away without a copy: a message of 25 MB is held once, not thrice.
        content = BytesIO()
        # With a line break in front, the end of an empty message looks like every other end.
        held, in_front = b"\r\n", 2
        while True:
            piece = held + self._buffer
            self._buffer.clear()
            at = piece.find(_END)
            end = at + 2 if at != -1 else _safe_end(piece)
            _check_line_ends(piece, at + len(_END) if at != -1 else len(piece) - piece.endswith(b"\r"))
            if end:
                content.write(_without_dots(piece[:end])[in_front:])
                in_front = 0
            if at != -1:
                self._buffer += piece[at + len(_END) :]
                break
            held = piece[end:]
            if content.tell() + len(held) > limit + len(_END):
                content.close()
                await self._drain(held)
                raise ReplyError(reply(552, f"5.3.4 The message is larger than {limit} octets"))
            await self._fill()
        if content.tell() > limit:
            raise ReplyError(reply(552, f"5.3.4 The message is larger than {limit} octets"))
        return content.getvalue()

    async def _drain(self, held: bytes) -> None:
        """Read a message that is too large to its end, keeping nothing of it."""
        tail, drained, line = held, 0, 0
        while (at := tail.find(_END)) == -1:
            line = len(tail) - 1 - tail.rfind(b"\n") if b"\n" in tail else line + len(tail)
            if line >= _MAX_ENDLESS_LINE or drained > _MAX_DRAINED:
                raise ReplyError(reply(552, "5.3.4 The message is too large"), close=True)
            await self._fill()
            drained += len(self._buffer)
            tail = tail[-4:] + bytes(self._buffer)
            self._buffer.clear()
        self._buffer += tail[at + len(_END) :]


def _safe_end(piece: bytes) -> int:
    """Return how much of a piece can be judged without the next one.

    The end of data, or a dot to be taken out, may have begun in what is left: that always begins with a CR.
    """
    at = piece.find(b"\r", max(0, len(piece) - len(_END) + 1))
    return at if at != -1 else len(piece)


def _check_line_ends(piece: bytes, end: int) -> None:
    """Raise ReplyError for a bare CR, a bare LF or a NUL before ``end``: never forwarded, never an end of data."""
    # Counting the three would read everything three times, and CRLF slowly.
    line_ends = IncrementalNewlineDecoder(None, translate=False)
    line_ends.decode(piece[:end].decode("latin-1"), final=True)
    if line_ends.newlines not in (None, "\r\n") or piece.find(b"\0", 0, end) != -1:
        raise ReplyError(
            reply(521, "5.5.2 The message has a bare CR, a bare LF or a NUL (RFC 5321 section 2.3.8)"), close=True
        )


def _without_dots(piece: bytes) -> bytes:
    # replace() counts first, and so reads everything twice.
    return b"\r\n".join(piece.split(b"\r\n."))


def with_dots(content: bytes, start: int, end: int) -> bytes:
    """Return a slice of a message as it goes over the wire: a dot doubled where it begins a line (RFC 5321 §4.5.2)."""
    piece = b"\r\n..".join(content[start:end].split(b"\r\n."))
    if piece.startswith(b".") and (start == 0 or content.endswith(b"\r\n", 0, start)):
        piece = b"." + piece
    elif piece.startswith(b"\n.") and content.endswith(b"\r", 0, start):
        piece = b"\n." + piece[1:]
    return piece
