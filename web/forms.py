"""Forms: what a POST says, within limits, and whether a page of ours sent it."""

import re
from email.parser import BytesParser
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from policies.words import Purpose

MAX_FORM = 8_192
"""Bytes of a form; more is 413."""
MAX_WORDS_FORM = 20_480
"""The same where somebody who has proven their mailbox writes 2 000 characters, of nine bytes each (``%E2%82%AC``)."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_ADDRESS = 254
"""Octets of an address that mail can be sent to (RFC 5321 §4.5.3.1.3, less the angle brackets)."""
_ADDRESS = re.compile(
    r"[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f]+@[^\s@<>()\[\]\\,;:\".\x00-\x20\x7f]+(\.[^\s@<>()\[\]\\,;:\".\x00-\x20\x7f]+)+"
)

Form = dict[str, list[str]]


class FormTooLarge(Exception):
    """The body of a POST is larger than any form of ours."""


async def read_form(request: Request, most: int = MAX_FORM) -> Form:
    """Return the fields of a form of so many bytes at most; a body that is none counts as an empty one.

    Raises FormTooLarge, ClientDisconnect.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise FormTooLarge
    said = request.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _parts(said, body)
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=50)
    except ValueError:
        # More fields than any form of ours has. On the stop page what it says does not matter: the POST is the refusal.
        return {}


def _parts(content_type: str, body: bytes) -> Form:
    """Return the fields of a form of several parts (RFC 7578): mail programs may refuse with one (RFC 8058 §3.1)."""
    form: Form = {}
    try:
        whole = BytesParser().parsebytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
        for part in whole.walk():
            name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(value, bytes):
                form.setdefault(name, []).append(value.decode("utf-8", "replace"))
    except (TypeError, ValueError):
        # The email package stumbles over a parameter both with and without a number (RFC 2231 §3): no form of ours.
        return {}
    return form


def first(form: Form, name: str) -> str:
    """Return the first value of a field, or an empty string."""
    return form.get(name, [""])[0]


def ticked(form: Form, name: str) -> list[Purpose]:
    """Return the purposes whose boxes, of this name, were ticked."""
    return [purpose for purpose in Purpose if purpose.value in form.get(name, [])]


def address_in(form: Form) -> str | None:
    """Return the mail address that somebody typed; None where it is none that mail could be sent to."""
    typed = first(form, "address").strip()
    # Its length first: the expression takes its time with a long one.
    if len(typed.encode("utf-8", "replace")) > MAX_ADDRESS or not _ADDRESS.fullmatch(typed):
        return None
    return typed if typed.isprintable() else None


def from_elsewhere(request: Request, public_url: str) -> bool:
    """Tell whether the browser says that somebody else's page made the request.

    By Sec-Fetch-Site (W3C Fetch Metadata), in browsers without it by Origin (RFC 6454 §7). What sends neither is no
    browser, so nobody's page can have made it.
    """
    fetched_by = request.headers.get("sec-fetch-site")
    if fetched_by is not None:
        return fetched_by not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin != _origin(public_url)


def _origin(url: str) -> str:
    """Return the origin of a URL as browsers write it: the port only where it is not the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}"
