"""Hits: the pixel and the links. Whatever is recorded or not, the answer is the same.

A pixel always gets its picture and a link always its destination, with the ledger away, the key rotated or the person
gone (DESIGN.md §1, promise 5); only whether a hit is recorded depends on consent as it is now.
"""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from ledger.hits import Hit
from ledger.tokens import open_click, open_pixel
from policies.words import Purpose
from web.site import Site, page
from web.verdict import judge, not_recorded

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""A transparent GIF of one pixel, 43 bytes."""

TICK = 0.01
"""Answers to pixels leave on a grid of this many seconds, so that their timing tells nothing."""


async def pixel(request: Request) -> Response:
    """Answer a pixel with its picture, whatever its token, and record an open if that may be."""
    site: Site = request.app.state.site
    token = request.path_params["token"].removesuffix(".gif")
    message_id = open_pixel(site.ledger.keyring, token)
    if message_id is None or not_recorded(request.method, request.headers):
        await site.ledger.tick()
    else:
        verdict = judge(Purpose.OPEN, request.headers)
        await site.ledger.record_hit(Hit(message_id, Purpose.OPEN, datetime.now(UTC), verdict))
    await _until_tick()
    return Response(GIF, media_type="image/gif")


async def _until_tick() -> None:
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(TICK - now % TICK)


async def link(request: Request) -> Response:
    """Lead to the link's exact destination, and record a click if that may be."""
    site: Site = request.app.state.site
    click = open_click(site.ledger.keyring, request.path_params["token"])
    if click is None:
        return page(request, "no_link.html", 404)
    if not may_lead_to(click.target):
        return page(request, "no_link.html", 400)
    if not not_recorded(request.method, request.headers):
        verdict = judge(Purpose.CLICK, request.headers)
        place = _place(click.target)
        await site.ledger.record_hit(
            Hit(click.message_id, Purpose.CLICK, datetime.now(UTC), verdict, click.number, place)
        )
    # Set by us, byte for byte: Starlette's redirect would quote it anew.
    return Response(status_code=302, headers={"location": click.target})


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
