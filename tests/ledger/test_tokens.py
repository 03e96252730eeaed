"""Tokens: what the addresses in a message carry."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.keys import KeyFile, Keyring
from ledger.tokens import (
    Click,
    Marks,
    new_message_id,
    open_click,
    open_pixel,
    open_sender,
    open_stop,
    sender_url,
    stop_url,
    you_url,
)

URL = "https://track.example.org"
MAX = "Max@client.example"
KEYRING = Keyring(KeyFile.new().rotated().rotated())
OPENERS: dict[str, Callable[[Keyring, str], object]] = {
    "open": open_pixel,
    "click": open_click,
    "stop": open_stop,
    "sender": open_sender,
}
MESSAGE_ID = new_message_id()
MARKS = Marks(KEYRING, URL, MESSAGE_ID, MAX)
TARGET = "https://client.example/a?b=c&d=%20#e"

kinds = st.sampled_from(sorted(OPENERS))
message_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
targets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=1_500)
addresses = st.builds("{}@{}.example".format, st.text(min_size=1, max_size=40), st.sampled_from(["client", "münchen"]))


def made(kind: str) -> str:
    """Return a fresh token of a kind."""
    url = {
        "open": MARKS.pixel,
        "click": lambda: MARKS.link(3, TARGET),
        "stop": MARKS.stop,
        "sender": lambda: sender_url(KEYRING, URL, MAX, 60),
    }[kind]()
    return token_of(url)


def token_of(url: str) -> str:
    """Return the token in an address of ours."""
    return url.rpartition("/")[2].removesuffix(".gif")


def raw(token: str) -> bytes:
    """Return the bytes that a token spells."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def spelled(content: bytes) -> str:
    """Return the token that spells some bytes."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@given(message_ids)
def test_pixel_comes_back(message_id: str) -> None:
    """A pixel's token says which message it is in."""
    url = Marks(KEYRING, URL, message_id, MAX).pixel()

    assert url.startswith(f"{URL}/o/")
    assert url.endswith(".gif")
    assert message_id == open_pixel(KEYRING, token_of(url))


@given(message_ids, st.integers(0, 65_535), targets)
def test_link_leads_to_exactly_its_destination(message_id: str, number: int, target: str) -> None:
    """A link's token holds message, number and destination, to the byte, without asking any ledger."""
    url = Marks(KEYRING, URL, message_id, MAX).link(number, target)

    assert url.startswith(f"{URL}/l/")
    assert Click(message_id, number, target) == open_click(KEYRING, token_of(url))


@pytest.mark.parametrize(("made", "page"), [(stop_url, "stop"), (you_url, "you")], ids=["stop", "you"])
@given(address=addresses)
def test_stop_comes_back(made: Callable[[Keyring, str, str], str], page: str, address: str) -> None:
    """The token of the pages where somebody refuses says whose it is, by the keyed hash of the folded address only."""
    url = made(KEYRING, URL, address)

    assert url.startswith(f"{URL}/{page}/")
    assert KEYRING.folded(address) == open_stop(KEYRING, token_of(url))


@given(addresses)
def test_sender_comes_back(address: str) -> None:
    """The token to a sender's pages says whose they are, by the keyed hash of the folded address only."""
    url = sender_url(KEYRING, URL, address, 60)

    assert url.startswith(f"{URL}/mail/")
    assert KEYRING.folded(address) == open_sender(KEYRING, token_of(url))


def test_marks_stop_is_the_recipients() -> None:
    """The refusal in a message is the recipient's, in whatever spelling they were written to."""
    assert KEYRING.folded(MAX.upper()) == open_stop(KEYRING, token_of(MARKS.stop()))


def test_sender_link_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The link to a sender's pages opens nothing after its time."""
    monkeypatch.setattr("ledger.tokens.time.time", lambda: 1_000_000.0)
    token = token_of(sender_url(KEYRING, URL, MAX, 60))
    monkeypatch.setattr("ledger.tokens.time.time", lambda: 1_000_059.0)

    assert KEYRING.folded(MAX) == open_sender(KEYRING, token)

    monkeypatch.setattr("ledger.tokens.time.time", lambda: 1_000_060.0)

    assert None is open_sender(KEYRING, token)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("other", OPENERS)
def test_token_opens_as_its_own_kind_only(kind: str, other: str) -> None:
    """A token made for one page opens no other."""
    assert (kind == other) is (OPENERS[other](KEYRING, made(kind)) is not None)


@given(kinds, st.data())
def test_flipped_bit_opens_nothing(kind: str, data: st.DataObject) -> None:
    """A token with any one bit changed, the key's number included, is nobody's."""
    content = bytearray(raw(made(kind)))
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    content[at // 8] ^= 1 << at % 8

    assert None is OPENERS[kind](KEYRING, spelled(bytes(content)))


@given(kinds, st.data())
def test_truncated_token_opens_nothing(kind: str, data: st.DataObject) -> None:
    """A token that a mail program has cut, at either end and anywhere, is nobody's."""
    token = made(kind)
    length = data.draw(st.integers(0, len(token) - 1))

    assert None is OPENERS[kind](KEYRING, token[:length])
    assert None is OPENERS[kind](KEYRING, token[len(token) - length :])


@given(kinds, st.text(max_size=80) | st.binary(max_size=80).map(spelled))
def test_any_text_opens_nothing(kind: str, text: str) -> None:
    """Whatever is asked for, nothing is raised and nothing opens that was not made here."""
    assert None is OPENERS[kind](KEYRING, text)


@given(kinds)
def test_very_long_text_opens_nothing(kind: str) -> None:
    """A token longer than any that is made is not even decoded."""
    assert None is OPENERS[kind](KEYRING, "A" * 4_097)


@settings(max_examples=300)
@given(kinds, st.data())
def test_token_has_one_spelling(kind: str, data: st.DataObject) -> None:
    """Padding, the other alphabet, white space and unused bits make no second spelling of the same token."""
    token = made(kind)
    character = data.draw(st.sampled_from("=+/ \n\t.%~-_AQgwé"))
    at = data.draw(st.integers(0, len(token)))
    changes = {
        token[:at] + character + token[at:],
        token[:at] + character + token[at + 1 :],
        token[:-1] + character,
        token + "==",
        token.replace("-", "+").replace("_", "/"),
    }

    assert {None} == {OPENERS[kind](KEYRING, change) for change in changes - {token}} | {None}
    assert None is not OPENERS[kind](KEYRING, token)


@pytest.mark.parametrize("kind", OPENERS)
def test_other_key_file_opens_nothing(kind: str) -> None:
    """A token of another installation is nobody's, though its key has the same number."""
    assert None is OPENERS[kind](Keyring(KeyFile.new().rotated().rotated()), made(kind))


@given(st.text(min_size=6, max_size=20, alphabet="abcdefghijklmnop"))
def test_no_address_in_a_token(local: str) -> None:
    """No spelling of an address of ours holds the recipient's, not even when it is decoded."""
    address = f"{local}@client.example"
    marks = Marks(KEYRING, URL, new_message_id(), address)
    urls = [marks.pixel(), marks.link(1, TARGET), marks.stop(), sender_url(KEYRING, URL, address, 60)]
    shown = "\n".join(urls).encode() + b"\n".join(raw(token_of(url)) for url in urls)

    assert local.encode() not in shown
    assert b"client.example" not in shown
    assert not any("@" in url for url in urls)


@pytest.mark.parametrize("kind", OPENERS)
def test_same_content_never_looks_the_same(kind: str) -> None:
    """Two tokens of one person or message cannot be told to belong together."""
    assert 100 == len({made(kind)[4:] for _ in range(100)})


def test_message_ids_are_random() -> None:
    """Nothing counts up in a message's id."""
    ids = {new_message_id() for _ in range(1_000)}

    assert (1_000, {32}) == (len(ids), {len(one) for one in ids})
    assert 16 == len({one[0] for one in ids})
