"""Unwrapping: reading a link's destination out of its own address, offline (cases/trackers.md §5).

Every layer of encoding is taken off exactly once, and what comes out must be an absolute http or https URL without
user information; whatever leaves a doubt comes back as None, and the link stays as it is.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from string import ascii_lowercase, ascii_uppercase, digits

from policies.address import canonical_domain
from proxy.links import valid_target

MAX_TARGET = 16_384
"""Bytes of a destination, and of every intermediate step: what is longer is no link that anybody wrote."""

Step = Callable[[bytes], bytes | None]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_TARGET = re.compile(rb"(?i:https?)://([^/?#\\@]++)((?:[/?#][^\\]*+)?)")
_SCHEME_OR_SLASH = re.compile(rb"/|[A-Za-z][A-Za-z0-9+.-]*+:(?![0-9])")
_NOT_IN_MARKUP = re.compile(rb"[ \"<>\x80-\xff]")


def unquoted(value: bytes) -> bytes | None:
    """Return the value with its percent-escapes decoded once; None where one is broken.

    ``+`` stays ``+``. Forms write a space so (WHATWG URL §5.1), but no URL has a space, so that a raw plus in one is
    either a plus that the encoder left alone or a space that the server at the end reads out of the plus itself.
    """
    if _BAD_ESCAPE.search(value):
        return None
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), value)


def destination(decoded: bytes) -> str | None:
    """Return the URL that the decoded bytes are, or None if we may not lead there.

    What a browser would escape by itself and what cannot stand in an attribute or in angle brackets comes back escaped.
    """
    text = decoded.strip(b" ")
    match = _TARGET.fullmatch(text)
    if match is None or len(text) > MAX_TARGET or any(byte < 0x20 or byte == 0x7F for byte in text):
        return None
    try:
        host, colon, port = match[1].decode().partition(":") if match[1][:1] != b"[" else (match[1].decode(), "", "")
    except UnicodeDecodeError:
        return None
    place = text[: match.start(1)].decode() + (host if host.isascii() else canonical_domain(host)) + colon + port
    if valid_target(place + "/") is None:
        return None
    return place + _NOT_IN_MARKUP.sub(lambda found: b"%%%02X" % found[0][0], match[2]).decode("ascii")


def steps(recipe: list[str]) -> tuple[Step, ...]:
    """Return the decoding steps that a rule's words name, in order. The words are valid (policies.vendor)."""
    words = iter(recipe)
    return tuple(partial(_member, next(words)) if word == "json" else _STEPS[word] for word in words)


def run(value: bytes, recipe: tuple[Step, ...]) -> bytes | None:
    """Return the value after all steps; None where one of them cannot take it."""
    current: bytes | None = value
    for step in recipe:
        if current is None or len(current) > MAX_TARGET:
            return None
        current = step(current)
    return current


def _base64(value: bytes) -> bytes | None:
    """Decode base64 of either alphabet, with or without padding; a space was a plus before somebody read a form."""
    text = value.translate(bytes.maketrans(b"-_ ", b"+/+")).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None


def _base32(value: bytes) -> bytes | None:
    """Decode base32 (RFC 4648 §6) in either case, with or without padding."""
    text = value.rstrip(b"=")
    try:
        return base64.b32decode(text + b"=" * (-len(text) % 8), casefold=True)
    except binascii.Error:
        return None


def _member(key: str, value: bytes) -> bytes | None:
    """Return a string member of a JSON object."""
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        return None
    found = content.get(key) if isinstance(content, dict) else None
    try:
        return found.encode() if isinstance(found, str) else None
    except UnicodeEncodeError:
        return None


def _inflate(value: bytes) -> bytes | None:
    """Decompress a zlib stream (RFC 1950) that is complete and no larger than a destination may be."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(value, MAX_TARGET)
    except zlib.error:
        return None
    return found if stream.eof else None


def _with_scheme(scheme: bytes, value: bytes) -> bytes | None:
    """Put in front the scheme that the vendor left out; None where there is one, or no host."""
    return None if _SCHEME_OR_SLASH.match(value) else scheme + b"://" + value


def _proofpoint2(value: bytes) -> bytes | None:
    """Decode Proofpoint's second alphabet: ``-`` begins an escape, ``_`` is a slash."""
    return unquoted(value.translate(bytes.maketrans(b"-_", b"%/")))


_V3 = re.compile(rb"__(.+?)__;([A-Za-z0-9_-]*+=*+)!", re.DOTALL)
_V3_STAR = re.compile(rb"\*(?:\*(.))?", re.DOTALL)
_V3_LENGTHS = {ord(sign): length for length, sign in enumerate(ascii_uppercase + ascii_lowercase + digits + "-_", 2)}
_ONE_SLASH = re.compile(rb"(?i:https?):/(?!/)")


def _proofpoint3(value: bytes) -> bytes | None:
    """Decode Proofpoint's third form: ``__URL__;SIDE!``.

    ``*`` in the URL stands for the next character of the side table, ``**X`` for as many as X counts from 2 on.
    """
    match = _V3.match(value)
    side = _base64(match[2]) if match is not None else None
    if match is None or side is None:
        return None
    try:
        letters = iter(side.decode())
        url = _V3_STAR.sub(lambda star: _letters(letters, star[1]), match[1])
    except (LookupError, UnicodeDecodeError):
        return None
    if next(letters, None) is not None:
        # Some decoders count the bytes of a run, others its characters: what does not come out even is not guessed at.
        return None
    return _two_slashes(url)


def _two_slashes(url: bytes) -> bytes:
    """Return the URL with both slashes behind its scheme: servers on the way make one of two in a path."""
    return _ONE_SLASH.sub(lambda start: start[0] + b"/", url, count=1) if _ONE_SLASH.match(url) else url


def _letters(letters: Iterator[str], sign: bytes | None) -> bytes:
    """Return the next characters of the side table. Raises LookupError if there are not enough."""
    count = 1 if sign is None else _V3_LENGTHS[sign[0]]
    found = list(islice(letters, count))
    if len(found) < count:
        raise LookupError
    return "".join(found).encode()


_STEPS: dict[str, Step] = {
    "base32": _base32,
    "base64": _base64,
    "http": partial(_with_scheme, b"http"),
    "https": partial(_with_scheme, b"https"),
    "percent": unquoted,
    "proofpoint2": _proofpoint2,
    "proofpoint3": _proofpoint3,
    "zlib": _inflate,
}
