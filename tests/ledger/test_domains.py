"""Whole domains that refuse: what an administrator's entry holds against, and what ends it."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import aging, asking, imports, notices
from ledger.consent import Act, Person
from ledger.domains import METHOD
from ledger.errors import ConsentRefused
from ledger.exports import standings
from ledger.imports import Agreement, Landing, Manner
from ledger.ledger import Ledger, LedgerSettings
from ledger.proof import check, proof
from policies.address import domains_of
from policies.consent import Assurance, State
from policies.footer import Language
from policies.words import Purpose
from tests.ledger.samples import (
    BY_MAILBOX,
    NOTICE,
    ON_PAPER,
    OPEN,
    decided,
    hit,
    now,
)
from tests.ledger.test_imports import FAIR

MAX, BELOW, ELSEWHERE = "max@client.example", "eva@shop.client.example", "max@notclient.example"
ENTRY = Act("admin", METHOD, Assurance.ASSERTED, "the whole domain", "their letter of 3 May", "root")


def test_domains_of_an_address() -> None:
    """An address is in its domain and those above it, but no top-level domain speaks for anybody."""
    assert ["a.b.example", "b.example"] == domains_of("x@A.b.example.")
    assert [] == domains_of("x@localhost")
    assert [] == domains_of("postmaster")


async def states(ledger: Ledger, *addresses: str) -> list[State | None]:
    """Return where people stand on opens, as the relay hears it."""
    return [(await ledger.look_up(one, "a@example.org", 10)).consent.on(Purpose.OPEN).state for one in addresses]


async def test_it_holds_for_everybody_there_and_below(ledger: Ledger) -> None:
    """A grant on paper does not stand against it, whenever it was given; a neighbour's does."""
    for address in (MAX, BELOW, ELSEWHERE):
        await ledger.grant(address, OPEN, ON_PAPER)
    assert await ledger.refuse_domain("client.example", ENTRY)
    assert not await ledger.refuse_domain("client.example", ENTRY)
    assert [State.REFUSED, State.REFUSED, State.GRANTED] == await states(ledger, MAX, BELOW, ELSEWHERE)
    by_token = await ledger.standing(Person(ledger.keyring.folded(MAX)))
    assert by_token.on(Purpose.OPEN).state is State.REFUSED
    with pytest.raises(ConsentRefused, match="whole domain"):
        await ledger.grant(MAX, OPEN, ON_PAPER)
    assert [] == (await ledger.verify()).flaws


async def test_what_somebody_proves_later_counts(ledger: Ledger) -> None:
    """The newest word of a proven mailbox wins, as over any refusal; one before the entry does not."""
    await ledger.grant(MAX, OPEN, BY_MAILBOX)
    await ledger.refuse_domain("client.example", ENTRY)
    await ledger.grant(BELOW, OPEN, BY_MAILBOX)
    assert [State.REFUSED, State.GRANTED] == await states(ledger, MAX, BELOW)


async def test_taken_back(ledger: Ledger) -> None:
    """Taken back, what people said themselves is as it was; and it can be entered again."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ledger.refuse(Person.of(ledger.keyring, BELOW), OPEN, ON_PAPER)
    assert not await ledger.lift_domain("client.example", ENTRY)
    await ledger.refuse_domain("client.example", ENTRY)
    (listed,) = await ledger.refusing_domains()
    assert ("client.example", "their letter of 3 May", "root") == (listed["domain"], listed["reason"], listed["by"])
    assert await ledger.lift_domain("client.example", ENTRY)
    assert [State.GRANTED, State.REFUSED] == await states(ledger, MAX, BELOW)
    assert [] == await ledger.refusing_domains()
    await ledger.refuse_domain("client.example", ENTRY)
    assert [State.REFUSED] == await states(ledger, MAX)


async def test_it_reaches_back(ledger: Ledger) -> None:
    """Hits on messages sent before are gone and stay away; kept where asked; a neighbour's go on."""
    for address in (MAX, ELSEWHERE):
        await ledger.grant(address, OPEN, ON_PAPER)
    messages = [decided(recipients=(address,)) for address in (MAX, ELSEWHERE)]
    for message in messages:
        assert await ledger.record_decision(message)
        await ledger.record_hit(hit(message.id, at=now() - timedelta(minutes=5)))
    await ledger.refuse_domain("client.example", ENTRY, keep_hits=True)
    assert 2 == len(await ledger.hits())
    await ledger.refuse_domain("client.example", ENTRY)
    for message in messages:
        await ledger.record_hit(hit(message.id))
    assert [messages[1].id] * 2 == [one["message"] for one in await ledger.hits()]


async def test_a_name_that_is_gone_is_no_way_around(ledger: Ledger) -> None:
    """Where it is not known any more whom a message went to, and whole domains refuse, nothing is recorded."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    message = decided(recipients=(MAX,))
    assert await ledger.record_decision(message)
    await ledger.refuse_domain("other.example", ENTRY)
    await ledger.job(_forget_names)
    await ledger.record_hit(hit(message.id))
    assert [] == await ledger.hits()


async def _forget_names(connection: object) -> None:

    from ledger.schema import message

    await connection.execute(update(message).values(sealed=None))  # type: ignore[attr-defined]


async def test_another_process_hears_at_once(ledger: Ledger, settings: LedgerSettings) -> None:
    """Case 156: another worker goes by it with the next look-up."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    async with Ledger(settings, ledger.keyring) as other:
        assert [State.GRANTED] == await states(other, MAX)
        await ledger.refuse_domain("client.example", ENTRY)
        assert [State.REFUSED] == await states(other, MAX)


async def test_nobody_there_is_asked_or_imported(ledger: Ledger) -> None:
    """No question goes there, and an import does not grant over it."""
    await ledger.refuse_domain("client.example", ENTRY)
    why = await ledger.read(lambda connection: asking.why_not(connection, ledger.keyring, MAX, now()))
    assert why == "This person's whole domain refuses."
    known = await ledger.look_up(MAX, "a@example.org", 10)
    assert not known.consent.may_be_asked(now())
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))
    manner = Manner("root", {Language.ENGLISH: NOTICE}, Language.ENGLISH, FAIR)
    done = await imports.import_rows(ledger, ledger.keyring, [Agreement(2, MAX, OPEN, now())], manner, now())
    assert {Landing.REFUSED: 1} == done.landed


async def test_it_is_in_the_copy_of_somebody_there(ledger: Ledger) -> None:
    """Whoever asks for a copy of their data reads that it was said for their domain, and not by whose letter."""
    await ledger.refuse_domain("client.example", ENTRY)
    copy = await ledger.copy_of(Person.of(ledger.keyring, BELOW))

    assert {("open", "refused"), ("click", "refused"), ("detail", "refused")} == {
        (event["purpose"], event["state"]) for event in copy["domain_events"]
    }
    assert [] == [said for said in ("3 May", "root", "client.example") if said in json.dumps(copy["domain_events"])]


async def test_it_is_in_proof_and_export(ledger: Ledger) -> None:
    """The proof about somebody there holds the entry, and the export says that they stand refused."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ledger.refuse_domain("client.example", ENTRY)
    found = await ledger.read(
        lambda connection: proof(connection, ledger.keyring, Person.of(ledger.keyring, MAX), now())
    )
    assert [("granted", MAX), *[("refused", "@client.example")] * 3] == [
        (one["state"], one["address"]) for one in found["said"]
    ]

    assert [] == check(ledger.keyring, json.dumps(found))

    async def export(connection: AsyncConnection) -> list[tuple[str, str, str]]:
        lines = standings(connection, ledger.keyring, now())
        return sorted([(one["address"], one["purpose"], one["state"]) async for one in lines])

    assert (MAX, "open", "refused") in await ledger.read(export)


async def test_a_purge_keeps_what_holds(ledger: Ledger) -> None:
    """After their period a standing entry holds on, without its name, and one that was taken back leaves nothing."""

    await ledger.refuse_domain("client.example", ENTRY)
    await ledger.refuse_domain("gone.example", ENTRY)
    await ledger.lift_domain("gone.example", ENTRY)
    later, period = now() + timedelta(days=1_100), timedelta(days=1_095)
    found = await ledger.read(lambda connection: aging.over(connection, period, later))
    await ledger.job(lambda connection: aging.purge(connection, ledger.keyring, found, period, later))
    assert [State.REFUSED, None] == await states(ledger, MAX, "a@gone.example")
    assert [None] == [one["domain"] for one in await ledger.refusing_domains()]
