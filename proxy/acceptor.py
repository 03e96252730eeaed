"""The acceptor: takes connections on a listening socket; from balancers it reads first who the client is.

One connection at a time, and what else there is to do in between: whoever takes all of a burst leaves the other
workers, which listen on the same socket, without anything to do. Event loops' own servers take many.
"""

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


class Acceptor:
    """Takes connections until it is closed; sessions that have begun go on."""

    def __init__(
        self,
        bound: socket.socket,
        session: MakeSession,
        tls: ssl.SSLContext | None,
        is_balancer: Callable[[str], bool],
        turned_away: Callable[[], None],
    ) -> None:
        """Begin. ``tls`` is for listeners whose clients begin with it; ``turned_away`` hears of headers not right."""
        bound.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._session = session
        self._tls = tls
        self._is_balancer = is_balancer
        self._turned_away = turned_away
        self._beginning: set[asyncio.Task[None]] = set()
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
        task = self._loop.create_task(self._begin(connection, str(peer[0])))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket, peer: str) -> None:
        """Have a session begin on a connection, or close it."""
        try:
            client = await self._client(connection) if self._is_balancer(peer) else None
            await self._loop.connect_accepted_socket(lambda: self._session(client), connection, ssl=self._tls)
        except proxyprotocol.NoHeader as error:
            self._turned_away()
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
