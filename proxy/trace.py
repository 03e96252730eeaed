"""What stands in front of every message: our trace field, our loop marker, and what earlier servers put there."""

import base64
import hashlib
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Protocol

from proxy.header import MAX_HEADER_BYTES, TooLarge, Unparsable, scan_fields

MAX_RECEIVED = 50
"""More Received fields than this are a loop (RFC 5321 §6.3). Mail at submission has made a few hops at most."""
PROCESSED = "X-Aboveboard-Processed"
_KIND = "processed"
_NAMED_BY = ("message-id", "date")
"""The fields by which a message is known again: nobody changes them on the way."""


class Seals(Protocol):
    """Makes tokens that nobody else can make."""

    def seal_token(self, content: bytes, kind: str) -> bytes:
        """Return a token that carries something, of one kind."""

    def open_token(self, token: bytes, kind: str) -> bytes | None:
        """Return what a token of that kind carries; None where it is not ours."""


class Marker:
    """The loop marker: says that a message has been through this relay, and cannot be put on another one.

    A server that sends its mail through us and gets it back tells by the field that it must not come a second time.
    """

    def __init__(self, hostname: str, seals: Seals) -> None:
        self._hostname = hostname
        self._seals = seals

    def line(self, raw: bytes) -> bytes:
        """Return the field for a message."""
        token = base64.urlsafe_b64encode(self._seals.seal_token(_identity(raw) or b"", _KIND)).decode("ascii")
        return f"{PROCESSED}: {self._hostname} {token.rstrip('=')}\r\n".encode("ascii")

    def is_on(self, raw: bytes) -> bool:
        """Tell whether the message has been through us: whether it has a marker that was made for it."""
        if PROCESSED.lower().encode("ascii") + b":" not in raw[:MAX_HEADER_BYTES].lower():
            return False
        identity, values = _identity(raw), _values(raw, PROCESSED.lower())
        return identity is not None and any(self._opened(value) == identity for value in values)

    def _opened(self, value: str) -> bytes | None:
        text = value.rpartition(" ")[2]
        try:
            # binascii.Error is one of them.
            token = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        return self._seals.open_token(token, _KIND)


def _values(raw: bytes, name: str) -> list[str]:
    """Return the values of a field; none where the header cannot be read."""
    try:
        fields, _ = scan_fields(raw, 0, len(raw))
    except (Unparsable, TooLarge):
        return []
    return [field.text(raw) for field in fields if field.name == name]


def _identity(raw: bytes) -> bytes | None:
    """Return what a message is known by; None where it has nothing of its own."""
    values = [_values(raw, name) for name in _NAMED_BY]
    if [len(found) for found in values] != [1, 1]:
        return None
    return hashlib.sha256("\n".join(found[0] for found in values).encode("utf-8", "surrogateescape")).digest()[:16]


def received(hostname: str, message_id: str, protocol: str) -> bytes:
    """Return our trace field (RFC 5321 §4.4), on one line. It never names the client."""
    return f"Received: by {hostname} with {protocol} id {message_id}; {_date(int(time.time()))}\r\n".encode("ascii")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return a moment as RFC 5322 §3.3 writes it; many messages come within one second."""
    return format_datetime(datetime.fromtimestamp(second, UTC))


def loops(raw: bytes) -> bool:
    """Tell whether the message has more trace fields than any honest way makes."""
    end = raw.find(b"\r\n\r\n", 0, MAX_HEADER_BYTES)
    header = raw[: end if end != -1 else MAX_HEADER_BYTES].lower()
    return header.count(b"\nreceived:") + header.startswith(b"received:") > MAX_RECEIVED
