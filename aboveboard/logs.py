"""Logging: one line per event on standard error, JSON unless a person looks. No addresses, tokens or content."""

import logging
import sys

import structlog


def set_up(*, serving: bool) -> None:
    """Configure logging for this process; a command that answers a person says only what went wrong beside that."""
    level = logging.INFO if serving else logging.ERROR
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        # Plain tracebacks: the decorated ones show local variables, which may hold somebody's mail.
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
