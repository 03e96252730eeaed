"""Links that prove a mailbox: single use, for a time, and visits carried in forms."""

from base64 import urlsafe_b64decode
from datetime import timedelta

import pytest

from ledger import links
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.links import LIFETIMES, PER_DAY, VISIT, LinkKind, visit, visitor
from ledger.tokens import stop_url
from tests.ledger.samples import MAX, now

SECOND = timedelta(seconds=1)


async def make(ledger: Ledger, kind: LinkKind = LinkKind.YOU, address: str = MAX) -> str:
    """Return the token of a new link."""
    token = await ledger.job(lambda connection: links.make(connection, ledger.keyring, kind, address, now(), {"a": 1}))
    assert token is not None
    return token


async def test_a_link_is_used_up_by_its_use_only(ledger: Ledger) -> None:
    """Looking at a link, however often, leaves it good; using it ends it (W8, W10)."""
    token = await make(ledger)
    looked = [await ledger.read(lambda c: links.look(c, ledger.keyring, token, now())) for _ in range(3)]
    used = [await ledger.job(lambda c: links.use(c, ledger.keyring, token, now())) for _ in range(2)]

    assert [MAX] * 3 == [one.address if one else None for one in looked]
    assert [(MAX, {"a": 1}), None] == [(one.address, one.content) if one else None for one in used]


@pytest.mark.parametrize("kind", LinkKind)
async def test_a_link_is_over_after_its_time(ledger: Ledger, kind: LinkKind) -> None:
    """A link works until its time is over: an hour for the preference centre, two weeks for an answer."""
    token = await make(ledger, kind)
    times = [now() + LIFETIMES[kind] - 60 * SECOND, now() + LIFETIMES[kind]]

    found = [await ledger.read(lambda c, at=at: links.look(c, ledger.keyring, token, at)) for at in times]  # type: ignore[misc]
    assert [True, False] == [one is not None for one in found]


async def test_no_more_than_a_few_a_day(ledger: Ledger) -> None:
    """However often a link is asked for, an address gets a few of a kind in a day (W19)."""
    keyring = ledger.keyring
    made = [
        await ledger.job(lambda c: links.make(c, keyring, LinkKind.YOU, MAX.upper(), now())) for _ in range(PER_DAY + 2)
    ]
    tomorrow = now() + timedelta(days=1)
    later = await ledger.job(lambda c: links.make(c, keyring, LinkKind.YOU, MAX, tomorrow))

    assert PER_DAY == len([one for one in made if one])
    assert later is not None


async def test_a_token_from_ordinary_mail_is_no_such_link(ledger: Ledger) -> None:
    """What stands at the end of every tracked message proves no mailbox (promise 6)."""
    token = stop_url(ledger.keyring, "http://x", MAX).rpartition("/")[2]

    assert await ledger.read(lambda c: links.look(c, ledger.keyring, token, now())) is None
    assert visitor(ledger.keyring, token, now()) is None
    assert not links.is_mailed(ledger.keyring, token)


async def test_the_token_names_nobody(ledger: Ledger) -> None:
    """W4: no address, and nothing that can be counted up, is in the token."""
    words = ("maximilian", "mustermann", "client")  # so long that none comes about by chance
    first, second = [await make(ledger, address="maximilian.mustermann@client.example") for _ in range(2)]
    carried = urlsafe_b64decode(first + "=" * (-len(first) % 4)).lower()

    assert first[:8] != second[:8] or first[24:] != second[24:]
    assert [] == [word for word in words if word in first.lower() or word.encode("ascii") in carried]


def test_visits() -> None:
    """A visit is for one address and a quarter of an hour, and none can be made up."""
    keyring, at = Keyring.throwaway(), now()
    text = visit(keyring, MAX, at)

    assert [MAX, None] == [visitor(keyring, text, at + VISIT + late) for late in (-2 * SECOND, SECOND)]
    assert visitor(Keyring.throwaway(), text, at) is None
    assert visitor(keyring, text[:-2] + "AA", at) is None
