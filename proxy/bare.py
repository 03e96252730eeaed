"""A client's connection: aiosmtpd's STARTTLS, and what comes in and goes out, without its dialog and its streams."""

import asyncio
import logging
import math
import ssl
from typing import AnyStr, cast

from aiosmtpd.smtp import SMTP

from proxy.reply import Reply, reply
from proxy.wire import Wire

# aiosmtpd writes every command with its addresses to this logger (libraries.md §3.1, edge 16).
logging.getLogger("mail.log").setLevel(logging.CRITICAL)

LEAVE_SECONDS = 60.0
"""How long a client that was taken leave of in the middle of a message may take to send the rest of it."""
LEAVE_SILENCE = 5.0
"""How long it may be silent meanwhile."""
LEAVE_BYTES = 67_108_864
"""How much that may be."""


class BareSMTP(SMTP):
    """A connection in aiosmtpd's hands, without its dialog. ``go_on`` is called whenever there is something to do."""

    def __init__(self, tls_context: ssl.SSLContext | None, idle_seconds: float) -> None:
        """Take the context for STARTTLS, None where that is not offered, and how long the client may be silent.

        aiosmtpd's own constructor looks through all members of itself and of a handler for hooks, for every
        connection: half a millisecond, for hooks that are not used here.
        """
        loop = asyncio.get_running_loop()
        asyncio.StreamReaderProtocol.__init__(self, None, loop=loop)  # type: ignore[arg-type]  # None is taken
        self.loop = loop
        self.tls_context = tls_context
        self.transport: asyncio.Transport | None = None
        self._tls_protocol = self._original_transport = None
        self._wire = Wire(self._reset_timeout)
        self._idle_seconds = idle_seconds
        self._silent_until = math.inf
        self._timeout_handle = None
        self._is_unheard = False
        self._leaving: asyncio.TimerHandle | None = None
        self._leave_until, self._leave_bytes = math.inf, LEAVE_BYTES

    def go_on(self) -> None:
        """Do what can be done with what has come in."""
        raise NotImplementedError

    # What comes in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or go on behind TLS, where nothing counts that was sent in clear (RFC 3207 §4.2)."""
        self.transport = cast("asyncio.Transport", transport)
        self._wire.begin(self.transport)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sends."""
        if self._leaving is not None:
            self._read_on(len(data))
            return
        self._wire.feed(data)
        self.go_on()

    def eof_received(self) -> bool | None:
        """Let a client that has said all it had to say still hear our answers."""
        self._wire.feed_eof()
        self.go_on()
        return not self._secure and self._leaving is None

    def connection_lost(self, error: Exception | None) -> None:
        """End the connection, and what lies beneath its TLS."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if self._leaving is not None:
            self._leaving.cancel()
        if self._original_transport is not None:
            self._original_transport.close()
        self.transport = None
        self._wire.feed_eof()

    # What goes out

    @property
    def _secure(self) -> bool:
        return self._tls_protocol is not None

    @property
    def is_open(self) -> bool:
        """Tell whether the client can still be heard and answered."""
        return self.transport is not None and not self.transport.is_closing() and self._leaving is None

    def say(self, answer: Reply) -> None:
        """Send a reply; to a client that has gone, or has been taken leave of, nothing."""
        if self.transport is not None and self.is_open:
            self.transport.write(answer.wire())

    async def begin_tls(self) -> None:
        """Have TLS begin. Where it does not the connection is lost, of which asyncio tells only who is behind TLS."""
        begun = False
        try:
            await self.smtp_STARTTLS("")
            begun = self.is_open
        finally:
            if not begun:
                self.connection_lost(None)

    async def push(self, status: AnyStr) -> None:
        """Say what aiosmtpd has to say, which is only that TLS may begin, with an enhanced code (RFC 2034 §4)."""
        self.say(reply(220, "2.0.0 Go on with TLS"))

    def pause_writing(self) -> None:
        """Do nothing more for the client for now: it does not take up the answers it has."""
        self._is_unheard = True
        # Also where we had been the ones to be waited for: from now on it is the client again.
        self._reset_timeout()

    def resume_writing(self) -> None:
        """Go on: the client has taken up the answers that it had left lying."""
        self._is_unheard = False
        self.go_on()

    def hang_up(self, *, read_on: bool = False) -> None:
        """Close the connection, after what was written to it; nobody waits for ever until that is taken up.

        With ``read_on`` the client may first send what it has begun: a connection that is closed before all of it was
        read is reset, and then most programs never look at the answer, and hand in the same once more.
        """
        # Not twice: asyncio's transport behind TLS loses its connection then, and cannot be aborted any more.
        if self.transport is None or self.transport.is_closing():
            return
        self._reset_timeout()
        if not read_on:
            self.transport.close()
            return
        self._leave_until = self.loop.time() + LEAVE_SECONDS
        self._read_on(0)
        self._wire.discard()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _read_on(self, octets: int) -> None:
        """Forget what a client sends that was taken leave of, and close once it has had time and room enough."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._leave_bytes -= octets
        until = 0.0 if self._leave_bytes < 0 else min(self._leave_until, self.loop.time() + LEAVE_SILENCE)
        self._leaving = self.loop.call_at(until, self.hang_up)

    def abort(self) -> None:
        """End the connection at once, with what was not sent yet."""
        if self.transport is not None:
            self.transport.abort()

    # Silence

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Begin anew to count the client's silence. The timer itself looks only when the time may be over."""
        self._silent_until = self.loop.time() + self._idle_seconds
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(self._idle_seconds, self._timeout_cb)

    def _rest_timeout(self) -> None:
        """Stop counting the client's silence: while we work, it is waiting for us."""
        self._silent_until = math.inf

    def _timeout_cb(self) -> None:
        left = self._silent_until - self.loop.time()
        if left > 0:
            self._timeout_handle = self.loop.call_later(min(left, self._idle_seconds), self._timeout_cb)
            return
        if self._is_unheard or not self.is_open:
            # What was written before is not taken up, and nothing more would be.
            self.abort()
            return
        self.say(reply(421, "4.4.2 Nothing was heard for too long"))
        self.hang_up()
