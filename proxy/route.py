"""Routes: which mail servers stand behind the relay, whose mail goes to which, and what they can do."""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from policies.address import folded
from policies.glob import address_pattern, matches

REST_SECONDS = 60.0
"""How long a host that could not be reached is passed over while there are others."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an upstream said it can do, as far as it concerns us. The defaults are what every server can."""

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    enhanced_codes: bool = False
    dsn: bool = False
    pipelining: bool = False
    auth: tuple[str, ...] = ()
    """The ways to log in, by their names in upper case. Not part of what several have in common."""


def shared(several: Sequence[Capabilities]) -> Capabilities:
    """Return what all of several upstreams can do; of none, what every server can."""
    if not several:
        return Capabilities()
    sizes = [one.size for one in several if one.size is not None]
    return Capabilities(
        size=min(sizes) if sizes else None,
        eight_bit=all(one.eight_bit for one in several),
        smtputf8=all(one.smtputf8 for one in several),
        enhanced_codes=all(one.enhanced_codes for one in several),
        dsn=all(one.dsn for one in several),
        pipelining=all(one.pipelining for one in several),
    )


@dataclass(slots=True)
class Host:
    """One mail server of a route, and how it has been lately."""

    name: str
    port: int
    tls: str
    """``none``, ``starttls`` or ``implicit``."""
    known: Capabilities | None = None
    """What it said when last asked; None before it ever answered."""
    away_until: float = 0.0
    """By the event loop's clock; passed over until then where there are others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections are kept to a route's hosts, and for how long. Times are in seconds."""

    connections: int = 20
    """Open at once, in this process."""
    messages: int = 100
    """Carried by one connection."""
    age: float = 300.0
    idle: float = 30.0
    """Less than any server waits for the next command."""
    keep_alive: float = 60.0
    """An upstream that has been silent so long, while its client is still sending, hears NOOP."""
    patience: float = 30.0
    """How long a message waits for a connection while all are in use."""


LIMITS = Limits()


@dataclass(slots=True)
class Route:
    """One upstream, of one or more hosts in order, and whose mail goes there."""

    hosts: tuple[Host, ...]
    senders: re.Pattern[str] | None
    local_hostname: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    limits: Limits = LIMITS

    def serves(self, sender: str) -> bool:
        """Tell whether mail of this sender goes here."""
        return matches(self.senders, folded(sender))

    def hosts_at(self, now: float) -> list[Host]:
        """Return the hosts to try, in order: those that were away lately come last."""
        return sorted(self.hosts, key=lambda host: host.away_until > now)

    @property
    def known(self) -> Capabilities:
        """What every host can do that has answered so far."""
        return shared([host.known for host in self.hosts if host.known is not None])


DEFAULT_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_TLS = {"smtp": "none", "smtp+starttls": "starttls", "smtps": "implicit"}


def parse_route(
    urls: str | Sequence[str],
    senders: list[str],
    local_hostname: str,
    username: str | None = None,
    password: str | None = None,
    limits: Limits = LIMITS,
) -> Route:
    """Return the route for an upstream's URLs (``smtp://``, ``smtp+starttls://`` or ``smtps://``), in order."""
    return Route(
        hosts=tuple(_host(url) for url in ([urls] if isinstance(urls, str) else urls)),
        senders=address_pattern(senders),
        local_hostname=local_hostname,
        username=username,
        password=password,
        limits=limits,
    )


def _host(url: str) -> Host:
    parts = urlsplit(url)
    return Host(parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], _TLS[parts.scheme])


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Certificates are verified, TLS 1.2 is the least; there is no way to switch that off."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
