"""Tokens: what the addresses in a message carry. Authenticated encryption, so they name nobody and cannot be made up.

A token's kind is authenticated with it: one made for a pixel opens no other page. ``open`` and ``click`` carry the
message's random id, ``click`` the link's number and destination too, so that links work without the ledger; ``stop``
carries the keyed hash of the address, so that refusing works after everything else is purged.
"""

import base64
import binascii
import secrets
import struct
import time
from dataclasses import dataclass

from ledger.keys import Keyring

_ID_BYTES = 16
_HASH_BYTES = 32
_MAX_TOKEN_CHARACTERS = 4_096


def new_message_id() -> str:
    """Return a fresh random id, as 32 hex digits; nothing can be concluded from it."""
    return secrets.token_hex(_ID_BYTES)


def _encode(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes | None:
    """Return a token's bytes; None for what ``_encode`` never writes, so that one token has one spelling."""
    if len(text) > _MAX_TOKEN_CHARACTERS or not text.isascii():
        return None
    try:
        token = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return token if _encode(token) == text else None


def _open(keyring: Keyring, text: str, kind: str) -> bytes | None:
    token = _decode(text)
    return None if token is None else keyring.open_token(token, kind)


def sealed_text(keyring: Keyring, content: bytes, kind: str) -> str:
    """Return a token of a kind, as it stands in an address or a form."""
    return _encode(keyring.seal_token(content, kind))


def open_text(keyring: Keyring, text: str, kind: str) -> bytes | None:
    """Return what a token of a kind carries, or None for any other."""
    return _open(keyring, text, kind)


@dataclass(frozen=True, slots=True)
class Click:
    """What a link's token carries."""

    message_id: str
    number: int
    target: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Makes the addresses that go into one message to one person."""

    keyring: Keyring
    public_url: str
    message_id: str
    recipient: str

    def pixel(self) -> str:
        """Return the address of the pixel."""
        token = self.keyring.seal_token(bytes.fromhex(self.message_id), "open")
        return f"{self.public_url}/o/{_encode(token)}.gif"

    def link(self, number: int, target: str) -> str:
        """Return the address that leads to ``target``; ``number`` tells the message's links apart."""
        content = bytes.fromhex(self.message_id) + struct.pack(">H", number) + target.encode("ascii")
        return f"{self.public_url}/l/{_encode(self.keyring.seal_token(content, 'click'))}"

    def stop(self) -> str:
        """Return the address of the page where the recipient refuses."""
        return stop_url(self.keyring, self.public_url, self.recipient)


def stop_url(keyring: Keyring, public_url: str, address: str) -> str:
    """Return the address of the page where ``address`` refuses; it never expires."""
    return f"{public_url}/stop/{_stop_token(keyring, address)}"


def you_url(keyring: Keyring, public_url: str, address: str) -> str:
    """Return the address of the preference centre, where ``address`` sees what stands; it never expires."""
    return f"{public_url}/you/{_stop_token(keyring, address)}"


def _stop_token(keyring: Keyring, address: str) -> str:
    return _encode(keyring.seal_token(bytes.fromhex(keyring.folded(address)), "stop"))


def sender_url(keyring: Keyring, public_url: str, address: str, seconds: int) -> str:
    """Return the address where a sender sees their own messages, good for ``seconds`` from now."""
    content = struct.pack(">Q", int(time.time()) + seconds) + bytes.fromhex(keyring.folded(address))
    return f"{public_url}/mail/{_encode(keyring.seal_token(content, 'sender'))}"


def open_pixel(keyring: Keyring, text: str) -> str | None:
    """Return the message id of a pixel's token, or None."""
    content = _open(keyring, text, "open")
    return content.hex() if content is not None and len(content) == _ID_BYTES else None


def open_click(keyring: Keyring, text: str) -> Click | None:
    """Return what a link's token carries, or None."""
    content = _open(keyring, text, "click")
    if content is None or len(content) <= _ID_BYTES + 2:
        return None
    (number,) = struct.unpack_from(">H", content, _ID_BYTES)
    return Click(content[:_ID_BYTES].hex(), number, content[_ID_BYTES + 2 :].decode("ascii"))


def open_stop(keyring: Keyring, text: str) -> str | None:
    """Return the keyed hash of the folded address in a refusal's token, as hex, or None."""
    content = _open(keyring, text, "stop")
    return content.hex() if content is not None and len(content) == _HASH_BYTES else None


def open_sender(keyring: Keyring, text: str) -> str | None:
    """Return the keyed hash of the sender in a link to the sender's pages, or None for one that is over."""
    content = _open(keyring, text, "sender")
    if content is None or len(content) != 8 + _HASH_BYTES:
        return None
    (until,) = struct.unpack_from(">Q", content)
    return content[8:].hex() if time.time() < until else None


@dataclass(frozen=True, slots=True)
class OwnTokens:
    """Tells what a token in a quoted message carries, if it is ours."""

    keyring: Keyring

    def is_pixel(self, token: str) -> bool:
        """Tell whether it is a pixel's."""
        return open_pixel(self.keyring, token) is not None

    def destination(self, token: str) -> str | None:
        """Return where a link's token leads; None for any other."""
        click = open_click(self.keyring, token)
        return click.target if click is not None else None

    def is_stop(self, token: str) -> bool:
        """Tell whether it is that of a stop link, or of an invitation: by either a footer of ours is known."""
        return open_stop(self.keyring, token) is not None or open_text(self.keyring, token, "mailbox") is not None
