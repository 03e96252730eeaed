"""The acceptor: takes connections on a listening socket; from balancers it reads first who the client is.

One connection at a time, and what else there is to do in between: whoever takes all of a burst leaves the other
workers, which listen on the same socket, without anything to do. Event loops' own servers take many.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial

import structlog

from proxy import proxyprotocol
from proxy.limits import SharedLimits

HEADER_SECONDS = 10.0
"""How long a balancer may take to say who its client is; it does so at once."""
_PAUSE_SECONDS = 1.0

log = structlog.get_logger()

MakeSession = Callable[[proxyprotocol.Client | None], asyncio.Protocol]
"""Begins a session with a client; None where it is who has connected."""


class Acceptor:
    """Takes connections until it is closed; sessions that have begun go on."""

    def __init__(
        self,
        bound: socket.socket,
        session: MakeSession,
        tls: ssl.SSLContext | None,
        is_balancer: Callable[[str], bool],
        turned_away: Callable[[str], None],
        limits: SharedLimits,
    ) -> None:
        """Begin. ``tls`` is for listeners whose clients begin with it; ``turned_away`` hears why somebody was.

        No more connections than ``limits`` allow are waited for to say what they have to before a session begins.
        """
        bound.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._session = session
        self._tls = tls
        self._is_balancer = is_balancer
        self._turned_away = turned_away
        self._limits = limits
        self._beginning: set[asyncio.Task[None]] = set()
        self._peers: Counter[str] = Counter()
        """Of whom those connections are."""
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Take no more connections."""
        for task in self._beginning:
            task.cancel()
        if self._pause is not None:
            self._pause.cancel()
        if self._bound.fileno() != -1:
            # Before its number can be another socket's.
            self._loop.remove_reader(self._bound)
            self._bound.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._bound, self._accept)

    def _accept(self) -> None:
        try:
            connection, peer = self._bound.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            # Another worker was faster, or the client has thought better of it.
            return
        except OSError:
            # Too many open files, most likely: that passes.
            log.exception("smtp.accept_failed")
            self._loop.remove_reader(self._bound)
            self._pause = self._loop.call_later(_PAUSE_SECONDS, self._listen)
            return
        connection.setblocking(False)
        host = str(peer[0])
        crowd = self._crowd(host)
        if crowd is not None:
            # Nothing can be said to them that they would understand.
            self._turned_away(crowd)
            connection.close()
            return
        task = self._loop.create_task(self._begin(connection, host))
        self._beginning.add(task)
        self._peers[host] += 1
        task.add_done_callback(partial(self._begun, host))

    def _crowd(self, host: str) -> str | None:
        """Return of whom too many connections are beginning already; None where there is room for one more."""
        if len(self._beginning) >= self._limits.connections:
            return "all"
        return "client" if self._peers[host] >= self._limits.per_client and not self._is_balancer(host) else None

    def _begun(self, host: str, task: asyncio.Task[None]) -> None:
        self._beginning.discard(task)
        self._peers[host] -= 1
        if not self._peers[host]:
            del self._peers[host]

    async def _begin(self, connection: socket.socket, peer: str) -> None:
        """Have a session begin on a connection, or close it."""
        try:
            client = await self._client(connection) if self._is_balancer(peer) else None
            await self._loop.connect_accepted_socket(lambda: self._session(client), connection, ssl=self._tls)
        except proxyprotocol.NoHeader as error:
            self._turned_away("proxy_protocol")
            log.warning("smtp.no_proxy_header", balancer=peer, why=str(error))
            connection.close()
        except OSError:
            # The client is gone, or its TLS fails, which is an OSError too.
            log.debug("smtp.client_gone")
            connection.close()
        except BaseException:
            connection.close()
            raise

    async def _client(self, connection: socket.socket) -> proxyprotocol.Client | None:
        """Return who the balancer says its client is, and read not an octet more. Raises NoHeader or OSError."""
        header = b""
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                while (count := proxyprotocol.missing(header)) > 0:
                    more = await self._loop.sock_recv(connection, count)
                    if not more:
                        raise ConnectionResetError("Connection lost")
                    header += more
        except TimeoutError:
            raise proxyprotocol.NoHeader("nothing came") from None
        return proxyprotocol.client(header)
