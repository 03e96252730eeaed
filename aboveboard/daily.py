"""What is done every hour while the ledger is open: removing what is over its time, asking for renewal, the anchor."""

import asyncio
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

HOUR_SECONDS = 3_600.0

log = structlog.get_logger()


async def every_hour(config: Config, ledger: Ledger) -> None:
    """Do it now and every hour. Ends when it is cancelled; what fails is logged, and tried again the next hour.

    Every process does it: of several, the first finds something to do.
    """
    while True:
        for name, task in _TASKS.items():
            try:
                done = await task(config, ledger)
            except (LedgerError, OSError) as error:
                log.warning(f"daily.{name}_failed", why=str(error))
            else:
                if any(done.values()):
                    log.info(f"daily.{name}", **done)
        await asyncio.sleep(HOUR_SECONDS)


async def _purge(config: Config, ledger: Ledger) -> dict[str, int]:
    return await ledger.purge()


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


_TASKS: dict[str, Callable[[Config, Ledger], Awaitable[dict[str, int]]]] = {"purge": _purge, "renew": renew}
