"""Upkeep: what is done by itself while the ledger is open. What is over its time goes; people are asked to renew."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import compose
from aboveboard.config import Config
from ledger import renewal
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.renewal import Ending

Task = Callable[[Config, Ledger], Awaitable[dict[str, int]]]

HOUR_SECONDS = 3_600.0
HOURS_A_DAY = 24

log = structlog.get_logger()


async def keep_up(config: Config, ledger: Ledger) -> None:
    """Do it now, and again every hour or day. Ends when it is cancelled; what fails is logged, and tried again.

    Every process does it: of several, the first finds something to do.
    """
    for hour in itertools.count():
        await _run("purge", _purge, config, ledger)
        if hour % HOURS_A_DAY == 0:
            await _run("purge events", _purge_events, config, ledger)
            await _run("renew", renew, config, ledger)
        await asyncio.sleep(HOUR_SECONDS)


async def _run(name: str, task: Task, config: Config, ledger: Ledger) -> None:
    try:
        done = await task(config, ledger)
    except (LedgerError, OSError) as error:
        log.warning("upkeep.failed", task=name, why=str(error))
    else:
        if any(done.values()):
            log.info("upkeep.done", task=name, **done)


async def _purge(config: Config, ledger: Ledger) -> dict[str, int]:
    return await ledger.purge()


async def _purge_events(config: Config, ledger: Ledger) -> dict[str, int]:
    return {"events": await ledger.purge_events()}


async def renew(config: Config, ledger: Ledger) -> dict[str, int]:
    """Put a letter into the outbox for everybody whose grant ends soon, and return how many. Raises LedgerUnavailable.

    An organisation that asks nobody (``policy.ask``), or cannot write, does not ask again either.
    """
    if config.policy.ask == "never" or config.system_mail is None:
        return {"letters": 0}
    found = await ledger.read(lambda connection: renewal.ending(connection, ledger.keyring, datetime.now(UTC)))
    letters = 0
    for one in found:
        letters += await _renew(config, ledger, one)
    return {"letters": letters}


async def _renew(config: Config, ledger: Ledger, one: Ending) -> bool:
    async def work(connection: AsyncConnection) -> tuple[int, str] | None:
        teller, url = compose.teller(config), config.web.public_url
        asked = await renewal.renew(connection, ledger.keyring, teller, one, url, datetime.now(UTC))
        return asked.head if asked is not None else None

    return await ledger.append(work)
