"""Charsets that can be edited without decoding."""

import codecs
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.charset import codec_name, contains_ascii

MARKUP = frozenset(b"&<>\"'=")
EDITABLE = sorted(name for name in {*aliases.values()} if contains_ascii(name))
ABOVE_ASCII = "".join(chr(number) for number in range(0x80, 0x30000) if not 0xD800 <= number <= 0xDFFF)


@pytest.mark.parametrize(
    "charset",
    [
        pytest.param("utf-8", id="39"),
        pytest.param("iso-8859-1", id="41"),
        pytest.param("windows-1252", id="42"),
        pytest.param("iso-8859-2", id="43"),
        pytest.param("euc-jp", id="44"),
        "us-ascii",
        "koi8-r",
        "gb2312",
        "gb18030",
        "big5",
        "shift_jis",
        "euc-kr",
        "ks_c_5601-1987",
        "iso-8859-15",
        "windows-1251",
        "tis-620",
        "windows-874",
        "windows-31j",
        "x-sjis",
        "ISO-8859-8-I",
    ],
)
def test_editable(charset: str) -> None:
    """The charsets that mail is written in can be edited."""
    assert contains_ascii(charset) is True


@pytest.mark.parametrize(
    "charset",
    [
        pytest.param("iso-2022-jp", id="44"),
        pytest.param("", id="45: empty"),
        pytest.param("x-foo", id="45: unknown"),
        pytest.param("utf-16", id="47"),
        "utf-16le",
        "utf-32",
        "utf-7",
        "hz",
        "cp037",
        "johab",
        "hex",
        "idna",
        "unicode_escape",
        "utf-8\0",
        "\udc80",
        "../utf-8",
    ],
)
def test_not_editable(charset: str) -> None:
    """What shifts states, uses two bytes throughout, hides markup in characters or is unknown is left alone."""
    assert contains_ascii(charset) is False


@pytest.mark.parametrize("charset", EDITABLE)
def test_markup_is_never_part_of_a_character(charset: str) -> None:
    """In an editable charset, ASCII bytes of markup mean themselves and occur in no other character."""
    assert set(MARKUP) == {codecs.encode(chr(byte), charset)[0] for byte in MARKUP}
    assert MARKUP & set(ABOVE_ASCII.encode(charset, "ignore")) == set()


@given(st.text(max_size=30))
def test_any_name_is_answered(charset: str) -> None:
    """Whatever Content-Type says, there is an answer."""
    assert contains_ascii(charset) in (True, False)


def test_every_spelling_is_the_codec_of_that_name() -> None:
    """A charset is found under every name that Python knows, however it is spelt, and by no other."""
    known = {*aliases, *aliases.values()}
    spellings = known | {name.replace("_", "-") for name in known} | {f" {name.upper()}." for name in known}
    assert {name: _by_python(name) for name in spellings} == {name: codec_name(name) for name in spellings}


def _by_python(name: str) -> str | None:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None
