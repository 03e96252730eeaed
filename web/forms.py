"""Forms: what a POST says, and whether a page of ours sent it."""

from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

MAX_FORM = 8_192
"""Bytes of a form; more is 413."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class FormTooLarge(Exception):
    """The body of a POST is larger than any form of ours."""


async def read_form(request: Request) -> dict[str, list[str]]:
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
        # More fields than any form of ours has.
        return {}


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
