"""Content-Transfer-Encoding (RFC 2045 §6): decode a part, and put edits of what it says back into the encoded bytes.

An edit is (start, end, replacement) in decoded bytes. In 7bit and 8bit only the edit changes; in quoted-printable only
the lines with an edit; base64 is written anew in the part's own line width, for there every byte moves.
"""

import binascii
import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from proxy.header import Unparsable

Edit = tuple[int, int, bytes]

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


def line_break(content: bytes) -> bytes:
    """Return the line break that the content uses; CRLF where it has none."""
    at = content.find(b"\n")
    return b"\n" if at == 0 or (at > 0 and content[at - 1] != 13) else b"\r\n"


class Encoded(ABC):
    """One part's content, decoded, and able to take edits."""

    decoded: bytes

    @abstractmethod
    def with_edits(self, edits: Sequence[Edit], eol: bytes) -> bytes:
        """Return the encoded content with the edits in it. ``eol`` is the message's line break."""


class Identity(Encoded):
    """7bit and 8bit: the encoded bytes are the decoded ones."""

    def __init__(self, content: bytes) -> None:
        self.decoded = content

    def with_edits(self, edits: Sequence[Edit], eol: bytes) -> bytes:
        """Return the content with the edits put in."""
        return splice(self.decoded, edits)


class Base64(Encoded):
    """base64 (RFC 2045 §6.8), strictly: no stray characters, padding only at the end."""

    _VALID = re.compile(rb"[A-Za-z0-9+/]*+={0,2}")

    def __init__(self, content: bytes) -> None:
        letters = content.translate(None, b" \t\r\n")
        if len(letters) % 4 or not self._VALID.fullmatch(letters):
            raise Unparsable("not base64")
        self.decoded = binascii.a2b_base64(letters)
        self._content = content

    def with_edits(self, edits: Sequence[Edit], eol: bytes) -> bytes:
        """Return the content encoded anew, in lines as long as its first one was, and ending as it did."""
        lines = self._content.split(b"\n", 1)
        width = len(lines[0].strip())
        if len(lines) == 1 or width % 4 or not 4 <= width <= 76:
            width = 76
        letters = binascii.b2a_base64(splice(self.decoded, edits), newline=False)
        body = eol.join(letters[at : at + width] for at in range(0, len(letters), width))
        ending = self._content[len(self._content.rstrip(b" \t\r\n")) :]
        return body + ending


class QuotedPrintable(Encoded):
    """Quoted-printable (RFC 2045 §6.7), strictly: every ``=`` starts an octet or a soft line break."""

    _ALLOWED = bytes([*b"\t\r\n", *range(0x20, 0x7F)])
    _BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?(?:\n|\Z))")
    _PADDING = (b" \n", b"\t\n", b" \r\n", b"\t\r\n")
    _LINE_END_SPACE = re.compile(rb"[ \t](?=\r?\n)")

    def __init__(self, content: bytes) -> None:
        if content.translate(None, self._ALLOWED) or content.count(b"\r") != content.count(b"\r\n"):
            raise Unparsable("not quoted-printable")
        if self._BAD_ESCAPE.search(content):
            raise Unparsable("not quoted-printable")
        self._content = content
        self._padded = content[-1:] in (b" ", b"\t", b"=") or any(padding in content for padding in self._PADDING)
        bare = b"".join(map(_bare, content.splitlines(keepends=True))) if self._padded else content
        self.decoded = binascii.a2b_qp(bare)

    def with_edits(self, edits: Sequence[Edit], eol: bytes) -> bytes:
        """Return the content with the lines that an edit touches written anew, and all others as they were."""
        table = _Lines(self._content, padded=self._padded)
        if table.decoded[-1] != len(self.decoded):
            raise Unparsable("quoted-printable lines do not add up")
        groups: list[tuple[int, int, list[Edit]]] = []
        reached = 0
        for edit in edits:
            if edit[0] < reached:
                raise ValueError("edits overlap")
            reached = edit[1]
            first, last = table.line_of(edit[0]), table.line_of(edit[1])
            if groups and first <= groups[-1][1]:
                first, _, together = groups.pop()
                groups.append((first, last, [*together, edit]))
            else:
                groups.append((first, last, [edit]))
        return splice(self._content, [self._rewrite(table, group, eol) for group in groups])

    def _rewrite(self, table: "_Lines", group: tuple[int, int, list[Edit]], eol: bytes) -> Edit:
        first, last, edits = group
        start, end = table.encoded[first], table.encoded[last + 1]
        at, pieces = start, []
        for edit_start, edit_end, replacement in edits:
            from_, to = self._place(table, edit_start), self._place(table, edit_end)
            pieces += [self._content[at:from_], quote(replacement)]
            at = max(to, from_)
        content_end = table.content_end(last)
        pieces.append(self._content[at:content_end])
        # Decoders drop white space at the end of a line (RFC 2045 §6.7 rule 3). Only edits bring line breaks here, but
        # the white space before one may be the line's own.
        text = self._LINE_END_SPACE.sub(lambda found: b"=%02X" % ord(found[0]), b"".join(pieces))
        # A line that is written anew goes without its padding: with it, it could become too long.
        tail = self._content[max(at, content_end) : end].translate(None, b" \t")
        if not tail.startswith(b"=") and text[-1:] in (b" ", b"\t"):
            text = text[:-1] + b"=%02X" % text[-1]
        return start, end, wrap(text, eol) + tail

    def _place(self, table: "_Lines", offset: int) -> int:
        """Return where in the encoded content the decoded offset lies."""
        line = table.line_of(offset)
        # Edits come in order, and one line may hold thousands: the way goes on from the last place in it.
        placed_line, decoded, at = table.placed
        if placed_line != line or decoded > offset:
            decoded, at = table.decoded[line], table.encoded[line]
        rest, end = offset - decoded, table.content_end(line)
        while True:
            escape = self._content.find(b"=", at, end)
            plain = (escape if escape != -1 else end) - at
            if rest <= plain:
                table.placed = line, offset, at + rest
                return at + rest
            # Behind the characters of a line only its line break is left, and padding that decoders drop.
            if escape == -1:
                raise Unparsable("an edit begins or ends inside a line break")
            rest -= plain + 1
            at = escape + 3


def _characters(line: bytes) -> int:
    """Return how many encoded bytes of a line are its own: what is behind them is padding, ``=`` and line break."""
    own = line.rstrip(b"\r\n").rstrip(b" \t")
    return len(own) - own.endswith(b"=")


def _bare(line: bytes) -> bytes:
    """Return a line without the padding and the soft line break that decoders drop (RFC 2045 §6.7 rules 3 and 5)."""
    own = line.rstrip(b"\r\n")
    ending = line[len(own) :]
    own = own.rstrip(b" \t")
    return own[:-1] if own.endswith(b"=") else own + ending


class _Lines:
    """Where every line of quoted-printable begins, in encoded and in decoded bytes."""

    def __init__(self, content: bytes, *, padded: bool) -> None:
        self._lines = content.splitlines(keepends=True)
        if padded:
            lengths = [len(bare) - 2 * bare.count(b"=") for bare in map(_bare, self._lines)]
        else:
            # An escape is two bytes longer than what it means; a soft line break means nothing, and CRLF is one longer.
            lengths = [len(line) - 2 * line.count(b"=") - line.endswith(b"=\r\n") for line in self._lines]
        if not self._lines or content.endswith(b"\n"):
            # What is appended behind the last line break stands on a line of its own.
            self._lines.append(b"")
            lengths.append(0)
        self.encoded = [0, *accumulate(map(len, self._lines))]
        self._content_ends: dict[int, int] = {}
        self.placed = (-1, 0, 0)
        """The last decoded offset that was placed: in which line, which offset, and where."""
        self.decoded = [0, *accumulate(lengths)]

    def line_of(self, offset: int) -> int:
        """Return the line that holds the decoded offset."""
        return min(bisect_right(self.decoded, offset), len(self.decoded) - 1) - 1

    def content_end(self, line: int) -> int:
        """Return the encoded offset where the line's own characters end."""
        if line not in self._content_ends:
            self._content_ends[line] = self.encoded[line] + _characters(self._lines[line])
        return self._content_ends[line]


def quote(text: bytes) -> bytes:
    """Return ASCII text as quoted-printable atoms, line breaks as they are; not yet cut into lines."""
    return text.replace(b"=", b"=3D")


def wrap(quoted: bytes, eol: bytes) -> bytes:
    """Return quoted text with soft line breaks put in, so that no line is over 76 characters (RFC 2045 §6.7 rule 5)."""
    return b"\n".join(_wrap_line(line, eol) for line in quoted.split(b"\n"))


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


def to_quoted_printable(decoded: bytes, eol: bytes) -> bytes:
    """Return text as quoted-printable throughout, for a part whose lines have become too long for 7bit or 8bit.

    Only ``eol`` is a line break; any other CR or LF is an octet like the rest, or it would come out as a line break.
    """
    return eol.join(_quoted(line, eol) for line in decoded.split(eol))


_TO_ESCAPE = re.compile(rb"[^\t -<>-~]|[ \t]\Z")


def _quoted(line: bytes, eol: bytes) -> bytes:
    if b"\n" in line:
        # binascii takes the LF for the end of a line, and makes the one before it too long.
        return _wrap_line(_TO_ESCAPE.sub(lambda found: b"=%02X" % ord(found[0]), line), eol)
    return binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=" + eol)


def decode(content: bytes, encoding: str) -> Encoded:
    """Return the content of a part, decoded and editable. ``encoding`` is in lower case.

    Raises Unparsable for an encoding that is unknown, or that is not what the part says (8-bit bytes in 7bit).
    """
    if encoding == "quoted-printable":
        return QuotedPrintable(content)
    if encoding == "base64":
        return Base64(content)
    if encoding == "7bit" and not content.isascii():
        raise Unparsable("8-bit bytes in a 7bit part")
    if encoding not in ("7bit", "8bit"):
        raise Unparsable("unknown transfer encoding")
    return Identity(content)
