"""Character references in attribute values."""

import html
from html.entities import html5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.entities import decode_attribute

BARE = sorted(name for name in html5 if not name.endswith(";"))
COMPLETE = sorted(name for name in html5 if name.endswith(";"))


@pytest.mark.parametrize("name", BARE)
def test_bare_name(name: str) -> None:
    """A name without semicolon is a character, except before "=", a letter or a digit (case 70)."""
    character = html5[name]

    assert decode_attribute(f"&{name}") == character
    assert decode_attribute(f"&{name};") == html5[f"{name};"]
    assert decode_attribute(f"&{name} x") == f"{character} x"
    assert decode_attribute(f"&{name}&") == f"{character}&"
    assert decode_attribute(f"?a=1&{name}=2") == f"?a=1&{name}=2"
    assert decode_attribute(f"&{name}1") == (html5.get(f"{name}1") or f"&{name}1")


def test_bare_name_before_letter() -> None:
    """A letter behind a bare name makes it a word, unless the two are a reference themselves (case 70)."""
    words = [f"{name}{letter}" for name in BARE for letter in "aZ"]

    assert [decode_attribute(f"&{word}") for word in words] == [html5.get(word, f"&{word}") for word in words]


def test_complete_names() -> None:
    """Every name that ends with a semicolon is its character, whatever follows."""
    for follower in ("", "=", "a", ";", " "):
        assert [decode_attribute(f"&{name}{follower}") for name in COMPLETE] == [
            html5[name] + follower for name in COMPLETE
        ]


@pytest.mark.parametrize("follower", ["=", "Q", " ", ""], ids=["equals", "letter", "space", "end"])
def test_names_that_need_their_semicolon(follower: str) -> None:
    """A name that exists with a semicolon only is text without it, unless it begins with a shorter one."""
    texts = [f"&{name[:-1]}{follower}" for name in COMPLETE if not name.startswith(tuple(BARE))]

    assert [decode_attribute(text) for text in texts] == texts


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("https://x.com/p?a=1&amp;b=2", "https://x.com/p?a=1&b=2", id="68"),
        pytest.param("?a&amp;amp;b", "?a&amp;b", id="69: one level only"),
        pytest.param("?a=1&copy=1&lang=de&sect=3", "?a=1&copy=1&lang=de&sect=3", id="70"),
        pytest.param("?a=1&lt=2&section=5&notit;", "?a=1&lt=2&section=5&notit;", id="70: a name's beginning"),
        pytest.param("a&#38;b&#x26;c&#038;d&#X26;e&#38f", "a&b&c&d&e&f", id="71"),
        pytest.param("a%26b%2Fc%20d+e", "a%26b%2Fc%20d+e", id="72"),
        pytest.param("&#128;&#x99;&#150;", "\u20ac\u2122\u2013", id="windows-1252"),
        pytest.param("&#x81;", "\x81", id="not in windows-1252"),
        pytest.param("&#0;&#xD800;&#x110000;&#99999999999;", "\ufffd" * 4, id="no character"),
        pytest.param("&#x10FFFF;&#1114111;", "\U0010ffff" * 2, id="the last character"),
        pytest.param("&#0000000000000000000038;", "&", id="leading zeros"),
        pytest.param("&#;&#x;&#xg;&;&", "&#;&#x;&#xg;&;&", id="no reference"),
        pytest.param("&AMP;&Amp;&AMP", "&&Amp;&", id="case counts"),
        pytest.param("&bogus;", "&bogus;", id="unknown name"),
        pytest.param("&NotEqualTilde;", "\u2242\u0338", id="two characters"),
    ],
)
def test_decode(value: str, expected: str) -> None:
    """References are replaced once, by the rules for attributes."""
    assert decode_attribute(value) == expected


@pytest.mark.parametrize("digits", ["9" * 5_000, "f" * 5_000], ids=["decimal", "hexadecimal"])
def test_thousands_of_digits(digits: str) -> None:
    """A number too long for int() is no character, and no error (M6)."""
    prefix = "&#" if digits.isdecimal() else "&#x"

    assert decode_attribute(f"{prefix}{digits};") == "\ufffd"


@given(st.text(max_size=40))
def test_escaped_text_comes_back(text: str) -> None:
    """What was escaped for an attribute decodes to itself."""
    assert decode_attribute(html.escape(text)) == text


@given(st.text(alphabet="&#xX0123456789abcdefgltampnoti;= ", max_size=40))
def test_text_before_the_first_reference(text: str) -> None:
    """What stands before the first ampersand never changes, and changes nothing behind it."""
    head, ampersand, rest = text.partition("&")

    assert decode_attribute(text) == head + decode_attribute(ampersand + rest)
