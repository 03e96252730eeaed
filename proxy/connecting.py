"""Connecting: a socket to a server that may have several addresses, of which some may be silent."""

import asyncio
import socket
from collections.abc import Sequence

from aiohappyeyeballs import AddrInfoType, start_connection

STAGGER_SECONDS = 0.25
"""How long an address may be silent before the next one is tried beside it (RFC 8305 §5)."""


async def connected(host: str, port: int, seconds: float) -> socket.socket:
    """Return a socket that is connected to the first of a host's addresses to answer.

    The event loop by itself would wait for one after the other, and never get to IPv4 where a firewall swallows IPv6.
    Raises OSError, in ``seconds`` at the latest.
    """
    try:
        async with asyncio.timeout(seconds):
            return await start_connection(await _addresses(host, port), happy_eyeballs_delay=STAGGER_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"No answer within {seconds:g} seconds") from error
    except RuntimeError as error:
        # uvloop has these for some addresses.
        raise OSError(str(error)) from error


async def _addresses(host: str, port: int) -> Sequence[AddrInfoType]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
