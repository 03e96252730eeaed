"""The application: its routes, and the pages for what is not there."""

from contextlib import suppress

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ledger import outbox
from ledger.errors import LedgerUnavailable
from web.autoconfig import autoconfig
from web.client import Pace, TooOften
from web.forms import FormTooLarge
from web.hits import Ticks, link, pixel
from web.join import join
from web.mail import mail
from web.pages import SECURITY_HEADERS, STATIC, SecurityHeaders
from web.refusal import stop, stop_anybody
from web.site import Site, is_done, language_of, page, site_of
from web.you import you

log = structlog.get_logger()


async def how(request: Request) -> Response:
    """Say what this is and who runs it."""
    return page(request, "how.html", notice=await site_of(request).notice(language_of(request)))


async def health(request: Request) -> Response:
    """Say whether process and ledger answer, and which policy is in force.

    The process is well without a ledger: links work, mail flows.
    """
    site = site_of(request)
    answers = await site.ledger.answers()
    health: dict[str, object] = {
        "status": "ok" if answers else "degraded",
        "ledger": "ok" if answers else "unavailable",
        "policy": {"version": site.policy.version, "stale": site.stale},
    }
    if answers and site.mails:
        with suppress(LedgerUnavailable):
            health["letters_waiting"] = await site.ledger.read(outbox.waiting)
    return JSONResponse(health)


async def _not_there(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    response = page(request, "not_there.html", status)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _went_wrong(request: Request, error: Exception) -> Response:
    # The path holds a token, so only the error is logged.
    log.error("web.request_failed", exc_info=error)
    response = page(request, "went_wrong.html", 500)
    # Starlette answers this outside of its middleware.
    response.headers.update(SECURITY_HEADERS)
    return response


async def _try_again(request: Request, error: Exception) -> Response:
    log.warning("web.ledger_unavailable", why=str(error))
    return page(request, "try_again.html", 503, done=is_done(request))


async def _too_large(request: Request, error: Exception) -> Response:
    return page(request, "too_large.html", 413)


async def _hung_up(request: Request, error: Exception) -> Response:
    # Whoever hangs up in the middle of a form hears nothing of it, and nothing was done.
    return Response(status_code=400)


async def _too_often(request: Request, error: Exception) -> Response:
    response = page(request, "too_often.html", 429)
    response.headers["retry-after"] = "3600"
    return response


ROUTES = [
    Route("/o/{token:path}", pixel, methods=["GET"]),
    Route("/l/{token}", link, methods=["GET"]),
    Route("/stop", stop_anybody, methods=["GET", "POST"]),
    Route("/stop/{token}", stop, methods=["GET", "POST"]),
    Route("/you/{token}", you, methods=["GET", "POST"]),
    Route("/join/{point}", join, methods=["GET", "POST"]),
    Route("/.well-known/autoconfig/mail/config-v1.1.xml", autoconfig, methods=["GET"]),
    # The same at autoconfig.DOMAIN; it stands before the senders' pages.
    Route("/mail/config-v1.1.xml", autoconfig, methods=["GET"]),
    Route("/mail/{token}", mail, methods=["GET", "POST"]),
    Route("/how", how, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
    Mount("/static", StaticFiles(directory=STATIC)),
]


class Application(Starlette):
    """Starlette with pixels and links in front of it: most requests are those, and need nothing of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            scope["app"] = self
            path: str = scope["path"]
            if path.startswith("/o/"):
                await pixel(scope, receive, send)
                return
            if path.startswith("/l/") and await link.leads(scope, send):
                return
        await super().__call__(scope, receive, send)


def build(site: Site) -> Starlette:
    """Return the application for a site."""
    app = Application(
        routes=ROUTES,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={
            HTTPException: _not_there,
            LedgerUnavailable: _try_again,
            FormTooLarge: _too_large,
            TooOften: _too_often,
            ClientDisconnect: _hung_up,
            Exception: _went_wrong,
        },
    )
    # Starlette would lead "/how/" to "/how" on whatever host the request names.
    app.router.redirect_slashes = False
    app.state.site = site
    app.state.ticks = Ticks()
    app.state.pace = Pace()
    return app
