"""The case lists of rewriting, of messages and of SMTP: every number is named by a test."""

import re
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LISTS = TESTS.parents[1] / "shared" / "cases"
ELSEWHERE = {
    "M13": "trackers of others are the subject of the tracker rules' own tests",
}
"""Numbers that belong to another subject, each with the reason."""
# "Case 4:", "Cases 8 and 9:", "(case 20)", "(cases 15, 16 and M10)"; of "cases 44 to 49" only the ends count.
# "S7, 162: …" at the beginning of a docstring or a dialog's first comment, maybe behind "Case 63, ".
_SMTP = re.compile(r"(?:\A# |\"\"\")(?:Cases? )?((?:[SM]?\d+(?:,? and |, ))*S?\d+): ")
_NAMED = re.compile(r"\b[Cc]ases? (M?\d+(?:(?:, | and | to )M?\d+)*)")
_NUMBER = re.compile(r"M?\d+")


def listed() -> set[str]:
    """Return every number of the two lists."""
    rewriting = (LISTS / "rewriting.md").read_text("utf-8")
    messages = (LISTS / "messages.md").read_text("utf-8")
    return {*re.findall(r"^(\d+)\. ", rewriting, re.MULTILINE), *re.findall(r"^\| (M\d+) ", messages, re.MULTILINE)}


def smtp_listed() -> set[str]:
    """Return every number of the list about SMTP."""
    text = (LISTS / "smtp.md").read_text("utf-8")
    return {*re.findall(r"^(\d+)\. ", text, re.MULTILINE), *re.findall(r"^\| (S\d+) ", text, re.MULTILINE)}


def smtp_named() -> set[str]:
    """Return every number that a test's docstring or a dialog's first comment begins with."""
    found: set[str] = set()
    for path in [*TESTS.glob("*/test_*.py"), *TESTS.glob("dialogs/*.txt")]:
        for match in _SMTP.finditer(path.read_text("utf-8")):
            found.update(re.findall(r"S?\d+", match[1]))
    return found


def named() -> set[str]:
    """Return every number that the table of cases, a test's docstring or a dialog's comment names."""
    table = tomllib.loads((TESTS / "mail" / "cases" / "cases.toml").read_text("utf-8"))["case"]
    found = {number for case in table for number in case["number"]}
    for path in [*TESTS.glob("*/test_*.py"), *TESTS.glob("dialogs/*.txt")]:
        for match in _NAMED.finditer(path.read_text("utf-8")):
            found.update(_NUMBER.findall(match[1]))
    return found


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no case lists at {LISTS}")
def test_every_number_is_named() -> None:
    """A number of the case lists that no test names is an open promise."""
    numbers = listed()

    assert {str(number) for number in range(1, 120)} | {f"M{number}" for number in range(1, 16)} == numbers
    assert [] == sorted(numbers - named() - set(ELSEWHERE))


def test_what_is_elsewhere_is_not_here() -> None:
    """No number is excused that a test names."""
    assert [] == sorted(set(ELSEWHERE) & named())


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no case lists at {LISTS}")
def test_every_number_about_smtp_is_named() -> None:
    """A number of the list about SMTP with which no test begins is an open promise."""
    numbers = smtp_listed()

    assert {f"S{number}" for number in range(1, 23)} | {str(number) for number in range(159, 171)} == numbers
    assert [] == sorted(numbers - smtp_named())
