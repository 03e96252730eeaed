"""The login that every real upstream knows."""

import base64
import hashlib
import hmac
import json
import time

USER = "alice@example.org"
PASSWORD = 'korrekt Pferd 7%+"\\ Batterie'  # What shells, files and protocols get wrong: space, quotes, backslash.
TOKEN_KEY = b"a key that only the tests' servers know, of 256 bits and more"


def token(user: str = USER, seconds: float = 600.0) -> str:
    """Return an OAuth2 access token for a user, as a JWT that ``TOKEN_KEY`` signs, valid for so long."""
    now = int(time.time())
    claims = {"sub": user, "email": user, "iat": now - 10, "exp": now + int(seconds), "scope": "mail", "aud": "relay"}
    claims["padding"] = "long tokens go over several lines of a mechanism that expects one. " * 12
    body = ".".join(_text(json.dumps(one).encode()) for one in ({"typ": "JWT", "alg": "HS256"}, claims))
    return f"{body}.{_text(hmac.digest(TOKEN_KEY, body.encode(), hashlib.sha256))}"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
