"""Content-Transfer-Encoding (RFC 2045 §6): decode a part, and put edits of what it says back into the encoded bytes.

An edit is (start, end, replacement) in decoded bytes. In 7bit and 8bit only the edit changes; in quoted-printable only
the lines with an edit; base64 is written anew in the part's own line width, for there every byte moves.
"""

import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Set
from io import BytesIO

from proxy.header import Unparsable
from proxy.places import Places
from proxy.slices import STEP_BYTES, Walk, at_once, each

Edit = tuple[int, int, bytes]

_COPIED = 1_048_576
"""Bytes copied in one step."""
_PADDED_BYTES = STEP_BYTES // 2
"""Bytes of padded lines that one step looks at."""
MAX_LINE = 998
"""RFC 5322 §2.1.1, without the line break."""


def splice(raw: bytes, edits: Sequence[Edit]) -> bytes:
    """Return ``raw`` with the edits, which are in order and do not overlap, put in. One copy is made."""
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    at = 0
    for start, end, replacement in edits:
        if start < at:
            raise ValueError("edits overlap")
        pieces += (view[at:start], replacement)
        at = end
    pieces.append(view[at:])
    return b"".join(pieces)


def splicing(raw: bytes, edits: Sequence[Edit]) -> Walk[bytes]:
    """Walk to what ``splice`` returns, in steps: the pages of a large copy are new memory, and that takes its time."""
    view, made, at = memoryview(raw), BytesIO(), 0
    for start, end, replacement in (*edits, (len(raw), len(raw), b"")):
        if start < at:
            raise ValueError("edits overlap")
        for here in range(at, start, _COPIED):
            made.write(view[here : min(start, here + _COPIED)])
            yield
        made.write(replacement)
        at = end
    # BytesIO gives its bytes away without another copy.
    return made.getvalue()


def apart(edits: Iterable[Edit]) -> list[Edit]:
    """Return edits in order and apart: one inside another goes with it, and of two of one span the first counts."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit[0], edit[1] > edit[0], -edit[1])):
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


def line_break(content: bytes) -> bytes:
    """Return the line break that the content uses; CRLF where it has none."""
    at = content.find(b"\n")
    return b"\n" if at == 0 or (at > 0 and content[at - 1] != 13) else b"\r\n"


def fits(content: bytes) -> bool:
    """Tell whether no line is longer than ``MAX_LINE``; its CR does not count."""
    start = 0
    while len(content) - start > MAX_LINE:
        # From the start of a line, the end of the last one within reach: a look at every line takes ten times as long.
        end = content.rfind(b"\n", start, start + MAX_LINE + 1)
        if end < 0:
            end = start + MAX_LINE + 1
            if content[end - 1 : end + 1] not in (b"\r\n", b"\r"):
                return False
        start = end + 1
    return True


class Encoded(ABC):
    """One part's content, decoded, and able to take edits."""

    decoded: bytes

    def with_edits(self, edits: Sequence[Edit], eol: bytes) -> bytes:
        """Return the encoded content with the edits in it. ``eol`` is the message's line break."""
        return at_once(self.editing(edits, eol))

    @abstractmethod
    def editing(self, edits: Sequence[Edit], eol: bytes) -> Walk[bytes]:
        """Walk to the encoded content with the edits in it, as ``with_edits`` returns it, in steps."""


class Identity(Encoded):
    """7bit and 8bit: the encoded bytes are the decoded ones."""

    def __init__(self, content: bytes) -> None:
        self.decoded = content

    def editing(self, edits: Sequence[Edit], eol: bytes) -> Walk[bytes]:
        """Walk to the content with the edits put in."""
        yield
        return splice(self.decoded, edits)


class Base64(Encoded):
    """base64 (RFC 2045 §6.8), strictly: no stray characters, padding only at the end."""

    def __init__(self, content: bytes, decoded: bytes) -> None:
        self.decoded = decoded
        self._content = content

    @classmethod
    def decoding(cls, content: bytes) -> Walk["Base64"]:
        """Walk to the content decoded. Raises Unparsable where it is not what it says."""
        letters = content.translate(None, b" \t\r\n")
        if letters.find(b"=", 0, max(0, len(letters) - 2)) != -1:
            raise Unparsable("not base64")
        decoded = []
        for at in range(0, len(letters), 4 * STEP_BYTES):
            yield
            try:
                decoded.append(binascii.a2b_base64(letters[at : at + 4 * STEP_BYTES], strict_mode=True))
            except binascii.Error as error:
                raise Unparsable("not base64") from error
        return cls(content, decoded[0] if len(decoded) == 1 else b"".join(decoded))

    def editing(self, edits: Sequence[Edit], eol: bytes) -> Walk[bytes]:
        """Walk to the content encoded anew, in lines as long as its first one was, and ending as it did."""
        lines = self._content.split(b"\n", 1)
        width = len(lines[0].strip())
        if len(lines) == 1 or width % 4 or not 4 <= width <= 76:
            width = 76
        edited = splice(self.decoded, edits)
        octets, written = width // 4 * 3, list[bytes]()
        step = STEP_BYTES // octets * octets
        for start in range(0, len(edited), step):
            letters = binascii.b2a_base64(edited[start : start + step], newline=False)
            written.append(eol.join([letters[at : at + width] for at in range(0, len(letters), width)]))
            yield
        ending = self._content[len(self._content.rstrip(b" \t\r\n")) :]
        written[-1:] = [b"".join(written[-1:]) + ending]
        yield
        return eol.join(written)


class QuotedPrintable(Encoded):
    """Quoted-printable (RFC 2045 §6.7), strictly: every ``=`` starts an octet or a soft line break."""

    _CHARACTERS = bytes([*b"\t", *range(0x20, 0x7F)])
    # One letter at the front of each, and no repeat where two sets will do: these run over all of every part.
    _BARE_RETURN = re.compile(rb"\r(?!\n)")
    _BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f][0-9A-Fa-f]|\r?\n|[ \t]*+\r?(?:\n|\Z))")
    _PADDING = re.compile(rb"\n(?:(?<=[ \t]\n)|(?<=[ \t]\r\n))")
    _LINE_END_SPACE = re.compile(rb"[ \t](?=\r?\n)")
    _UNUSUAL = re.compile(rb"=(?!\r\n|[2-9A-Fa-f][0-9A-Fa-f])")
    """Anything but a soft line break without padding, and octets that are no controls."""
    _UNUSUAL_END = re.compile(rb"\n(?<![^ \t]\r\n)")

    def __init__(self, content: bytes, unpadded: bytes, decoded: bytes) -> None:
        self._content = content
        self._unpadded = unpadded
        self.decoded = decoded

    @classmethod
    def decoding(cls, content: bytes) -> Walk["QuotedPrintable"]:
        """Walk to the content decoded. Raises Unparsable where it is not what it says."""
        breaks = content.translate(None, cls._CHARACTERS)
        if breaks.strip(b"\r\n"):
            raise Unparsable("not quoted-printable")
        yield
        decoded = yield from cls._usual(content, breaks)
        if decoded is not None:
            return cls(content, content, decoded)
        for fault in (cls._BARE_RETURN, cls._BAD_ESCAPE):
            yield
            if fault.search(content):
                raise Unparsable("not quoted-printable")
        yield
        unpadded = content
        if content[-1:] in (b" ", b"\t", b"=") or cls._PADDING.search(content):
            yield
            unpadded = yield from _unpadding(content)
        yield
        return cls(content, unpadded, binascii.a2b_qp(unpadded))

    @classmethod
    def _usual(cls, content: bytes, breaks: bytes) -> Walk[bytes | None]:
        """Walk to the content decoded, if it is as programs write it; ``breaks`` are its CRs and LFs, in order.

        Where they take turns, no octet is one of them and no soft line break is padded, all other faults and padding
        stand at the ends of lines. Those show in what is decoded, which has far fewer of them.
        """
        if breaks != b"\r\n" * (len(breaks) // 2) or content[-1:] in (b" ", b"\t", b"="):
            return None
        for start in range(0, len(content), STEP_BYTES):
            # What is searched reaches over the end, for what stands behind a sign is looked at too.
            found = cls._UNUSUAL.search(content, start, start + STEP_BYTES + 2)
            if found is not None and found.start() < start + STEP_BYTES:
                return None
            yield
        decoded = binascii.a2b_qp(content)
        yield
        return decoded if cls._UNUSUAL_END.search(decoded) is None else None

    def editing(self, edits: Sequence[Edit], eol: bytes) -> Walk[bytes]:
        """Walk to the content with the lines that an edit touches written anew, and all others as they were."""
        lines = yield from each(self._line_edits(edits, eol))
        if self._unpadded is self._content:
            return splice(self._content, [(first, _line_end(self._content, last), new) for first, last, new in lines])
        # The lines that are not written anew keep their padding.
        padded = yield from self._finding_padded_lines({at for first, last, _ in lines for at in (first, last)})
        return splice(self._content, [(padded[first][0], padded[last][1], new) for first, last, new in lines])

    def _finding_padded_lines(self, wanted: Set[int]) -> Walk[dict[int, tuple[int, int]]]:
        """Walk to the span of each wanted line with its padding, by where the line begins without."""
        found: dict[int, tuple[int, int]] = {}
        start = at = 0
        while at < len(self._content):
            step_end = self._content.find(b"\n", at + _PADDED_BYTES) + 1 or len(self._content)
            for line in self._content[at:step_end].splitlines(keepends=True):
                if start in wanted:
                    found[start] = at, at + len(line)
                start, at = start + len(_LINE_PADDING.sub(b"", line)), at + len(line)
            yield
        # What is appended behind the last line break stands on a line of its own.
        found.setdefault(start, (at, at))
        return found

    def _line_edits(self, edits: Sequence[Edit], eol: bytes) -> Iterator[Edit]:
        """Yield what edits of the decoded bytes amount to: where the first and the last line begin, and both anew."""
        places = Places(self._unpadded, self.decoded)
        first = last = at = -1
        pieces: list[bytes] = []
        for edit_start, edit_end, replacement in edits:
            if edit_start < places.decoded:
                raise ValueError("edits overlap")
            from_ = places.find(edit_start)
            if places.line_start != last:
                if pieces:
                    yield first, last, self._rewritten(pieces, at, last, eol)
                first = at = places.line_start
                pieces = []
            to = places.find(edit_end)
            pieces += [self._unpadded[at:from_], quote(replacement)]
            last, at = places.line_start, max(to, from_)
        if pieces:
            yield first, last, self._rewritten(pieces, at, last, eol)
        if places.left() != len(self.decoded) - places.decoded:
            raise Unparsable("quoted-printable lines do not add up")

    def _rewritten(self, pieces: Sequence[bytes], at: int, last: int, eol: bytes) -> bytes:
        """Return lines anew: the pieces, then what follows them at ``at``, in the line that begins at ``last``."""
        rest = self._unpadded[at : _line_end(self._unpadded, last)]
        characters = _characters(rest)
        text = b"".join([*pieces, rest[:characters]])
        tail = rest[characters:]
        # Decoders drop white space at the end of a line (RFC 2045 §6.7 rule 3). Only edits bring line breaks here, but
        # the white space before one may be the line's own.
        if b"\n" in text:
            text = self._LINE_END_SPACE.sub(lambda found: b"=%02X" % ord(found[0]), text)
        if not tail.startswith(b"=") and text[-1:] in (b" ", b"\t"):
            text = text[:-1] + b"=%02X" % text[-1]
        return wrap(text, eol) + tail


def _line_end(content: bytes, at: int) -> int:
    """Return where the line at the offset ends, behind its line break."""
    return content.find(b"\n", at) + 1 or len(content)


def _characters(line: bytes) -> int:
    """Return how many encoded bytes of a line are its own: what is behind them is ``=`` and the line break."""
    own = line.rstrip(b"\r\n")
    return len(own) - own.endswith(b"=")


_LINE_PADDING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
"""White space at the end of a line, which decoders drop (RFC 2045 §6.7 rule 3). Nothing is tried in the middle of some:
where it is not at the end, that would take quadratic time."""


def _unpadding(content: bytes) -> Walk[bytes]:
    """Walk to the content without the white space at the ends of its lines."""
    pieces, at = list[bytes](), 0
    while at < len(content):
        end = content.find(b"\n", at + _PADDED_BYTES) + 1 or len(content)
        pieces.append(_LINE_PADDING.sub(b"", content[at:end]))
        at = end
        yield
    return b"".join(pieces)


def quote(text: bytes) -> bytes:
    """Return ASCII text as quoted-printable atoms, line breaks as they are; not yet cut into lines."""
    return text.replace(b"=", b"=3D")


def wrap(quoted: bytes, eol: bytes) -> bytes:
    """Return quoted text with soft line breaks put in, so that no line is over 76 characters (RFC 2045 §6.7 rule 5)."""
    return b"\n".join([_wrap_line(line, eol) for line in quoted.split(b"\n")])


def _wrap_line(line: bytes, eol: bytes) -> bytes:
    pieces = []
    at = 0
    while len(line) - at > 75:
        cut = at + 75
        escape = line.rfind(b"=", cut - 2, cut)
        if escape != -1:
            cut = escape
        pieces.append(line[at:cut])
        at = cut
    pieces.append(line[at:])
    return (b"=" + eol).join(pieces)


def quoting(decoded: bytes, eol: bytes) -> Walk[bytes]:
    """Walk to text as quoted-printable throughout, for a part whose lines have become too long for 7bit or 8bit.

    Only ``eol`` is a line break; any other CR or LF is an octet like the rest, or it would come out as a line break.
    """
    written: list[bytes] = []
    done = 0
    for line in decoded.split(eol):
        # A long line goes in pieces; each of them ends where a soft line break may stand.
        pieces = [line[at : at + STEP_BYTES] for at in range(0, len(line), STEP_BYTES)] or [line]
        soft: list[bytes] = []
        for piece in pieces:
            soft.append(_quoted(piece, eol, whole=len(pieces) == 1))
            done += len(piece)
            if done >= STEP_BYTES:
                done = 0
                yield
        written.append((b"=" + eol).join(soft))
    return eol.join(written)


def _quoted(line: bytes, eol: bytes, *, whole: bool) -> bytes:
    quoted = binascii.b2a_qp(line, istext=False)
    if whole and b"\n" not in line:
        return quoted.replace(b"=\n", b"=" + eol)
    # binascii takes an LF for the end of a line, and makes that one character longer, as it does the last one.
    return _wrap_line(quoted.replace(b"=\r\n", b"").replace(b"=\n", b""), eol)


def decode(content: bytes, encoding: str) -> Encoded:
    """Return the content of a part, decoded and editable. ``encoding`` is in lower case.

    Raises Unparsable for an encoding that is unknown, or that is not what the part says (8-bit bytes in 7bit).
    """
    return at_once(decoding(content, encoding))


def decoding(content: bytes, encoding: str) -> Walk[Encoded]:
    """Walk to the content of a part as ``decode`` does, in steps."""
    if encoding == "quoted-printable":
        return (yield from QuotedPrintable.decoding(content))
    if encoding == "base64":
        return (yield from Base64.decoding(content))
    if encoding == "7bit" and not content.isascii():
        raise Unparsable("8-bit bytes in a 7bit part")
    if encoding not in ("7bit", "8bit"):
        raise Unparsable("unknown transfer encoding")
    return Identity(content)
