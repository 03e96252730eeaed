"""Mail of our own: every letter in every language, and what becomes of it at the server."""

import asyncio
import email
import email.policy
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import post
from aboveboard.config import parse
from aboveboard.post import LETTERS, Sender, send_all, sender_of, write
from ledger import outbox
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.outbox import Letter
from ledger.schema import outbox as outbox_table
from policies.footer import Language
from proxy.route import parse_route
from proxy.upstream import QUIT_SECONDS
from tests.aboveboard.configuration import changed
from tests.proxy.sending import until
from tests.relaying import open_ledger
from tests.upstream import FakeUpstream

VALUES = {
    "join": {"url": "URL", "point": "Newsletter <form>"},
    "you": {"url": "URL"},
    "stopped": {"you_url": "URL"},
    "receipt": {"purposes": "open, click", "notice": "abc123", "until": "2027-01-01", "undo_url": "URL", "json": "{}"},
    "ask": {"url": "URL"},
    "said_yes": {"url": "URL"},
    "renew": {"url": "URL", "until": "2027-01-01", "purposes": "open"},
    "case": {"number": "ABCDE-12345", "kind": "complaint", "due": "2027-01-01"},
    "case_answer": {"number": "ABCDE-12345", "answer": "We looked.\n\nIt is gone."},
    "case_extended": {"number": "ABCDE-12345", "due": "2027-01-01", "reason": "Holidays."},
    "informed": {"what": "click, open", "source": "a fair", "url": "URL"},
    "overdue": {"list": "ABCDE-12345\nFGHIJ-67890"},
    "anchor": {"sequence": "17", "link": "deadbeef"},
}
URL = "https://track.test/you/" + "x" * 150
NOW = datetime(2026, 11, 22, tzinfo=UTC)
BOB = "bob@customer.test"


def sender(port: int = 25) -> Sender:
    """Return who writes."""
    route = parse_route(f"smtp://127.0.0.1:{port}", ["*"], "relay.test")
    return Sender(
        "Übung GmbH",
        "privacy@example.org",
        "https://example.org/privacy",
        "https://track.test",
        "box@example.org",
        route,
    )


def written(letter: Letter) -> EmailMessage:
    """Return a letter as its reader's program understands it."""
    message = email.message_from_bytes(
        write(sender(), letter, "https://track.test/stop/S", NOW), policy=email.policy.default
    )
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    """Return what a letter says."""
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def test_every_letter_is_known() -> None:
    """There is a sample here of every letter."""
    assert {path.stem for path in LETTERS.glob("*.txt")} - {"letter"} == set(VALUES)


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("kind", list(VALUES))
def test_letters(kind: str, language: Language) -> None:
    """A letter is plain text with all that it has to say, whole links, who sends it, and how to refuse."""
    values = {name: URL if value == "URL" else value for name, value in VALUES[kind].items()}
    message = written(Letter(kind, BOB, language, values))
    text = text_of(message)
    assert ("auto-generated", BOB, language) == (
        message["Auto-Submitted"], message["To"].addresses[0].addr_spec, message["Content-Language"],
    )  # fmt: skip
    assert message["Subject"].startswith("Übung GmbH")
    assert "Übung GmbH" in text
    if kind not in ("overdue", "anchor"):
        assert "https://track.test/stop/S" in text
        assert "privacy@example.org" in text
    for name, value in values.items():
        if name not in ("purposes", "what", "json", "kind"):
            assert all(line in text or line in message["Subject"] for line in value.split("\n"))
    assert not re.search(r"<(?!form>)|\{|%\(|\n{4}", text)
    assert all(len(line) <= 76 or "https://" in line for line in text.split("\n"))
    assert all(len(line) <= 998 for line in message.as_bytes().split(b"\n"))


@pytest.mark.parametrize(("source", "shown"), [("a fair", "a fair"), ("", "nothing is recorded about that")])
def test_who_is_informed_understands_it(source: str, shown: str) -> None:
    """Row 68: what somebody else put on record is named in people's words, and also that nobody noted its source."""
    values = {"what": "click, open", "source": source, "url": URL}
    text = text_of(written(Letter("informed", BOB, Language.ENGLISH, values)))
    assert "- Which links are followed\n- When images are loaded\n" in text
    assert f"Where it came from: {shown}\n" in text


def test_a_renewal_names_what_ends() -> None:
    """Whoever agreed to one purpose is asked about that one, and not told that they agreed to another."""
    text = text_of(written(Letter("renew", BOB, Language.ENGLISH, VALUES["renew"])))
    assert "- When images are loaded\n" in text
    assert "links" not in text.partition("-- ")[0]


def test_a_receipt_has_its_json() -> None:
    """The receipt for programs comes as an attachment."""
    (part,) = written(Letter("receipt", BOB, Language.ENGLISH, VALUES["receipt"])).iter_attachments()
    assert ("application/json", "receipt.json", b"{}") == (
        part.get_content_type(), part.get_filename(), part.get_content(),
    )  # fmt: skip


def test_an_address_beyond_ascii() -> None:
    """A mailbox beyond ASCII is written as it is (RFC 6532)."""
    assert "jörg@bücher.test".encode() in write(
        sender(), Letter("you", "jörg@bücher.test", values={"url": URL}), "S", NOW
    )


@pytest.mark.parametrize(
    "name",
    [
        "Example GmbH",
        "Example, Inc.",
        "Stiftung Preussischer Kulturbesitz, Staatliche Museen zu Berlin, Generaldirektion",
        "Preussischer Kulturbesitz, Staatliche Museen zu Berlin, Generaldirektion für alle Museen",
        'A "B" <c@d.example>; E: F (G)',
        "Office @ Home & Sons",
        "Plain Words That Are So Many That They Do Not Fit Into One Line Of A Header At All And Go On",
        "=?utf-8?q?x?=",
    ],
)
def test_who_writes(name: str) -> None:
    """Whatever the organisation is called, From is one address with its name, in lines that fit (RFC 5322 §2.1.1)."""
    content = write(replace(sender(), organisation=name), Letter("you", BOB, values={"url": URL}), "S", NOW)
    field = content[: content.index(b"\r\nTo:")]
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
    ((shown, address),) = getaddresses([field.decode("ascii").removeprefix("From: ").replace("\r\n", "")])
    assert (name, "box@example.org") == (str(make_header(decode_header(shown))), address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@straße.example", "bob@xn--strae-oqa.example"),
        ('"john doe"@x.test', '"john doe"@x.test'),
        ('"a\\"b"@x.test', '"a\\"b"@x.test'),
        ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
    ],
)
async def test_any_server_takes_it(tmp_path: Path, address: str, expected: str) -> None:
    """A letter to a mailbox in ASCII needs nothing of the server, whatever its domain (RFC 5891)."""
    async with open_ledger(tmp_path) as ledger, FakeUpstream() as upstream:
        await put(ledger, Letter("you", address, values={"url": URL}))
        await send_all(ledger, sender(upstream.port))
    assert f"RCPT TO:<{expected}>" in upstream.heard
    assert f"\r\nTo: {expected}\r\n".encode() in upstream.messages[0]


@pytest.mark.parametrize(
    ("address", "expected", "parameter"),
    [
        ("privacy@bücher.example", "privacy@xn--bcher-kva.example", ""),
        ("jörg@bücher.example", "jörg@bücher.example", " SMTPUTF8"),
    ],
)
async def test_a_sender_beyond_ascii(tmp_path: Path, address: str, expected: str, parameter: str) -> None:
    """The same for whom letters come from: only a local part beyond ASCII needs SMTPUTF8 (RFC 6531 §3.4)."""
    async with open_ledger(tmp_path) as ledger, FakeUpstream() as upstream:
        content = changed("system_mail", {"from": address, "url": f"smtp://127.0.0.1:{upstream.port}"})
        config = parse(content, tmp_path)
        assert config.system_mail is not None
        await put(ledger, Letter("you", BOB, values={"url": URL}))
        await send_all(ledger, sender_of(config, config.system_mail))
    assert f"MAIL FROM:<{expected}>{parameter}" in upstream.heard
    assert f"From: Example GmbH <{expected}>\r\n".encode() in upstream.messages[0]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger with one letter in its outbox."""
    async with open_ledger(tmp_path) as ledger:
        await put(ledger, Letter("you", BOB, values={"url": URL}))
        yield ledger


async def put(ledger: Ledger, letter: Letter) -> None:
    """Put a letter into the outbox."""
    await ledger.job(lambda connection: outbox.put(connection, ledger.keyring, letter, datetime.now(UTC)))


async def states(ledger: Ledger) -> list[tuple[str, int, bool]]:
    """Return of every letter its state, the attempts, and whether its content is still kept."""

    async def work(connection: AsyncConnection) -> list[tuple[str, int, bool]]:
        rows = await connection.execute(select(outbox_table))
        return [(row.state, row.attempts, row.sealed is not None) for row in rows]

    return await ledger.read(work)


async def test_a_letter_is_sent_once(ledger: Ledger) -> None:
    """What the server takes is sent, once, and its content is not kept."""
    async with FakeUpstream() as upstream:
        for _ in range(2):
            await send_all(ledger, sender(upstream.port))
    (content,) = upstream.messages
    assert "MAIL FROM:<box@example.org>" in upstream.heard
    assert f"RCPT TO:<{BOB}>" in upstream.heard
    assert "your link" in email.message_from_bytes(content, policy=email.policy.default)["Subject"]
    assert [("sent", 1, False)] == await states(ledger)


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        ("RCPT", "450 4.2.1 later", ("queued", 1, True)),
        ("RCPT", "550 5.1.1 nobody", ("failed", 1, False)),
        ("MAIL", "553 5.1.8 not you", ("failed", 1, False)),
        ("DATA", "451 4.3.0 later", ("queued", 1, True)),
        (".", "554 5.7.1 no", ("failed", 1, False)),
        (".", "452 4.3.1 full", ("queued", 1, True)),
    ],
)
async def test_what_the_server_says(ledger: Ledger, command: str, answer: str, expected: tuple[str, int, bool]) -> None:
    """4xx is tried again later, 5xx never, wherever it is said."""
    async with FakeUpstream(answers={command: answer}) as upstream:
        await send_all(ledger, sender(upstream.port))
    assert [expected] == await states(ledger)
    assert [] == upstream.messages


async def test_a_server_that_is_away(ledger: Ledger) -> None:
    """Without a server letters wait."""
    async with FakeUpstream() as upstream:
        await upstream.stop()
        await send_all(ledger, sender(upstream.port))
    assert [("queued", 1, True)] == await states(ledger)


@pytest.mark.parametrize("letter", [Letter("nonsense", BOB), Letter("you", BOB)], ids=["kind", "values"])
async def test_a_letter_that_cannot_be_written(ledger: Ledger, letter: Letter) -> None:
    """One letter that is wrong is given up, and holds up no other."""
    await put(ledger, letter)
    async with FakeUpstream() as upstream:
        await send_all(ledger, sender(upstream.port))
    assert [("failed", 1, False), ("sent", 1, False)] == sorted(await states(ledger))


async def test_a_letter_that_does_not_open_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one letter, what looks into the outbox goes on, and sends the others."""
    monkeypatch.setattr(post, "LOOK_SECONDS", 0.01)

    async def spoil(connection: AsyncConnection) -> None:
        await connection.execute(update(outbox_table).values(sealed=b"damaged on the disk, or of another key file"))

    async with open_ledger(tmp_path) as ledger, FakeUpstream() as upstream:
        await put(ledger, Letter("you", "ann@customer.test", values={"url": URL}))
        await ledger.job(spoil)
        await put(ledger, Letter("you", BOB, values={"url": URL}))
        delivering = asyncio.create_task(post.deliver(ledger, lambda: sender(upstream.port)))
        await until(lambda: bool(upstream.messages) or delivering.done())
        assert not delivering.done()
        delivering.cancel()
    assert f"RCPT TO:<{BOB}>" in upstream.heard


async def test_a_letter_under_way_at_the_end(ledger: Ledger) -> None:
    """A letter that the server has and is yet to answer for is waited for at the end: nobody sends it once more."""
    async with FakeUpstream(data_delay=0.3) as upstream:
        delivering = asyncio.create_task(post.deliver(ledger, lambda: sender(upstream.port)))
        await until(lambda: "DATA" in upstream.heard)
        delivering.cancel()
        await asyncio.wait({delivering})
    assert delivering.cancelled()
    assert [("sent", 1, False)] == await states(ledger)


async def test_a_server_that_does_not_answer_at_the_end(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end does not wait for ever for a letter under way, which stays in the outbox."""
    monkeypatch.setattr(post, "PARTING_SECONDS", 0.1)
    async with FakeUpstream(data_delay=5.0) as upstream:
        delivering = asyncio.create_task(post.deliver(ledger, lambda: sender(upstream.port)))
        await until(lambda: "DATA" in upstream.heard)
        delivering.cancel()
        await asyncio.wait({delivering})
        assert [] == upstream.messages
    assert [("queued", 1, True)] == await states(ledger)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_ledger_that_is_away_when_a_letter_was_sent(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """What the server has is noted as soon as the ledger takes it, so that nobody gets it twice, but not for ever."""
    monkeypatch.setattr(post, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(post, "NOTE_SECONDS", 30.0 if comes_back else 0.05)
    job, away = ledger.job, 3 if comes_back else 1_000

    async def unsteady(work: Callable[[AsyncConnection], Awaitable[object]]) -> object:
        nonlocal away
        if upstream.messages and away:
            away -= 1
            raise LedgerUnavailable("It is away.")
        return await job(work)

    monkeypatch.setattr(ledger, "job", unsteady)
    async with FakeUpstream() as upstream:
        if comes_back:
            await send_all(ledger, sender(upstream.port))
        else:
            with pytest.raises(LedgerUnavailable):
                await send_all(ledger, sender(upstream.port))
    assert 1 == len(upstream.messages)
    assert [("sent", 1, False) if comes_back else ("queued", 1, True)] == await states(ledger)


async def test_a_server_that_takes_too_long(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter is given up for now before anybody else may take it up, however long its server takes."""
    assert outbox.CLAIM.total_seconds() > post.HAND_IN_SECONDS + QUIT_SECONDS + post.NOTE_SECONDS
    monkeypatch.setattr(post, "HAND_IN_SECONDS", 0.1)
    async with FakeUpstream(data_delay=5.0) as upstream:
        await send_all(ledger, sender(upstream.port))
        assert [] == upstream.messages
    assert [("queued", 1, True)] == await states(ledger)
