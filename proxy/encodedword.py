"""Encoded words of the subject (RFC 2047): read it, and take a tag off its start, without touching the rest."""

import base64
import binascii
import re

from proxy.header import Field
from proxy.transfer import Edit

_WORD = re.compile(r"=\?([!-~]+?)\?([bBqQ])\?([!->@-~]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?[!-~]+?\?[bBqQ]\?[!->@-~]*\?=)")


def decode_words(value: str) -> str:
    """Return an unstructured field value with its encoded words decoded; what cannot be decoded stays as it is."""
    if "=?" not in value:
        return value
    return _WORD.sub(lambda match: _decoded(match) if _decoded(match) is not None else match[0], _joined(value))  # type: ignore[arg-type,return-value]


def _joined(value: str) -> str:
    """White space between two encoded words is not shown (RFC 2047 §6.2)."""
    return _BETWEEN_WORDS.sub(r"\1", value)


def _decoded(match: re.Match[str]) -> str | None:
    charset, encoding, text = match.groups()
    try:
        if encoding in "bB":
            octets = base64.b64decode(text + "=" * (-len(text) % 4))
        else:
            octets = binascii.a2b_qp(text.replace("_", " ").encode("ascii"), header=False)
        return octets.decode(charset.partition("*")[0])
    except (ValueError, LookupError):
        return None


def without_prefix(raw: bytes, field: Field, prefix: re.Pattern[str]) -> Edit | None:
    """Return the edit that removes what ``prefix`` matches at the start of the field's value, or None.

    Where the prefix stands inside an encoded word, that one word is encoded anew in its own charset and encoding, and
    nothing else of the field changes. A prefix that runs past the first word is left alone.
    """
    value = raw[field.value : field.end].decode("utf-8", "surrogateescape")
    lead = len(value) - len(value.lstrip(" \t\r\n"))
    offset = field.value + lead
    match = prefix.match(value, lead)
    if match is not None:
        return offset, field.value + len(value[: match.end()].encode("utf-8", "surrogateescape")), b""
    word = _WORD.match(value, lead)
    text = _decoded(word) if word is not None else None
    if word is None or text is None:
        return None
    match = prefix.match(text)
    if match is None:
        return None
    return offset, offset + len(word[0]), _encoded(text[match.end() :], word[1], word[2]).encode("ascii")


def _encoded(text: str, charset: str, encoding: str) -> str:
    if not text:
        return ""
    octets = text.encode(charset.partition("*")[0])
    if encoding in "bB":
        return f"=?{charset}?{encoding}?{base64.b64encode(octets).decode('ascii')}?="
    letters = "".join(_q(octet) for octet in octets)
    return f"=?{charset}?{encoding}?{letters}?="


def _q(octet: int) -> str:
    """RFC 2047 §4.2, with the characters of §5 (3) only, which are right everywhere."""
    character = chr(octet)
    if character == " ":
        return "_"
    return character if character.isascii() and (character.isalnum() or character in "!*+-/") else f"={octet:02X}"
