"""Logging: one line per event on standard error, JSON unless a person looks. No addresses, tokens or content."""

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO, cast

import structlog

_JSON = json.JSONEncoder(default=repr)


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


class _Unfailing:
    """A stream that takes what it can: where the disk is full, or nobody reads any more, a line is lost and no mail.

    Closed means the end of the process.
    """

    def __init__(self, stream: TextIO) -> None:
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
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        # Every message is logged: what a logger does is worked out once.
        cache_logger_on_first_use=serving,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    if not sys.stderr.isatty():
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_Line())
    # Anybody can send what is no HTTP: a line for each would fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
