"""Patience: waiting for something that goes on whether it is waited for or not."""

import asyncio
from typing import Any, TypeVar

Result = TypeVar("Result")


async def patiently(waiting: "asyncio.Future[Result]", seconds: float) -> Result:
    """Return what a future becomes, or raise TimeoutError after so many seconds and leave it alone.

    As ``wait_for`` with ``shield`` does, at a third of their cost.
    """
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end(_: Any = None) -> None:
        if not over.done():
            over.set_result(None)

    timer = loop.call_later(seconds, end)
    waiting.add_done_callback(end)
    try:
        await over
    finally:
        timer.cancel()
        waiting.remove_done_callback(end)
    if not waiting.done():
        raise TimeoutError
    return waiting.result()
