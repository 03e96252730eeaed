"""Paths: which characters an address may have, tried one by one."""

import re
import string
import sys

import pytest

from proxy.path import Offer, Path, Recipient, parse_path, recipient
from proxy.reply import ReplyError

ATEXT = {*string.ascii_letters, *string.digits, *"!#$%&'*+-/=?^_`{|}~"}
"""RFC 5322 §3.2.3."""
LETTERS = {*string.ascii_letters, *string.digits, "_"}
BEYOND_ASCII = [
    chr(code) for code in (*range(0x80, sys.maxunicode, 31), sys.maxunicode) if not 0xD800 <= code <= 0xDFFF
]


def taken(address: str) -> bool:
    """Tell whether an address is taken, and then as it is."""
    try:
        return parse_path("TO", f"TO:<{address}>") == Path(address, {})
    except ReplyError:
        return False


@pytest.mark.parametrize(
    ("form", "allowed"),
    [
        pytest.param("a{}b@example.org", ATEXT | {"."}, id="local part"),
        pytest.param("{}@example.org", ATEXT, id="local part of one character"),
        pytest.param('"a{}b"@example.org', {chr(code) for code in range(0x20, 0x7F)} - {'"'}, id="quoted string"),
        pytest.param("a@x{}y.org", LETTERS | {"-", "."}, id="domain"),
        pytest.param("a@{}.org", LETTERS, id="label of one character"),
    ],
)
def test_ascii_is_taken_where_the_grammar_has_it(form: str, allowed: set[str]) -> None:
    """RFC 5321 §4.1.2: of ASCII an address takes exactly what stands in the grammar, and underscores in domains."""
    assert allowed == {chr(code) for code in range(0x80) if taken(form.format(chr(code)))}


@pytest.mark.parametrize("form", ["{}@example.org", '"{}"@example.org', "a@{}.org"], ids=["atom", "quoted", "label"])
def test_everything_beyond_ascii_is_taken(form: str) -> None:
    """RFC 6531 §3.3: what is not ASCII may stand in an atom, a quoted string and a label."""
    pieces = re.findall(".{1,15}", "".join(BEYOND_ASCII), re.DOTALL)
    assert [] == [piece for piece in pieces if not taken(form.format(piece))]


def test_how_long_an_address_may_be() -> None:
    """RFC 5321 §4.5.3.1: only the whole path has an end; reply addresses of ticket systems exceed 64 before the @."""
    longest = "r" * 242 + "@example.org"
    assert (254, True, False) == (len(longest), taken(longest), taken(f"r{longest}"))


@pytest.mark.parametrize(
    "literal",
    ["127.0.0.1", "255.255.255.255", "010.001.0.1", "IPv6:::1", "ipv6:2001:DB8::1", "IPv6:::ffff:192.0.2.1"],
)
def test_address_literals_are_taken(literal: str) -> None:
    """RFC 5321 §4.1.3: an IPv4 address, or an IPv6 address behind its tag."""
    assert taken(f"root@[{literal}]")


@pytest.mark.parametrize(
    "literal",
    ["256.0.0.1", "1.2.3", "1.2.3.4.5", "1.2.3.", "example.org", "::1", "2001:db8::1", "IPv6:", "IPv6:1:2",
     "IPv6:::1::2", "IPv6:1.2.3.4", "IPv6:12345::", "IPv6:fe80::1%eth0", "x400:a", "\u0661.2.3.4"],
)  # fmt: skip
def test_what_is_no_address_literal_is_refused(literal: str) -> None:
    """RFC 5321 §4.1.3: a number over 255, too few or too many, an IPv6 address without its tag, anything else."""
    assert not taken(f"root@[{literal}]")


def test_why_a_literal_is_refused_is_said() -> None:
    """The reply names the literal, so that nobody looks for the mistake in the local part."""
    with pytest.raises(ReplyError) as refused:
        parse_path("TO", "TO:<root@[300.1.1.1]>")
    assert b"501 5.1.3 The address literal is not valid (RFC 5321 section 4.1.3)\r\n" == refused.value.reply.wire()


def heard(parameters: bytes) -> Recipient:
    """Return the recipient that a client names, with parameters as they come over the wire."""
    path = parse_path("TO", f"TO:<bob@customer.test> {parameters.decode('utf-8', 'surrogateescape')}")
    return recipient(path, Offer(extended=True, smtputf8=True, dsn=True), smtputf8=True)


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000"], ids=ascii)
def test_a_space_beyond_ascii_parts_no_parameters(space: str) -> None:
    """RFC 6533 §3: the original recipient may have any character beyond ASCII, and goes on as it came."""
    word = f"ORCPT=utf-8;b{space}b@customer.test"
    assert (word, "NOTIFY=NEVER") == heard(f"{word}  NOTIFY=NEVER".encode()).dsn


@pytest.mark.parametrize(
    "parameters", [b"ORCPT=utf-8;\xff", b"NOTIFY=NEVER\tORCPT=rfc822;b", b"NOTIFY=NEVER\x0b"], ids=repr
)
def test_parameters_that_are_none(parameters: bytes) -> None:
    """What is not UTF-8, and a control character between parameters, is refused for good."""
    with pytest.raises(ReplyError) as refused:
        heard(parameters)
    assert 501 == refused.value.reply.code
