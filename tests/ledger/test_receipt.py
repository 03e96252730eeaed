"""Receipts: one for every grant, with every field that ISO/IEC TS 27560 makes mandatory, and a way to take it back."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger import links, outbox
from ledger.consent import Act, Person
from ledger.errors import ConsentRefused
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.links import LinkKind
from ledger.outbox import Letter
from policies.footer import Language
from policies.words import Purpose
from tests.ledger.samples import BY_MAILBOX, MAX, NOTICE, ON_PAPER, WITHOUT_EVIDENCE, now

URL = "https://track.example.org"
BOTH = (Purpose.OPEN, Purpose.CLICK)
MANDATORY = {
    "schema_version", "receipt_id", "pii_principal_id", "privacy_notice", "language", "pii_controllers",
    "storage_locations", "retention_period", "jurisdiction", "recipients", "withdrawal_method",
}  # fmt: skip
MANDATORY_OF_A_PARTY = {"party_id", "party_name", "party_address", "party_contact", "party_type"}
MANDATORY_OF_A_CONSENT = {
    "purpose", "pii_information", "pii_type", "event_time", "validity_duration", "entity_id", "event_type",
    "event_state",
}  # fmt: skip


@pytest.fixture
def settings(settings: LedgerSettings) -> LedgerSettings:
    """The settings of a ledger whose letters are sent."""
    return replace(settings, letters_url=URL)


async def letter(ledger: Ledger) -> Letter | None:
    """Return a letter from the outbox."""
    claimed = await ledger.job(lambda connection: outbox.claim(connection, ledger.keyring, now()))
    return claimed.letter if claimed else None


def everything_said(value: Any) -> bool:
    """Tell whether nothing in a receipt is empty, but for the collection point."""
    if isinstance(value, dict):
        return all(everything_said(inner) for key, inner in value.items() if key != "collection_point")
    if isinstance(value, list):
        return all(map(everything_said, value))
    return value not in ("", None)


@pytest.mark.parametrize("act", [ON_PAPER, BY_MAILBOX], ids=["asserted", "by mailbox"])
async def test_56_every_grant_has_a_receipt(ledger: Ledger, act: Act) -> None:
    """Rows 56 and 68: the receipt holds every mandatory field, none empty, and the records it is about."""
    await ledger.grant(MAX, BOTH, act, Language.GERMAN)
    found = await letter(ledger)
    assert found is not None
    receipt = json.loads(found.values["json"])

    assert ("receipt", MAX, Language.GERMAN, "open, click") == (
        found.kind,
        found.address,
        found.language,
        found.values["purposes"],
    )
    assert receipt.keys() >= MANDATORY
    assert all(party.keys() >= MANDATORY_OF_A_PARTY for party in receipt["pii_controllers"])
    assert all(one.keys() >= MANDATORY_OF_A_CONSENT for one in receipt["consents"])
    recorded = [event["id"] for event in await ledger.history(Person.of(ledger.keyring, MAX))]
    assert recorded == [one["record_id"] for one in receipt["consents"]]
    assert ["P365D", "P365D"] == [one["validity_duration"] for one in receipt["consents"]]
    # Of purposes under which nothing is stored yet, nothing is listed.
    assert everything_said(receipt)


async def test_what_somebody_else_recorded_is_undone_by_one_link(ledger: Ledger) -> None:
    """Row 62: a grant that somebody else recorded comes with a link of its own that takes it back."""
    await ledger.grant(MAX, BOTH, ON_PAPER)
    found = await letter(ledger)
    assert found is not None
    place, _, token = found.values["undo_url"].rpartition("/")
    link = await ledger.read(lambda connection: links.look(connection, ledger.keyring, token, now()))

    assert f"{URL}/you" == place
    assert link is not None
    assert (LinkKind.UNDO, MAX, {"purposes": ["open", "click"]}) == (link.kind, link.address, link.content)


async def test_who_agreed_themselves_gets_the_usual_page(ledger: Ledger) -> None:
    """A grant by the person's own mailbox is taken back on the page that every message leads to."""
    await ledger.grant(MAX, BOTH, BY_MAILBOX)
    found = await letter(ledger)

    assert found is not None
    assert found.values["undo_url"].startswith(f"{URL}/stop/")


async def test_a_renewal_has_its_own(ledger: Ledger) -> None:
    """A grant that is recorded again has another receipt, about the new records only."""
    await ledger.grant(MAX, BOTH, ON_PAPER)
    await letter(ledger)
    await ledger.grant(MAX, (Purpose.OPEN,), ON_PAPER)
    found = await letter(ledger)

    assert found is not None
    assert ["renewed"] == [one["event_state"] for one in json.loads(found.values["json"])["consents"]]


async def test_what_is_refused_has_none(ledger: Ledger) -> None:
    """Without a grant there is no letter."""
    with pytest.raises(ConsentRefused):
        await ledger.grant(MAX, BOTH, WITHOUT_EVIDENCE)

    assert await letter(ledger) is None


async def test_without_a_server_nothing_is_put_aside(settings: LedgerSettings, keyring: Keyring) -> None:
    """Where no mail of our own is sent, none is piled up."""
    async with Ledger(replace(settings, letters_url=None), keyring) as ledger:
        await ledger.grant(MAX, BOTH, ON_PAPER)

        assert await letter(ledger) is None


def test_the_notice_has_every_text_that_a_receipt_needs() -> None:
    """A receipt is made of the notice: what it lacks would be missing there."""
    assert all([NOTICE.storage_location, NOTICE.recipients, NOTICE.withdrawal, NOTICE.how_long, NOTICE.authority])
