"""Limits that are shared: how many connections and how many bytes of messages there may be at once, in all workers.

Every worker writes its own row of a piece of shared memory and reads the rows of all. So nobody locks, and what a
worker that died had counted is forgotten as soon as another takes its row.
"""

import hashlib
import mmap
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

_SLOTS = 16_384
"""Counters of clients, by a keyed hash of the address: two clients share one about once in so many."""
_ROUTES = 16
"""Counters of routes, by their number: a seventeenth shares one with the first."""
_STARVING = 2 + _ROUTES
_COUNTERS = _STARVING + _ROUTES
"""Of a row, before the clients' slots: connections, bytes, and for each route connections to its upstream, and whether
the worker has mail for it and no connection."""
_ROW = 8 * _COUNTERS + 2 * _SLOTS
_KEY = 16
_MOST_IN_A_SLOT = 65_535


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """What all workers together allow."""

    connections: int = 1_000
    per_client: int = 50
    bytes_in_flight: int = 536_870_912
    """Octets of messages that were begun to be read and are not answered yet."""


SHARED_LIMITS = SharedLimits()


class Census:
    """How many connections there are, of whom, and how many bytes are held; of one worker among several."""

    def __init__(self, memory: mmap.mmap, rows: int, row: int) -> None:
        """Begin the row of one worker. ``memory`` was made by ``descriptor`` for at least so many rows."""
        self._key = memory[:_KEY]
        view = memoryview(memory)
        starts = [_KEY + at * _ROW for at in range(rows)]
        self._counters = [view[start : start + 8 * _COUNTERS].cast("Q") for start in starts]
        self._clients = [view[start + 8 * _COUNTERS : start + _ROW].cast("H") for start in starts]
        # A client is looked for three times for one connection.
        self._slot = lru_cache(maxsize=1_024)(self._slot_of)
        self._own, self._own_clients = self._counters[row], self._clients[row]
        view[starts[row] : starts[row] + _ROW] = bytes(_ROW)

    @classmethod
    def alone(cls) -> "Census":
        """Return the census of a process that shares with nobody."""
        return cls(mmap.mmap(-1, _KEY + _ROW), 1, 0)

    @classmethod
    def shared(cls, descriptor: int, rows: int, row: int) -> "Census":
        """Return the census of one worker, in the memory behind a file descriptor of ``prepare``."""
        return cls(mmap.mmap(descriptor, _KEY + rows * _ROW), rows, row)

    def _slot_of(self, client: str) -> int:
        digest = hashlib.blake2b(client.encode(), digest_size=4, key=self._key)
        (number,) = struct.unpack("I", digest.digest())
        return int(number) % _SLOTS

    @property
    def connections(self) -> int:
        """How many connections all workers have."""
        return sum(counters[0] for counters in self._counters)

    @property
    def bytes_in_flight(self) -> int:
        """How many octets of messages all workers hold."""
        return sum(counters[1] for counters in self._counters)

    def of_client(self, client: str) -> int:
        """Return how many connections a client has to all workers."""
        slot = self._slot(client)
        return sum(clients[slot] for clients in self._clients)

    def enter(self, client: str) -> None:
        """Count a connection."""
        self._own[0] += 1
        slot = self._slot(client)
        self._own_clients[slot] = min(self._own_clients[slot] + 1, _MOST_IN_A_SLOT)

    def leave(self, client: str) -> None:
        """Count a connection no more."""
        self._own[0] -= 1
        slot = self._slot(client)
        self._own_clients[slot] = max(self._own_clients[slot] - 1, 0)

    def connect(self, route: int, connections: int) -> None:
        """Count connections to the upstream of a route, or with a negative number count them no more."""
        self._own[2 + route % _ROUTES] += connections

    def connected(self, route: int) -> int:
        """Return how many connections all workers have to the upstream of a route, or are opening."""
        return sum(counters[2 + route % _ROUTES] for counters in self._counters)

    def starve(self, route: int, *, starving: bool) -> None:
        """Say whether this worker has mail for a route and cannot get a first connection to its upstream."""
        self._own[_STARVING + route % _ROUTES] = starving

    def others_starve(self, route: int) -> bool:
        """Tell whether another worker has mail for a route and cannot get a first connection to its upstream."""
        at = _STARVING + route % _ROUTES
        return any(counters[at] for counters in self._counters if counters is not self._own)

    def hold(self, octets: int) -> None:
        """Count octets of a message, or with a negative number count them no more."""
        self._own[1] += octets


def prepare(descriptor: int, rows: int) -> None:
    """Make a file big enough for the rows of so many workers, and empty. Raises OSError where there is no room."""
    os.ftruncate(descriptor, 0)
    # A page that is only promised ends the process that writes to it first, once the disk or the memory is full.
    os.posix_fallocate(descriptor, 0, _KEY + rows * _ROW)
    os.pwrite(descriptor, os.urandom(_KEY), 0)


class Held:
    """The octets of one message, counted as they come and until the message is done with."""

    def __init__(self, census: Census, limit: int) -> None:
        self._census = census
        self._limit = limit
        self._octets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Count the message no more."""
        self._census.hold(-self._octets)
        self._octets = 0

    def grow(self, octets: int) -> bool:
        """Count so many octets in all for this message; return False, and count them not, where there is no room."""
        more = octets - self._octets
        if more > 0 and self._census.bytes_in_flight + more > self._limit:
            return False
        self._census.hold(more)
        self._octets = octets
        return True
