"""What messages and senders wish, through the whole relay: what is obeyed, and that none of it reaches the upstream."""

from pathlib import Path

import pytest

from policies import PolicyModel, Purpose, Reason
from tests.proxy.test_relay import HTML, delivered, send
from tests.relaying import Running, conduct, running_relay
from tests.upstream import FakeUpstream

SUBJECT = b"Subject: Our offer\r\n"
NESTED = (
    b"From: Alice <alice@example.org>\r\nTo: bob@customer.test\r\nSubject: Our offer\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\nX-Aboveboard-Track: open\r\n\r\n<p>Dear Bob</p>\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nX-Aboveboard-Track: open\r\nSubject: [track] Theirs\r\n\r\n"
    b"X-Aboveboard-Track: open\r\n--b--\r\n"
)


async def save(running: Running, *purposes: Purpose, sender: str = "alice@example.org") -> None:
    """Save a sender's default, as their page does."""
    await running.ledger.save_setting(running.ledger.keyring.folded(sender), frozenset(purposes))


async def reasons(running: Running) -> tuple[str, str]:
    """Return why the last message was tracked for opens and clicks, or was not."""
    found = (await running.ledger.messages())[0]["reasons"]
    return found["open"], found["click"]


@pytest.mark.parametrize(
    "added",
    [
        b"X-Aboveboard-Track: open\r\n",
        b"x-aboveboard-track: open\r\n",
        b"X-ABOVEBOARD-TRACK:open\r\n",
        b"x-AboveBoard-trAck: OPEN\r\n",
        b"X-Aboveboard-Track:\r\n open\r\n",
        b"X-Aboveboard-Track: open,\r\n\tclick\r\n \r\n\t open\r\n",
        b"X-Aboveboard-Track: =?utf-8?q?open?=\r\n",
        b"X-Aboveboard-Track: =?utf-8?b?b3Blbg==?=\r\n",
        b"X-Aboveboard-Track:\r\n",
        b"X-Aboveboard-Track: \xff\xfe\x01\r\n",
        b"X-Aboveboard-Track: open\r\n" * 50,
        b"X-Aboveboard-Track: off\r\nx-aboveboard-track: open\r\nX-ABOVEBOARD-TRACK: click\r\n",
    ],
    ids=[
        "plain",
        "small",
        "capitals",
        "mixed",
        "folded",
        "folds",
        "Q",
        "B",
        "empty",
        "binary",
        "many",
        "contradicting",
    ],
)
@pytest.mark.parametrize("agreed", [True, False], ids=["tracked", "untracked"])
async def test_control_headers_never_leave(tmp_path: Path, added: bytes, agreed: bool) -> None:
    """M2, 22, 170: however our header is written, however often and wherever it stands, none reaches the upstream."""
    raw = added + HTML.replace(SUBJECT, SUBJECT + added)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        if agreed:
            await running.agree("bob@customer.test")
        await send(running, raw)
    header, _, _ = delivered(upstream).partition(b"\r\n\r\n")
    assert HTML.partition(b"\r\n\r\n")[0] == header


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (b"[track] Our offer", b"Our offer"),
        (b"[TRACK Open]Our offer", b"Our offer"),
        (b"[track] [notrack] [track click] Our offer", b"Our offer"),
        (b"[track\r\n click] Our offer", b"Our offer"),
        (b"=?utf-8?q?=5Bnotrack=5D_Our_offer?=", b"=?utf-8?q?Our_offer?="),
        (b"=?UTF-8?B?W3RyYWNrXSBPdXIgb2ZmZXI=?=", b"=?UTF-8?B?T3VyIG9mZmVy?="),
    ],
    ids=["plain", "case", "several", "folded", "Q", "B"],
)
async def test_tags_never_leave(tmp_path: Path, subject: bytes, expected: bytes) -> None:
    """M2, 170: a tag that counts is taken out of the subject, in plain text, folded and in encoded words."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await send(running, HTML.replace(b"Our offer", subject, 1))
    assert HTML.replace(b"Our offer", expected, 1) == delivered(upstream)


@pytest.mark.parametrize(
    "subject",
    [
        b"Subject: =?utf-8?q?[notrack]_Gr=C3?=\r\n =?utf-8?q?=BC=C3=9Fe?=\r\n",
        b"Subject: =?utf-8?q?[notrack]_Gr=C3?=\r\n",
        b"Subject: Our offer\r\nSubject: [notrack] Our offer\r\n",
    ],
    ids=["character cut in two", "cut off", "second subject"],
)
async def test_a_wish_in_an_odd_subject_counts(tmp_path: Path, subject: bytes) -> None:
    """A tag says no also where the encoded words of the subject, or a second one, are written as none should be."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running, HTML.replace(SUBJECT, subject))
        assert (Reason.MESSAGE_OFF, Reason.MESSAGE_OFF) == await reasons(running)
    assert HTML.replace(SUBJECT, subject.replace(b"[notrack]_", b"").replace(b"[notrack] ", b"")) == delivered(upstream)


async def test_what_nested_parts_say_is_left_alone(tmp_path: Path) -> None:
    """M2: a header or a tag of ours inside a part, or in an attached message, is no wish and stays as it is."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await save(running)
        await running.agree("bob@customer.test")
        await send(running, NESTED)
        assert (Reason.SENDER_OFF, Reason.SENDER_OFF) == await reasons(running)
    assert NESTED == delivered(upstream)


async def test_what_a_sender_saved_counts(tmp_path: Path) -> None:
    """Where a message says nothing the sender's saved default lowers it, and nobody else's does."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await save(running, sender="carol@example.org")
        await send(running)
        assert (Reason.TRACKED, Reason.TRACKED) == await reasons(running)
        await save(running, Purpose.CLICK)
        await send(running)
        assert (Reason.SENDER_OFF, Reason.TRACKED) == await reasons(running)
        await save(running)
        await send(running)
        assert (Reason.SENDER_OFF, Reason.SENDER_OFF) == await reasons(running)
    assert HTML == delivered(upstream)


async def test_a_message_may_ask_for_more_than_is_saved(tmp_path: Path) -> None:
    """A message's own wish may exceed what its sender saved, and changes nothing of it."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await save(running)
        await send(running, b"X-Aboveboard-Track: open, click\r\n" + HTML)
        assert (Reason.TRACKED, Reason.TRACKED) == await reasons(running)
        await send(running)
        assert (Reason.SENDER_OFF, Reason.SENDER_OFF) == await reasons(running)


async def test_what_is_saved_never_exceeds_policy_or_consent(tmp_path: Path) -> None:
    """What a sender saved raises neither the ceiling nor what the person agreed to."""
    settings = conduct(PolicyModel(click="never"))
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await save(running, Purpose.OPEN, Purpose.CLICK)
        await send(running)
        assert (Reason.NO_CONSENT, Reason.POLICY_OFF) == await reasons(running)
    assert HTML == delivered(upstream)


async def test_without_the_ledger_nothing_saved_is_needed(tmp_path: Path) -> None:
    """With the ledger away the message goes untouched, whatever its sender had saved."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await save(running, Purpose.OPEN, Purpose.CLICK)
        for file in tmp_path.glob("ledger.db*"):
            file.unlink()
        await send(running)
    assert HTML == delivered(upstream)
