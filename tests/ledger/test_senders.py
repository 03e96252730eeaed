"""What senders saved for their messages: it is found with the recipient's consent, and a change holds at once."""

import asyncio

import pytest

from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.senders import Saved
from policies.words import Purpose
from tests.ledger.samples import ANNA, MAX, ON_PAPER, OPEN, now

CLICK = frozenset({Purpose.CLICK})


async def saved(ledger: Ledger, sender: str = ANNA) -> Saved | None:
    """Return what the relay would hear that a sender saved."""
    return (await ledger.look_up(MAX, sender)).saved


async def save(ledger: Ledger, purposes: Saved | None, sender: str = ANNA) -> None:
    """Save a choice as the sender's page does: it knows the keyed hash."""
    await ledger.save_setting(ledger.keyring.folded(sender), purposes)


async def test_nothing_is_saved_at_first(ledger: Ledger) -> None:
    """A sender who saved nothing has no setting, which is not the same as nothing wished."""
    assert await saved(ledger) is None
    assert await ledger.setting_of(ledger.keyring.folded(ANNA)) is None


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({Purpose.OPEN}, {Purpose.OPEN, Purpose.DETAIL}),
        ({Purpose.CLICK}, {Purpose.CLICK, Purpose.DETAIL}),
        ({Purpose.OPEN, Purpose.CLICK}, set(Purpose)),
        (set(), set()),
    ],
    ids=["open", "click", "both", "none"],
)
async def test_what_is_saved_is_found(ledger: Ledger, chosen: set[Purpose], expected: set[Purpose]) -> None:
    """A choice is found as it was made; town and mail program go with it, as in a message."""
    before = now()
    await save(ledger, frozenset(chosen))

    assert expected == await saved(ledger)
    setting = await ledger.setting_of(ledger.keyring.folded(ANNA))
    assert setting is not None
    assert expected == setting.purposes
    assert before <= setting.changed_at <= now()


async def test_the_last_choice_counts(ledger: Ledger, settings: LedgerSettings, keyring: Keyring) -> None:
    """A change made in one process holds for the next look-up of every other, and so does forgetting it."""
    async with Ledger(settings, keyring) as other:
        await save(ledger, CLICK)
        assert Purpose.CLICK in (await saved(other) or ())
        await save(other, frozenset())
        assert frozenset() == await saved(ledger)
        await save(ledger, None)
        assert await saved(other) is None


async def test_a_tag_makes_no_other_sender(ledger: Ledger) -> None:
    """What a sender saved counts for return paths with a tag too; of what both saved, the least."""
    tagged = ANNA.replace("@", "+m4711@")
    await save(ledger, CLICK)
    assert {Purpose.CLICK, Purpose.DETAIL} == await saved(ledger, tagged.upper())
    await save(ledger, frozenset(Purpose), tagged)
    assert {Purpose.CLICK, Purpose.DETAIL} == await saved(ledger, tagged)
    await save(ledger, frozenset())
    assert frozenset() == await saved(ledger, tagged)
    await save(ledger, None)
    assert set(Purpose) == await saved(ledger, tagged)
    assert await saved(ledger) is None


async def test_every_spelling_is_the_same_sender(ledger: Ledger) -> None:
    """The setting is the person's, however their address is written."""
    await save(ledger, CLICK)

    assert Purpose.CLICK in (await saved(ledger, "Anna@EXAMPLE.org") or ())
    assert await saved(ledger, "anna@other.example") is None


async def test_everybody_hears_their_own(ledger: Ledger) -> None:
    """Look-ups that are answered together do not mix up senders or recipients."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await save(ledger, CLICK)
    senders = [ANNA if at % 3 else f"s{at}@example.org" for at in range(60)]
    recipients = [MAX if at % 2 else f"p{at}@x.example" for at in range(60)]
    found = await asyncio.gather(*map(ledger.look_up, recipients, senders))

    assert [sender == ANNA for sender in senders] == [one.saved is not None for one in found]
    assert [who == MAX for who in recipients] == [one.consent.granted(Purpose.OPEN, now()) for one in found]
