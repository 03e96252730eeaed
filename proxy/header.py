"""Header fields as byte spans (RFC 5322 §2.2, RFC 2045 §5): found, never written back.

Everything here is linear in its input and raises ``Unparsable`` instead of guessing: a guess could differ from what the
recipient's mail program reads.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_HEADER_BYTES = 102_400
"""Per header block; Postfix's ``header_size_limit``."""
MAX_FIELDS = 1_000
MAX_PARAMETERS = 1_000

# RFC 5322 §2.2: a name of printable characters, then the value with its folded lines (§2.2.3).
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+(?:\r?\n[ \t][^\r\n]*+)*+)(?:\r?\n|\Z)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(r"\r?\n(?=[ \t])")

_TOKEN = r"[^\x00-\x20()<>@,;:\\\"/\[\]?=\x7f]+"
# ASCII throughout: a token may hold characters above it, and were some of them white space too, the same run could be
# read in quadratically many ways.
_MEDIA_TYPE = re.compile(rf"\s*({_TOKEN})/({_TOKEN})\s*(?=;|\Z)", re.ASCII)
_DISPOSITION = re.compile(rf"\s*({_TOKEN})\s*(?=;|\Z)", re.ASCII)
# A value without quotes is taken up to the next space or semicolon, as mail programs do (boundary=----=_Part_1).
_PARAMETER = re.compile(
    rf";\s*(?:({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;\"]+))\s*)?(?=;|\Z)", re.ASCII | re.DOTALL
)


class Unparsable(Exception):
    """The message cannot be taken apart without guessing; it goes on untouched."""


class TooLarge(Exception):
    """The message, or a part of it, is over a limit; it goes on untouched."""


class Field(NamedTuple):
    """One header field: its lower-case name and its span in the message, line breaks included."""

    name: str
    start: int
    value: int
    end: int

    def text(self, raw: bytes) -> str:
        """Return the unfolded value; bytes that are not UTF-8 come back as surrogates."""
        value = raw[self.value : self.end].decode("utf-8", "surrogateescape").strip(" \t\r\n")
        return _FOLD.sub("", value) if "\n" in value else value


def scan_fields(raw: bytes, start: int, end: int) -> tuple[list[Field], int]:
    """Return the header fields of the entity at ``raw[start:end]`` and the offset where its body begins.

    Raises Unparsable for a line that is neither a field nor its continuation, TooLarge over the limits above.
    """
    header_end, body = _header_end(raw, start, end)
    fields: list[Field] = []
    at = start
    while at < header_end:
        match = _FIELD.match(raw, at, header_end)
        if match is None:
            raise Unparsable(f"no header field at offset {at - start}")
        fields.append(Field(match[1].lower().decode("ascii"), at, match.start(2), match.end()))
        if len(fields) > MAX_FIELDS:
            raise Unparsable("too many header fields")
        at = match.end()
    return fields, body


def _header_end(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the header block ends (behind its last line break) and where the body begins."""
    for blank in (b"\r\n", b"\n"):
        if raw.startswith(blank, start, end):
            return start, start + len(blank)
    match = _BLANK_LINE.search(raw, start, min(end, start + MAX_HEADER_BYTES))
    if match is not None:
        return match.start() + 1, match.end()
    if end - start > MAX_HEADER_BYTES:
        raise TooLarge("header block")
    return end, end


@dataclass(frozen=True, slots=True)
class MediaType:
    """A parsed Content-Type or Content-Disposition value."""

    name: str
    parameters: dict[str, str]


def parse_media_type(value: str) -> MediaType | None:
    """Return the media type and parameters of a Content-Type value (RFC 2045 §5.1), or None where it is not valid.

    A parameter that occurs twice makes it invalid: programs disagree on which of the two counts.
    """
    value = strip_comments(value)
    match = _MEDIA_TYPE.match(value)
    if match is None:
        return None
    parameters = _parameters(value, match.end())
    return None if parameters is None else MediaType(f"{match[1]}/{match[2]}".lower(), parameters)


_TYPE_ALONE = re.compile(rf"\s*({_TOKEN})\s*/\s*({_TOKEN})", re.ASCII)
_NAME_ALONE = re.compile(r"name\*?\d*\*?\s*=\s*\"?([^\";]*)", re.IGNORECASE)


def apparent_type(value: str) -> str:
    """Return what a Content-Type value begins with whose parameters cannot be read; empty where that is no type."""
    match = _TYPE_ALONE.match(strip_comments(value))
    return f"{match[1]}/{match[2]}".lower() if match is not None else ""


def apparent_name(value: str) -> str:
    """Return the file name in a value whose parameters cannot be read, as ``name=Weekly Meeting.ics``; or nothing."""
    match = _NAME_ALONE.search(value)
    return match[1].strip() if match is not None else ""


def parse_disposition(value: str) -> MediaType | None:
    """Return the type and parameters of a Content-Disposition value (RFC 2183), or None where it is not valid."""
    value = strip_comments(value)
    match = _DISPOSITION.match(value)
    if match is None:
        return None
    parameters = _parameters(value, match.end())
    return None if parameters is None else MediaType(match[1].lower(), parameters)


def _parameters(value: str, at: int) -> dict[str, str] | None:
    found: dict[str, str] = {}
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None or len(found) > MAX_PARAMETERS:
            return None
        if match[1] is not None:
            name = match[1].lower()
            if name in found:
                return None
            quoted = match[2]
            found[name] = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else match[3]
        at = match.end()
    return found


def strip_comments(value: str) -> str:
    """Return a structured field value with its comments (RFC 5322 §3.2.2, they nest) replaced by a space.

    What is never closed is no comment: it stays, so that an address in it is not overlooked.
    """
    if "(" not in value:
        return value
    kept: list[str] = []
    depth, opened, quoted, escaped = 0, 0, False, False
    for at, character in enumerate(value):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif quoted:
            quoted = character != '"'
        elif character == "(":
            if not depth:
                opened = at
                kept.append(" ")
            depth += 1
            continue
        elif character == ")" and depth:
            depth -= 1
            continue
        elif character == '"' and not depth:
            quoted = True
        if not depth:
            kept.append(character)
    if depth:
        kept.append(value[opened:])
    return "".join(kept)


_ADDRESS_PIECES = re.compile(r'"(?:[^"\\]|\\.)*+"?|[,;:<>]|[^\s",;:<>]+|\s+', re.DOTALL)


@dataclass(slots=True)
class AddressList:
    """The addresses of one To or Cc field."""

    addresses: list[str]
    group_syntax: bool
    """``name: …;`` occurs (RFC 5322 §3.4), as in ``undisclosed-recipients:;``."""


def parse_address_list(value: str) -> AddressList:
    """Return the addresses of an address list (RFC 5322 §3.4), display names and comments left out.

    Never raises: what cannot be read as an address is kept as it is written, and so counts as one more recipient.
    """
    found = AddressList([], False)
    found.addresses.extend(_mailboxes(strip_comments(value), found))
    return found


def _mailboxes(value: str, found: AddressList) -> Iterator[str]:
    text: list[str] = []
    angle: list[str] | None = None
    closed = ""
    for match in _ADDRESS_PIECES.finditer(value):
        piece = match[0]
        if piece == "<":
            # A second "<" without a comma between: programs disagree, so each of the two counts.
            yield from filter(None, (closed, "".join(angle or ())))
            angle, closed = [], ""
        elif piece == ">" and angle is not None:
            closed, angle = "".join(angle), None
            text = [] if closed else text
        elif angle is not None:
            if piece == ":":
                # RFC 5322 §4.4: an obsolete route, "@a,@b:", ends with a colon.
                angle.clear()
            else:
                angle.append(piece.strip())
        elif piece == ":":
            found.group_syntax, text = True, []
        elif piece in (",", ";"):
            yield from _named(closed, text)
            text, closed = [], ""
        else:
            text.append(piece)
    yield from _named(closed, text)
    yield from filter(None, ("".join(angle or ()),))


def _named(closed: str, text: list[str]) -> Iterator[str]:
    """Yield the address in angle brackets, or else the text; text behind the brackets counts if it has an ``@``."""
    rest = "".join(text).strip()
    if closed:
        yield closed
    if rest and ("@" in rest or not closed):
        yield rest
