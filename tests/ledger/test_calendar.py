"""The calendar of requests: working days, holidays, calendar months, and the longest that an answer may be put off."""

from datetime import date

import pytest

from ledger.calendar import Calendar, months_after

CHRISTMAS = frozenset({date(2026, 12, 25), date(2026, 12, 28), date(2027, 1, 1)})


@pytest.mark.parametrize(
    ("opened", "holidays", "expected"),
    [
        pytest.param(date(2026, 11, 23), frozenset(), date(2026, 12, 7), id="from a Monday"),
        pytest.param(date(2026, 11, 27), frozenset(), date(2026, 12, 11), id="from a Friday"),
        pytest.param(date(2026, 11, 28), frozenset(), date(2026, 12, 11), id="from a Saturday"),
        pytest.param(date(2026, 12, 18), CHRISTMAS, date(2027, 1, 6), id="over Christmas"),
    ],
)
def test_ten_working_days(opened: date, holidays: frozenset[date], expected: date) -> None:
    """Row 81: receipt is confirmed within ten working days, Monday to Friday less the holidays of the file."""
    assert expected == Calendar(holidays=holidays).acknowledge_by(opened, complaint=True)


def test_a_complaint_is_acknowledged_within_thirty_days_in_any_case() -> None:
    """Row 81: however long a file's working days take, British law's 30 days are not passed by a complaint."""
    calendar = Calendar(acknowledge_working_days=20, holidays=frozenset({date(2026, 12, day) for day in range(1, 32)}))
    opened = date(2026, 11, 30)
    found = [calendar.acknowledge_by(opened, complaint=complaint) for complaint in (True, False)]
    assert [date(2026, 12, 30), date(2027, 1, 28)] == found


@pytest.mark.parametrize(
    ("opened", "complaint", "expected"),
    [
        pytest.param(date(2026, 3, 10), True, date(2026, 4, 19), id="a complaint: 40 days"),
        pytest.param(date(2026, 3, 10), False, date(2026, 4, 9), id="30 days end before the month"),
        pytest.param(date(2027, 1, 31), False, date(2027, 2, 28), id="the month ends before 30 days"),
    ],
)
def test_answers(opened: date, complaint: bool, expected: date) -> None:
    """Rows 80 and 81: a complaint is resolved within 40 days, anything else answered within a month."""
    assert expected == Calendar().answer_by(opened, complaint=complaint)


def test_two_more_months_at_most() -> None:
    """Row 82: an answer is put off by two calendar months at most."""
    assert date(2027, 4, 28) == Calendar().extended_by(date(2027, 1, 31), complaint=False)
    assert [date(2028, 2, 29), date(2026, 12, 31), date(2027, 1, 1)] == [
        months_after(date(2027, 12, 31), 2),
        months_after(date(2026, 10, 31), 2),
        months_after(date(2026, 12, 1), 1),
    ]
