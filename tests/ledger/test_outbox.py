"""The outbox: mail that aboveboard itself sends."""

from datetime import timedelta

from ledger import outbox
from ledger.ledger import Ledger
from ledger.outbox import MAX_ATTEMPTS, Claimed, Letter
from ledger.schema import outbox as table
from policies.footer import Language
from tests.ledger.samples import MAX, by_hand, now

LETTER = Letter("receipt", MAX, Language.FRENCH, {"url": "http://x"})
HOUR = timedelta(hours=1)


async def put(ledger: Ledger) -> str:
    """Return the id of a letter in the outbox."""
    return await ledger.job(lambda connection: outbox.put(connection, ledger.keyring, LETTER, now()))


async def claim(ledger: Ledger, later: timedelta = HOUR) -> Claimed | None:
    """Return a letter that is due."""
    return await ledger.job(lambda connection: outbox.claim(connection, ledger.keyring, now() + later))


async def test_a_letter_is_taken_up_once(ledger: Ledger) -> None:
    """A letter comes out as it was put in, to one process at a time; one that was left lying is due again."""
    letter_id = await put(ledger)
    found = [await claim(ledger, later) for later in (timedelta(0), timedelta(0), HOUR)]

    assert [Claimed(letter_id, LETTER, 1), None, Claimed(letter_id, LETTER, 2)] == found


async def test_what_was_sent_is_not_kept(ledger: Ledger, url: str) -> None:
    """Of a letter that was sent, only that it was is kept; it is never sent again."""
    letter_id = await put(ledger)
    await ledger.job(lambda connection: outbox.sent(connection, letter_id, now()))

    assert await claim(ledger) is None
    with by_hand(url) as connection:
        row = connection.execute(table.select()).one()
    assert ("sent", None) == (row.state, row.sealed)


async def test_it_is_tried_again_and_in_the_end_given_up(ledger: Ledger) -> None:
    """A letter that is not accepted comes again, later each time, and not without end."""
    await put(ledger)
    tries, at = 0, timedelta(0)
    while (claimed := await claim(ledger, at)) is not None:
        tries += 1
        moment = now() + at
        await ledger.job(lambda c, one=claimed, then=moment: outbox.not_sent(c, one, then, permanent=False))  # type: ignore[misc]
        pause = timedelta(minutes=2**claimed.attempts)
        assert await claim(ledger, at + pause - timedelta(seconds=30)) is None
        at += pause + timedelta(minutes=1)

    assert MAX_ATTEMPTS == tries


async def test_there_is_no_use_in_some(ledger: Ledger) -> None:
    """A letter that the mail server refuses for good is not tried again."""
    await put(ledger)
    claimed = await claim(ledger)
    assert claimed is not None

    await ledger.job(lambda connection: outbox.not_sent(connection, claimed, now(), permanent=True))

    assert await claim(ledger, timedelta(days=30)) is None
