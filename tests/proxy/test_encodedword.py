"""Encoded words of the subject."""

import re
from base64 import b64encode
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.encodedword import decode_words, without_prefix
from proxy.header import scan_fields
from proxy.transfer import splice

TAG = re.compile(r"\[track\][ \t]*")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?iso-8859-1?Q?a_b=E9?= c", "a bé c"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\t  =?utf-8?b?Yg?= c", "ab c"),
        ("=?utf-8*de?q?a?=", "a"),
        ("=?x-unknown?q?a?=", "=?x-unknown?q?a?="),
        ("=?utf-8?q?=FF?=", "=?utf-8?q?=FF?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?hex?q?a?=", "=?hex?q?a?="),
        ("=?punycode?q?a-b?=", "=?punycode?q?a-b?="),
        ("=?unicode_escape?q?=5Cd?=", "=?unicode_escape?q?=5Cd?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("1 =? 2 ?= 3", "1 =? 2 ?= 3"),
        ("=?utf-8?q?Gr=C3?= =?UTF-8?b?vMOfZQ==?= c", "Grüße c"),
        ("=?utf-8?q?a=C3?= =?iso-8859-1?q?=BC?=", "=?utf-8?q?a=C3?=\xbc"),
        ("=?utf-8?q?a=C3?= =?utf-8?b?a?=", "=?utf-8?q?a=C3?==?utf-8?b?a?="),
    ],
)
def test_decode(value: str, expected: str) -> None:
    """Words are decoded, white space between two of them goes, and what cannot be decoded stays."""
    assert decode_words(value) == expected


def test_decode_what_is_cut_off() -> None:
    """Where it is asked for, the rest of a text that ends in half a character is decoded."""
    assert decode_words("=?utf-8?q?[notrack]_Gr=C3?=", "replace") == "[notrack] Gr\ufffd"


def test_line_break_in_a_word() -> None:
    """A line break that a word hides is text like any other, and only ever shown (M1)."""
    assert decode_words("=?utf-8?q?hi=0D=0ABcc:_evil@x?=") == "hi\r\nBcc: evil@x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("=?" * 250_000, "=?" * 250_000, id="openings"),
        pytest.param("=?a?q?" * 80_000, "=?a?q?" * 80_000, id="beginnings"),
        pytest.param("=?utf-8?q?b?=  " * 35_000, "b" * 35_000 + "  ", id="words"),
        pytest.param(f"=?punycode?q?{'a-b' * 170_000}?=", f"=?punycode?q?{'a-b' * 170_000}?=", id="punycode"),
    ],
)
def test_hostile_subject(value: str, expected: str) -> None:
    """A subject of 500 kB made to be slow is read to its end (M4)."""
    assert decode_words(value) == expected


@given(st.text(max_size=60))
def test_decode_any_text(value: str) -> None:
    """Nothing that can stand in a subject is an error."""
    assert isinstance(decode_words(value), str)


def _without_tag(raw: bytes) -> bytes:
    fields, _ = scan_fields(raw, 0, len(raw))
    edit = without_prefix(raw, fields[0], TAG)
    return raw if edit is None else splice(raw, [edit])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"Subject: [track] Hello\r\n", b"Subject: Hello\r\n", id="plain"),
        pytest.param(b"Subject:[track]Hello\r\n", b"Subject:Hello\r\n", id="no space"),
        pytest.param(b"Subject:  [track]\r\n  Hello\r\n", b"Subject:  Hello\r\n", id="folded behind"),
        pytest.param(b"Subject:\r\n [track] Hello\r\n", b"Subject:\r\n Hello\r\n", id="folded before"),
        pytest.param(b"Subject: [track] \xe9t\xe9\r\n", b"Subject: \xe9t\xe9\r\n", id="raw bytes behind"),
        pytest.param(
            b"Subject: [track] =?utf-8?q?Gr=C3=BC?=\r\n", b"Subject: =?utf-8?q?Gr=C3=BC?=\r\n", id="before a word"
        ),
        pytest.param(
            b"Subject: =?utf-8?Q?[track]_Gr=C3=BC=C3=9Fe,_Max!?=\r\n =?utf-8?Q?=C3=A4?= x\r\n",
            b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe,_Max!?=\r\n =?utf-8?Q?=C3=A4?= x\r\n",
            id="in a Q word",
        ),
        pytest.param(
            b"Subject: =?utf-8?B?W3RyYWNrXSBHcsO8w59l?=\r\n", b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n", id="in a B word"
        ),
        pytest.param(
            b"Subject: =?iso-8859-1*de?q?[track]_=E9?=\r\n", b"Subject: =?iso-8859-1*de?q?=E9?=\r\n", id="with language"
        ),
        pytest.param(
            b"Subject: =?utf-8?q?[track]?= =?utf-8?q?x?=\r\n", b"Subject:  =?utf-8?q?x?=\r\n", id="whole word"
        ),
        pytest.param(
            b"Subject: =?utf-8?q?[track]_Gr=C3?= =?utf-8?q?=BC?=\r\n",
            b"Subject: =?utf-8?q?Gr=C3?= =?utf-8?q?=BC?=\r\n",
            id="a character cut in two",
        ),
    ],
)
def test_prefix_removed(raw: bytes, expected: bytes) -> None:
    """The tag goes, and nothing else of the field changes but the one word that held it."""
    assert _without_tag(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: Hello [track]\r\n",
        b"Subject: \r\n",
        b"Subject: =?utf-8?q?Hello_[track]?=\r\n",
        b"Subject: =?x-unknown?q?[track]?=\r\n",
        b"Subject: =?utf-8?q?[tra?= =?utf-8?q?ck]_x?=\r\n",
        b"Subject: \xff[track]\r\n",
    ],
    ids=["not at the start", "empty", "not at the word's start", "unknown charset", "over two words", "raw byte"],
)
def test_prefix_left(raw: bytes) -> None:
    """Where there is no tag at the start, or not within one word, nothing changes."""
    assert _without_tag(raw) == raw


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20),
    st.sampled_from("qQbB"),
    st.sampled_from(["utf-8", "utf-16", "utf-7", "shift_jis", "iso-2022-jp", "gb18030", "iso-8859-1"]),
)
def test_rest_of_the_word_is_kept(text: str, encoding: str, charset: str) -> None:
    """The word without its tag says what it said behind the tag, and has not become longer (RFC 2047 §2)."""
    octets = f"[track]{text}".encode(charset, "ignore")
    kept = octets.decode(charset).removeprefix("[track]").lstrip(" \t")
    if encoding in "qQ":
        word = "".join(chr(octet) if chr(octet).isalnum() and octet < 128 else f"={octet:02X}" for octet in octets)
    else:
        word = b64encode(octets).decode()
    raw = f"Subject: =?{charset}?{encoding}?{word}?=\r\n".encode()

    changed = _without_tag(raw)

    assert str(make_header(decode_header(changed[9:-2].decode()))) == kept
    assert len(changed) <= len(raw)
