"""Forms: what a POST brought, within limits."""

import re
from urllib.parse import parse_qs

from starlette.requests import Request

from policies.address import split

MAX_FORM = 8_192
"""Bytes of a form; more is 413."""
MAX_ADDRESS = 254
"""Octets of an address that mail can be sent to (RFC 5321 §4.5.3.1.3, less the angle brackets)."""
_ADDRESS = re.compile(
    r"[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f]+@[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f]+\.[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f]+"
)

Form = dict[str, list[str]]


class FormTooLarge(Exception):
    """The body of a POST is larger than any form of ours."""


async def read_form(request: Request) -> Form:
    """Return a form's fields; a body of another type counts as an empty form. Raises FormTooLarge."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise FormTooLarge
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=50)
    except ValueError:
        # More fields than any form of ours has. On the stop page what it says does not matter: the POST is the refusal.
        return {}


def first(form: Form, name: str) -> str:
    """Return the first value of a field, or an empty string."""
    return form.get(name, [""])[0]


def address_in(form: Form) -> str | None:
    """Return the mail address that somebody typed; None where it is none that mail could be sent to."""
    typed = first(form, "address").strip()
    if not _ADDRESS.fullmatch(typed) or len(typed.encode("utf-8", "replace")) > MAX_ADDRESS:
        return None
    return typed if typed.isprintable() and len(split(typed)[0]) <= 64 else None


__all__ = ["MAX_FORM", "Form", "FormTooLarge", "address_in", "first", "read_form"]
