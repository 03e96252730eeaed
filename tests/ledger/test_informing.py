"""Informing: people who are on record by others' doing hear of it once; nobody else does."""

from datetime import timedelta
from typing import Any

from ledger import informing
from ledger.consent import Act, Person
from ledger.ledger import Ledger
from policies.consent import Assurance
from tests.ledger.samples import BY_FOOTER, BY_MAILBOX, MAX, ON_PAPER, OPEN, now
from tests.ledger.test_requests import letters
from tests.relaying import PUBLIC_URL

ASSERTED = Act("admin", "paper", Assurance.ASSERTED, "x", "folder 7", "a fair in Bonn")


async def waiting(ledger: Ledger, **limits: Any) -> list[str]:
    """Return who is to be informed."""
    found = await ledger.read(lambda connection: informing.uninformed(connection, ledger.keyring, **limits))
    return [one.address for one in found]


async def test_by_others_doing_only(ledger: Ledger) -> None:
    """Row 70: who was entered by somebody else is informed; who spoke themselves, or is gone, is not."""
    await ledger.grant(MAX, OPEN, ASSERTED)
    await ledger.grant("own@client.example", OPEN, BY_MAILBOX)
    await ledger.grant("saw@client.example", OPEN, ON_PAPER)
    await ledger.refuse(Person.of(ledger.keyring, "saw@client.example"), OPEN, BY_FOOTER)
    await ledger.grant("gone@client.example", OPEN, ON_PAPER)
    await ledger.erase(Person.of(ledger.keyring, "gone@client.example"), BY_MAILBOX)

    assert [MAX] == await waiting(ledger)
    assert ([], [MAX]) == (
        await waiting(ledger, before=now() - timedelta(days=30)),
        await waiting(ledger, before=now() + timedelta(days=1)),
    )


async def test_once(ledger: Ledger) -> None:
    """Row 70: the letter says what is on record and where it came from, and goes once."""
    await ledger.grant(MAX, OPEN, ASSERTED)
    (one,) = await ledger.read(lambda connection: informing.uninformed(connection, ledger.keyring))
    await ledger.job(lambda connection: informing.inform(connection, ledger.keyring, one, PUBLIC_URL, now()))
    ((kind, address, _, values),) = await letters(ledger)

    assert ("informed", MAX, "open", "a fair in Bonn") == (kind, address, values["what"], values["source"])
    assert values["url"].startswith(f"{PUBLIC_URL}/you/")
    assert [] == await waiting(ledger)


async def test_no_second_letter_while_the_first_proves_something(ledger: Ledger) -> None:
    """Row 70: that somebody was told is known for as long as what they were told of is on record."""
    told = now() - timedelta(days=1_100)
    await ledger.grant(MAX, OPEN, ASSERTED)
    await ledger.job(lambda connection: informing.was_informed(connection, ledger.keyring, MAX, told))
    await ledger.job(lambda connection: informing.was_informed(connection, ledger.keyring, "nobody@x.test", told))

    assert 1 == (await ledger.purge())["letters"]
    assert [] == await waiting(ledger)


async def test_told_in_another_way(ledger: Ledger) -> None:
    """Whoever was told on paper or by telephone is noted as informed, and nothing is sent."""
    await ledger.grant(MAX, OPEN, ASSERTED)
    await ledger.job(lambda connection: informing.was_informed(connection, ledger.keyring, MAX, now()))

    assert ([], []) == (await waiting(ledger), await letters(ledger))
