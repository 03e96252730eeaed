"""The message's own wish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import EVERYTHING, NOTHING, Purpose
from proxy.header import scan_fields
from proxy.transfer import splice
from proxy.wish import message_wish, removals, removals_unread, wished_by_header, wished_by_subject, without_tag

OPEN = frozenset({Purpose.OPEN, Purpose.DETAIL})
CLICK = frozenset({Purpose.CLICK, Purpose.DETAIL})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param(["open"], OPEN, id="open"),
        pytest.param(["click"], CLICK, id="click"),
        pytest.param(["open, click"], EVERYTHING, id="both"),
        pytest.param([" CLICK ,Open "], EVERYTHING, id="case and space"),
        pytest.param(["off"], NOTHING, id="off"),
        pytest.param(["open, off"], NOTHING, id="contradiction"),
        pytest.param([""], NOTHING, id="empty"),
        pytest.param(["yes"], NOTHING, id="not understood"),
        pytest.param(["detail"], NOTHING, id="no word of its own"),
        pytest.param(["off", "open"], NOTHING, id="22: the first is the wish"),
        pytest.param(["open", "off"], OPEN, id="M2: the first is the wish"),
    ],
)
def test_header(values: list[str], expected: frozenset[Purpose] | None) -> None:
    """The first control header is the wish; what is not understood means off."""
    assert wished_by_header(values) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Hello", None),
        ("[track] Hello", EVERYTHING),
        ("[TRACK]Hello", EVERYTHING),
        (" [track open] Hello", OPEN),
        ("[Track  Click] Hello", CLICK),
        ("[notrack] Hello", NOTHING),
        ("[notrack open] Hello", None),
        ("[track detail] Hello", None),
        ("[ track] Hello", None),
        ("Re: [track] Hello", None),
        ("[tracking] Hello", None),
        ("", None),
    ],
)
def test_subject(subject: str, expected: frozenset[Purpose] | None) -> None:
    """A tag counts at the start of the subject only, so that a reply to a tagged message asks for nothing."""
    assert wished_by_subject(subject) == expected


@pytest.mark.parametrize(
    ("control", "subject", "sensitivity", "expected"),
    [
        pytest.param([], "Hello", [], None, id="nothing said"),
        pytest.param(["open"], "[track] Hello", [], OPEN, id="the least of two"),
        pytest.param(["open"], "[track click] Hello", [], frozenset({Purpose.DETAIL}), id="no purpose in common"),
        pytest.param([], "Hello", ["Private"], NOTHING, id="private"),
        pytest.param([], "Hello", ["personal"], NOTHING, id="personal"),
        pytest.param(["open"], "Hello", [" Company-Confidential "], NOTHING, id="confidential"),
        pytest.param(["open"], "Hello", ["Private (please)"], NOTHING, id="private, with a comment"),
        pytest.param(["open"], "Hello", ["Company Confidential; x=y"], NOTHING, id="confidential, in other words"),
        pytest.param([], "Hello", ["normal"], None, id="not sensitive"),
        pytest.param([], "Hello", ["impersonal"], None, id="another word"),
        pytest.param(["open, click"], "Hello", ["normal", "private"], NOTHING, id="second field"),
    ],
)
def test_together(
    control: list[str], subject: str, sensitivity: list[str], expected: frozenset[Purpose] | None
) -> None:
    """What a message asks for is the least of all that it says."""
    assert message_wish(control, subject, sensitivity) == expected


@given(st.lists(st.text(max_size=30), max_size=3), st.text(max_size=30), st.lists(st.text(max_size=30), max_size=2))
def test_any_wish(control: list[str], subject: str, sensitivity: list[str]) -> None:
    """A wish can never be more than everything, whatever the message says."""
    wish = message_wish(control, subject, sensitivity)

    assert wish is None or wish <= EVERYTHING


def _removed(raw: bytes, keep_subject: bool = False) -> bytes:
    fields, _ = scan_fields(raw, 0, len(raw))
    return splice(raw, removals(raw, fields, keep_subject))


HEADER = (
    b"X-Aboveboard-Track: open\r\n"
    b"Subject: [track] Hello\r\n"
    b"x-aboveboard-track:off\r\n"
    b"X-ABOVEBOARD-TRACK: open,\r\n\tclick\r\n"
    b"X-Aboveboard-Tracker: stays\r\n"
    b"To: ada@client.example\r\n"
    b"\r\n"
    b"X-Aboveboard-Track: open\r\n"
)


def test_removed() -> None:
    """Every control header and the tag go, what the body says stays (cases 22 and M2)."""
    assert _removed(HEADER) == (
        b"Subject: Hello\r\nX-Aboveboard-Tracker: stays\r\nTo: ada@client.example\r\n\r\nX-Aboveboard-Track: open\r\n"
    )


def test_no_other_field_loses_what_looks_like_a_tag() -> None:
    """A tag is one in the subject only: every other field says what it said."""
    raw = b"X-Ticket: [track] 5\r\nComments: [notrack] is what they wrote\r\n\r\n"

    assert raw == _removed(raw)


def test_subject_kept() -> None:
    """A protected message loses the control header only, for a signature may cover its subject (case 27)."""
    assert _removed(HEADER, keep_subject=True) == (
        b"Subject: [track] Hello\r\nX-Aboveboard-Tracker: stays\r\nTo: ada@client.example\r\n"
        b"\r\nX-Aboveboard-Track: open\r\n"
    )


@pytest.mark.parametrize(
    "subject",
    [
        b"[track open] Hello",
        b"[track\r\n open] Hello",
        b"=?utf-8?q?[notrack]_Hello?=",
        b"=?utf-8?b?W3RyYWNrXSBIZWxsbw==?=",
    ],
    ids=["plain", "folded", "Q", "B"],
)
def test_what_is_obeyed_is_removed(subject: bytes) -> None:
    """No tag that counts as a wish reaches the recipient (M2)."""
    raw = b"Subject: " + subject + b"\r\n\r\n"
    changed = _removed(raw)
    fields, _ = scan_fields(changed, 0, len(changed))

    assert b"track" not in changed
    assert fields[0].text(changed) in ("Hello", "=?utf-8?q?Hello?=", "=?utf-8?b?SGVsbG8=?=")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [("[track] Offer", "Offer"), ("[NOTRACK]Offer", "Offer"), ("Re: [track] Offer", "Re: [track] Offer"), ("", "")],
)
def test_without_tag(subject: str, expected: str) -> None:
    """What is recorded of a subject is what the recipient reads."""
    assert expected == without_tag(subject)


def test_a_header_that_cannot_be_read_loses_our_fields_too() -> None:
    """M2: in a header with a line that is no field, our control header, folded or repeated, is still taken out."""
    ours = b"X-Aboveboard-Track: open,\r\n click\r\n", b"x-aboveboard-track : off\r\n"
    raw = b"From: a\r\nno field\r\n" + ours[0] + b"To: b\r\n" + ours[1] + b"\r\nX-Aboveboard-Track: body\r\n"

    result = splice(raw, removals_unread(raw))

    assert result == b"From: a\r\nno field\r\nTo: b\r\n\r\nX-Aboveboard-Track: body\r\n"


def test_a_body_without_a_header_keeps_what_it_says() -> None:
    """Case M2: of a message without a header nothing is ours, whatever its text says."""
    assert removals_unread(b"\r\nTo: a\r\nX-Aboveboard-Track: open\r\n\r\nx") == []
