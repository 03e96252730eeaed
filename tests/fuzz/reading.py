"""How the judge reads: with the library's email package and code of its own, never with the engine's."""

import quopri
import re
from email import message_from_bytes
from email.errors import MissingHeaderBodySeparatorDefect
from email.message import Message as Parsed
from html.entities import html5


class Fault(AssertionError):
    """Something that must hold did not."""


def expect(holds: bool, what: str) -> None:
    """Raise Fault where something does not hold."""
    if not holds:
        raise Fault(what)


def parts(raw: bytes) -> list[Parsed]:
    """Return every part of a message, those of forwarded ones too."""
    return list(message_from_bytes(raw).walk())


def shape(raw: bytes) -> list[tuple[str, int]]:
    """Return the type of every part, and how many it holds."""
    return [(part.get_content_type(), len(part.get_payload()) if part.is_multipart() else 0) for part in parts(raw)]


def unread(part: Parsed) -> bool:
    """Tell whether the library missed the header's end: for it a space before a colon is one (RFC 5322 §4.5)."""
    return any(isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in part.defects)


def payload(part: Parsed) -> bytes:
    """Return a leaf's content as it stands in the message."""
    return str(part.get_payload()).encode("utf-8", "surrogateescape")


def decoded(part: Parsed) -> bytes:
    """Return what a leaf says, without its transfer encoding."""
    if encoding(part) == "quoted-printable":
        # The library keeps padding at the very end, which RFC 2045 §6.7 rule 3 tells decoders to drop.
        return quopri.decodestring(re.sub(rb"[ \t]+(?=\r?\n|\Z)", b"", payload(part)))
    found = part.get_payload(decode=True)
    assert isinstance(found, bytes)
    return found


def encoding(part: Parsed) -> str:
    """Return the transfer encoding that a part names."""
    return str(part.get("content-transfer-encoding", "7bit")).strip().lower()


def fields(part: Parsed) -> list[tuple[str, str]]:
    """Return the header of a part, without its transfer encoding."""
    return [(name, str(value)) for name, value in part.raw_items() if name.lower() != "content-transfer-encoding"]


def decoded_attribute(value: str) -> str:
    """Return an attribute value as WHATWG HTML §13.2.5.72 to 80 decodes it, one character after the other."""
    out, at = [], 0
    while at < len(value):
        text, length = _reference(value, at) if value[at] == "&" else (value[at], 1)
        out.append(text)
        at += length
    return "".join(out)


def _reference(value: str, at: int) -> tuple[str, int]:
    if value[at + 1 : at + 2] == "#":
        hexadecimal = value[at + 2 : at + 3] in ("x", "X")
        start = end = at + 2 + hexadecimal
        while end < len(value) and value[end] in ("0123456789abcdefABCDEF" if hexadecimal else "0123456789"):
            end += 1
        if end == start:
            return "&", 1
        digits = value[start:end].lstrip("0") or "0"
        number = 0x110000 if len(digits) > 7 else int(digits, 16 if hexadecimal else 10)
        return _character(number), end + (value[end : end + 1] == ";") - at
    for end in range(min(len(value), at + 40), at + 1, -1):
        name = value[at + 1 : end]
        if name in html5:
            follower = value[end : end + 1]
            if not name.endswith(";") and (follower == "=" or (follower.isascii() and follower.isalnum())):
                return "&", 1
            return html5[name], end - at
    return "&", 1


def _character(number: int) -> str:
    if number == 0 or number > 0x10FFFF or 0xD800 <= number < 0xE000:
        return "\ufffd"
    if 0x80 <= number < 0xA0:
        try:
            return bytes([number]).decode("cp1252")
        except UnicodeDecodeError:
            return chr(number)
    return chr(number)
