"""The content after DATA, taken in as it arrives: its end, its dots and its line ends (RFC 5321 §4.5.2, §2.3.8)."""

from io import BytesIO, IncrementalNewlineDecoder

from proxy.reply import ReplyError, reply

END = b"\r\n.\r\n"


class Content:
    """A message being read. ``normalise`` makes a CRLF of every bare CR and LF, which are refused otherwise."""

    def __init__(self, *, normalise: bool = False) -> None:
        # BytesIO grows in place and gives its bytes away without a copy: a message of 25 MB is held once, not thrice.
        self._kept = BytesIO()
        self._normalise = normalise
        # With a line break in front, the end of an empty message looks like every other end.
        self._pending, self._in_front = b"\r\n", 2

    @property
    def size(self) -> int:
        """The octets that have come so far."""
        return self._kept.tell() + len(self._pending) - self._in_front

    def getvalue(self) -> bytes:
        """Return the message, without its dots, ending with CRLF unless it is empty."""
        return self._kept.getvalue()

    def discard(self) -> bytes:
        """Forget the message, and return what must be looked at once more to find its end."""
        self._kept.close()
        return self._pending

    def add(self, arrived: bytearray) -> bytes | None:
        """Take in what has arrived; return what comes behind the end of the message, None while that is still to come.

        Raises ReplyError, 521, at the first NUL and, unless they are normalised, bare CR or LF.
        """
        piece = self._pending + arrived
        at = piece.find(END)
        if self._normalise:
            end = at + 2 if at != -1 else _without_crs(piece, _safe_end(piece))
            _check_nul(piece, end)
        else:
            end = at + 2 if at != -1 else _safe_end(piece)
            _check_line_ends(piece, at + len(END) if at != -1 else len(piece) - piece.endswith(b"\r"))
        if end:
            self._keep(piece[:end])
        self._pending = b"" if at != -1 else piece[end:]
        return piece[at + len(END) :] if at != -1 else None

    def _keep(self, piece: bytes) -> None:
        kept = _without_dots(piece)[self._in_front :]
        self._in_front = 0
        self._kept.write(kept if not self._normalise or _is_strict(kept) else normalised(kept))


def _safe_end(piece: bytes) -> int:
    """Return how much of a piece can be judged without the next one.

    The end of data, or a dot to be taken out, may have begun in what is left: that always begins with a CR.
    """
    at = piece.find(b"\r", max(0, len(piece) - len(END) + 1))
    return at if at != -1 else len(piece)


def _without_crs(piece: bytes, end: int) -> int:
    """Return an end with no CR before it that could belong to an LF behind it (see ``normalised``)."""
    return end - (piece[end - 1 : end] == b"\r") - (piece[max(0, end - 2) : end] == b"\r\r")


def _is_strict(piece: bytes) -> bool:
    """Tell whether a piece has no line end but CRLF."""
    # Counting CR, LF and CRLF would read everything three times, and CRLF slowly.
    line_ends = IncrementalNewlineDecoder(None, translate=False)
    line_ends.decode(piece.decode("latin-1"), final=True)
    return line_ends.newlines in (None, "\r\n")


def normalised(piece: bytes) -> bytes:
    """Return a piece with CRLF for every CRLF, CR CR LF (written as text twice), bare LF and bare CR."""
    with_lf = piece.replace(b"\r\r\n", b"\r\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return with_lf.replace(b"\n", b"\r\n")


def _check_line_ends(piece: bytes, end: int) -> None:
    """Raise ReplyError for a bare CR, a bare LF or a NUL before ``end``: never forwarded, never an end of data."""
    if not _is_strict(piece[:end]) or piece.find(b"\0", 0, end) != -1:
        raise _refused("The message has a bare CR, a bare LF or a NUL")


def _check_nul(piece: bytes, end: int) -> None:
    if piece.find(b"\0", 0, end) != -1:
        raise _refused("The message has a NUL")


def _refused(why: str) -> ReplyError:
    return ReplyError(reply(521, f"5.5.2 {why} (RFC 5321 section 2.3.8)"), close=True, read_on=True)


def _without_dots(piece: bytes) -> bytes:
    # replace() counts first, and so reads everything twice.
    return b"\r\n".join(piece.split(b"\r\n."))
