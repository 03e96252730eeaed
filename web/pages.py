"""Pages: templates and the headers that every answer carries. Nothing is loaded from elsewhere, no cookie is set."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from policies.footer import Language
from web.language import translations

_HERE = Path(__file__).parent
STATIC = _HERE / "static"


def environment(folder: Path, language: Language, *, autoescape: bool) -> Environment:
    """Return the templates of a folder, in a language."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=autoescape,  # noqa: S701  # off for plain text only
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    made.globals["language"] = language.value
    return made


@cache
def _templates(language: Language) -> Environment:
    return environment(_HERE / "templates", language, autoescape=True)


SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}


class SecurityHeaders:
    """Adds the security headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add to the beginning of its answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


Renderer = Callable[..., Response]


def renderer(**always: Any) -> Renderer:
    """Return a function that renders a template in a language; ``always`` are values that every page knows."""

    def render(template: str, language: Language, status: int = 200, **values: Any) -> Response:
        text = _templates(language).get_template(template).render(**always, **values)
        return HTMLResponse(octets(text), status_code=status, headers={"content-language": language.value})

    return render


def octets(text: str) -> bytes:
    """Return what is sent of a text: a surrogate, which stands for a byte that was no UTF-8, as a question mark."""
    return text.encode("utf-8", "replace")
