"""Patience: who waits for the ledger waits so long and no longer. One timer watches over everybody."""

import asyncio
from collections import deque
from typing import Any, TypeVar

PATIENCE = 0.25
"""Seconds that a message or a hit waits for the ledger (DESIGN.md §2)."""
LATE_SECONDS = 2 * PATIENCE
"""After so long, whatever somebody still waited for when something was erased is on disk, or never will be."""

Result = TypeVar("Result")


class Patience:
    """Ends the wait for futures that are not done in time, with TimeoutError. One per event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """In the order of their deadlines."""

    def watch(self, waiting: "asyncio.Future[Result]") -> "asyncio.Future[Result]":
        """Return the future, which is done before the patience is over, one way or the other."""
        loop = asyncio.get_running_loop()
        if not self._watched:
            loop.call_later(self._seconds, self._look)
        self._watched.append((loop.time() + self._seconds, waiting))
        return waiting

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while self._watched:
            deadline, waiting = self._watched[0]
            if deadline > loop.time() and not waiting.done():
                loop.call_at(deadline, self._look)
                return
            if not waiting.done():
                waiting.set_exception(TimeoutError())
            self._watched.popleft()
