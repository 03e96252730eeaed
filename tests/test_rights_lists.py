"""The rows of the requirements about consent and rights, and the lists of the pages: every one is named by a test.

A test names what it shows at the beginning of its docstring: "Row 78, A10: …", "Cases 150 and 154: …", "W18: …".
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SHARED = TESTS.parents[1] / "shared"
_TOKEN = r"(?:[Rr]ows? |[Cc]ases? )?[SMWA]?\d+"
_HEAD = re.compile(rf'""" ?({_TOKEN}(?:(?:,? and |, | to ){_TOKEN})*): ')
_WORD = re.compile(r"[Rr]ow|[Cc]ase|\bto\b|[SMWA]?\d+")


def required() -> set[str]:
    """Return the rows 44 to 85 that the product must fulfil."""
    text = (SHARED / "requirements.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| ([MSDX]) \|$", text, re.MULTILINE)
    return {f"row {number}" for number, tag in rows if tag == "M" and 44 <= int(number) <= 85}


def listed() -> set[str]:
    """Return the numbers of the pages: 150 to 158, W1 to W21, and A9 to A13."""
    text = (SHARED / "cases" / "endpoints.md").read_text("utf-8")
    numbers = {one for one in re.findall(r"^(\d+)\. ", text, re.MULTILINE) if 150 <= int(one) <= 158}
    marked = set(re.findall(r"^\| ([WA]\d+) \|", text, re.MULTILINE))
    return numbers | {one for one in marked if one[0] == "W" or 9 <= int(one[1:]) <= 13}


def named(text: str) -> Iterator[str]:
    """Yield what the docstrings in a file begin with: "row 78", "150", "W6"."""
    for head in _HEAD.findall(text):
        prefix, last, reaching = "", 0, False
        for word in _WORD.findall(head):
            if not word[-1].isdigit():
                prefix = {"r": "row ", "c": ""}.get(word[0].lower(), prefix)
                reaching = word == "to"
                continue
            if word[0].isdigit():
                first = last + 1 if reaching else int(word)
                yield from (f"{prefix}{number}" for number in range(first, int(word) + 1))
                last = int(word)
            else:
                yield word
            reaching = False


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """Everything that some test names."""
    return {one for path in TESTS.glob("**/test_*.py") for one in named(path.read_text("utf-8"))}


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no requirements at {SHARED}")
def test_every_row_is_named(shown: set[str]) -> None:
    """A requirement about consent or rights that no test names is an open promise."""
    rows = required()

    assert 30 < len(rows) < 42
    assert [] == sorted(rows - shown)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no case lists at {SHARED}")
def test_every_number_of_the_pages_is_named(shown: set[str]) -> None:
    """A number of the list about pages, tokens and copies that no test names is an open promise."""
    numbers = listed()

    assert 9 + 21 + 5 == len(numbers)
    assert [] == sorted(numbers - shown)


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ('"""Row 78, A10: x"""', ["row 78", "A10"]),
        ('""" Cases 8 and 9, row 49: x"""', ["8", "9", "row 49"]),
        ('"""Rows 80 to 82: x"""', ["row 80", "row 81", "row 82"]),
        ('"""150, W6, W8: x"""', ["150", "W6", "W8"]),
        ('"""The row 78: x"""', []),
        ('"""One of 3 rows: x"""', []),
    ],
)
def test_what_a_docstring_names(docstring: str, expected: list[str]) -> None:
    """Only what stands before the colon, and nothing else than numbers, names something."""
    assert expected == list(named(docstring))
