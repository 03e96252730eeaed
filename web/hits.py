"""Hits: the pixel and the links. Whatever is recorded or not, the answer is the same.

A pixel always gets its picture and a link always its destination, with the ledger away, the key rotated or the person
gone (DESIGN.md §1, promise 5); only whether a hit is recorded depends on consent as it is now.
"""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ledger.hits import Hit
from ledger.tokens import open_click, open_pixel
from policies.words import Purpose
from web.pages import SECURITY_HEADERS
from web.site import Site, page
from web.verdict import judge, not_recorded

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""A transparent GIF of one pixel, 43 bytes."""

TICK = 0.005
"""Answers to pixels leave on a grid of this many seconds, so that their timing tells nothing."""
CROWD = 8
"""So many answers that one commit made ready leave at once: its time is that of all of them together."""

_Headers = list[tuple[bytes, bytes]]
_ALWAYS: _Headers = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_PIXEL: _Headers = [(b"content-length", b"%d" % len(GIF)), (b"content-type", b"image/gif"), *_ALWAYS]


class Ticks:
    """Lets everybody who waits go on at the next line of the grid, by one timer; a crowd goes on as it comes."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        """Wait for the next line, or until everybody is there who came at the same moment and they are many."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(TICK - loop.time() % TICK, self._go_on)
        waiter = loop.create_future()
        self._waiting.append(waiter)
        if len(self._waiting) == CROWD:
            # Whoever was woken together with this one has its turn first.
            loop.call_soon(self._go_on)
        await waiter

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def _headers(scope: Scope) -> dict[str, str]:
    """Return a request's headers by lower-case name; of several of one name, the first."""
    given: _Headers = scope["headers"]
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(given)}


async def _answer(send: Send, status: int, headers: _Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Pixel:
    """Answers ``/o/…`` with the picture, whatever its token, and records an open if that may be. Plain ASGI."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        site: Site = scope["app"].state.site
        headers = _headers(scope)
        message_id = open_pixel(site.ledger.keyring, scope["path"].removeprefix("/o/").removesuffix(".gif"))
        if message_id is None or not_recorded(scope["method"], headers):
            await site.ledger.tick()
        else:
            verdict = judge(Purpose.OPEN, headers)
            await site.ledger.record_hit(Hit(message_id, Purpose.OPEN, datetime.now(UTC), verdict))
        ticks: Ticks = scope["app"].state.ticks
        await ticks.next()
        await _answer(send, 200, _PIXEL, GIF)


class Link:
    """Leads from ``/l/…`` to a link's exact destination, and records a click if that may be. Plain ASGI."""

    async def leads(self, scope: Scope, send: Send) -> bool:
        """Answer one request with the way to its destination; return False, with nothing said, where it has none."""
        site: Site = scope["app"].state.site
        token: str = scope["path"].removeprefix("/l/")
        click = open_click(site.ledger.keyring, token) if "/" not in token else None
        if click is None or not may_lead_to(click.target):
            return False
        headers = _headers(scope)
        if not not_recorded(scope["method"], headers):
            verdict, place = judge(Purpose.CLICK, headers), _place(click.target)
            await site.ledger.record_hit(
                Hit(click.message_id, Purpose.CLICK, datetime.now(UTC), verdict, click.number, place)
            )
        # Set by us, byte for byte: Starlette's redirect would quote it anew.
        way = [(b"content-length", b"0"), (b"location", click.target.encode("ascii")), *_ALWAYS]
        await _answer(send, 302, way)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with a page where the link leads nowhere."""
        if not await self.leads(scope, send):
            site: Site = scope["app"].state.site
            known = open_click(site.ledger.keyring, scope["path"].removeprefix("/l/")) is not None
            await page(Request(scope), "no_link.html", 400 if known else 404)(scope, receive, send)


pixel = Pixel()
link = Link()


def may_lead_to(target: str) -> bool:
    """Tell whether a destination is an absolute web address and nothing that could split a header."""
    if not target.isascii() or any(ord(character) <= 0x20 or ord(character) == 0x7F for character in target):
        return False
    parts = urlsplit(target)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _place(target: str) -> str:
    """Return what is recorded of a destination: host and path, no query (it may name a person)."""
    parts = urlsplit(target)
    return f"{parts.hostname}{parts.path}"[:500]
