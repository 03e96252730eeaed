"""Globs over addresses and URLs."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.glob import GlobIndex, address_pattern, matches, overlap, pattern, url_matches, url_pattern


def by_the_book(glob: str, text: str) -> bool:
    """Match by following every possibility: slow, and plain to read."""
    reachable = {0}
    for symbol in glob:
        if symbol == "*":
            reachable = set(range(min(reachable, default=len(text) + 1), len(text) + 1))
        else:
            reachable = {at + 1 for at in reachable if at < len(text) and symbol in ("?", text[at])}
    return len(text) in reachable


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("*", "", True),
        ("*", "anything\nat all", True),
        ("?", "a", True),
        ("?", "", False),
        ("?", "ab", False),
        ("https://example.org/*", "https://example.org/a/b?c=d", True),
        ("https://example.org/*", "http://example.org/", False),
        ("https://example.org/", "https://example.org/more", False),
        ("example.org", "https://example.org", False),
        ("https://example.org/a?b", "https://example.org/a?b", True),
        ("https://EXAMPLE.org/*", "HTTPS://example.ORG/", True),
        ("a.b", "axb", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("[!a]*", "[!a]b", True),
        ("a|b", "a", False),
        ("(a)+\\d$", "(a)+\\d$", True),
        ("a\n", "a", False),
        ("a", "a\n", False),
    ],
    ids=[
        "star_nothing", "star_lines", "mark_one", "mark_none", "mark_two", "under", "scheme", "no_prefix_match",
        "no_search", "mark_in_url", "case", "dot_is_a_dot", "no_class", "brackets_stand_for_themselves",
        "no_negated_class", "no_alternative", "no_regex", "newline_in_glob", "newline_in_text",
    ],
)  # fmt: skip
def test_glob(glob: str, text: str, expected: bool) -> None:
    """A glob matches the whole text, and only the star and the question mark are special."""
    assert expected == matches(pattern([glob]), text)


@settings(max_examples=500, deadline=None)
@given(st.text("ab*?[]!-.|", max_size=8), st.text("ab[]!-.|", max_size=8))
def test_every_glob_means_what_the_book_says(glob: str, text: str) -> None:
    """The compiled pattern agrees with a matcher that tries every possibility."""
    assert by_the_book(glob, text) == matches(pattern([glob]), text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab*?", max_size=5), max_size=4), st.text("ab", max_size=6))
def test_several_globs_are_any_of_them(globs: list[str], text: str) -> None:
    """A list of globs matches when one of them does, in any order, and an empty list never."""
    expected = any(by_the_book(glob, text) for glob in globs)

    assert expected == matches(pattern(globs), text)
    assert expected == matches(pattern(reversed(globs)), text)


def test_no_globs_are_no_pattern() -> None:
    """Nothing configured matches nothing, not even the empty text."""
    assert pattern([]) is None
    assert not matches(None, "")


def test_many_stars_are_no_way_to_stop_the_relay() -> None:
    """A glob of many stars answers at once on the longest URL: with a backtracking star this would not end."""
    compiled = pattern(["*a" * 20 + "*b"])

    assert not matches(compiled, "a" * 2_000)
    assert matches(compiled, "a" * 2_000 + "b")


@pytest.mark.parametrize(
    ("glob", "address", "expected"),
    [
        ("*@press.example", "jane@press.example", True),
        ("*@PRESS.example.", "jane@press.example", True),
        ("*@press.example", "jane@sub.press.example", False),
        ("*@*.news.example", "jane@a.b.news.example", True),
        ("*@*.news.example", "jane@news.example", False),
        ("Jane.Doe@*", "jane.doe@press.example", True),
        ("*@münchen.example", "jane@xn--mnchen-3ya.example", True),
        ("*@*.münchen.example", "jane@mail.xn--mnchen-3ya.example", True),
        ("*@XN--MNCHEN-3YA.example", "jane@xn--mnchen-3ya.example", True),
        ("jane+*@press.example", "jane+shop@press.example", True),
        ("*", "jane@press.example", True),
        ("press.example", "jane@press.example", False),
    ],
    ids=[
        "domain", "spelling", "not_below", "below", "not_itself", "local_part", "idna", "idna_below", "a_label", "tag",
        "everybody", "bare_domain",
    ],
)  # fmt: skip
def test_address_glob(glob: str, address: str, expected: bool) -> None:
    """A glob over addresses is folded as addresses are, so that case and alphabet do not matter."""
    assert expected == matches(address_pattern([glob]), address)


GLOBS = st.text("ab*?", max_size=5)


@settings(max_examples=500, deadline=None)
@given(st.lists(GLOBS, max_size=8), st.text("ab", max_size=6))
def test_an_index_finds_the_owners_of_all_that_match(globs: list[str], text: str) -> None:
    """An index over many globs finds exactly the owners whose glob matches the text."""
    index = GlobIndex((glob, 1 << at) for at, glob in enumerate(globs))

    assert sum(1 << at for at, glob in enumerate(globs) if by_the_book(glob, text)) == index.owners(text)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("*@a.example", "anna@*", True),
        ("*@a.example", "anna@b.example", False),
        ("*@*.a.example", "*@a.example", False),
        ("a?c", "*bc", True),
        ("a?c", "a*d", False),
        ("", "*", True),
        ("", "?", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    """Two globs overlap where one text could match both."""
    assert [expected, expected] == [overlap(one, other), overlap(other, one)]


@settings(max_examples=300, deadline=None)
@given(GLOBS, GLOBS)
def test_overlap_is_what_trying_finds(one: str, other: str) -> None:
    """Every text that two small globs have in common is found, and nothing is called one that is not."""
    texts = ("".join(letters) for length in range(9) for letters in itertools.product("ab", repeat=length))

    assert any(by_the_book(one, text) and by_the_book(other, text) for text in texts) == overlap(one, other)


@pytest.mark.parametrize(
    ("glob", "url", "expected"),
    [
        ("https://bank.example/*", "https://bank.example", True),
        ("https://bank.example/*", "https://bank.example?a=1", True),
        ("https://bank.example/*", "https://BANK.example.:443/a", True),
        ("http://bank.example:80/*", "http://bank.example/a", True),
        ("https://bank.example/*", "https://bank.example:444/a", False),
        ("https://bank.example/*", "http://bank.example/a", False),
        ("https://bank.example/*", "https://evil.example/https://bank.example/", False),
        ("https://bank.example", "https://bank.example/", True),
        ("https://bank.example", "https://bank.example/a", False),
        ("https://bank.example*", "https://bank.example/a", True),
        ("*://münchen.example/*", "https://xn--mnchen-3ya.example/a", True),
        ("*.münchen.example/*", "https://www.xn--mnchen-3ya.example", True),
        ("https://img.example/*", "//img.example/a.gif", True),
        ("*/Geheim*", "https://a.example/geheim/x", True),
        ("*.pdf", "https://a.example/a.pdf", True),
        ("*", "cid:a", True),
        ("https://a.example/*", "cid:a", False),
        ("https://a.example/bürger/*", "https://a.example/b%C3%BCrger/x", True),
        ("https://a.example/bürger/*", "https://a.example/b%c3%bcrger/x", True),
        ("https://a.example/bürger/*", "https://a.example/bÃ¼rger/x", True),
        ("https://a.example/bürger/*", "https://a.example/bürger/x", True),
        ("https://a.example/中/*", "https://a.example/中/x", True),
        ("https://a.example/*", "https://a.example/中", True),
        ("*:443/*", "https://a.example:443/x", True),
        ("HTTPS://a.example:443/*", "https://a.example/x", True),
        ("https://a.example/my docs/*", "https://a.example/my%20docs/x", True),
        ("https://a.example/%C3%BC*", "https://a.example/%C3%BCx", True),
    ],
)
def test_two_ways_to_write_a_place_are_one(glob: str, url: str, expected: bool) -> None:
    """A glob over URLs means a place, however host, default port, empty path and letters are written."""
    assert expected == url_matches(url_pattern([glob]), url)


def test_no_globs_match_no_url() -> None:
    """Where nothing is listed nothing matches."""
    assert not url_matches(url_pattern([]), "https://a.example/")
