"""The case list of trackers: every number is named by a test, as T1 to T85 or at the start of a parameter's id."""

import re
from pathlib import Path

TESTS = Path(__file__).parent / "proxy"
_ID = re.compile(r"""id(?:s=\[)?=?f?"(\d+)|"(\d+): |, (\d+): |id="\d+, (\d+)""")
_NAMED = re.compile(r"\bT(\d+)\b")


def named() -> set[int]:
    """Return every number that a test names; of "T4 to T21" only the ends count."""
    found: set[int] = set()
    for path in TESTS.glob("test_tracker_*.py"):
        text = path.read_text("utf-8")
        for match in [*_ID.finditer(text), *_NAMED.finditer(text)]:
            found.update(int(number) for number in match.groups() if number)
    return found


def test_every_number_is_named() -> None:
    """A number of the case list that no test names is an open promise."""
    assert [] == sorted(set(range(1, 86)) - named())
