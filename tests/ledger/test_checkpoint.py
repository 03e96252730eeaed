"""Purging the chain: what is cut goes, what is left is whole, and nothing more can be taken away unseen."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, update

from ledger import chain
from ledger.consent import Person, event_row
from ledger.ledger import Ledger
from ledger.schema import chain_checkpoint, chain_head, consent_event, consent_personal
from policies.consent import State
from policies.words import Purpose
from tests.ledger.samples import BY_FOOTER, MAX, NOTICE, ON_PAPER, OPEN, by_hand, now


@pytest.fixture
async def purged(ledger: Ledger) -> Ledger:
    """A ledger with seven events, of which the first, third and fourth were purged before the last was added."""
    for name in "abcdef":
        await ledger.grant(f"{name}@client.example", OPEN, ON_PAPER)
    assert 3 == await ledger.job(lambda connection: chain.cut(connection, ledger.keyring, [4, 1, 3], now()))
    await ledger.grant("g@client.example", OPEN, ON_PAPER)
    return ledger


async def test_what_is_left_is_whole(purged: Ledger) -> None:
    """After a purge the chain is whole, with the rows that were kept and those that came later."""
    found = await purged.verify()

    assert ([], 4) == (found.flaws, found.events)


async def test_what_was_purged_is_gone(purged: Ledger, url: str) -> None:
    """Neither the events nor what was personal in them is left."""
    with by_hand(url) as connection:
        for table in (consent_event, consent_personal):
            assert [2, 5, 6, 7] == [row.sequence for row in connection.execute(table.select().order_by("sequence"))]


async def test_purging_again(purged: Ledger) -> None:
    """A second purge cuts behind the first, and nothing to purge changes nothing."""
    keyring = purged.keyring
    assert 0 == await purged.job(lambda connection: chain.cut(connection, keyring, [], now()))
    assert 2 == await purged.job(lambda connection: chain.cut(connection, keyring, [2, 7], now()))

    found = await purged.verify()
    assert ([], 2) == (found.flaws, found.events)


def _forged_row(connection: Connection) -> None:
    row = dict(connection.execute(consent_event.select().where(consent_event.c.sequence == 2)).one()._mapping)
    connection.execute(insert(consent_event).values({**row, "sequence": 3, "id": "x"}))


_OF_ANOTHER_TYPE = {"sqlite": "x'00ff'", "postgresql": "'00ff'"}
"""What a column of text can be made to hold; PostgreSQL takes nothing else than text."""

TAMPERING: dict[str, Callable[[Connection], Any]] = {
    "a row before the cut is taken away": lambda c: c.execute(
        delete(consent_event).where(consent_event.c.sequence == 2)
    ),
    "the last row before the cut is taken away": lambda c: c.execute(
        delete(consent_event).where(consent_event.c.sequence == 6)
    ),
    "a row is put into the gap": _forged_row,
    "a row before the cut is changed": lambda c: c.execute(
        update(consent_event).where(consent_event.c.sequence == 5).values(state="refused")
    ),
    "the first row behind the cut is taken away": lambda c: c.execute(
        delete(consent_event).where(consent_event.c.sequence == 7)
    ),
    "the checkpoint is taken away": lambda c: c.execute(delete(chain_checkpoint)),
    "the checkpoint counts fewer": lambda c: c.execute(update(chain_checkpoint).values(kept=2)),
    "the checkpoint counts in another type": lambda c: c.exec_driver_sql(
        f"UPDATE chain_checkpoint SET row_hash = {_OF_ANOTHER_TYPE[c.dialect.name]}"
    ),
    "the checkpoint lies at the end": lambda c: c.execute(
        update(chain_checkpoint).values(sequence=7, row_hash=c.execute(chain_head.select()).one().row_hash)
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_nothing_more_can_be_taken_away(purged: Ledger, url: str, what: str) -> None:
    """Whatever is changed by hand after a purge is found, for only the key file signs a checkpoint."""
    with by_hand(url) as connection:
        TAMPERING[what](connection)

    assert not (await purged.verify()).whole


async def test_personal_parts_may_be_missing_only_of_people_who_were_erased(ledger: Ledger, url: str) -> None:
    """An erased person's events stand without their personal parts; anybody else's missing one is a flaw."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ledger.grant("b@client.example", OPEN, ON_PAPER)
    person = Person.of(ledger.keyring, MAX)
    with by_hand(url) as connection:
        connection.execute(delete(consent_personal).where(consent_personal.c.sequence == 1))
    assert [1] == [flaw.sequence for flaw in (await ledger.verify()).flaws]

    async def suppress(connection: Any) -> tuple[int, str]:
        head = await chain.lock(connection)
        row = event_row(person, Purpose.OPEN, State.SUPPRESSED, BY_FOOTER, NOTICE, now())
        return await chain.append(connection, ledger.keyring, head, [row])

    await ledger.append(suppress)
    assert (await ledger.verify()).whole

    with by_hand(url) as connection:
        connection.execute(delete(consent_personal).where(consent_personal.c.sequence == 2))
    assert [2] == [flaw.sequence for flaw in (await ledger.verify()).flaws]
