"""Autoconfig: the settings that a mail program fetches when somebody gives it their address.

They are the same for everybody: the address that the program sends along is not read.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from web.site import site_of


async def autoconfig(request: Request) -> Response:
    """Answer a mail program that asks for its settings; without any, it is told that there are none."""
    settings = site_of(request).autoconfig
    if settings is None:
        raise HTTPException(404)
    return Response(settings, media_type="text/xml")
