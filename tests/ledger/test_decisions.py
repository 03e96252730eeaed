"""Decisions on record: one row per message, which says why, and of an untracked one never who or what about."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from ledger.consent import Person
from ledger.decisions import to_row
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.schema import decision_count, message
from policies.words import Outcome, Purpose, Reason
from tests.ledger.samples import ANNA, BY_FOOTER, MAX, OPEN, by_hand, decided, hit, now

CANARY = "Kanarienvogelfütterung"
BIRD = "kanarienvogel"
SPELLINGS = [
    spelling.encode(encoding)
    for spelling in (CANARY, CANARY.upper(), BIRD, BIRD.upper(), BIRD.title())
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp500")
] + [b"a2FuYXJpZW52b2dlb", b"S2FuYXJpZW52b2dlb", BIRD.encode().hex().encode(), CANARY.encode("utf-7")]
UNTRACKED = [reason for reason in Reason if reason is not Reason.TRACKED]


def counts(url: str) -> dict[tuple[str, str, str], int]:
    """Return the counts of decisions by day, class and reason."""
    with by_hand(url) as connection:
        return {(row[0], row[1], row[2]): row[3] for row in connection.execute(select(decision_count))}


async def test_tracked_message_says_everything(ledger: Ledger) -> None:
    """The row of a tracked message explains it: who, what about, class, reasons, rules, policy and consent."""
    one = decided(reasons={Purpose.OPEN: Reason.TRACKED, Purpose.CLICK: Reason.RULE, Purpose.DETAIL: Reason.POLICY_OFF})
    assert await ledger.record_decision(one)
    [found] = await ledger.messages()

    assert {
        "message": one.id,
        "decided_at": one.decided_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "class": "individual",
        "reason": "tracked",
        "reasons": {"open": "tracked", "click": "rule", "detail": "policy_off"},
        "open": True,
        "click": False,
        "detail": False,
        "detail_of_protection": None,
        "rules": ["a rule"],
        "policy_version": "policy-1",
        "consent": ["an event"],
        "recipients": 1,
        "outcome": "pending",
        "sender": ANNA,
        "recipient": MAX,
        "subject": "Our offer",
    } == found


@pytest.mark.parametrize("reason", UNTRACKED)
async def test_untracked_message_names_nobody(ledger: Ledger, reason: Reason) -> None:
    """The row of an untracked message says why, and neither who nor what about."""
    assert await ledger.record_decision(decided(reason))
    [found] = await ledger.messages()

    assert (reason, None, None, None) == (found["reason"], found["sender"], found["recipient"], found["subject"])
    assert not any(found[purpose.value] for purpose in Purpose)


@pytest.mark.parametrize("reason", [Reason.NO_CONSENT, Reason.REFUSED, Reason.GROUP, Reason.TRACKED])
async def test_no_word_of_a_message_is_readable_on_disk(
    ledger: Ledger, on_disk: Callable[[], bytes], reason: Reason
) -> None:
    """No subject and no address can be found in the database's files, in any spelling, tracked or not."""
    addresses = (f"{BIRD}@client.example", f"{BIRD.upper()}@other.example")
    recipients = addresses if reason is Reason.GROUP else addresses[:1]
    one = decided(reason, sender=f"{BIRD}@example.org", recipients=recipients, subject=CANARY)
    assert await ledger.record_decision(one)
    ledger.record_outcome(one.id, Outcome.ACCEPTED)
    await ledger.record_hit(hit(one.id, Purpose.CLICK, link=1, place=f"{BIRD}.example/{CANARY}"))
    content = on_disk()

    assert one.id.encode() in content
    assert [] == [spelling for spelling in SPELLINGS if spelling in content]


async def test_group_names_nobody_even_if_it_says_tracked(ledger: Ledger) -> None:
    """With two recipients there is no one person to name."""
    assert await ledger.record_decision(decided(recipients=(MAX, "eva@x.example")))
    [found] = await ledger.messages()

    assert (2, None) == (found["recipients"], found["recipient"])


def test_two_spellings_are_one_recipient() -> None:
    """One person in two spellings is one recipient, found by the folded hash."""
    keyring = Keyring.throwaway()
    row = to_row(keyring, decided(recipients=(MAX, MAX.lower())))

    assert (1, keyring.exact(MAX), keyring.folded(MAX)) == (row["recipients"], row["exact_hash"], row["folded_hash"])


@pytest.mark.parametrize("subject", ["", "\udcff\ud800", "\0", "Ä" * 10_000, "😀"], ids=ascii)
async def test_any_subject_can_be_recorded(ledger: Ledger, subject: str) -> None:
    """No subject, however broken, keeps a message's row from being written, nor the others in its commit."""
    assert [True, True] == await asyncio.gather(
        ledger.record_decision(decided(subject=subject)), ledger.record_decision(decided())
    )
    assert 2 == len(await ledger.messages())


@pytest.mark.parametrize("address", ["\udcff@x.example", "", "x" * 500], ids=ascii)
async def test_any_address_can_be_recorded(ledger: Ledger, address: str) -> None:
    """No address, however broken, keeps a message's row from being written."""
    assert await ledger.record_decision(decided(sender=address, recipients=(address,)))
    assert 1 == len(await ledger.messages())


async def test_message_without_recipients_can_be_recorded(ledger: Ledger) -> None:
    """A message that nobody was accepted for has a row too."""
    assert await ledger.record_decision(decided(Reason.ERROR, recipients=()))
    assert [0] == [found["recipients"] for found in await ledger.messages()]


@pytest.mark.parametrize("outcome", Outcome)
async def test_outcome_is_recorded(ledger: Ledger, outcome: Outcome) -> None:
    """What the upstream said in the end is written to that message, with the next commit."""
    one, other = decided(), decided()
    await asyncio.gather(ledger.record_decision(one), ledger.record_decision(other))
    ledger.record_outcome(one.id, outcome)
    await ledger.tick()

    assert {one.id: outcome.value, other.id: "pending"} == {
        found["message"]: found["outcome"] for found in await ledger.messages()
    }


async def test_last_outcome_counts(ledger: Ledger) -> None:
    """Of several outcomes in one commit the last one stands."""
    one = decided()
    await ledger.record_decision(one)
    for outcome in (Outcome.UNKNOWN, Outcome.REFUSED, Outcome.ACCEPTED):
        ledger.record_outcome(one.id, outcome)
    await ledger.tick()

    assert ["accepted"] == [found["outcome"] for found in await ledger.messages()]


async def test_outcome_of_an_unknown_message_does_no_harm(ledger: Ledger) -> None:
    """An outcome of a message that was never recorded makes no row."""
    ledger.record_outcome("0" * 32, Outcome.ACCEPTED)
    await ledger.tick()

    assert [] == await ledger.messages()


async def test_void_takes_tracking_back(ledger: Ledger) -> None:
    """A message that went out untracked after all says so for every purpose, names nobody, and has no hits."""
    one = decided()
    await ledger.record_decision(one)
    ledger.void_decision(one.id, Reason.TOO_LARGE)
    await ledger.record_hit(hit(one.id))
    [found] = await ledger.messages()

    assert ("too_large", None, None, None) == (
        found["reason"], found["sender"], found["recipient"], found["subject"]
    )  # fmt: skip
    assert {"too_large"} == set(found["reasons"].values())
    assert [] == await ledger.hits()


async def test_messages_are_counted(ledger: Ledger, url: str) -> None:
    """Decisions are counted by day, class and reason, many in one commit or one in many."""
    yesterday = timedelta(days=1)
    reasons = [Reason.TRACKED, Reason.NO_CONSENT, Reason.NO_CONSENT, Reason.GROUP]
    await asyncio.gather(*(ledger.record_decision(decided(reason)) for reason in reasons))
    for reason in reasons:
        await ledger.record_decision(decided(reason, ago=yesterday))
        await ledger.record_decision(decided(reason, ago=yesterday))

    today = [((now()).strftime("%Y-%m-%d"), "individual", reason.value) for reason in reasons]
    before = [((now() - yesterday).strftime("%Y-%m-%d"), "individual", reason.value) for reason in reasons]
    assert Counter(today) + Counter(before) + Counter(before) == counts(url)


async def test_counts_outlive_the_messages(ledger: Ledger, url: str) -> None:
    """After the rows are gone the counts are still there, and go on."""
    await ledger.record_decision(decided(Reason.NO_CONSENT))
    with by_hand(url) as connection:
        connection.execute(delete(message))
    await ledger.record_decision(decided(Reason.NO_CONSENT))

    assert [2] == [*counts(url).values()]


async def test_messages_are_shown_newest_first(ledger: Ledger) -> None:
    """Messages come newest first, as many as asked for, and of one sender where one is asked for."""
    old, new = decided(ago=timedelta(hours=1)), decided(sender="ben@example.org")
    await asyncio.gather(ledger.record_decision(new), ledger.record_decision(old))

    async def ids(**asked: Any) -> list[str]:
        return [found["message"] for found in await ledger.messages(**asked)]

    assert [new.id, old.id] == await ids()
    assert [new.id] == await ids(limit=1)
    assert [old.id] == await ids(sender_hash=ledger.keyring.folded(ANNA.upper()))
    assert [] == await ids(sender_hash=ledger.keyring.folded("nobody@example.org"))


async def test_address_is_known_from_the_newest_tracked_message(ledger: Ledger) -> None:
    """Whoever refuses by token can be written to where a tracked message to them is on record, and only there."""
    person = Person(ledger.keyring.folded(MAX))
    await ledger.record_decision(decided(Reason.NO_CONSENT, recipients=("MAX@client.example",)))
    assert None is await ledger.known_address(person)

    await ledger.record_decision(decided(ago=timedelta(hours=1)))
    await ledger.record_decision(decided(recipients=("max@client.example",)))
    await ledger.refuse(person, OPEN, BY_FOOTER)

    assert "max@client.example" == await ledger.known_address(person)


async def test_sealed_row_opens_only_in_its_place(ledger: Ledger, url: str) -> None:
    """Who a message went to cannot be moved to another message by hand."""
    one, other = decided(), decided(subject="Another")
    await asyncio.gather(ledger.record_decision(one), ledger.record_decision(other))
    with by_hand(url) as connection:
        sealed = connection.scalar(select(message.c.sealed).where(message.c.id == one.id))
        connection.execute(update(message).where(message.c.id == other.id).values(sealed=sealed))

    with pytest.raises(LedgerError, match="does not open"):
        await ledger.messages()
