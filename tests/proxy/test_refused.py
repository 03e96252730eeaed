"""Messages that a rule refuses: what the client hears, what the upstream never hears, and what is recorded."""

import asyncio
import smtplib
from pathlib import Path
from typing import Any

import pytest

from policies import PolicyModel, Purpose
from tests.proxy.samples import fixture
from tests.relaying import Running, conduct, running_relay
from tests.upstream import FakeUpstream

LETTER = (
    b"From: Alice <alice@example.org>\r\nTo: bob@customer.test\r\nSubject: Our offer\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>Dear Bob</p></body></html>\r\n"
)
OTHER = LETTER.replace(b"bob@", b"carol@")
POLICY = PolicyModel.model_validate(
    {
        "rule": [
            {"name": "No letters to Bob", "when": {"recipient": ["bob@*"]}, "then": {"refuse": "Bob wants no mail"}},
            {"name": "Nor offers", "when": {"header": {"Subject": ["*offer*"]}}, "then": {"open": "never"}},
            {"name": "No letters at all to Bob", "when": {"recipient": ["bob@*"]}, "then": {"refuse": "Not said"}},
        ]
    }
)
REFUSED = (550, b"5.7.1 Bob wants no mail")


async def session(running: Running, *letters: tuple[str, str, bytes]) -> list[tuple[int, bytes]]:
    """Hand in several messages in one session; return what the client hears after each final dot."""

    def talk() -> list[tuple[int, bytes]]:
        with smtplib.SMTP("127.0.0.1", running.port, "client.test", timeout=10) as client:
            client.ehlo()
            return [answer(client, *letter) for letter in letters]

    return await asyncio.to_thread(talk)


def answer(client: smtplib.SMTP, sender: str, recipient: str, raw: bytes) -> tuple[int, bytes]:
    """Hand in one message and return the last answer."""
    client.mail(sender)
    client.rcpt(recipient)
    return client.data(raw)


async def test_a_refused_message_never_reaches_the_upstream(tmp_path: Path) -> None:
    """The client hears the first rule's text, the upstream no DATA, and the next message of the session goes on."""
    upstream = FakeUpstream()
    async with upstream, running_relay(tmp_path, upstream.port, settings=conduct(POLICY)) as running:
        await running.agree("bob@customer.test")
        heard = await session(
            running,
            ("alice@example.org", "bob@customer.test", LETTER),
            ("alice@example.org", "carol@customer.test", OTHER),
        )
        passed, refused = sorted(await running.ledger.messages(), key=lambda one: one["outcome"])
    assert [REFUSED, 250] == [heard[0], heard[1][0]]
    assert [OTHER] == [one.partition(b"\r\n")[2] for one in upstream.messages]
    said = [line.split(" ")[0].split(":")[0] for line in upstream.heard if not line.startswith(("EHLO", "QUIT"))]
    assert ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"] == said
    assert ("refused", "rule", None, False) == tuple(refused[key] for key in ("outcome", "reason", "subject", "open"))
    assert ["No letters to Bob", "Nor offers", "No letters at all to Bob"] == refused["rules"]
    assert ("accepted", ["Nor offers"]) == (passed["outcome"], passed["rules"])


@pytest.mark.parametrize(
    ("sender", "raw"),
    [
        ("someone@elsewhere.test", LETTER),
        ("", LETTER),
        ("alice@example.org", LETTER.replace(b"alice@example.org", b"stranger@elsewhere.test")),
    ],
    ids=["reverse-path", "null sender", "author"],
)
async def test_mail_from_outside_is_never_refused(tmp_path: Path, sender: str, raw: bytes) -> None:
    """Forwards, redirects and reports only pass through, whatever a rule says."""
    upstream = FakeUpstream()
    async with upstream, running_relay(tmp_path, upstream.port, settings=conduct(POLICY)) as running:
        heard = await session(running, (sender, "bob@customer.test", raw))
    assert 250 == heard[0][0]
    assert raw == upstream.messages[0].partition(b"\r\n")[2]


async def test_a_protected_message_may_be_refused(tmp_path: Path) -> None:
    """Refusing changes no byte, so a rule that says it holds for a signed message too."""
    raw = fixture("protected-pgp-signed.in").replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
    policy = PolicyModel.model_validate({"rule": [{"name": "r", "when": {}, "then": {"refuse": "No"}}]})
    upstream = FakeUpstream()
    async with upstream, running_relay(tmp_path, upstream.port, settings=conduct(policy)) as running:
        heard = await session(running, ("max@example.org", "bob@customer.test", raw))
        (recorded,) = await running.ledger.messages()
    assert (550, b"5.7.1 No") == heard[0]
    assert ("protected", "refused", []) == (recorded["reason"], recorded["outcome"], upstream.messages)


@pytest.mark.parametrize("trouble", [{"answers": {"RSET": "500 what?"}}, {"hang_up_on": "RSET"}], ids=str)
async def test_an_upstream_that_cannot_take_it_back_is_left(tmp_path: Path, trouble: dict[str, Any]) -> None:
    """Where the upstream does not forget the envelope, the next message goes over another connection."""
    upstream = FakeUpstream(**trouble)
    async with upstream, running_relay(tmp_path, upstream.port, settings=conduct(POLICY)) as running:
        before = upstream.connections
        heard = await session(
            running,
            ("alice@example.org", "bob@customer.test", LETTER),
            ("alice@example.org", "carol@customer.test", OTHER),
        )
    assert [REFUSED, 250] == [heard[0], heard[1][0]]
    assert (2, 1) == (upstream.connections - before, len(upstream.messages))


async def test_a_loop_is_taken_back_too(tmp_path: Path) -> None:
    """After a message that goes in a circle, the next one of the session goes on."""
    loop = b"Received: by x.test; now\r\n" * 51 + LETTER
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        heard = await session(
            running,
            ("alice@example.org", "bob@customer.test", loop),
            ("alice@example.org", "bob@customer.test", LETTER),
        )
    assert [554, 250] == [code for code, _ in heard]
    assert ["MAIL", "RCPT", "RSET", "MAIL"] == [
        line[:4] for line in upstream.heard if line[:4] not in ("EHLO", "QUIT")
    ][:4]


async def test_the_footer_says_what_rules_want(tmp_path: Path) -> None:
    """The sentences of the rules that apply stand in the footer of a tracked message, escaped, before the link."""
    policy = PolicyModel.model_validate(
        {"rule": [{"name": "r", "when": {}, "then": {"footer": "Works council: <agreed>."}}]}
    )
    upstream = FakeUpstream()
    async with upstream, running_relay(tmp_path, upstream.port, settings=conduct(policy)) as running:
        await running.agree("bob@customer.test", Purpose.OPEN)
        await session(running, ("alice@example.org", "bob@customer.test", LETTER))
    assert b"are loaded. Works council: &lt;agreed&gt;. <a href=" in upstream.messages[0]
