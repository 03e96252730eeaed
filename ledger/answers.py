"""Answers: the futures of those who wait for the ledger. Each is settled once, and only if nobody gave up waiting."""

import asyncio
from collections.abc import Iterable
from typing import Any

from ledger.errors import LedgerUnavailable


def settle(waiting: "asyncio.Future[Any]", result: Any, problem: Exception | None = None) -> None:
    """Give somebody the result, or have them hear of the problem where there is one."""
    if waiting.done():
        return
    if problem is not None:
        waiting.set_exception(problem)
    else:
        waiting.set_result(result)


def fail(waiting: Iterable["asyncio.Future[Any]"], error: LedgerUnavailable) -> None:
    """Have everybody hear that the ledger did not answer."""
    for one in waiting:
        if not one.done():
            one.set_exception(error)
            # Whoever gave up waiting does not look at it; that must not be reported as lost.
            one.exception()
