"""Answers: what those hear who wait for the ledger, and those who gave up."""

import asyncio
import gc
from typing import Any

from ledger.answers import fail, settle
from ledger.errors import LedgerUnavailable


async def test_who_gave_up_hears_nothing() -> None:
    """An answer that comes too late for somebody changes nothing, be it good or bad."""
    waiting: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in range(3)]
    for one in waiting:
        one.cancel()

    settle(waiting[0], 1)
    settle(waiting[1], 1, LedgerUnavailable("gone"))
    fail(waiting[2:], LedgerUnavailable("gone"))

    assert [True] * 3 == [one.cancelled() for one in waiting]


async def test_a_failure_that_nobody_looks_at_is_not_reported() -> None:
    """Where the ledger is away, the log does not fill with errors that nobody took up."""
    loop, reported = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    fail([loop.create_future()], LedgerUnavailable("gone"))
    gc.collect()

    assert [] == reported
