"""When answers to pixels leave: on a grid, or a crowd of them at once."""

import asyncio

import pytest

from web import hits
from web.hits import CROWD, Ticks


async def waiting(ticks: Ticks, count: int) -> set[asyncio.Task[None]]:
    """Have so many wait, and return those that still do after a while."""
    tasks = {asyncio.ensure_future(ticks.next()) for _ in range(count)}
    _, left = await asyncio.wait(tasks, timeout=0.05)
    return left


async def test_a_few_wait_for_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than a crowd wait for the grid, so that the time of an answer tells nothing of what was recorded."""
    monkeypatch.setattr(hits, "TICK", 1e9)
    left = await waiting(Ticks(), CROWD - 1)
    for task in left:
        task.cancel()
    assert CROWD - 1 == len(left)


async def test_the_line_lets_everybody_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than until the next line."""
    monkeypatch.setattr(hits, "TICK", 0.001)
    assert set() == await waiting(Ticks(), 3)


async def test_a_crowd_goes_on_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that come at the same moment do not wait for the grid, the last of them neither."""
    monkeypatch.setattr(hits, "TICK", 1e9)
    assert set() == await waiting(Ticks(), CROWD + 1)
