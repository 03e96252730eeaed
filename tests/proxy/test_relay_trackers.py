"""Foreign trackers through a real session: taken out, reported or refused, and recorded; mail is never harmed."""

import asyncio
import smtplib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from ledger import trackers
from policies import PolicyModel
from proxy import body, relay
from proxy.relay import Conduct
from proxy.vendors import load_rules
from tests.proxy.test_relay import HTML, delivered, send
from tests.proxy.tracking import ACME_READING, AD, ID40, PIXEL, READING
from tests.relaying import Running, conduct, running_relay
from tests.upstream import FakeUpstream

MARK = f'<img src="{PIXEL}">'.encode()
TRACKED = HTML.replace(b"</p>", MARK + b"</p>")
QUOTED = HTML.replace(b"</p>", b'</p><div class="gmail_quote">' + MARK + b"</div>")


def with_policy(**said: Any) -> Conduct:
    """Return a conduct that looks for trackers, with an answer for individual mail."""
    settings = conduct(PolicyModel.model_validate({"foreign_tracking": said}))
    return replace(settings, reading=replace(settings.reading, watch=READING.watch))


def recorded(running: Running) -> list[tuple[Any, ...]]:
    """Return what the ledger has on trackers."""
    engine = create_engine(f"sqlite:///{running.database}", poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT scope, vendor, surface, tier, action, host, count FROM foreign_tracker")
        )
        return [tuple(row) for row in found]


async def test_removed(tmp_path: Path) -> None:
    """The tracker is gone, every other byte is as it was sent, and the ledger has the host and no more."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=with_policy()) as running:
        await send(running, TRACKED)
        found = recorded(running)
        (decided,) = await running.ledger.messages()

    assert HTML == delivered(upstream)
    assert [("tool", "yesware", "image", "B", "removed", "t.yesware.com", 1)] == found
    assert ("no_consent", "accepted") == (decided["reason"], decided["outcome"])


async def test_removed_from_a_tracked_message(tmp_path: Path) -> None:
    """A message that we track loses the other tracker too; ours is the only pixel."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=with_policy()) as running:
        await running.agree("bob@customer.test")
        await send(running, TRACKED)
        found = recorded(running)

    out = delivered(upstream)
    assert MARK not in out
    assert (1, 1) == (out.count(b"/o/"), out.count(b"/l/"))
    assert ["removed"] == [row[4] for row in found]


@pytest.mark.parametrize(("answer", "rows"), [("keep", 0), ("report", 1)])
async def test_left(tmp_path: Path, answer: str, rows: int) -> None:
    """Where policy keeps trackers nothing is told; where it reports them, they are told and stay."""
    settings = with_policy(individual=answer)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await send(running, TRACKED)
        found = recorded(running)

    assert TRACKED == delivered(upstream)
    assert ["reported"] * rows == [row[4] for row in found]


async def test_refused(tmp_path: Path) -> None:
    """68: policy refuses: 550 5.7.1 names the vendor, nothing reaches the upstream, and the session goes on."""
    settings = with_policy(individual="refuse")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:

        def hand_in() -> tuple[int, bytes]:
            with smtplib.SMTP("127.0.0.1", running.port, "client.test", timeout=10) as client:
                with pytest.raises(smtplib.SMTPDataError) as refused:
                    client.sendmail("alice@example.org", "bob@customer.test", TRACKED)
                client.sendmail("alice@example.org", "bob@customer.test", HTML)
                error = refused.value.smtp_error
                return refused.value.smtp_code, error if isinstance(error, bytes) else error.encode()

        asked = upstream.connections
        code, said = await asyncio.to_thread(hand_in)
        found = recorded(running)
        outcomes = [one["outcome"] for one in await running.ledger.messages()]

    assert (550, True, True) == (code, said.startswith(b"5.7.1 "), b"Yesware" in said)
    assert HTML == delivered(upstream)
    assert 1 == len(upstream.messages)
    # Said to the first transaction's end, on the connection that the second one uses.
    assert (1, 1) == (upstream.heard.count("RSET"), upstream.connections - asked)
    assert [("tool", "yesware", "image", "B", "refused", "t.yesware.com", 1)] == found
    assert {"accepted", "refused"} == set(outcomes)


async def test_refused_although_agreed(tmp_path: Path) -> None:
    """A refused message is not tracked, whatever the recipient agreed to: nothing of it is kept under their name."""
    settings = with_policy(individual="refuse")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await running.agree("bob@customer.test")
        with pytest.raises(smtplib.SMTPDataError):
            await send(running, TRACKED)
        (decided,) = await running.ledger.messages()

    assert [] == upstream.messages
    assert ("policy_off", None, "refused") == (decided["reason"], decided["subject"], decided["outcome"])


async def test_what_is_quoted_is_not_refused(tmp_path: Path) -> None:
    """What others wrote and a reply quotes is taken out, not held against the sender."""
    settings = with_policy(individual="refuse")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await send(running, QUOTED)
        found = recorded(running)

    assert QUOTED.replace(MARK, b"") == delivered(upstream)
    assert [("quoted", "removed")] == [(row[0], row[4]) for row in found]


async def test_mail_that_passes_through_is_only_reported(tmp_path: Path) -> None:
    """Mail from outside keeps its trackers, even where policy refuses them."""
    settings = with_policy(individual="refuse")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        await send(running, TRACKED, sender="someone@elsewhere.test")
        found = recorded(running)

    assert TRACKED == delivered(upstream)
    assert ["reported"] == [row[4] for row in found]


async def test_an_upstream_that_does_not_listen_is_left(tmp_path: Path) -> None:
    """An upstream that does not take RSET gets no other message on that connection."""
    settings = with_policy(individual="refuse")
    upstream = FakeUpstream(answers={"RSET": "502 5.5.1 what?"})
    async with upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:

        def hand_in() -> None:
            with smtplib.SMTP("127.0.0.1", running.port, "client.test", timeout=10) as client:
                with pytest.raises(smtplib.SMTPDataError):
                    client.sendmail("alice@example.org", "bob@customer.test", TRACKED)
                # The client says RSET after a refusal; ours to the upstream came before it.
                client.sendmail("alice@example.org", "bob@customer.test", HTML)

        asked = upstream.connections
        await asyncio.to_thread(hand_in)

    assert HTML == delivered(upstream)
    assert 2 == upstream.connections - asked


async def test_a_failure_harms_no_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while trackers are looked for or recorded, the message goes on."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=with_policy()) as running:
        monkeypatch.setattr(trackers, "record", broken)
        await send(running, TRACKED)
        assert HTML == delivered(upstream)
        monkeypatch.setattr(body, "trackers_in_html", broken)
        await send(running, TRACKED)
        assert TRACKED == delivered(upstream)


async def test_counted(tmp_path: Path) -> None:
    """The metric counts by vendor, tier and action, and names no host."""
    labels = {"vendor": "yesware", "tier": "B", "action": "removed"}
    relay.FOREIGN.hand_over()
    before = REGISTRY.get_sample_value("aboveboard_foreign_trackers_total", labels) or 0
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=with_policy()) as running:
        await send(running, TRACKED)
    relay.FOREIGN.hand_over()
    assert before + 1 == REGISTRY.get_sample_value("aboveboard_foreign_trackers_total", labels)


async def test_a_refusal_is_one_short_line(tmp_path: Path) -> None:
    """Many vendors, or one with an odd name, make no reply that a client could not read (RFC 5321 §4.5.3.1.5)."""
    settings = with_policy(individual="refuse")
    watch = ACME_READING.watch
    assert watch is not None
    odd = [
        vendor.model_copy(update={"name": "Acme\r\n250 ö" + "x" * 100})
        for vendor in watch.rules.vendors
        if vendor.id == "acme"
    ]

    settings = replace(settings, reading=replace(settings.reading, watch=replace(watch, rules=load_rules(odd))))
    many = "".join(f'<img src="{url}">' for url in (AD, PIXEL, f"https://mailtrack.io/trace/mail/{ID40}.png?u=1"))
    raw = HTML.replace(b"</p>", many.encode() + b"</p>")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=settings) as running:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            await send(running, raw)

    said = refused.value.smtp_error
    assert isinstance(said, bytes)
    assert (True, True) == (said.isascii(), len(said) < 400)
    assert b"Yesware" in said
    assert b"\n" not in said
