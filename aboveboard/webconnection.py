"""The web connection: uvicorn's, with an end to how long a request may take, and to how long its header may be."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from web.pages import SECURITY_HEADERS

SECONDS = 60.0
"""For a request to come, and its answer to be taken, from when it began; the first begins with the connection."""
PARTING_SECONDS = 8.0
"""The same once the process is to end: less than uvicorn waits before it cancels what is under way."""
MAX_HEADER = 65_536
"""Octets of a request without its body, or a little more: whoever has sent so many hears that it is too long."""


class WebConnection(HttpToolsProtocol):
    """A connection that ends where the client says nothing, never comes to an end, or takes up no answer.

    uvicorn itself waits for ever for the end of a request, and takes a header of any length.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._octets = 0
        self._is_whole = False
        self._until = self.loop.time() + SECONDS
        # One timer for all requests of a connection: most are over long before anybody looks.
        self._timer = self.loop.call_at(self._until, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the header has no end."""
        self._octets += len(data)
        super().data_received(data)
        if self._octets > MAX_HEADER and not self.transport.is_closing():
            self.send_400_response("The header is too long.")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; like every other answer it is kept and shown nowhere else."""
        fields = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(msg)), "connection": "close"}
        lines = [f"{name}: {value}\r\n" for name, value in (fields | SECURITY_HEADERS).items()]
        self.transport.write("".join(["HTTP/1.1 400 Bad Request\r\n", *lines, "\r\n", msg]).encode("ascii"))
        self.transport.close()

    def on_message_begin(self) -> None:
        """Count anew: another request begins."""
        self._octets = 0
        self._is_whole = False
        self._until = self.loop.time() + SECONDS
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Count the header alone: what reads a body has a bound of its own."""
        self._octets -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that the request is all there."""
        self._is_whole = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """Let what is under way come to its end, but soon."""
        super().shutdown()
        self._timer.cancel()
        self._until = min(self._until, self.loop.time() + PARTING_SECONDS)
        self._timer = self.loop.call_at(self._until, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if self._rests():
            self._until = now + SECONDS
        if self._until <= now:
            # Not closed: that would wait until the client has taken what was written.
            self.transport.abort()
        else:
            self._timer = self.loop.call_at(self._until, self._look)

    def _rests(self) -> bool:
        """Tell whether everything is answered and taken; uvicorn ends the connection then, after a few seconds."""
        answered = self._is_whole and self.cycle.response_complete and not self.pipeline
        return answered and not self.transport.get_write_buffer_size()
