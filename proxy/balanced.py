"""A listening address behind balancers: who the client is is read in front of the session, and in front of its TLS."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import structlog

from proxy import proxyprotocol

HEADER_SECONDS = 10.0
"""How long a balancer may take to say who its client is; it does so at once."""
_PAUSE_SECONDS = 1.0

log = structlog.get_logger()

MakeSession = Callable[[proxyprotocol.Client | None], asyncio.Protocol]
"""Begins a session with a client; None where it is who has connected."""


class Balanced:
    """Takes connections on a bound socket. ``close`` ends that; sessions that have begun go on."""

    def __init__(
        self,
        bound: socket.socket,
        is_balancer: Callable[[str], bool],
        session: MakeSession,
        tls: ssl.SSLContext | None,
        turned_away: Callable[[], None],
    ) -> None:
        """Begin. ``tls`` is for listeners whose clients begin with it; ``turned_away`` hears of headers not right."""
        bound.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._is_balancer = is_balancer
        self._session = session
        self._tls = tls
        self._turned_away = turned_away
        self._beginning: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Take no more connections."""
        for task in (self._accepting, *self._beginning):
            task.cancel()
        if self._bound.fileno() != -1:
            # Before its number can be another socket's.
            self._loop.remove_reader(self._bound)
            self._bound.close()

    async def _accept(self) -> None:
        while True:
            try:
                connection, peer = await self._loop.sock_accept(self._bound)
            except OSError:
                # Too many open files, most likely: that passes.
                log.exception("smtp.accept_failed")
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            task = self._loop.create_task(self._begin(connection, str(peer[0])))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket, peer: str) -> None:
        """Have a session begin on a connection, or close it."""
        try:
            client = await self._client(connection) if self._is_balancer(peer) else None
            await self._loop.connect_accepted_socket(lambda: self._session(client), connection, ssl=self._tls)
        except (proxyprotocol.NoHeader, TimeoutError) as error:
            self._turned_away()
            log.warning("smtp.no_proxy_header", balancer=peer, why=str(error) or "nothing came")
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
        async with asyncio.timeout(HEADER_SECONDS):
            while (count := proxyprotocol.missing(header)) > 0:
                more = await self._loop.sock_recv(connection, count)
                if not more:
                    raise ConnectionResetError("Connection lost")
                header += more
        return proxyprotocol.client(header)
