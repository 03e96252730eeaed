"""The dialog with an upstream on an open connection: commands go out, replies come in, each paired with its command.

Takes the connection over from aiosmtplib, which pairs one reply with one command at a time and drops what comes in
between. Here what nobody asked for is noticed: an upstream that speaks out of turn is never believed.
"""

import asyncio
import math
import re
from collections import deque
from collections.abc import Callable

from proxy.reply import Reply

_MAX_REPLY = 32_768
"""Octets of a reply with all its lines; RFC 5321 §4.5.3.1.5 says 512 a line, the longest answers have a few kB."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+")


class Dialog(asyncio.Protocol):
    """One side of a conversation. ``ended`` is called once, when the connection is gone."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take a connection over. Raises ConnectionResetError where it has ended: that is told to whoever had it."""
        if transport.is_closing():
            raise ConnectionResetError("Connection lost")
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._partial = b""
        self._writable: asyncio.Future[None] | None = None
        self._patient_until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.ended: Callable[[], None] = _nothing
        self.unasked: Reply | None = None
        """A reply that came without a command: from then on no reply could be told from another."""
        self.heard_at = self._loop.time()
        self.expects_nothing = False
        """At rest between two messages: whatever comes now ends the connection."""
        transport.set_protocol(self)

    @property
    def is_in_step(self) -> bool:
        """Tell whether nothing was said beyond what was asked."""
        return self.unasked is None and not self._partial

    @property
    def is_up(self) -> bool:
        """Tell whether the connection is up and in step as far as is known."""
        return self.is_in_step and not self._transport.is_closing()

    @property
    def is_waiting(self) -> bool:
        """Tell whether an answer is still to come."""
        return bool(self._waiting)

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Pair replies with commands."""
        self.heard_at = self._loop.time()
        content = self._partial + data if self._partial else data
        try:
            while content and (found := _first_reply(content)) is not None:
                answer, end = found
                content = content[end:]
                self._take(answer)
        except ValueError:
            self._transport.abort()
            return
        self._partial = content
        if len(content) > _MAX_REPLY or (self.expects_nothing and not self._waiting):
            self._transport.abort()

    def _take(self, answer: Reply) -> None:
        if not self._waiting:
            self.unasked = self.unasked or answer
            return
        waiter = self._waiting.popleft()
        if not waiter.done():
            waiter.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell everybody who waits that nothing more will come."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("Connection lost"))
                # Who waits no longer does not look at it; that must not be reported as lost.
                waiter.exception()
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        self.ended()

    # What goes out

    def expect(self) -> "asyncio.Future[Reply]":
        """Return a future with the reply to what is sent next. Raises ConnectionResetError."""
        if self._transport.is_closing():
            raise ConnectionResetError("Connection lost")
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting.append(waiter)
        return waiter

    async def within(self, seconds: float, *answers: "asyncio.Future[Reply]") -> list[Reply]:
        """Return what is answered. Silence for so long ends the connection; raises ConnectionResetError.

        A command that hears nothing because one before it was refused, and the connection ended, shares its refusal.
        """
        self._patient_until = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._patient_until:
            self._set_timer()
        try:
            return [await answer for answer in answers]
        except ConnectionResetError:
            refusal = _refusal_among(answers)
            if refusal is None:
                raise
            return [refusal for _ in answers]
        finally:
            self._patient_until = math.inf

    def _set_timer(self) -> None:
        """Have it looked whether the time is over. One timer does for many commands: each ends long before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._patient_until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._patient_until <= self._loop.time():
            self._transport.abort()
        elif not math.isinf(self._patient_until):
            self._set_timer()

    def write(self, content: bytes) -> None:
        """Send bytes, or have them sent as soon as the connection takes them. Raises ConnectionResetError."""
        if self._transport.is_closing():
            raise ConnectionResetError("Connection lost")
        self._transport.write(content)

    async def drain(self, seconds: float) -> None:
        """Wait until the connection takes more. Raises ConnectionResetError or TimeoutError."""
        if self._writable is not None:
            async with asyncio.timeout(seconds):
                await self._writable
        if self._transport.is_closing():
            raise ConnectionResetError("Connection lost")

    def pause_writing(self) -> None:
        """Have ``drain`` wait: the other side does not keep up."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Have ``drain`` wait no longer."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def close(self) -> None:
        """Close the connection; who waits hears that it is lost. What was not taken up by now never will be."""
        if self._transport.get_write_buffer_size():
            # An orderly end would wait for it, for ever where the other side stands still.
            self._transport.abort()
        elif not self._transport.is_closing():
            # Not twice: asyncio's transport behind TLS knows nothing of itself any more then.
            self._transport.close()


def _nothing() -> None:
    """Nobody has asked to be told yet."""


def _refusal_among(answers: "tuple[asyncio.Future[Reply], ...]") -> Reply | None:
    """Return the first refusal that came before the connection was lost."""
    came = (one.result() for one in answers if one.done() and one.exception() is None)
    return next((one for one in came if one.code >= 400), None)


def _first_reply(content: bytes) -> tuple[Reply, int] | None:
    """Return the first reply and where it ends; None while it is not complete. Raises ValueError for what is none."""
    lines: list[str] = []
    start = 0
    while (end := content.find(b"\n", start)) != -1:
        line = content[start:end]
        code, mark = line[:3], line[3:4].strip()
        if len(code) != 3 or not code.isdigit() or mark not in (b"", b"-"):
            raise ValueError("not a reply")
        lines.append(_CONTROLS.sub(" ", line[4:].strip(b" \t\r").decode("utf-8", "surrogateescape")))
        start = end + 1
        if mark != b"-":
            return Reply(int(code), tuple(lines)), start
    return None
