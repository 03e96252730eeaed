"""The logins that every real upstream knows."""

import base64
import hashlib
import hmac
import json
import time

PEOPLE = {tls: f"alice@{tls}.example.org" for tls in ("starttls", "implicit")}
"""Who logs in themselves, by how the relay then talks to the upstream: its route follows from their domain."""
SERVICE = "relay@example.org"
"""The relay's own login."""
PASSWORDS = {
    # What shells, files and protocols get wrong: space, quotes, percent, backslash.
    **{person: f"{person[6]} korrekt Pferd 7%+\"\\ 'Batterie" for person in PEOPLE.values()},
    SERVICE: "the relay's own",
}
ACCOUNT_PASSWORD = "only the relay: knows 'this\""
"""Of the same people's accounts at the relay; no upstream takes it."""
TOKEN_KEY = b"a key that only the tests' servers know, of 256 bits and more"


def token(user: str, seconds: float = 600.0) -> str:
    """Return an OAuth2 access token for a user, as a JWT that ``TOKEN_KEY`` signs, valid for so long."""
    now = int(time.time())
    claims = {"sub": user, "email": user, "iat": now - 10, "exp": now + int(seconds), "scope": "mail"}
    # Real ones have a kB and more, which no line of 512 octets holds (RFC 5321 §4.5.3.1.4).
    claims["padding"] = "much that a server wants to know of its own people. " * 16
    body = ".".join(_text(json.dumps(one).encode()) for one in ({"typ": "JWT", "alg": "HS256"}, claims))
    return f"{body}.{_text(hmac.digest(TOKEN_KEY, body.encode(), hashlib.sha256))}"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
