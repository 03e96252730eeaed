"""The calendar: until when a request must be acknowledged and answered."""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta

_SATURDAY = 5
_EXTENSION_MONTHS = 2
"""At most, GDPR 12(3)."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The periods for requests, and the days on which nobody works."""

    acknowledge_working_days: int = 10
    complaint_days: int = 40
    answer_days: int = 30
    uk_acknowledge_days: int = 30
    holidays: frozenset[date] = frozenset()
    letters: bool = False
    """Whether mail of our own is set up, so that people hear of their request by letter."""

    def acknowledge_by(self, opened: date, *, complaint: bool) -> date:
        """Return the last day to confirm receipt; a complaint's is never later than British law has it."""
        found = self._working_days_after(opened, self.acknowledge_working_days)
        return min(found, opened + timedelta(days=self.uk_acknowledge_days)) if complaint else found

    def answer_by(self, opened: date, *, complaint: bool) -> date:
        """Return the last day to answer: a month is a calendar month, or the days of the file where they end sooner."""
        if complaint:
            return opened + timedelta(days=self.complaint_days)
        return min(months_after(opened, 1), opened + timedelta(days=self.answer_days))

    def extended_by(self, opened: date, *, complaint: bool) -> date:
        """Return the last day to which an answer may be put off."""
        return months_after(self.answer_by(opened, complaint=complaint), _EXTENSION_MONTHS)

    def _working_days_after(self, start: date, count: int) -> date:
        """Return the day that is so many working days after ``start``: Monday to Friday, less the holidays."""
        day = start
        while count > 0:
            day += timedelta(days=1)
            if day.weekday() < _SATURDAY and day not in self.holidays:
                count -= 1
        return day


def months_after(start: date, months: int) -> date:
    """Return the same day so many months later; the month's last where it has no such day."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))
