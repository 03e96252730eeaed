"""Upkeep: what is done by itself while the ledger is open. What is over its time goes; people are asked to renew."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import compose
from aboveboard.collection import MAIL
from aboveboard.reload import Current
from aboveboard.reminding import remind
from aboveboard.settings import Config
from ledger import outbox, renewal
from ledger.anchor import Anchor, anchor_of_the_day, not_given_away
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.outbox import Letter
from ledger.renewal import Ending

Task = Callable[[Config, Ledger], Awaitable[dict[str, int]]]

HOUR_SECONDS = 3_600.0
HOURS_A_DAY = 24

log = structlog.get_logger()


async def keep_up(current: Current, ledger: Ledger) -> None:
    """Do it now, and again every hour or day. Ends when it is cancelled; what fails is logged, and tried again.

    Every process does it: of several, the first finds something to do. What the file says otherwise meanwhile counts
    from the next time on.
    """
    for hour in itertools.count():
        due = {**_HOURLY, **_DAILY} if hour % HOURS_A_DAY == 0 else _HOURLY
        for name, task in due.items():
            await _run(name, task, current.config, ledger)
        await asyncio.sleep(HOUR_SECONDS)


async def _run(name: str, task: Task, config: Config, ledger: Ledger) -> None:
    try:
        done = await task(config, ledger)
    except (LedgerError, OSError) as error:
        log.warning("upkeep.failed", task=name, why=str(error))
    except Exception:
        # Nothing that one task meets may end the others: retention would not be kept any more, and nobody would know.
        log.exception("upkeep.failed", task=name)
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


async def anchor(config: Config, ledger: Ledger) -> dict[str, int]:
    """Give the head of the chain away once a day, as ``consent.anchor`` says; return how often that was.

    Raises LedgerUnavailable, and OSError where the file cannot be written.
    """
    place = config.consent.anchor
    if place is None:
        return {"anchors": 0}
    head = await ledger.job(lambda connection: anchor_of_the_day(connection, datetime.now(UTC)))
    if head is None:
        return {"anchors": 0}
    try:
        await give_away(config, ledger, head, None if place == MAIL else Path(place))
    except (LedgerError, OSError):
        # In an hour it is tried again: a day without an anchor could be altered unseen.
        await ledger.job(not_given_away)
        raise
    return {"anchors": 1}


async def give_away(config: Config, ledger: Ledger, head: Anchor, file: Path | None) -> None:
    """Add the head of the chain to a file, or mail it to the organisation's contact.

    Raises LedgerUnavailable, and OSError where the file cannot be written.
    """
    if file is not None:
        await asyncio.to_thread(_add_line, file, str(head))
        return
    values = {"sequence": str(head.sequence), "link": head.link}
    letter = Letter("anchor", config.organisation.contact, config.organisation.language, values)
    await ledger.job(lambda connection: outbox.put(connection, ledger.keyring, letter, head.at))


def _add_line(file: Path, line: str) -> None:
    with file.open("a", encoding="ascii") as opened:
        opened.write(line + "\n")
        opened.flush()
        os.fsync(opened.fileno())


_HOURLY: dict[str, Task] = {"purge": _purge, "anchor": anchor, "remind": remind}
_DAILY: dict[str, Task] = {"purge events": _purge_events, "renew": renew}
