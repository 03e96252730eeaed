"""The invitation: one question below otherwise untouched mail, once per person, and nothing else of ours."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger import inviting, links
from ledger.consent import SUSPENDED_UP_TO, Person
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.links import LinkKind
from ledger.notice import Teller
from ledger.recall import set_meta
from ledger.tokens import OwnTokens
from policies import Decision, MessageClass, PolicyModel, Purpose, Reason
from policies.footer import Language
from policies.words import ForeignTracking
from proxy import relay as relay_module
from proxy.footer import Footer
from proxy.inviting import with_invitation
from proxy.message import Reading
from proxy.own import finding_in_html
from proxy.page import page
from proxy.slices import at_once
from tests.proxy.samples import read
from tests.proxy.test_relay import HTML, delivered, send
from tests.relaying import PUBLIC_URL, Running, conduct, open_ledger, running_relay
from tests.upstream import FakeUpstream

BOB, CAROL = "bob@customer.test", "carol@customer.test"
ASKING = PolicyModel(ask="footer")
JOIN = re.compile(rb"http://track\.test:8080/join/([\w-]+)")
BLOCK = re.compile(rb"\r\n<div [^>]*>\r\nMay [^\r\n]*</div>\r\n(?=</body>)")
UNKNOWN = Decision(
    MessageClass.INDIVIDUAL,
    Reason.NO_CONSENT,
    dict.fromkeys(Purpose, Reason.NO_CONSENT),
    "v1",
    foreign_tracking=ForeignTracking.KEEP,
    ask="footer",
)


@dataclass
class Asking:
    """A relay whose policy has it ask, and what is behind it."""

    upstream: FakeUpstream
    running: Running

    async def sent(self, raw: bytes = HTML, *recipients: str) -> bytes:
        """Hand in a message and return what arrives."""
        await send(self.running, raw, *recipients)
        return delivered(self.upstream)

    async def states(self, address: str = BOB) -> list[str]:
        """Return what is on record of a person in the chain, once what is under way has ended."""
        ledger = self.running.ledger
        while ledger._background:
            await asyncio.wait(ledger._background)
        return [one["state"] for one in await ledger.history(Person.of(ledger.keyring, address))]


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[Asking]:
    """Run a relay that asks."""
    async with FakeUpstream() as upstream, running_relay(folder, upstream.port, settings=conduct(ASKING)) as running:
        yield Asking(upstream, running)


async def test_somebody_unknown_is_asked_once(tmp_path: Path) -> None:
    """Rows 47 and 61: the first message asks, with nothing but the question added; the next ones are as they came."""
    async with asking(tmp_path) as relay:
        first, second = await relay.sent(), await relay.sent()
        states = await relay.states()

    assert HTML == second == BLOCK.sub(b"", first)
    assert 1 == len(JOIN.findall(first))
    assert ["requested"] * 3 == states


async def test_case_158_nothing_in_it_tracks(tmp_path: Path) -> None:
    """Case 158: the message that asks has no picture of ours and no wrapped link; its row says untracked."""
    async with asking(tmp_path) as relay:
        first = await relay.sent()
        (recorded,) = await relay.running.ledger.messages()
        link = await relay.running.ledger.read(
            lambda connection: links.look(
                connection, relay.running.ledger.keyring, JOIN.findall(first)[0].decode(), datetime.now(UTC)
            )
        )

    assert b'href="https://shop.example/a?b=1&amp;c=2"' in first
    assert not re.search(rb"track\.test:8080/[ol]/|<img", first)
    assert ("no_consent", None, None) == tuple(recorded[key] for key in ("reason", "recipient", "subject"))
    assert link is not None
    assert (LinkKind.ASK, BOB) == (link.kind, link.address)
    assert BOB.encode() not in base64.urlsafe_b64decode(JOIN.findall(first)[0] + b"==")


async def test_refused_by_the_upstream_nobody_was_asked(tmp_path: Path) -> None:
    """What the upstream does not take asked nobody: nothing is in the chain, and the next message asks."""
    async with asking(tmp_path) as relay:
        relay.upstream.answers["."] = "450 4.2.0 Greylisted"
        with pytest.raises(Exception, match="Greylisted"):
            await relay.sent()
        assert [] == await relay.states()
        del relay.upstream.answers["."]
        again = await relay.sent()

    assert JOIN.search(again)


async def test_what_goes_as_it_came_asked_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something goes wrong with a message once its question is on record, it asks nobody; the next one does."""

    def defect(_: str) -> str:
        raise RuntimeError("a defect")

    async with asking(tmp_path) as relay:
        with monkeypatch.context() as patch:
            patch.setattr(relay_module, "without_tag", defect)
            first = await relay.sent()
        assert [] == await relay.states()
        second = await relay.sent()

    assert HTML == first
    assert JOIN.search(second)


async def test_without_a_ledger_nobody_is_asked(tmp_path: Path) -> None:
    """Where it cannot be recorded that somebody was asked, nobody is."""
    async with asking(tmp_path) as relay:
        relay.running.database.unlink()
        assert HTML == await relay.sent()


async def test_two_workers_ask_once(tmp_path: Path) -> None:
    """Of many messages to one person, in two processes at the same moment, one asks."""
    async with open_ledger(tmp_path) as one, AsyncExitStack() as stack:
        settings = LedgerSettings(one._settings.url, tmp_path / "head", Teller("x", "y@example.org", "z"))
        other = await stack.enter_async_context(Ledger(settings, one.keyring))
        now = datetime.now(UTC)
        asked = [inviting.prepare(one.keyring, BOB, Language.ENGLISH, PUBLIC_URL, now) for _ in range(20)]
        found = await asyncio.gather(*((one, other)[at % 2].invite(each) for at, each in enumerate(asked)))

    assert [False] * 19 + [True] == sorted(found)


async def test_after_a_restore_without_journal_nobody_is_asked(tmp_path: Path) -> None:
    """Who may have refused since the backup is not asked until an administrator has decided."""
    async with asking(tmp_path) as relay:
        await relay.running.ledger.job(lambda connection: set_meta(connection, SUSPENDED_UP_TO, "0"))
        assert HTML == await relay.sent()


async def test_who_agreed_or_is_one_of_two_is_not_asked(tmp_path: Path) -> None:
    """Tracked mail and mail to several people ask nobody."""
    async with asking(tmp_path) as relay:
        await relay.running.agree(BOB)
        tracked = await relay.sent()
        group = await relay.sent(HTML, CAROL, "dave@customer.test")

    assert not JOIN.search(tracked)
    assert HTML == group


def mail(body: bytes, encoding: str, kind: str = "html") -> bytes:
    """Return a message of one part."""
    header = f"From: a@example.org\r\nTo: {BOB}\r\nMIME-Version: 1.0\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
    return f"{header}Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            mail(b"<p>One</p>\r\n", "7bit"), [mail(b"<p>One</p>\r\n<div style", "7bit")], id="no body element"
        ),
        pytest.param(mail(base64.encodebytes(b"<body>One</body>").replace(b"\n", b"\r\n"), "base64"), [], id="base64"),
        pytest.param(mail(b"<body>=C3=BC</body>\r\n", "quoted-printable"), [b"<body>=C3=BC"], id="quoted-printable"),
        pytest.param(
            mail(b"http://x.test/\r\n", "7bit", "plain"),
            [mail(b"http://x.test/\r\n\r\nMay Example", "7bit", "plain")],
            id="text",
        ),
    ],
)
def test_every_encoding(raw: bytes, expected: list[bytes]) -> None:
    """The question stands below the message, decoded, and every header is as it was."""
    reading = Reading(plain_text_links=True)
    message = read(raw, reading)
    out = with_invitation(message, UNKNOWN, Footer("Example GmbH"), f"{PUBLIC_URL}/join/{'t' * 60}")
    assert out is not None
    again = read(out.raw, reading)
    part = (again.bodies or again.texts)[-1].encoded.decoded

    assert [("invitation", 1)] == [(change.what, change.count) for change in out.changes]
    assert raw.partition(b"\r\n\r\n")[0] == out.raw.partition(b"\r\n\r\n")[0]
    assert 1 == part.count(b"/join/" + b"t" * 60)
    assert all(one in out.raw for one in expected)


def test_of_several_parts_the_last_asks() -> None:
    """The question stands once in a message, however many parts of it are shown."""
    part = b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>One</p>\r\n"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part + part + b"--b--\r\n"

    out = with_invitation(read(raw), UNKNOWN, Footer("Example GmbH"), f"{PUBLIC_URL}/join/{'t' * 60}")
    assert out is not None

    assert [0, 1] == [body.encoded.decoded.count(b"/join/" + b"t" * 60) for body in read(out.raw).bodies]


@pytest.mark.parametrize("language", Language)
def test_every_language_says_who_asks_and_what(language: Language) -> None:
    """The question names the organisation and has no place left open, for each thing that can be asked."""
    footer = Footer("Müller & Söhne {what}", language)
    for purposes in ((Purpose.OPEN,), (Purpose.CLICK,), (Purpose.OPEN, Purpose.CLICK)):
        reasons = dict.fromkeys(Purpose, Reason.POLICY_OFF) | dict.fromkeys(purposes, Reason.NO_CONSENT)
        decision = Decision(MessageClass.INDIVIDUAL, Reason.NO_CONSENT, reasons, "v1", ask="footer")
        said = footer.question(decision, language)
        assert "Müller & Söhne {what}" in said
        assert "{" not in said.replace("{what}", "", 1)
        assert footer.invitation_text(decision, language, "http://x/join/y").isascii()


def test_what_would_grow_too_large_does_not_ask() -> None:
    """A message near the upstream's limit goes as it came."""
    assert with_invitation(read(HTML), UNKNOWN, Footer("x"), f"{PUBLIC_URL}/join/t", room=len(HTML)) is None


def test_a_quoted_invitation_is_taken_out() -> None:
    """Promise 2: the question goes out of quoted text like a footer of ours, so that nobody passes the link on."""
    keyring = Keyring.throwaway()
    one = inviting.prepare(keyring, BOB, Language.ENGLISH, PUBLIC_URL, datetime.now(UTC))

    out = with_invitation(read(HTML), UNKNOWN, Footer("Example GmbH"), one.url)
    assert out is not None
    found = at_once(finding_in_html(page(read(out.raw).bodies[-1].encoded.decoded), OwnTokens(keyring)))
    assert 1 == found.footers
