"""Asking: who may be asked, and how often. Requirements 47 and 61, and no second question for six months."""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import asking, chain, notices
from ledger.asking import Asked
from ledger.consent import CONTACT, Act, Person
from ledger.consent import event_row as event
from ledger.ledger import Ledger
from policies.consent import PAUSE, Assurance, State
from tests.ledger.samples import BY_FOOTER, BY_MAILBOX, EVERYTHING, MAX, NOTICE, ON_PAPER, OPEN, now

OTHER_SPELLING = "MAX@client.example"
DAY = timedelta(days=1)


async def ask(ledger: Ledger, address: str = MAX) -> Asked:
    """Have somebody asked by mail."""

    found: list[Asked] = []

    async def work(connection: AsyncConnection) -> tuple[int, str]:
        await notices.keep(connection, NOTICE, now())
        found.append(await asking.asked(connection, ledger.keyring, address, "mail", NOTICE, now(), OPEN))
        return found[0].head

    assert await ledger.append(work)
    return found[0]


async def may_ask(ledger: Ledger, later: timedelta = timedelta(0), address: str = MAX) -> bool:
    """Tell whether somebody may be asked, now or later."""
    return await ledger.read(lambda c: asking.why_not(c, ledger.keyring, address, now() + later)) is None


async def test_47_somebody_new_may_be_asked(ledger: Ledger) -> None:
    """Row 47: a person of whom nothing is known may be asked; the question is an event in the chain, and no grant."""
    assert await may_ask(ledger)
    asked = await ask(ledger)

    (found,) = await ledger.history(Person.of(ledger.keyring, MAX))
    assert ("open", "requested", "ask_mail") == (found["purpose"], found["state"], found["method"])
    assert 1 == asked.head[0]
    assert [] == (await ledger.verify()).flaws
    assert not (await ledger.standing(Person.of(ledger.keyring, MAX))).granted(OPEN[0], now())


@pytest.mark.parametrize("address", [MAX, OTHER_SPELLING], ids=["same spelling", "other spelling"])
async def test_no_second_question_for_six_months(ledger: Ledger, address: str) -> None:
    """Whoever does not answer is not asked again for six months, in whatever spelling; then once more."""
    await ask(ledger)

    found = [await may_ask(ledger, later, address) for later in (timedelta(0), PAUSE - DAY, PAUSE + DAY)]
    assert [False, False, True] == found


async def test_a_refusal_is_an_answer(ledger: Ledger) -> None:
    """Whoever refused is not asked for six months, even where nobody had asked them."""
    await ledger.refuse(Person(ledger.keyring.folded(MAX)), EVERYTHING, BY_FOOTER)

    assert [False, True] == [await may_ask(ledger, later) for later in (PAUSE - DAY, PAUSE + DAY)]


async def test_the_last_refusal_is_the_one_that_counts(ledger: Ledger) -> None:
    """Whoever refused twice is not asked for six months after the second time."""
    person = Person.of(ledger.keyring, MAX)

    async def work(connection: AsyncConnection) -> tuple[int, str]:
        await notices.keep(connection, NOTICE, now())
        times = [now() - days * DAY for days in (300, 100)]
        rows = [event(person, OPEN[0], State.REFUSED, BY_FOOTER, NOTICE, at) for at in times]
        return await chain.append(connection, ledger.keyring, await chain.lock(connection), rows)

    assert await ledger.append(work)
    assert [False, True] == [await may_ask(ledger, later) for later in (timedelta(0), PAUSE - 99 * DAY)]


async def test_a_grant_is_an_answer(ledger: Ledger) -> None:
    """Whoever agreed is not asked while that stands; once it is over, they may be."""
    await ledger.grant(MAX, OPEN, ON_PAPER)

    assert [False, True] == [await may_ask(ledger, later) for later in (DAY, 366 * DAY)]


@pytest.mark.parametrize(
    ("purpose", "state"),
    [
        pytest.param("open", State.SUPPRESSED, id="erased"),
        pytest.param("open", State.INVALIDATED, id="never agreed"),
        pytest.param(CONTACT, State.REFUSED, id="do not write to me"),
    ],
)
async def test_some_are_never_asked(ledger: Ledger, purpose: str, state: State) -> None:
    """Whoever was erased, says they never agreed, or wants no mail, is not asked again at all."""
    person = Person.of(ledger.keyring, MAX)
    act = Act("data_subject", "preference_page", Assurance.TOKEN_POSSESSION, "No")

    async def work(connection: AsyncConnection) -> tuple[int, str]:
        await notices.keep(connection, NOTICE, now())
        head = await chain.lock(connection)
        row = event(person, purpose, state, act, NOTICE, now())
        return await chain.append(connection, ledger.keyring, head, [row])

    assert await ledger.append(work)
    assert not await may_ask(ledger, 1_000 * DAY)


async def test_they_may_begin_again_themselves(ledger: Ledger) -> None:
    """A grant by their own mailbox ends what came before; when it is over, they may be asked."""
    await ledger.refuse(Person(ledger.keyring.folded(MAX)), EVERYTHING, BY_FOOTER)
    await ledger.grant(MAX, EVERYTHING, BY_MAILBOX)

    assert await may_ask(ledger, 400 * DAY)
