"""Logging: one line per event on standard error, JSON unless a person looks. No addresses, tokens or content."""

import fcntl
import json
import logging
import os
import select
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TextIO, cast

import structlog

_JSON = json.JSONEncoder(default=repr)
_PATIENCE = 250
"""Milliseconds that a log's reader has to make room."""
_PIPE_BYTES = 1_048_576
"""What a pipe holds for a reader that is busy, where the system lets it."""


def _as_json(logger: object, name: str, event: structlog.typing.EventDict) -> str:
    """Return an event as one line of JSON; structlog's own renderer makes a new encoder for every line."""
    return _JSON.encode(event)


class _Line(logging.Formatter):
    """What libraries say, in the same form: a line of JSON, also with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        line = {"logger": record.name, "event": record.getMessage(), "level": record.levelname.lower(), "timestamp": at}
        return _JSON.encode({**line, "exception": self.formatException(record.exc_info)} if record.exc_info else line)


class _Unblocked:
    """A pipe or socket whose reader is not waited for for long, and once it stands still no more.

    Else a log that is not taken up, as while a container's engine is being replaced, would bring all mail to a halt.
    """

    def __init__(self, descriptor: int, send: Callable[[bytes], int]) -> None:
        self._send = send
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._patience = _PATIENCE

    def write(self, text: str) -> None:
        """Write, unless there is no room for too long. Raises OSError."""
        content = text.encode("utf-8", "backslashreplace")
        while content:
            try:
                content = content[self._send(content) :]
                self._patience = _PATIENCE
            except BlockingIOError:
                if not self._room.poll(self._patience):
                    self._patience = 0
                    return

    def flush(self) -> None:
        """Nothing is held back."""


def _unblocked(stream: TextIO) -> _Unblocked | TextIO:
    """Return what does not wait for a reader where the stream is a pipe or a socket; else the stream itself."""
    with suppress(OSError, ValueError):
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_ISFIFO(mode):
            # Opened anew: whether writing waits belongs to what others may have open too.
            pipe = os.open(f"/proc/self/fd/{stream.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
            with suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            return _Unblocked(pipe, partial(os.write, pipe))
        if stat.S_ISSOCK(mode):
            end = socket.socket(fileno=os.dup(stream.fileno()))
            return _Unblocked(end.fileno(), lambda content: end.send(content, socket.MSG_DONTWAIT))
    return stream


class _Unfailing:
    """A stream that takes what it can: where the disk is full, or nobody reads any more, a line is lost and no mail.

    Closed means the end of the process.
    """

    def __init__(self, stream: _Unblocked | TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, as far as that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Hand over what was written, as far as that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def set_up(*, serving: bool) -> None:
    """Configure logging for this process; a command that answers a person says only what went wrong beside that."""
    level = logging.INFO if serving else logging.ERROR
    stream = cast("TextIO", _Unfailing(_unblocked(sys.stderr) if serving else sys.stderr))
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        # Plain tracebacks: the decorated ones show local variables, which may hold somebody's mail.
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors += [structlog.processors.format_exc_info, _as_json]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        # Every message is logged: what a logger does is worked out once.
        cache_logger_on_first_use=serving,
    )
    logging.basicConfig(level=logging.WARNING, stream=stream, format="%(levelname)s %(name)s %(message)s")
    if not sys.stderr.isatty():
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_Line())
    # Anybody can send what is no HTTP: a line for each would fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
