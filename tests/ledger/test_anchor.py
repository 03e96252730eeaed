"""Anchors: heads of the chain for somebody else to keep, and what they say of it later."""

from datetime import timedelta

import pytest

from ledger import chain
from ledger.anchor import Comparison, Head, anchor, anchor_of_the_day, compare, read
from ledger.ledger import Ledger
from tests.ledger.samples import MAX, ON_PAPER, OPEN, now

ANOTHER = "another@customer.test"
LINK = "0123456789abcdef" * 4


async def test_the_anchor_is_the_head(ledger: Ledger) -> None:
    """The anchor names the newest event, which moves on with every event."""
    found = []
    for address in (MAX, ANOTHER):
        await ledger.grant(address, OPEN, ON_PAPER)
        found.append(await ledger.read(lambda connection: anchor(connection, now())))

    assert [1, 2] == [one.sequence for one in found]
    assert str(found[1]).endswith(f" 2 {found[1].link}")


async def test_once_a_day(ledger: Ledger) -> None:
    """Of all who ask on a day the first gets the head, and the next day somebody does again."""
    moments = [now(), now(), now() + timedelta(days=1)]
    found = [await ledger.job(lambda c, at=at: anchor_of_the_day(c, at)) for at in moments]  # type: ignore[misc]

    assert [True, False, True] == [one is not None for one in found]


@pytest.mark.parametrize(
    ("line", "head"),
    [
        (f"2026-11-22T10:00:00.000000Z 17 {LINK}\n", (17, LINK)),
        (f"  17 {LINK}  ", (17, LINK)),
        (f"17 {LINK[1:]}", None),
        (f"seventeen {LINK}", None),
        (f"17 {LINK} more", None),
        ("", None),
    ],
)
def test_what_a_line_says(line: str, head: Head | None) -> None:
    """A kept line is read with the time in front or without it, and nothing else is taken for one."""
    assert head == read(line)


async def heads_of(ledger: Ledger, names: str) -> list[Head]:
    """Grant for people by these names, and return the head after each."""
    found = []
    for name in names:
        await ledger.grant(f"{name}@customer.test", OPEN, ON_PAPER)
        head = await ledger.read(lambda connection: anchor(connection, now()))
        found.append((head.sequence, head.link))
    return found


async def test_anchors_of_an_untouched_chain_agree(ledger: Ledger) -> None:
    """Every head that was ever given away agrees, that of the empty chain too."""
    empty = await ledger.read(lambda connection: anchor(connection, now()))
    heads = [(empty.sequence, empty.link), *await heads_of(ledger, "abc")]

    assert Comparison(4, 0, []) == await ledger.read(lambda connection: compare(connection, heads))


async def test_another_link_and_a_missing_event_are_found(ledger: Ledger) -> None:
    """An event with another link than the one that was kept is named, and so is one that is not there."""
    first, _ = await heads_of(ledger, "ab")
    found = await ledger.read(lambda connection: compare(connection, [first, (2, LINK), (3, LINK)]))

    assert 1 == found.agreeing
    assert [
        "Event 2 is another one than its anchor names: it, or what came before it, was altered.",
        "Event 3, which an anchor names, is missing.",
    ] == found.flaws


async def test_anchors_of_purged_events_say_nothing(ledger: Ledger) -> None:
    """After a purge the anchors of what is gone are counted apart; those of what is left, and later ones, agree."""
    heads = await heads_of(ledger, "abcd")
    assert 2 == await ledger.job(lambda connection: chain.cut(connection, ledger.keyring, [1, 3], now()))
    heads += await heads_of(ledger, "e")

    assert Comparison(3, 2, []) == await ledger.read(lambda connection: compare(connection, heads))
