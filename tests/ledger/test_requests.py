"""Requests: a number, letters, answers, extensions, and what is overdue."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ledger import outbox, requests
from ledger.calendar import Calendar
from ledger.consent import Person
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.outbox import Claimed
from ledger.requests import CaseKind
from policies.footer import Language
from tests.ledger.samples import MAX

OPENED = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LETTERS = Calendar(letters=True)


async def opened(ledger: Ledger, kind: CaseKind = CaseKind.ACCESS, calendar: Calendar = LETTERS) -> str:
    """Open a case and return its number."""
    keyring = ledger.keyring
    return await ledger.job(
        lambda connection: requests.open_case(
            connection,
            keyring,
            kind,
            Person.of(keyring, MAX),
            MAX,
            "Please",
            OPENED,
            calendar,
            language=Language.GERMAN,
        )
    )


async def letters(ledger: Ledger) -> list[tuple[str, str, Language, dict[str, str]]]:
    """Take every letter out of the outbox."""
    found = []

    async def claim(connection: Any) -> Claimed | None:
        return await outbox.claim(connection, ledger.keyring, datetime.now(UTC))

    while (claimed := await ledger.job(claim)) is not None:
        one = claimed.letter
        found.append((one.kind, one.address, one.language, dict(one.values)))
    return found


async def answer(ledger: Ledger, number: str, at: datetime = OPENED + DAY) -> None:
    """Answer a case."""
    await ledger.job(lambda c: requests.answer(c, ledger.keyring, number, "Here it is", at, LETTERS))


async def extend(ledger: Ledger, number: str, until: date, at: datetime = OPENED + DAY) -> None:
    """Put a case off."""
    await ledger.job(lambda c: requests.extend(c, ledger.keyring, number, "So many", until, at, LETTERS))


async def test_every_kind_has_a_number_and_a_letter(ledger: Ledger) -> None:
    """Rows 80 and 81: each kind of request gets a number at once, and the person a letter in their language."""
    numbers = {kind: await opened(ledger, kind) for kind in CaseKind}
    found = await ledger.read(lambda c: requests.cases_of(c, ledger.keyring, Person.of(ledger.keyring, MAX.upper())))

    assert numbers == {CaseKind(one["kind"]): one["number"] for one in found}
    assert sorted(
        ("case", MAX, Language.GERMAN, (number, kind.value, "2026-04-19" if kind == "complaint" else "2026-04-09"))
        for kind, number in numbers.items()
    ) == sorted((kind, to, language, tuple(values.values())) for kind, to, language, values in await letters(ledger))


async def test_numbers_tell_nothing(ledger: Ledger) -> None:
    """Promise 7: case numbers are random, not counted."""
    numbers = [await opened(ledger, kind) for kind in CaseKind]
    assert 5 == len({number[:5] for number in numbers})
    assert {11} == {len(number) for number in numbers}


async def test_the_same_words_twice_are_one_case(ledger: Ledger) -> None:
    """Row 80: who presses the button twice gets one number and one letter; answered, the same may be asked again."""
    number = await opened(ledger)
    assert number == await opened(ledger)
    assert ["case"] == [kind for kind, *_ in await letters(ledger)]
    await answer(ledger, number)
    assert number != await opened(ledger)


async def test_an_answer_closes_the_case(ledger: Ledger) -> None:
    """Row 80: the answer goes to the person, stands in the case, and ends it."""
    number = await opened(ledger)
    await answer(ledger, number.lower())
    found = await ledger.read(lambda c: requests.case(c, ledger.keyring, number))

    assert ("answered", "Here it is", "Please") == (found["state"], found["answer"], found["text"])
    assert ("case_answer", {"number": number, "answer": "Here it is"}) == (await letters(ledger))[1][::3]
    with pytest.raises(LedgerError, match="closed already"):
        await answer(ledger, number)


async def test_an_extension_needs_a_reason_in_time(ledger: Ledger) -> None:
    """Row 82: an answer is put off once it has not been overdue, by two months at most, and the person hears why."""
    number = await opened(ledger)
    for until, at in (
        (date(2026, 6, 10), OPENED + DAY),
        (date(2026, 4, 9), OPENED + DAY),
        (date(2026, 5, 1), OPENED + 31 * DAY),
    ):
        with pytest.raises(LedgerError):
            await extend(ledger, number, until, at)
    await extend(ledger, number, date(2026, 6, 9))
    with pytest.raises(LedgerError):
        await extend(ledger, number, date(2026, 6, 10))

    values = {"number": number, "due": "2026-06-09", "reason": "So many"}
    assert ("case_extended", values) == (await letters(ledger))[1][::3]


@pytest.mark.parametrize(
    ("calendar", "after", "expected"),
    [
        pytest.param(LETTERS, 30, False, id="on its last day"),
        pytest.param(LETTERS, 31, True, id="a day later"),
        pytest.param(Calendar(), 14, False, id="not acknowledged, on the last day"),
        pytest.param(Calendar(), 15, True, id="not acknowledged, a day later"),
    ],
)
async def test_overdue(ledger: Ledger, calendar: Calendar, after: int, expected: bool) -> None:
    """Row 81: a case is overdue when its answer is, or when nobody has confirmed its receipt in time."""
    number = await opened(ledger, calendar=calendar)
    day = (OPENED + after * DAY).date()
    before = await ledger.read(lambda c: requests.overdue(c, ledger.keyring, day))
    await answer(ledger, number)

    assert expected == (number in [one["number"] for one in before])
    assert [] == await ledger.read(lambda c: requests.overdue(c, ledger.keyring, day))


async def test_acknowledging(ledger: Ledger) -> None:
    """Row 81: without mail of our own somebody notes that the person was told, and the clock for that stops."""
    number = await opened(ledger, calendar=Calendar())
    await ledger.job(lambda c: requests.acknowledge(c, number, OPENED + DAY))

    assert [] == await ledger.read(lambda c: requests.overdue(c, ledger.keyring, (OPENED + 20 * DAY).date()))
    assert [] == await letters(ledger)


async def test_a_number_that_is_none(ledger: Ledger) -> None:
    """A number that nobody has is said to be none."""
    with pytest.raises(LedgerError, match="no request with the number"):
        await answer(ledger, "22222-22222")
