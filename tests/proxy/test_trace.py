"""Loops: too many trace fields, and the marker by which a message that comes back is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.keys import Keyring
from policies import Purpose
from proxy.trace import Marker
from tests.proxy.sending import Sender
from tests.relaying import Running, conduct, running_relay
from tests.upstream import FakeUpstream

RAW = (
    b"From: Alice <alice@example.org>\r\nTo: bob@customer.test\r\nMessage-ID: <1@example.org>\r\n"
    b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: Our offer\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: text/html; charset=utf-8\r\n\r\n<p><a href="https://shop.example/a">our offer</a></p>\r\n'
)
SIGNED = RAW.replace(b"text/html; charset=utf-8", b'multipart/signed; protocol="x"; boundary="b"')


@pytest.mark.parametrize(("count", "expected"), [(50, "250 2.0.0 Ok: queued"), (51, "554 5.4.6")])
async def test_too_many_hops(tmp_path: Path, count: int, expected: str) -> None:
    """S20: with 50 Received fields a message goes on, with 51 it goes round in a circle; the next one goes."""
    hops = b"".join(b"Received: from a by b; now\r\n" for _ in range(count))
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        await sender.envelope()
        assert (await sender.content(hops + RAW)).startswith(expected)
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
    assert (2 if count == 50 else 1) == len(upstream.messages)


async def passed(running: Running, upstream: FakeUpstream, raw: bytes) -> bytes:
    """Return what becomes of a message, without our Received line."""
    async with Sender(running.port) as sender:
        await sender.envelope()
        assert (await sender.content(raw)).startswith("250")
    return upstream.messages[-1].partition(b"\r\n")[2]


async def test_there_and_back(tmp_path: Path) -> None:
    """S20: a message that comes back is known by its marker and goes on as it is, tracked once and recorded as off."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        running.server.relay.conduct = replace(conduct(), marker=Marker("relay.test", running.ledger.keyring))
        await running.agree("bob@customer.test", Purpose.OPEN, Purpose.CLICK)
        once = await passed(running, upstream, RAW)
        again = await passed(running, upstream, b"Received: from mail.test by relay.test; now\r\n" + once)
        reasons = [one["reason"] for one in await running.ledger.messages()]
    assert once.startswith(b"X-Aboveboard-Processed: relay.test ")
    assert b"/o/" in once
    assert b"Received: from mail.test by relay.test; now\r\n" + once == again
    assert ["message_off", "tracked"] == sorted(reasons)


async def test_protected_mail_is_marked(tmp_path: Path) -> None:
    """A protected message gets the marker in front, or it would go round for ever, and keeps every byte."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        running.server.relay.conduct = replace(conduct(), marker=Marker("relay.test", running.ledger.keyring))
        once = await passed(running, upstream, SIGNED)
    marker, _, rest = once.partition(b"\r\n")
    assert marker.startswith(b"X-Aboveboard-Processed: relay.test ")
    assert SIGNED == rest


async def test_no_marker_unless_asked_for(tmp_path: Path) -> None:
    """Without the setting nothing is put in front, and a marker that somebody wrote means nothing."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        marked = Marker("relay.test", running.ledger.keyring).line(SIGNED) + SIGNED
        assert SIGNED == await passed(running, upstream, SIGNED)
        assert marked == await passed(running, upstream, marked)


def other_message(marked: bytes) -> bytes:
    """Return another message with this one's marker."""
    return marked.replace(b"<1@", b"<2@")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(other_message, id="of another message"),
        pytest.param(lambda marked: marked.replace(b"Message-ID", b"X-Message-ID"), id="without Message-ID"),
        pytest.param(lambda marked: marked.replace(b"Date", b"Message-ID: <1@example.org>\r\nDate"), id="two of them"),
        pytest.param(lambda marked: b"X-Aboveboard-Processed: relay.test\r\n" + RAW, id="made up"),
        pytest.param(lambda marked: b"X-Aboveboard-Processed: relay.test \xff\xe9=\r\n" + RAW, id="not base64"),
        pytest.param(lambda marked: b"no field\r\n" + marked, id="a header that cannot be read"),
        pytest.param(lambda marked: RAW.replace(b"<p>", b"<p>" + marked.partition(b"\r\n")[0]), id="in the body"),
    ],
)
def test_not_its_marker(change: Callable[[bytes], bytes]) -> None:
    """A marker that was not made for a message by us does not keep it from being looked at."""
    marker = Marker("relay.test", Keyring.throwaway())
    marked = marker.line(RAW) + RAW

    assert marker.is_on(marked)
    assert not marker.is_on(change(marked))


def test_another_relay() -> None:
    """The marker of another installation is not ours."""
    assert not Marker("relay.test", Keyring.throwaway()).is_on(Marker("a", Keyring.throwaway()).line(RAW) + RAW)
