"""The relay's conduct towards a message: what leaves, what is recorded, and what happens when something goes wrong."""

import asyncio
import re
import smtplib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from ledger.decisions import DecidedMessage
from ledger.ledger import Ledger
from ledger.reader import Known
from policies import PolicyModel, Purpose, Reason
from proxy import relay
from proxy.footer import Footer
from tests.relaying import Running, conduct, running_relay
from tests.upstream import FakeUpstream

HTML = (
    b"From: Alice <alice@example.org>\r\nTo: bob@customer.test\r\nSubject: Our offer\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b'<html><body><p>Dear Bob, <a href="https://shop.example/a?b=1&amp;c=2">our offer</a></p></body></html>\r\n'
)


def submit(port: int, raw: bytes, *recipients: str, sender: str = "alice@example.org") -> None:
    """Hand in a message as a mail program does."""
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=10) as client:
        client.sendmail(sender, recipients or ("bob@customer.test",), raw, mail_options=["BODY=8BITMIME"])


async def send(running: Running, raw: bytes = HTML, *recipients: str, sender: str = "alice@example.org") -> None:
    """Hand in a message without blocking the relay, which shares our event loop."""
    await asyncio.to_thread(submit, running.port, raw, *recipients, sender=sender)


def delivered(upstream: FakeUpstream) -> bytes:
    """Return the last message that arrived, without our Received line."""
    return upstream.messages[-1].partition(b"\r\n")[2]


async def test_promise_2_untracked_means_untouched(tmp_path: Path) -> None:
    """Row 44: nobody's consent is known: the bytes after our one Received line are those that were sent."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await send(running)
        (recorded,) = await running.ledger.messages()
    assert HTML == delivered(upstream)
    assert re.match(rb"Received: by relay\.test with ESMTP id [0-9a-f]{32}; [^\r\n]+\r\n", upstream.messages[0])
    assert ("no_consent", "individual", "accepted", None) == (
        recorded["reason"], recorded["class"], recorded["outcome"], recorded["recipient"],
    )  # fmt: skip


async def test_promise_3_tracked_means_surgical(tmp_path: Path) -> None:
    """With consent only the href value, the pixel and the footer differ."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running)
        (recorded,) = await running.ledger.messages()
    out = delivered(upstream)
    out = re.sub(rb"http://track\.test:8080/l/[\w-]+", b"https://shop.example/a?b=1&amp;c=2", out)
    out = re.sub(rb"\r\n<div style=[^>]*>.*?</div>\r\n(?=</body>)", b"", out, flags=re.DOTALL)
    assert HTML == out
    assert ("tracked", "bob@customer.test", "Our offer") == (
        recorded["reason"], recorded["recipient"], recorded["subject"],
    )  # fmt: skip


@pytest.mark.parametrize(("purpose", "pixels", "links"), [(Purpose.OPEN, 1, 0), (Purpose.CLICK, 0, 1)], ids=str)
async def test_each_purpose_has_its_own_consent(tmp_path: Path, purpose: Purpose, pixels: int, links: int) -> None:
    """Cases 6 and 7, row 48: consent to opens brings a pixel and no wrapped link, to clicks the other way round."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test", purpose)
        await send(running)
    out = delivered(upstream)
    assert (pixels, links) == (out.count(b"/o/"), out.count(b"/l/"))


async def test_two_recipients_are_a_group(tmp_path: Path) -> None:
    """Case 14, row 63: two RCPT for one address in To: nothing is tracked, whoever agreed."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running, HTML, "bob@customer.test", "carol@customer.test")
        (recorded,) = await running.ledger.messages()
    assert HTML == delivered(upstream)
    assert ("group", 2) == (recorded["reason"], recorded["recipients"])


async def test_mail_from_outside_passes_untouched(tmp_path: Path) -> None:
    """A sender of another domain is neither refused nor tracked."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running, sender="someone@elsewhere.test")
        (recorded,) = await running.ledger.messages()
    assert HTML == delivered(upstream)
    assert "policy_off" == recorded["reason"]


async def test_control_header_and_tag_never_leave(tmp_path: Path) -> None:
    """Case 22, and 170: every control header of ours and the subject's tag are removed, tracked or not."""
    raw = HTML.replace(
        b"Subject: Our offer", b"X-Aboveboard-Track: off\r\nSubject: [track] Our offer\r\nx-aboveboard-track: open"
    )
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running, raw)
        (recorded,) = await running.ledger.messages()
    assert HTML == delivered(upstream)
    assert "message_off" == recorded["reason"]


def _raise(*_: Any, **__: Any) -> None:
    raise RuntimeError("secret /etc/path")


@pytest.mark.parametrize(
    ("module", "name"),
    [(relay, "reading_message"), (relay, "classify"), (relay, "decide"), (relay, "tracking"), (Footer, "html")],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_promise_4_an_exception_sends_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    """Case 5, S18: whatever raises between the dots, the original bytes go on and the client hears 250."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        monkeypatch.setattr(module, name, _raise)
        await send(running)
        (recorded,) = await running.ledger.messages()
    assert HTML == delivered(upstream)
    assert "error" == recorded["reason"]


async def test_a_ledger_that_is_gone_leaves_mail_untouched(tmp_path: Path) -> None:
    """Case 4: with the database deleted, mail flows as it came, also to somebody who agreed."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        for file in tmp_path.glob("ledger.db*"):
            file.unlink()
        await send(running)
        assert not running.database.exists()
    assert HTML == delivered(upstream)


async def test_a_decision_that_cannot_be_recorded_is_not_acted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracked message whose row does not reach the disk in time goes as it came."""

    reasons: list[Reason] = []

    async def not_recorded(_: Ledger, decided: DecidedMessage) -> bool:
        reasons.append(decided.decision.reason)
        return False

    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        monkeypatch.setattr(Ledger, "record_decision", not_recorded)
        with structlog.testing.capture_logs() as logged:
            await send(running)
    assert HTML == delivered(upstream)
    # One try; what went out is in the log, for the ledger would not hear it either.
    assert [Reason.TRACKED] == reasons
    assert ["ledger_unavailable"] == [one["reason"] for one in logged if one["event"] == "relay.message"]


@pytest.mark.parametrize("consents", [True, False], ids=["tracked", "untracked"])
async def test_what_cannot_be_noted_changes_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consents: bool
) -> None:
    """168: whatever raises after the upstream's answer, the client hears that answer, and does not send again."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        if consents:
            await running.agree("bob@customer.test")
        monkeypatch.setattr(relay.REPLIES, "count", _raise)
        with structlog.testing.capture_logs() as logged:
            await send(running)
    assert 1 == len(upstream.messages)
    assert 1 == sum(one["event"] == "relay.not_recorded" for one in logged)


async def test_a_rewritten_message_over_the_upstreams_limit_goes_as_the_original(tmp_path: Path) -> None:
    """Rewriting makes a message longer; where that is too long for the upstream, the original goes."""
    # Enough for the original, and for the rewritten message by the letter, but not with what an upstream adds.
    upstream = FakeUpstream(extensions=("8BITMIME", f"SIZE {len(HTML) + 3_000}"))
    async with upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running)
        (recorded,) = await running.ledger.messages()
    assert HTML == delivered(upstream)
    assert "too_large" == recorded["reason"]


async def test_eight_bit_html_for_a_seven_bit_upstream_is_encoded(tmp_path: Path) -> None:
    """Case 40: an edited part with 8-bit bytes is quoted-printable for an upstream without 8BITMIME, and says so."""
    raw = HTML.replace(b"Dear Bob", "Grüß Gott".encode())
    upstream = FakeUpstream(extensions=())
    async with upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")

        def hand_in() -> None:
            with smtplib.SMTP("127.0.0.1", running.port, "client.test", timeout=10) as client:
                client.sendmail("alice@example.org", "bob@customer.test", raw)

        await asyncio.to_thread(hand_in)
    out = delivered(upstream)
    assert out.isascii()
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in out
    assert b"Gr=C3=BC=C3=9F Gott" in out


async def test_received_can_be_switched_off(tmp_path: Path) -> None:
    """received = false adds nothing at all."""
    settings = replace(conduct(), received=False)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await send(running)
    assert [HTML] == upstream.messages


async def test_a_loop_is_broken(tmp_path: Path) -> None:
    """Case 26, S20: a message with 51 Received fields is refused with 554 5.4.6."""
    raw = b"Received: by x.test; now\r\n" * 51 + HTML
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        with pytest.raises(smtplib.SMTPDataError, match=r"5\.4\.6"):
            await send(running, raw)
        await send(running, raw.partition(b"\r\n")[2])
    assert 1 == len(upstream.messages)


async def test_policy_is_a_ceiling(tmp_path: Path) -> None:
    """Case 3: policy off, consent granted, the message asks for it: byte for byte the same."""
    settings = conduct(PolicyModel(open="never", click="never"))
    raw = HTML.replace(b"Subject:", b"X-Aboveboard-Track: open, click\r\nSubject:")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await running.agree("bob@customer.test")
        await send(running, raw)
    assert HTML == delivered(upstream)


async def test_nothing_that_names_anybody_is_in_our_addresses(tmp_path: Path) -> None:
    """Cases 118 and M15: pixel, link and stop addresses hold no address, no message id, nothing that counts up."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running)
        (recorded,) = await running.ledger.messages()
    urls: Callable[[bytes], list[bytes]] = re.compile(rb"http://track\.test:8080/[^\"]+").findall
    found = urls(delivered(upstream))
    assert 3 == len(found)
    for url in found:
        assert not any(word in url for word in (b"@", b"bob", b"alice", recorded["message"].encode()))


@pytest.mark.parametrize(
    "author",
    [b"Stranger <stranger@foreign.test>", b"alice@example.org, eve@evil.test", b"Alice <alice@sub.example.org>"],
    ids=["a forward", "two authors", "another domain"],
)
async def test_what_is_written_elsewhere_is_not_tracked(tmp_path: Path, author: bytes) -> None:
    """S10: a reverse-path of ours does not make a forwarded message ours: its author is looked at too."""
    raw = HTML.replace(b"Alice <alice@example.org>", author)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running, raw)
        (recorded,) = await running.ledger.messages()
    assert raw == delivered(upstream)
    assert "policy_off" == recorded["reason"]


async def test_a_grant_counts_for_its_own_spelling(tmp_path: Path) -> None:
    """One mailbox in two spellings is tracked only where both were agreed to, in whatever order they stand."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        for order in (("bob@customer.test", "BOB@customer.test"), ("BOB@customer.test", "bob@customer.test")):
            await send(running, HTML, *order)
            assert HTML == delivered(upstream)


@pytest.mark.parametrize(
    "subject",
    [b"=?utf-8?q?[tra?= =?utf-8?q?ck]_Hi?=", b"[track][notrack] Hi"],
    ids=["over two words", "contradiction"],
)
async def test_a_tag_that_is_no_clear_wish_is_off(tmp_path: Path, subject: bytes) -> None:
    """A tag that cannot be taken out, or two that contradict each other, mean off."""
    raw = HTML.replace(b"Our offer", subject, 1)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("bob@customer.test")
        await send(running, raw)
        (recorded,) = await running.ledger.messages()
    assert "message_off" == recorded["reason"]
    assert b"/o/" not in delivered(upstream)


async def test_no_message_is_decided_by_a_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conduct that comes into force while a message is decided counts from the next message on."""
    before = conduct()
    after = replace(conduct(PolicyModel(open="never", click="never")), received=False)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=before) as running:
        await running.agree("bob@customer.test")
        look_up = running.ledger.look_up

        async def meanwhile(recipient: str, sender: str) -> Known:
            running.server.relay.conduct = after
            return await look_up(recipient, sender)

        monkeypatch.setattr(running.ledger, "look_up", meanwhile)
        for _ in range(2):
            await send(running)
        second, first = await running.ledger.messages()
    assert ("tracked", before.policy.version) == (first["reason"], first["policy_version"])
    assert ("policy_off", after.policy.version) == (second["reason"], second["policy_version"])
    assert upstream.messages[0].startswith(b"Received: ")
    assert HTML == upstream.messages[1]
