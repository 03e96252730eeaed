"""aiosmtpd's connection handling and STARTTLS, set up with what these two use and nothing else."""

import asyncio
import logging
import ssl
from typing import AnyStr

from aiosmtpd.smtp import SMTP

_READ_AHEAD = 262_144
"""Bytes read from a client before it is made to wait."""

# aiosmtpd writes every command with its addresses to this logger (libraries.md §3.1, edge 16).
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class BareSMTP(SMTP):
    """A connection in aiosmtpd's hands, without its dialog."""

    def __init__(self, tls_context: ssl.SSLContext | None) -> None:
        """Take the context for STARTTLS, None where that is not offered.

        aiosmtpd's own constructor looks through all members of itself and of a handler for hooks, for every
        connection: half a millisecond, for hooks that are not used here.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ_AHEAD, loop=loop)
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop=loop)
        self.loop = loop
        self.enable_SMTPUTF8 = True
        self.tls_context = tls_context
        self.session = self.envelope = self.transport = None
        self._handle_hooks = {}
        self._timeout_handle = None
        self._tls_handshake_okay = True
        self._tls_protocol = self._original_transport = self._handler_coroutine = None

    async def push(self, status: AnyStr) -> None:
        """Say what aiosmtpd has to say, which is only that TLS may begin, with an enhanced code (RFC 2034 §4)."""
        self._writer.write(b"220 2.0.0 Go on with TLS\r\n")
        await self._writer.drain()
