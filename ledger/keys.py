"""The key file: token keys, which rotate, and the look-up secret, which never does.

The file is JSON, readable by its owner only. Everything that lasts (keyed hashes of addresses, the chain of consent
events, encrypted columns) hangs on keys derived from the look-up secret; losing it would forget every refusal.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ledger import folder
from ledger.errors import LedgerError
from policies.address import canonical, folded

_FORMAT = 1
_KEY_BYTES = 32
_MAX_KEY_ID = 255
_RELOAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The content of a key file."""

    lookup: bytes = field(repr=False)
    tokens: dict[int, bytes] = field(repr=False)
    sealing: int
    """The id of the token key that new tokens are made with; all others are for reading."""

    @classmethod
    def new(cls) -> "KeyFile":
        """Return fresh keys."""
        return cls(secrets.token_bytes(_KEY_BYTES), {1: secrets.token_bytes(_KEY_BYTES)}, 1)

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Return the keys in a file. Raises LedgerError when it is not a key file, FileNotFoundError without one."""
        try:
            return cls._from_json(json.loads(path.read_text("ascii")))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, OverflowError, binascii.Error) as error:
            if isinstance(error, OSError):
                raise LedgerError(f"The key file {path} cannot be read: {error.strerror}.") from error
            raise LedgerError(f"The key file {path} is damaged: put it back from a backup.") from error

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> "KeyFile":
        tokens = {int(one["id"]): base64.b64decode(one["key"], validate=True) for one in content["tokens"]}
        found = cls(base64.b64decode(content["lookup"], validate=True), tokens, int(content["sealing"]))
        sizes = {len(found.lookup), *map(len, tokens.values())}
        known = found.sealing in tokens and all(0 < key_id <= _MAX_KEY_ID for key_id in tokens)
        if content["format"] != _FORMAT or sizes != {_KEY_BYTES} or not known:
            raise ValueError("not a key file of this format")
        return found

    def write(self, path: Path) -> None:
        """Write the keys so that a reader never sees half of them. Raises LedgerError where that is not possible."""
        content = {
            "format": _FORMAT,
            "lookup": base64.b64encode(self.lookup).decode("ascii"),
            "tokens": [{"id": i, "key": base64.b64encode(key).decode("ascii")} for i, key in self.tokens.items()],
            "sealing": self.sealing,
        }
        beside = path.with_name(path.name + ".new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                _take_rights(path, descriptor)
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            # The ledger's fingerprint would outlive a power cut, and ask for this very file.
            folder.sync(path.parent)
        except OSError as error:
            raise LedgerError(f"The key file {path} cannot be written: {error.strerror}.") from error

    @property
    def pending(self) -> int | None:
        """The id of a token key that every process may know by now but that is not used yet."""
        newest = max(self.tokens)
        return newest if newest != self.sealing else None

    def rotated(self) -> "KeyFile":
        """Return the keys after the next step of a rotation: a new key known to all, then that key in use."""
        if self.pending is not None:
            return KeyFile(self.lookup, self.tokens, self.pending)
        new_id = max(self.tokens) + 1
        if new_id > _MAX_KEY_ID:
            raise LedgerError(f"The key file holds {_MAX_KEY_ID} token keys already; no more can be told apart.")
        return KeyFile(self.lookup, {**self.tokens, new_id: secrets.token_bytes(_KEY_BYTES)}, self.sealing)


def rotate(path: Path) -> KeyFile:
    """Take the next step of a rotation in a key file, one caller after the other; return what it holds now.

    Two at once would each make another key of the same number, and write the one file that takes the old one's place.
    Raises LedgerError, and FileNotFoundError where there is no key file.
    """
    with folder.held(path.parent):
        after = KeyFile.read(path).rotated()
        after.write(path)
    return after


def _take_rights(path: Path, descriptor: int) -> None:
    """Give a new key file the owner and rights of the one it takes the place of; else it is its owner's alone.

    Root may rotate the keys of a service that runs as somebody else, who must still be able to read them.
    """
    try:
        before = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, 0o600)
        return
    with suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, before.st_mode & 0o640)


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=_KEY_BYTES, info=f"aboveboard {purpose}".encode()).derive(secret)


@dataclass(slots=True)
class Keyring:
    """The keys in use: hashes addresses, seals and opens columns and tokens. Notices when the file is rotated."""

    file: KeyFile
    path: Path | None = None
    _address: bytes = field(init=False, repr=False)
    _chain: bytes = field(init=False, repr=False)
    _sketch: bytes = field(init=False, repr=False)
    _login: bytes = field(init=False, repr=False)
    _pepper: bytes = field(init=False, repr=False)
    _hash: Callable[[bytes, str], str] = field(init=False, repr=False)
    _column: AESGCM = field(init=False, repr=False)
    _ciphers: dict[int, AESGCM] = field(init=False, repr=False)
    _modified: float = field(default=0.0, init=False)
    _looked: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        # The same few people are asked about several times for one message.
        self._hash = lru_cache(maxsize=128)(self._keyed)
        self._address = _derive(self.file.lookup, "address")
        self._chain = _derive(self.file.lookup, "chain")
        self._sketch = _derive(self.file.lookup, "sketch")
        self._login = _derive(self.file.lookup, "login")
        self._pepper = _derive(self.file.lookup, "password")
        self._column = AESGCM(_derive(self.file.lookup, "column"))
        self._ciphers = {key_id: AESGCM(key) for key_id, key in self.file.tokens.items()}

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Return the keyring of a key file. Raises LedgerError, also when there is none."""
        try:
            return cls(KeyFile.read(path), path)
        except FileNotFoundError as error:
            raise LedgerError(f"The key file {path} is missing.") from error

    @classmethod
    def throwaway(cls) -> "Keyring":
        """Return keys that nobody will ever hold again, for a message that is not sent."""
        return cls(KeyFile.new())

    @property
    def fingerprint(self) -> str:
        """What the ledger keeps of the key file, to notice a different one."""
        return hmac.digest(self._address, b"fingerprint", "sha256").hex()[:32]

    def exact(self, address: str) -> str:
        """Return the keyed hash of an address for exact comparison, as hex."""
        return self._hash(b"exact", canonical(address))

    def folded(self, address: str) -> str:
        """Return the keyed hash of an address for the comparison that refusals use, as hex."""
        return self._hash(b"folded", folded(address))

    def domain(self, domain: str) -> str:
        """Return the keyed hash of a canonical domain, as hex: that of no address."""
        return self._hash(b"domain", domain)

    def pseudonym(self, sender_hash: str) -> str:
        """Return the name under which reports speak of a sender: always the same here, and of no use elsewhere."""
        return f"sender-{self._hash(b'pseudonym', sender_hash)[:8]}"

    def _keyed(self, kind: bytes, text: str) -> str:
        try:
            content = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # A lone surrogate stands for no byte. Such an address is nobody's, but asking about it must not raise.
            content = text.encode("utf-8", "surrogatepass")
        return hmac.digest(self._address, kind + b"\0" + content, "sha256").hex()

    def attempt(self, kind: str, content: bytes) -> str:
        """Return the keyed hash of something said at a login, as 32 hexadecimal digits. Kept in no cache."""
        return hmac.digest(self._login, kind.encode() + b"\0" + content, "sha256").hex()[:32]

    def peppered(self, secret: bytes) -> bytes:
        """Return a keyed digest of a password, to be hashed in its place: a copy of the database alone is no use."""
        return hmac.digest(self._pepper, secret, "sha256")

    def sketch(self, sender: str, values: Iterable[int]) -> bytes:
        """Return a fingerprint's numbers of 32 bits keyed for one sender, four bytes each, in no order of their own.

        Equal numbers of one sender come out equal, and nothing else can be told of them.
        """
        key = hmac.digest(self._sketch, sender.encode("utf-8", "surrogatepass"), "sha256")
        return b"".join(sorted(hmac.digest(key, value.to_bytes(4, "big"), "sha256")[:4] for value in values))

    def chained(self, content: bytes) -> str:
        """Return the link of the chain over one row's content (which names the previous link), as hex."""
        return hmac.digest(self._chain, content, "sha256").hex()

    def seal_column(self, content: bytes, place: str) -> bytes:
        """Return ``content`` encrypted for one place: a value moved to another row does not open."""
        nonce = secrets.token_bytes(12)
        return nonce + self._column.encrypt(nonce, content, place.encode())

    def open_column(self, sealed: bytes, place: str) -> bytes:
        """Return what ``seal_column`` was given. Raises LedgerError for anything else."""
        try:
            return self._column.decrypt(sealed[:12], sealed[12:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise LedgerError("An encrypted value of the ledger does not open with this key file.") from error

    def seal_token(self, content: bytes, kind: str) -> bytes:
        """Return a token's bytes: key id, nonce, and ``content`` encrypted for its kind."""
        self._look_again()
        key_id = self.file.sealing
        nonce = secrets.token_bytes(12)
        return bytes([key_id]) + nonce + self._ciphers[key_id].encrypt(nonce, content, kind.encode())

    def open_token(self, token: bytes, kind: str) -> bytes | None:
        """Return what a token carries, or None for one that is forged, damaged, of another kind or another key."""
        if len(token) < 1 + 12 + 16:
            return None
        if token[0] not in self._ciphers:
            self._look_again()
        cipher = self._ciphers.get(token[0])
        if cipher is None:
            return None
        try:
            return cipher.decrypt(token[1:13], token[13:], kind.encode())
        except InvalidTag:
            return None

    def _look_again(self) -> None:
        """Take up a rotated key file: looked at no more than once a second, read only when it has changed."""
        now = time.monotonic()
        if self.path is None or now - self._looked < _RELOAD_SECONDS:
            return
        self._looked = now
        try:
            modified = self.path.stat().st_mtime
            if modified == self._modified:
                return
            found = KeyFile.read(self.path)
        except (OSError, LedgerError):
            # A file that is away or half restored: the keys at hand still open and seal everything they did before.
            return
        self._modified = modified
        if hashlib.sha256(found.lookup).digest() == hashlib.sha256(self.file.lookup).digest():
            self.file = found
            self._ciphers = {key_id: AESGCM(key) for key_id, key in found.tokens.items()}
