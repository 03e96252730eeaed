"""The SMTP server: the addresses it listens on, what its sessions share, and how they end."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import Counter, Gauge

from ledger.tally import Tally
from proxy.acceptor import Acceptor
from proxy.auth import Admission, Authentication, Trust, Verifier
from proxy.certificates import ServerCertificate
from proxy.limits import SHARED_LIMITS, Census, Held, SharedLimits
from proxy.pool import Upstreams
from proxy.proxyprotocol import Client
from proxy.relay import Relay
from proxy.reply import Reply, ReplyError, reply
from proxy.session import Session

IDLE_SECONDS = 300.0
"""How long a client may be silent (RFC 5321 §4.5.3.2.7)."""

SESSIONS = Gauge("aboveboard_smtp_sessions", "SMTP sessions that are open.", multiprocess_mode="livesum")
TURNED_AWAY = Tally(Counter("aboveboard_smtp_turned_away", "Connections that were turned away, by reason.", ["why"]))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Listener:
    """How one listening address treats its clients."""

    networks: tuple[Network, ...]
    tls: str = "none"
    tls_context: ssl.SSLContext | None = None
    certificate: ServerCertificate | None = None
    """Whose ``tls_context`` it is, where that is renewed."""
    automated: bool = False
    auth: str = "networks"
    """Who may send: clients in trusted networks, or those whom the verifier of this name lets in."""
    normalises: bool = False
    """Bare CR and LF are made CRLF, for devices that know no better; else refused."""
    balancers: tuple[Network, ...] = ()
    """Whose connections begin with who the client is (PROXY protocol)."""
    address: str = ""
    """The listening address as the configuration writes it."""

    def trusts(self, host: str) -> bool:
        """Tell whether a client's address is in a trusted network; an IPv4 address in IPv6 form is IPv4."""
        return _is_among(self.networks, host)

    def is_balancer(self, host: str) -> bool:
        """Tell whether a connection from this address must say who its client is."""
        return _is_among(self.balancers, host)


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
        limits: SharedLimits = SHARED_LIMITS,
        census: Census | None = None,
    ) -> None:
        self.relay = relay
        self.upstreams = upstreams
        self.max_message_bytes = max_message_bytes
        self.hostname = hostname
        self.idle_seconds = idle_seconds
        self.verifiers = verifiers or {}
        """By what listeners call them."""
        self.draining = False
        self._limits = limits
        self._census = census or Census.alone()
        self.sessions: set[Session] = set()
        self.deliveries: set[Session] = set()
        """The sessions whose message is on its way to the upstream, and those that ended meanwhile."""
        self._listening: list[Acceptor] = []

    def admission(self, listener: Listener) -> Admission:
        """Return what decides whether a new session on a listener may send."""
        if listener.auth == "networks":
            return Trust(self.upstreams, listener.trusts)
        return Authentication(self.verifiers[listener.auth])

    async def listen(self, bound: Sequence[tuple[socket.socket, Listener]]) -> None:
        """Take clients on sockets that are bound already."""
        await self.upstreams.learn()
        for sock, listener in bound:
            implicit = listener.tls_context if listener.tls == "implicit" else None

            def session(client: Client | None, listener: Listener = listener) -> Session:
                return Session(self, listener, client)

            acceptor = Acceptor(sock, session, implicit, listener.is_balancer, TURNED_AWAY.count, self._limits)
            self._listening.append(acceptor)

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
            session.dismiss()
        await self.upstreams.close()

    def enter(self, session: Session) -> Reply | None:
        """Count a session that begins; return what it hears instead where there are too many."""
        if self._census.connections >= self._limits.connections:
            TURNED_AWAY.count("all")
            return reply(421, "4.3.2 Too many connections; please try again later")
        if self._census.of_client(session.peer) >= self._limits.per_client:
            TURNED_AWAY.count("client")
            return reply(421, "4.7.0 Too many connections from your address")
        self._census.enter(session.peer)
        self.sessions.add(session)
        SESSIONS.set(len(self.sessions))
        return None

    def leave(self, session: Session) -> None:
        """Count a session no more that ended, if it was counted."""
        if session in self.sessions:
            self._census.leave(session.peer)
            self.sessions.discard(session)
            SESSIONS.set(len(self.sessions))

    def held(self) -> Held:
        """Return what counts the octets of one message."""
        return Held(self._census, self._limits.bytes_in_flight)

    def check_size(self, octets: int) -> None:
        """Raise ReplyError where a message of so many octets may not come, or not now."""
        if octets > self.size_limit:
            raise ReplyError(reply(552, f"5.3.4 The message is larger than {self.size_limit} octets"))
        if self._census.bytes_in_flight + octets > self._limits.bytes_in_flight:
            raise ReplyError(reply(452, "4.3.1 Too much mail is under way here; please try again later"))

    @property
    def size_limit(self) -> int:
        """The largest message that is taken, in octets: ours, or the upstream's where that is smaller."""
        return min(self.max_message_bytes, self.upstreams.common.size or self.max_message_bytes)
