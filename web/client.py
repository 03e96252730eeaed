"""The client: which address a request comes from, and how often one of them may have mail sent.

Addresses are held in memory only, for an hour, and cut down to the network that one household or office has.
"""

import ipaddress
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from starlette.requests import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_BRACKETED = re.compile(r"\[([^\]]*)\](?::\d{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]+):\d{1,5}")
_IPV6_HOUSEHOLD = 64
"""Bits that a provider gives to one customer; the rest of an IPv6 address changes by itself (RFC 8981)."""

PER_CLIENT = 20
"""Mails that one client may ask for in an hour, of one process."""
PER_PROCESS = 1_000
"""Mails that all clients together may ask for in an hour, of one process."""
HOUR_SECONDS = 3_600.0


class TooOften(Exception):
    """Somebody asks for more mail than is good."""


def _address(text: str) -> _Address | None:
    """Return the address that a proxy wrote down, with or without a port; None for anything else."""
    bare = text.strip()
    match = _BRACKETED.fullmatch(bare) or _WITH_PORT.fullmatch(bare)
    try:
        found = ipaddress.ip_address(match[1] if match is not None else bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _trusts(trusted: Iterable[Network], address: _Address) -> bool:
    return any(address in network for network in trusted)


def client_of(request: Request, trusted: Iterable[Network]) -> str:
    """Return the address of the client: the peer, or what trusted proxies say of theirs.

    ``X-Forwarded-For`` is read from the right, for only what a trusted proxy added counts: the first address that is
    no trusted proxy's is the client's. Where something else than an address stands there, whoever added it is.
    """
    networks = tuple(trusted)
    peer = request.client.host if request.client is not None else ""
    found = _address(peer)
    if found is None:
        return peer
    for hop in reversed(",".join(request.headers.getlist("x-forwarded-for")).split(",")):
        before = _address(hop) if _trusts(networks, found) else None
        if before is None:
            break
        found = before
    return str(found)


@dataclass(slots=True)
class Pace:
    """How often mail was asked for within the last hour, by client and together."""

    clock: Callable[[], float] = time.monotonic
    _asked: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    """By client, whoever asked longest ago first."""
    _together: deque[float] = field(default_factory=deque)

    def step(self, client: str) -> None:
        """Note that a client has mail sent. Raises TooOften where it may not, and then nothing is noted."""
        now = self.clock()
        self._forget(now - HOUR_SECONDS)
        who = _household(client)
        asked = self._asked.get(who, deque())
        if len(asked) >= PER_CLIENT or len(self._together) >= PER_PROCESS:
            raise TooOften
        asked.append(now)
        self._together.append(now)
        self._asked[who] = asked
        self._asked.move_to_end(who)

    def _forget(self, before: float) -> None:
        while self._together and self._together[0] <= before:
            self._together.popleft()
        while self._asked:
            who, asked = next(iter(self._asked.items()))
            if asked[-1] > before:
                break
            del self._asked[who]
        for asked in self._asked.values():
            while asked and asked[0] <= before:
                asked.popleft()


def _household(client: str) -> str:
    found = _address(client)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, _IPV6_HOUSEHOLD), strict=False))
    return client
