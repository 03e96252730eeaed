"""Encoded words of the subject (RFC 2047): read it, and take a tag off its start, without touching the rest."""

import base64
import binascii
import re
from collections.abc import Sequence
from itertools import groupby

from proxy.charset import codec_name
from proxy.header import Field
from proxy.transfer import Edit

# No "?" in the charset (it is an especial, RFC 2047 §2): one there would make the search quadratic.
_WORD = re.compile(r"=\?([!->@-~]+)\?([bBqQ])\?([!->@-~]*)\?=")
_WORDS = re.compile(r"(?:=\?[!->@-~]+\?[bBqQ]\?[!->@-~]*\?=)+")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?[!->@-~]+\?[bBqQ]\?[!->@-~]*\?=)")
# Python's codecs that are no charsets of text; decoding long punycode is quadratic besides.
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})


_FOLD = re.compile(r"\r?\n[ \t]+(?=\S)")


def decode_words(value: str, errors: str = "strict") -> str:
    """Return an unstructured field value with its encoded words decoded; what cannot be decoded stays as it is.

    ``errors`` is how to decode octets that the charset does not have, as in ``bytes.decode``.
    """
    if "=?" not in value:
        return value
    return _WORDS.sub(lambda words: _shown(words[0], errors), _joined(value))


def _shown(words: str, errors: str) -> str:
    """Return encoded words that follow each other as they are shown.

    Some programs cut a character in two between words, which RFC 2047 §5 forbids and mail programs put up with.
    """
    shown = []
    for _, group in groupby(_WORD.finditer(words), key=lambda word: word[1].lower()):
        same = list(group)
        texts = [_decoded(word) for word in same]
        whole = _together(same, errors) if None in texts else None
        if whole is not None:
            shown.append(whole)
        else:
            shown += [word[0] if text is None else text for word, text in zip(same, texts, strict=True)]
    return "".join(shown)


def _together(words: Sequence[re.Match[str]], errors: str) -> str | None:
    """Return what words in one charset say with their octets in a row."""
    octets = [found for found in map(_octets, words) if found is not None]
    return _text(words[0][1], b"".join(octets), errors) if len(octets) == len(words) else None


def _joined(value: str) -> str:
    """White space between two encoded words is not shown (RFC 2047 §6.2)."""
    return _BETWEEN_WORDS.sub(r"\1", value)


def _decoded(word: re.Match[str], errors: str = "strict") -> str | None:
    octets = _octets(word)
    return None if octets is None else _text(word[1], octets, errors)


def _octets(word: re.Match[str]) -> bytes | None:
    _, encoding, text = word.groups()
    if encoding in "qQ":
        return binascii.a2b_qp(text.replace("_", " ").encode("ascii"), header=False)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None


def _text(charset: str, octets: bytes, errors: str) -> str | None:
    codec = _codec(charset)
    try:
        return None if codec is None else octets.decode(codec, errors)
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
    # What is no character may be half of one, whose other half the next word has: it stays as it is.
    text = _decoded(word, "surrogateescape") if word is not None else None
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
        octets = text.encode(codec, "surrogateescape")
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
