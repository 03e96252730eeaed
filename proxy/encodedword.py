"""Encoded words of the subject (RFC 2047): read it, and take a tag off its start, without touching the rest."""

import base64
import binascii
import re

from proxy.charset import codec_name
from proxy.header import Field
from proxy.transfer import Edit

# No "?" in the charset (it is an especial, RFC 2047 §2): one there would make the search quadratic.
_WORD = re.compile(r"=\?([!->@-~]+)\?([bBqQ])\?([!->@-~]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?[!->@-~]+\?[bBqQ]\?[!->@-~]*\?=)")
# Python's codecs that are no charsets of text; decoding long punycode is quadratic besides.
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})


_FOLD = re.compile(r"\r?\n[ \t]+(?=\S)")


def decode_words(value: str) -> str:
    """Return an unstructured field value with its encoded words decoded; what cannot be decoded stays as it is."""
    if "=?" not in value:
        return value
    return _WORD.sub(_shown, _joined(value))


def _shown(match: re.Match[str]) -> str:
    text = _decoded(match)
    return match[0] if text is None else text


def _joined(value: str) -> str:
    """White space between two encoded words is not shown (RFC 2047 §6.2)."""
    return _BETWEEN_WORDS.sub(r"\1", value)


def _decoded(match: re.Match[str]) -> str | None:
    charset, encoding, text = match.groups()
    codec = _codec(charset)
    if codec is None:
        return None
    try:
        if encoding in "bB":
            octets = base64.b64decode(text + "=" * (-len(text) % 4))
        else:
            octets = binascii.a2b_qp(text.replace("_", " ").encode("ascii"), header=False)
        return octets.decode(codec)
    except (ValueError, LookupError):
        return None


def _codec(charset: str) -> str | None:
    """Return the codec of a word; the language behind an asterisk is no part of it (RFC 2231 §5)."""
    name = codec_name(charset.partition("*")[0])
    return None if name is None or name.replace("_", "-") in _NO_CHARSETS else name


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
        # A fold behind it goes too, or a line of white space alone would be left (RFC 5322 §3.2.2).
        fold = _FOLD.match(value, match.end())
        end = fold.end() if fold is not None else match.end()
        return offset, field.value + len(value[:end].encode("utf-8", "surrogateescape")), b""
    word = _WORD.match(value, lead)
    text = _decoded(word) if word is not None else None
    if word is None or text is None:
        return None
    match = prefix.match(text)
    if match is None:
        return None
    rest = _encoded(text[match.end() :], word[1], word[2])
    return None if rest is None else (offset, offset + len(word[0]), rest.encode("ascii"))


def _encoded(text: str, charset: str, encoding: str) -> str | None:
    if not text:
        return ""
    codec = _codec(charset)
    if codec is None:
        return None
    try:
        octets = text.encode(codec)
    except ValueError:
        # Some codecs decode what they cannot encode.
        return None
    if encoding in "bB":
        return f"=?{charset}?{encoding}?{base64.b64encode(octets).decode('ascii')}?="
    letters = "".join(_q(octet) for octet in octets)
    return f"=?{charset}?{encoding}?{letters}?="


def _q(octet: int) -> str:
    """RFC 2047 §4.2: in a subject every printable character may stand for itself, so no word becomes longer."""
    if octet == 0x20:
        return "_"
    return chr(octet) if 0x20 < octet < 0x7F and octet not in b"=?_" else f"={octet:02X}"
