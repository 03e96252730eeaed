"""Letters about requests and to people who must be informed, written while the ledger is open; and what is overdue."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard.settings import Config
from ledger import chain, informing, outbox, requests
from ledger.informing import WITHIN
from ledger.ledger import Ledger
from ledger.outbox import Letter
from ledger.requests import CaseState
from ledger.schema import outbox as outbox_table
from ledger.schema import stamp

AHEAD = timedelta(days=3)
"""How long before a request is due the organisation hears of it."""
_SETTLING = timedelta(hours=1)
"""After which the receipts of an import are written."""
_SLICE = 100
"""People who are informed in one transaction."""


async def remind(config: Config, ledger: Ledger) -> dict[str, int]:
    """Put the letters that are due into the outbox, and return how many. Raises LedgerUnavailable.

    Every process does it: of several, the first finds something to do. Without mail of our own nothing is done; what is
    due shows in `requests list --overdue`.
    """
    if config.system_mail is None:
        return {"informed": 0, "overdue": 0}
    informed = found = await ledger.job(lambda connection: _inform(connection, config, ledger))
    while found == _SLICE:
        found = await ledger.job(lambda connection: _inform(connection, config, ledger))
        informed += found
    return {"informed": informed, "overdue": await ledger.job(lambda connection: _overdue(connection, config, ledger))}


async def _inform(connection: AsyncConnection, config: Config, ledger: Ledger) -> int:
    await chain.lock(connection)
    settled = datetime.now(UTC) - _SETTLING
    people = await informing.uninformed(connection, ledger.keyring, limit=_SLICE, settled=settled)
    for one in people:
        await informing.inform(connection, ledger.keyring, one, config.web.public_url, datetime.now(UTC))
    return len(people)


async def _overdue(connection: AsyncConnection, config: Config, ledger: Ledger) -> int:
    """Tell the organisation, once a day, which requests are overdue or soon will be; no address stands there."""
    await chain.lock(connection)
    now = datetime.now(UTC)
    today = select(outbox_table.c.id).where(
        outbox_table.c.kind == "overdue", outbox_table.c.created_at > stamp(now - timedelta(days=1))
    )
    due = await requests.overdue(connection, ledger.keyring, now.date() + AHEAD)
    if not due or (await connection.execute(today.limit(1))).first() is not None:
        return 0
    lines = [f"{one['number']} {one['kind']}: {_when(one)}" for one in due]
    letter = Letter("overdue", config.organisation.contact, config.organisation.language, {"list": "\n".join(lines)})
    await outbox.put(connection, ledger.keyring, letter, now)
    return len(due)


def _when(one: dict[str, str | None]) -> str:
    acknowledge = f"{one['acknowledge_by']} to acknowledge, " if one["acknowledged_at"] is None else ""
    return f"{acknowledge}{one['due_by']} to answer"


async def overdue(config: Config, ledger: Ledger) -> list[dict[str, str | None]]:
    """Return what should have been done by today: requests, and people who should have been informed."""
    now = datetime.now(UTC)

    async def work(connection: AsyncConnection) -> list[dict[str, str | None]]:
        late = await requests.overdue(connection, ledger.keyring, now.date())
        people = await informing.uninformed(connection, ledger.keyring, before=now - WITHIN)
        return late + [
            {
                "number": None,
                "kind": "inform",
                "address": one.address,
                "opened_at": stamp(one.since),
                "due_by": (one.since + WITHIN).date().isoformat(),
                "state": CaseState.OPEN.value,
            }
            for one in people
        ]

    return await ledger.read(work)
