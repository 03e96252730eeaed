"""Workers killed, drained and replaced while mail flows."""

import asyncio
import os
import random
import signal

from tests.faults.account import Account, Row
from tests.faults.dialogs import Stage
from tests.faults.load import Load, during

SEED = 20261102


async def killed(stage: Stage, name: str, messages: int, times: int) -> Row:
    """``kill -9`` of one relay process or of all, again and again: nothing lost, doubled only what nobody heard of."""
    account = Account(name)
    place, dice = stage.place, random.Random(SEED)
    load = Load(place.port, account, messages)
    gone: set[int] = set()

    async def kill() -> None:
        for number in range(times):
            await load.reach((number + 0.5) / times)
            found = await asyncio.to_thread(place.service.workers, "relay")
            # Every third time all of them at once.
            for pid in found if number % 3 == 1 else dice.sample(found, min(1, len(found))):
                os.kill(pid, signal.SIGKILL)
                gone.add(pid)

    await during(load, kill)
    await place.healed(gone)
    record = stage.shared.record()
    wrong = await place.misrecorded(account, record, killed=True)
    if len(gone) < times:
        wrong.append(f"only {len(gone)} processes were killed")
    return account.row(record, wrong)


async def rolling(stage: Stage, name: str, messages: int, *, whole: bool) -> Row:
    """Every relay process is drained and replaced, and the file read again: no message is cut or doubled.

    ``whole`` says that in the end the service is replaced, too.
    """
    account = Account(name)
    place = stage.place
    load = Load(place.port, account, messages)
    codes: list[int] = []

    async def restart() -> None:
        before = await asyncio.to_thread(place.service.workers, "relay")
        for number, pid in enumerate(before, start=1):
            await load.reach(0.2 * number)
            text = place.service.config.read_text("utf-8")
            place.service.config.write_text(text.replace('merge_window = "off"', f'merge_window = "off"\n# {number}'))
            place.service.process.send_signal(signal.SIGHUP)
            os.kill(pid, signal.SIGTERM)
            await place.healed([pid], greeting=False)
        if whole:
            await load.reach(0.7)
            codes.append(await asyncio.to_thread(place.service.end))
            await asyncio.to_thread(place.service.start)

    await during(load, restart)
    await asyncio.to_thread(place.service.wait_until_ready)
    record = stage.shared.record()
    row = account.row(record, await place.misrecorded(account, record))
    if row.cut or row.doubled:
        row.wrong.append(f"{row.cut} were cut, and {row.doubled} came twice")
    if any(codes):
        row.wrong.append(f"it ended with {codes}")
    return row
