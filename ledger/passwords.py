"""Passwords: how they are kept (argon2id over a keyed digest), compared, and made.

Everything here but ``tag`` and ``new_app_password`` takes tens of milliseconds and megabytes: never in the event loop.
"""

import secrets
from base64 import b32encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ledger.keys import Keyring

_GROUPS, _GROUP_LETTERS = 4, 5
_APP_BYTES = 13
"""20 letters of base32 hold 100 bits."""

NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$ixSg5QCyL/EMjnBvW7LHGQ$31mS29TyacnIuz6k+LUcaW9OlhT+2S67y5ZLMZ7R3KY"
"""What would be kept of a password that nobody has: who has no account waits as long as who has."""

# What OWASP gives for argon2id on a machine that does other work too: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hashed(keyring: Keyring, secret: bytes) -> str:
    """Return what is kept of a password: of no use without the key file, and slow to guess with it."""
    return _HASHER.hash(keyring.peppered(secret))


def matches(keyring: Keyring, kept: str, secret: bytes) -> bool:
    """Tell whether a password is the one of which ``kept`` was made."""
    try:
        return _HASHER.verify(kept, keyring.peppered(secret))
    except (VerificationError, InvalidHashError):
        return False


def tag(keyring: Keyring, secret: bytes) -> str:
    """Return by what an app password is found among several. It is long and random: that lets nobody guess it."""
    return keyring.attempt("tag", normalised(secret))[:16]


def new_app_password() -> str:
    """Return a password for one program, in groups that can be read aloud."""
    letters = b32encode(secrets.token_bytes(_APP_BYTES)).decode("ascii").lower()
    return "-".join(letters[at : at + _GROUP_LETTERS] for at in range(0, _GROUPS * _GROUP_LETTERS, _GROUP_LETTERS))


def normalised(secret: bytes) -> bytes:
    """Return an app password as it was made, however it was typed: spaces, dashes and capitals do not count."""
    return secret.replace(b" ", b"").replace(b"-", b"").lower()
