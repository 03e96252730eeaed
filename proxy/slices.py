"""Long work in slices, so that one large message does not keep all other sessions waiting.

A walk is a generator that yields wherever it may be interrupted and returns its result. Whoever has nobody to wait for
runs it to its end at once; the relay gives the event loop a turn between slices.
"""

import asyncio
from collections.abc import Generator, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")
Walk = Generator[None, None, T]

SLICE_SECONDS = 0.004
"""How long a walk goes on before others get their turn; a step between two yields may take as long again."""
STEP_BYTES = 131_072
"""How many bytes one step searches: 0.1 ms with nothing in them, and no more than a slice if it is full of it."""


def at_once(walk: Walk[T]) -> T:
    """Return the result of a walk, run to its end."""
    while True:
        try:
            next(walk)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_slices(walk: Walk[T]) -> T:
    """Return the result of a walk, with a turn for everybody else after each slice."""
    begun = perf_counter()
    while True:
        try:
            next(walk)
        except StopIteration as end:
            result: T = end.value
            return result
        if perf_counter() - begun > SLICE_SECONDS:
            await asyncio.sleep(0)
            begun = perf_counter()


def each(work: Iterable[T]) -> Walk[list[T]]:
    """Walk through an iterable, one step per item, and return the items."""
    done = []
    for one in work:
        done.append(one)
        yield
    return done
