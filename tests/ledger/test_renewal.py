"""Renewal: asked once, in the last 30 days of a grant. Row 47: what people agreed to does not go on by itself."""

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import outbox, renewal
from ledger.consent import Person
from ledger.ledger import Ledger
from ledger.outbox import Letter
from ledger.schema import outbox as table
from policies.footer import Language
from tests.ledger.samples import BY_FOOTER, EVERYTHING, MAX, ON_PAPER, OPEN, TELLER, by_hand, now

URL = "https://track.example.org"
SOON = timedelta(days=340)
"""From now: in the last 30 days of a grant of 365."""


async def renew(ledger: Ledger, at: datetime) -> int:
    """Have everybody asked whose grant ends soon at a moment, and return how many are."""
    found = await ledger.read(lambda connection: renewal.ending(connection, ledger.keyring, at))
    asked = 0
    for one in found:

        async def work(connection: AsyncConnection, one: renewal.Ending = one) -> tuple[int, str] | None:
            done = await renewal.renew(connection, ledger.keyring, TELLER, one, URL, at)
            return done.head if done is not None else None

        asked += await ledger.append(work)
    return asked


async def letters(ledger: Ledger) -> list[Letter]:
    """Return every letter in the outbox."""
    found = []
    while (one := await ledger.job(lambda c: outbox.claim(c, ledger.keyring, now() + 2 * SOON))) is not None:
        found.append(one.letter)
        await ledger.job(lambda c, one=one: outbox.sent(c, one.id, now()))  # type: ignore[misc]
    return found


@pytest.mark.parametrize(("days", "expected"), [(300, 0), (340, 1), (366, 0)], ids=["early", "soon", "over"])
async def test_in_the_last_thirty_days(ledger: Ledger, days: int, expected: int) -> None:
    """People are asked in the last 30 days, not before, and not once it is over."""
    await ledger.grant(MAX, OPEN, ON_PAPER)

    assert expected == await renew(ledger, now() + timedelta(days=days))


async def test_once_only(ledger: Ledger) -> None:
    """The letter has a link and says until when; it is on record as a question, and does not come twice."""
    await ledger.grant(MAX, OPEN, ON_PAPER, Language.FRENCH)
    assert [1, 0] == [await renew(ledger, now() + later) for later in (SOON, SOON + timedelta(days=1))]

    (letter,) = await letters(ledger)
    assert ("renew", MAX, Language.FRENCH) == (letter.kind, letter.address, letter.language)
    assert letter.values["url"].startswith(f"{URL}/join/")
    until = (await ledger.history(Person.of(ledger.keyring, MAX)))[0]["valid_until"]
    assert until[:10] == letter.values["until"]
    states = [event["state"] for event in await ledger.history(Person.of(ledger.keyring, MAX))]
    assert ["granted", "requested"] == states


async def test_not_after_a_refusal(ledger: Ledger) -> None:
    """Whoever has stopped it meanwhile is not asked to go on."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ledger.refuse(Person(ledger.keyring.folded(MAX)), EVERYTHING, BY_FOOTER)

    assert 0 == await renew(ledger, now() + SOON)


async def test_no_letter_says_an_address_in_clear(ledger: Ledger, url: str) -> None:
    """What a letter will say, address included, is sealed in the outbox."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await renew(ledger, now() + SOON)

    with by_hand(url) as connection:
        row = connection.execute(table.select()).one()
    assert MAX.encode() not in row.sealed
    assert MAX not in json.dumps([str(value) for value in row])
