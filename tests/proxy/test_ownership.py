"""Ownership: as whom a login may write."""

import pytest

from proxy.ownership import Ownership, parse_alias
from proxy.reply import ReplyError

OURS = Ownership(
    ("example.org", "example.com"),
    (
        parse_alias(["alice@example.org", "bob@*"], ["info@example.org", "*@shop.example.org"]),
        parse_alias(["*@ad.test"], ["{local}@example.org"]),
    ),
)


@pytest.mark.parametrize(
    ("login", "address", "expected"),
    [
        ("alice@example.org", "alice@example.org", True),
        ("alice@example.org", "Alice@EXAMPLE.org", True),
        ("alice@example.org", "alice+news@example.org", True),
        ("alice+news@example.org", "alice@example.org", False),
        ("alice@example.org", "alice@example.com", False),
        ("alice@example.org", "bob@example.org", False),
        ("alice@example.org", "info@example.org", True),
        ("alice@example.org", "till@shop.example.org", True),
        ("carol@example.org", "info@example.org", False),
        ("bob@example.com", "info@example.org", True),
        ("carol@ad.test", "carol@example.org", True),
        ("carol@ad.test", "dave@example.org", False),
        ("*@ad.test", "dave@example.org", False),
        ("alice@example.org", "", False),
    ],
)
def test_owns(login: str, address: str, expected: bool) -> None:
    """A login owns its own address, with a sub-address too, and those that aliases give it."""
    assert expected == OURS.owns(login, address)


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("alice", "alice@example.org"),
        ("alice@elsewhere.test", "alice@elsewhere.test"),
        ("AD\\alice", "AD\\alice"),
        ("al ice", "al ice"),
        ("*", "*"),
    ],
)
def test_address_of(login: str, expected: str) -> None:
    """A bare name is one in the first domain; what is no name is nobody's address."""
    assert expected == OURS.address_of(login)


@pytest.mark.parametrize(
    "header",
    [
        b"From: bob@example.org\r\n",
        b"FROM : Bob <bob@example.org>\r\n",
        b"From: alice@example.org, bob@example.org\r\n",
        b"From: alice@example.org\r\nFrom: bob@example.org\r\n",
        b"From: alice@example.org\r\nSender: bob@example.org\r\n",
        b"From: Alice\r\n <bob@example.org>\r\n",
        b"no field\r\nFrom: bob@example.org\r\n",
        b"From: alice@example.org <bob@EXAMPLE.ORG>\r\n",
        b"From: (alice@example.org) bob@example.com\r\n",
        b'From: "alice@example.org" <bob@example.org>\r\n',
    ],
    ids=range(10),
)
def test_author_is_somebody_else(header: bytes) -> None:
    """S10: a From or Sender with a colleague's address is refused, wherever in the header it stands."""
    with pytest.raises(ReplyError) as raised:
        OURS.check_author(b"Subject: x\r\n" + header + b"\r\nhi\r\n", "alice@example.org")
    assert "553-5.7.1" == f"{raised.value.reply.code}-{raised.value.reply.lines[0][:5]}"


@pytest.mark.parametrize(
    "header",
    [
        b"From: alice@example.org\r\n",
        b"From: info@example.org\r\nSender: alice@example.org\r\n",
        b"From: somebody@elsewhere.test\r\n",
        b"From: bob at example.org\r\n",
        b"X-From: bob@example.org\r\nReply-To: bob@example.org\r\n",
        b"",
    ],
    ids=["own", "alias", "outside", "no-address", "other-fields", "none"],
)
def test_author_is_all_right(header: bytes) -> None:
    """Own addresses, aliases and authors of other domains pass, and what is in the body is not looked at."""
    OURS.check_author(header + b"\r\nFrom: bob@example.org\r\n", "alice@example.org")


def test_author_by_further_addresses() -> None:
    """Addresses that are given to a login besides count as its own."""
    content = b"From: bob@example.org\r\n\r\nhi\r\n"
    OURS.check_author(content, "alice@example.org", ["bob@*"])
    with pytest.raises(ReplyError):
        OURS.check_author(content, "alice@example.org", ["carol@*"])
