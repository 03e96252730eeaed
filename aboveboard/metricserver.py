"""The metrics server: answers scrapers on a listener of its own."""

from collections.abc import Callable
from contextlib import suppress
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, start_http_server

SECONDS = 10.0
"""How long one may wait for a client: each has a thread to itself."""


class _Handler(WSGIRequestHandler):
    timeout = SECONDS  # of the connection, as socketserver understands it

    def handle(self) -> None:
        """Answer one request; a client that says nothing, or is gone, is nobody's concern."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # so it is called there
        """Say nothing: the log is one line of JSON per event."""


def start(host: str, port: int, registry: CollectorRegistry) -> Callable[[], None]:
    """Serve what a registry collects; return what ends that. Raises OSError where the address cannot be had."""
    server, thread = start_http_server(port, addr=host, registry=registry)
    server.RequestHandlerClass = _Handler

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
