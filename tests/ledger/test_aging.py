"""Aging: consent events go three years after a person's last one, and a refusal stays in force for good."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import aging, consent, contact, notices
from ledger.aging import Over
from ledger.consent import Act, Person
from ledger.ledger import Ledger
from policies.consent import State
from policies.words import Purpose
from tests.ledger.samples import BY_FOOTER, EVERYTHING, MAX, NOTICE, ON_PAPER, OPEN, by_hand, now

PERIOD = timedelta(days=1_095)
LONG_AGO = timedelta(days=1_200)
BEN = "ben@customer.test"


async def grant(ledger: Ledger, address: str, ago: timedelta, act: Act = ON_PAPER) -> None:
    """Record a grant as it was so long ago."""
    at = now() - ago

    async def work(connection: AsyncConnection) -> tuple[int, str]:
        await notices.keep(connection, NOTICE, at)
        person = Person.of(ledger.keyring, address)
        return await consent.grant(connection, ledger.keyring, person, OPEN, act, NOTICE, at)

    await ledger.append(work)


async def refuse(ledger: Ledger, address: str, ago: timedelta) -> None:
    """Record a refusal of everything as it was so long ago."""

    async def work(connection: AsyncConnection) -> tuple[int, str] | None:
        person, at = Person.of(ledger.keyring, address), now() - ago
        await notices.keep(connection, NOTICE, at)
        return await consent.refuse(connection, ledger.keyring, person, EVERYTHING, BY_FOOTER, NOTICE, at)

    await ledger.append(work)


async def states(ledger: Ledger, address: str) -> list[str]:
    """Return the states of somebody's events."""
    return [event["state"] for event in await ledger.history(Person.of(ledger.keyring, address))]


async def standing(ledger: Ledger, address: str) -> State | None:
    """Return where somebody stands on opens."""
    return (await ledger.standing(Person.of(ledger.keyring, address))).on(Purpose.OPEN).state


@pytest.mark.parametrize(("days", "left"), [(1_094, ["granted"]), (1_096, [])], ids=["three years", "longer"])
async def test_three_years_after_the_last_event(ledger: Ledger, days: int, left: list[str]) -> None:
    """Events are kept for three years after a person's last one; the chain is whole afterwards."""
    await grant(ledger, MAX, timedelta(days=days))
    await grant(ledger, BEN, timedelta(0))

    assert 1 - len(left) == await ledger.purge_events()
    assert (left, ["granted"]) == (await states(ledger, MAX), await states(ledger, BEN))
    assert [] == (await ledger.verify()).flaws


@pytest.mark.parametrize("days", [100, 1_000], ids=["a grant that counts", "one that ran out"])
async def test_a_later_event_keeps_the_earlier_ones(ledger: Ledger, days: int) -> None:
    """What somebody said long ago is kept as long as what they said last."""
    await grant(ledger, MAX, LONG_AGO)
    await grant(ledger, MAX, timedelta(days=days))

    assert 0 == await ledger.purge_events()


async def test_a_refusal_stays(ledger: Ledger, url: str) -> None:
    """Of a refusal the keyed hash stays and holds; the words and the address go, and the chain is whole."""
    await grant(ledger, MAX, LONG_AGO + timedelta(days=1))
    await refuse(ledger, MAX, LONG_AGO)

    assert 1 == await ledger.purge_events()
    assert (State.WITHDRAWN, ["withdrawn", "refused", "refused"]) == (
        await standing(ledger, MAX),
        await states(ledger, MAX),
    )
    assert [None] * 3 == [event["address"] for event in await ledger.history(Person.of(ledger.keyring, MAX))]
    assert [] == (await ledger.verify()).flaws
    assert 0 == await ledger.purge_events()
    with by_hand(url) as connection:
        connection.exec_driver_sql("DELETE FROM consent_event WHERE state = 'withdrawn'")
    assert [] != (await ledger.verify()).flaws


async def test_who_only_refused_stays_without_a_name(ledger: Ledger) -> None:
    """Where nothing goes but the words and the address of refusals, the chain is whole afterwards too."""
    await refuse(ledger, MAX, LONG_AGO)

    assert (0, 0) == (await ledger.purge_events(), await ledger.purge_events())
    assert [None] * 3 == [event["address"] for event in await ledger.history(Person.of(ledger.keyring, MAX))]
    assert (State.REFUSED, []) == (await standing(ledger, MAX), (await ledger.verify()).flaws)


@pytest.mark.parametrize(
    ("said", "left"),
    [([False], 1), ([False, True, False], 1), ([False, True], 0)],
    ids=["wants no mail", "wants none again", "changed their mind"],
)
async def test_who_wants_no_mail_is_remembered(ledger: Ledger, said: list[bool], left: int) -> None:
    """Of who asked not to be written to the last word stays, and it holds; of who took it back nothing stays."""
    person = Person.of(ledger.keyring, MAX)
    at = now() - LONG_AGO
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, at))
    for may_write in said:
        await ledger.append(
            lambda c, may=may_write: contact.say(c, ledger.keyring, person, BY_FOOTER, NOTICE, at, may_write=may)
        )

    before = [event["id"] for event in await ledger.history(person)]

    assert len(said) - left == await ledger.purge_events()
    assert before[len(said) - left :] == [event["id"] for event in await ledger.history(person)]
    assert (left == 1) == (await ledger.standing(person)).do_not_write
    assert [] == (await ledger.verify()).flaws


async def test_what_is_said_meanwhile_is_heard(ledger: Ledger) -> None:
    """Whoever says something between the look and the purge keeps everything."""
    await grant(ledger, MAX, LONG_AGO)
    found: Over = await ledger.read(lambda connection: aging.over(connection, PERIOD, now()))
    await grant(ledger, MAX, timedelta(0))
    moment: datetime = now()

    assert 1 == len(found.people)
    assert 0 == await ledger.job(lambda c: aging.purge(c, ledger.keyring, found, PERIOD, moment))
    assert ["granted", "granted"] == await states(ledger, MAX)
