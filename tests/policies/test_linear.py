"""Patterns that take linear time."""

import pytest

from policies.linear import check_linear


@pytest.mark.parametrize(
    "pattern",
    [
        "/t/[0-9a-f]+/[0-9a-f]{32}/spacer[.]gif",
        r"/(?:[^/]+/)?(?:[^/]+/)?open\.aspx$",
        "/CL0/(?P<target>[^/]+)/",
        "/(?:o|wf/open)",
        "/(?i:track)/.*",
        "/.*+",
        "/[^/]++(?:/x)?",
        r"/\d+-\w{3,}/",
        "/(?P<target>https?:.+)$",
    ],
)
def test_allowed(pattern: str) -> None:
    """Every repetition is of one character or class and can end in one place only."""
    check_linear(pattern)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("/(a", "must be a regular expression"),
        ("/(?:a++)+", "never a group"),
        ("/(?:a|b)*", "never a group"),
        ("/(?:ab){2,9}", "never a group"),
        (r"/.*\.gif", "must say where"),
        ("/[a-f]+[0-9a]+", "must say where"),
        ("/[a-f]+A", "must say where"),
        ("/a+(?:b)", "must say where"),
        ("/a+b?c", "must say where"),
        ("/(?:a+)?a", "must say where"),
        ("/(?:a+|b)c", "must say where"),
        (r"/(a)\1", "must not use"),
        (r"/\bx", "must not use"),
        (r"/a\Z", "must not use"),
        ("/(?<=a)b", "characters, classes, groups"),
        ("/(?!a)b", "characters, classes, groups"),
        ("/(?P<name>a)", "characters, classes, groups"),
        ("/(?>a)", "characters, classes, groups"),
        ("^/a", "characters, classes, groups"),
        ("/(?:a$|b)", "at its end only"),
        ("/a?" * 13, "not have more than 12"),
    ],
)
def test_refused(pattern: str, sentence: str) -> None:
    """What may take more than linear time is refused, and so is everything that this cannot be told of."""
    with pytest.raises(ValueError, match=sentence):
        check_linear(pattern)
