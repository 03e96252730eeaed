"""Patience: nobody waits longer than allowed, and who is served in time hears what they waited for."""

import asyncio

import pytest

from ledger.patience import Patience


async def test_who_waits_too_long_hears_so() -> None:
    """A future that nothing happens to is ended, also one that came after others were served."""
    patience, loop = Patience(0.05), asyncio.get_running_loop()
    served: asyncio.Future[str] = loop.create_future()
    patience.watch(served)
    served.set_result("in time")
    for _ in range(2):
        waiting: asyncio.Future[str] = loop.create_future()
        with pytest.raises(TimeoutError):
            await patience.watch(waiting)
    assert "in time" == await served


async def test_each_has_the_whole_time() -> None:
    """Somebody who comes later is not ended with those who came before."""
    patience, loop = Patience(0.2), asyncio.get_running_loop()
    first: asyncio.Future[str] = loop.create_future()
    patience.watch(first)
    await asyncio.sleep(0.1)
    second: asyncio.Future[str] = loop.create_future()
    patience.watch(second)
    with pytest.raises(TimeoutError):
        await first
    assert not second.done()
    second.set_result("in time")
    assert "in time" == await second
