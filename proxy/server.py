"""The SMTP server: the addresses it listens on, what its sessions share, and how they end."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from proxy.auth import Admission, Authentication, Trust, Verifier
from proxy.pool import Upstreams
from proxy.relay import Relay
from proxy.session import COMMANDS, Session

IDLE_SECONDS = 300.0
"""How long a client may be silent (RFC 5321 §4.5.3.2.7)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Listener:
    """How one listening address treats its clients."""

    networks: tuple[Network, ...]
    tls: str = "none"
    tls_context: ssl.SSLContext | None = None
    automated: bool = False
    auth: str = "networks"
    """Who may send: clients in trusted networks, or those whom the verifier of this name lets in."""
    address: str = ""
    """The listening address as the configuration writes it."""

    def trusts(self, host: str) -> bool:
        """Tell whether a client's address is in a trusted network; an IPv4 address in IPv6 form is IPv4."""
        return _is_among(self.networks, host)


@lru_cache(maxsize=1_024)
def _is_among(networks: tuple[Network, ...], host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


class Server:
    """What the sessions of one process share, and how they end."""

    def __init__(
        self,
        relay: Relay,
        upstreams: Upstreams,
        max_message_bytes: int,
        hostname: str,
        idle_seconds: float = IDLE_SECONDS,
        verifiers: Mapping[str, Verifier] | None = None,
    ) -> None:
        self.relay = relay
        self.upstreams = upstreams
        self.max_message_bytes = max_message_bytes
        self.hostname = hostname
        self.idle_seconds = idle_seconds
        self.verifiers = verifiers or {}
        """By what listeners call them."""
        self.draining = False
        self.sessions: set[Session] = set()
        self.deliveries: set[Session] = set()
        """The sessions whose message is on its way to the upstream, and those that ended meanwhile."""
        self._listening: list[asyncio.Server] = []

    def admission(self, listener: Listener) -> Admission:
        """Return what decides whether a new session on a listener may send."""
        if listener.auth == "networks":
            return Trust(self.upstreams, listener.trusts)
        return Authentication(self.verifiers[listener.auth])

    async def listen(self, bound: Sequence[tuple[socket.socket, Listener]]) -> None:
        """Take clients on sockets that are bound already."""
        await self.upstreams.learn()
        loop = asyncio.get_running_loop()
        for sock, listener in bound:
            implicit = listener.tls_context if listener.tls == "implicit" else None

            def session(listener: Listener = listener) -> Session:
                return Session(self, listener)

            self._listening.append(await loop.create_server(session, sock=sock, ssl=implicit))

    async def drain(self, seconds: float) -> None:
        """Stop: no new clients, sessions at rest get 421, transactions under way may end, for ``seconds`` at most."""
        self.draining = True
        for listening in self._listening:
            listening.close()
        for session in list(self.sessions):
            session.dismiss_if_idle()
        deadline = asyncio.get_running_loop().time() + seconds
        while self.sessions or self.deliveries:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.sleep(min(0.05, left))
        for session in list(self.sessions):
            session.hang_up()
        await self.upstreams.close()
        COMMANDS.hand_over()

    @property
    def size_limit(self) -> int:
        """The largest message that is taken, in octets: ours, or the upstream's where that is smaller."""
        return min(self.max_message_bytes, self.upstreams.common.size or self.max_message_bytes)
