"""The tally: what is counted on the way of a message is counted in memory, and handed to Prometheus now and then.

Its own counters write to a file that all processes share, each time; and they raise where that file cannot be made or
grow, as on a full disk. No mail waits or fails for the sake of a number.
"""

import asyncio
from collections import Counter

import prometheus_client
import structlog

_SECONDS = 0.5

log = structlog.get_logger()


class Tally:
    """Counts by labels."""

    def __init__(self, counter: prometheus_client.Counter) -> None:
        self._counter = counter
        self._counts: Counter[tuple[object, ...]] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._failed = False
        _ALL.append(self)

    def count(self, *labels: object, amount: int = 1) -> None:
        """Count so many. Needs a running event loop. Never raises for what Prometheus cannot do."""
        self._counts[labels] += amount
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.hand_over)

    def hand_over(self) -> None:
        """Hand over what was counted. What cannot be is kept, and handed over with what is counted next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._counts:
            labels, amount = self._counts.popitem()
            try:
                self._counter.labels(*labels).inc(amount)
            except Exception as error:  # noqa: BLE001  # whatever its files raise: a number, and no mail, is late
                self._counts[labels] += amount
                self._complain(error)
                return
        self._failed = False

    def _complain(self, error: Exception) -> None:
        if not self._failed:
            log.error("metrics.kept_back", why=str(error))
        self._failed = True


_ALL: list[Tally] = []


def hand_over() -> None:
    """Hand over what every tally has counted, before the process ends."""
    for tally in _ALL:
        tally.hand_over()
