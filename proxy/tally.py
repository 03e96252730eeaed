"""The tally: what happens many times for every message is counted in memory, and handed to Prometheus now and then.

Its own counters write to a file that all processes share, each time.
"""

import asyncio
from collections import Counter

import prometheus_client

_SECONDS = 0.5


class Tally:
    """Counts by labels."""

    def __init__(self, counter: prometheus_client.Counter) -> None:
        self._counter = counter
        self._counts: Counter[tuple[object, ...]] = Counter()
        _ALL.append(self)

    def count(self, *labels: object) -> None:
        """Count one. Needs a running event loop."""
        if not self._counts:
            asyncio.get_running_loop().call_later(_SECONDS, self.hand_over)
        self._counts[labels] += 1

    def hand_over(self) -> None:
        """Hand over what was counted."""
        for labels, count in self._counts.items():
            self._counter.labels(*labels).inc(count)
        self._counts.clear()


_ALL: list[Tally] = []


def hand_over() -> None:
    """Hand over what every tally has counted, before the process ends."""
    for tally in _ALL:
        tally.hand_over()
