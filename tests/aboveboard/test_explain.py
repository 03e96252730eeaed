"""Explain: it says of every message what the relay does with it, and says it so that people understand."""

import asyncio
import re
import smtplib
import tomllib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aboveboard import relaying, showing
from aboveboard.config import parse
from aboveboard.explain import as_text, envelope_of, explain_message
from aboveboard.settings import Config
from ledger.consent import Person
from ledger.keys import Keyring
from ledger.tokens import sender_url
from policies import Envelope, Purpose
from proxy import relay
from proxy.message import Reading, read_message
from tests.aboveboard.calling import CONFIG
from tests.proxy.samples import CORPUS, MAIL, needs_corpus
from tests.relaying import PAPER, Running, open_ledger, running_relay
from tests.upstream import FakeUpstream
from web.app import build

MORE = """
[[relay.listener]]
address = "127.0.0.1:1588"
class = "automated"
[ledger]
url = "sqlite:///ledger.db"
key_file = "keys"
head_file = "head"
"""
RULES = """
[system_mail]
from = "box@example.org"
url = "smtp://127.0.0.1:25"
[policy]
ask = "footer"
detail = "with-consent"
[[policy.rule]]
name = "no links in anything with an attachment"
when = { has_attachment = true }
then = { click = "never", footer = "Attachments are not tracked." }
[[policy.rule]]
name = "some subjects stay here"
when = { header = { Subject = ["MIME*", "*signed", "our secret*"] } }
then = { refuse = "Not by mail" }
[[policy.rule]]
name = "look closer at text"
when = { size = { max = 2_000 }, class = ["individual", "group"] }
then = { foreign_tracking = "refuse", ask = "never" }
"""
LETTER = (
    b"From: Alice <alice@example.org>\r\nTo: bob@customer.test\r\nSubject: Our offer\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n"
    b'<html><body><p>Dear Bob, <a href="https://shop.example/a">our offer</a></p></body></html>\r\n'
)
SAME = ["class", "reason", "reasons", "rules", "consent", "detail_of_protection", "policy_version", *Purpose]
ENVELOPE = Envelope("alice@example.org", ("bob@customer.test",))


def configuration(folder: Path, policy: str = RULES, domains: tuple[str, ...] = ("example.org",)) -> Config:
    """Return the configuration of an installation whose ledger is in the folder."""
    content = tomllib.loads(CONFIG + MORE + policy)
    content["organisation"]["domains"] = list(domains)
    return parse(content, folder)


def letters() -> list[tuple[str, bytes]]:
    """Return every message of the fixtures and, where it is there, of the corpus, as it can be sent by SMTP."""
    files = sorted(MAIL.glob("*.in.eml"))
    if CORPUS.is_dir():
        files += sorted((CORPUS / "enmime/testdata").rglob("*.raw"))
    # RFC 5321 §2.3.8: only CRLF ends a line; RFC 5322 §2.2 knows no NUL.
    sendable = (re.sub(rb"\r\n|\r|\n", b"\r\n", file.read_bytes().replace(b"\0", b"")) for file in files)
    return [
        (file.name, raw if raw.endswith(b"\r\n") else raw + b"\r\n") for file, raw in zip(files, sendable, strict=True)
    ]


def envelope(raw: bytes) -> Envelope:
    """Return an envelope in which the author sends a message to the first that it names."""
    facts = read_message(raw, Reading()).facts
    usual = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", re.ASCII)
    authors = [one for one in facts.authors or () if usual.fullmatch(one)]
    addressed = [one for one in facts.addressed if usual.fullmatch(one)]
    return Envelope((authors or ["alice@example.org"])[0], ((addressed or ["bob@customer.test"])[0],))


async def relayed(running: Running, upstream: FakeUpstream, raw: bytes, envelope: Envelope) -> bytes | None:
    """Hand in a message by SMTP; return what arrived, without our Received line, or None where it was refused."""

    def hand_in() -> int:
        with smtplib.SMTP("127.0.0.1", running.port, "client.test", timeout=10) as client:
            client.ehlo()
            client.mail(envelope.mail_from)
            client.rcpt(envelope.rcpt_to[0])
            return client.data(raw)[0]

    code = await asyncio.to_thread(hand_in)
    assert code in (250, 550)
    return upstream.messages[-1].partition(b"\r\n")[2] if code == 250 else None


@needs_corpus
async def test_explain_says_what_the_relay_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every message class, reasons, rules, consent relied on and changes are those of a real session."""
    everything = [(name, raw, envelope(raw)) for name, raw in letters()]
    domains = sorted({one.mail_from.partition("@")[2].lower() for _, _, one in everything})
    config = configuration(tmp_path, domains=tuple(domains))
    changes: list[Any] = []
    real_rewriting = relay.rewriting

    def noted(*arguments: Any, **options: Any) -> Any:
        examined, outgoing = yield from real_rewriting(*arguments, **options)
        changes.append([{"what": change.what, "count": change.count} for change in outgoing.changes])
        return examined, outgoing

    monkeypatch.setattr(relay, "rewriting", noted)
    # What happens when the ledger is slow is another test's.
    monkeypatch.setattr("ledger.patience.PATIENCE", 30.0)
    seen: set[tuple[str, bool]] = set()
    conduct = relaying.conduct(config, Keyring.throwaway())
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, settings=conduct) as running:
        for number, (name, raw, sent) in enumerate(everything):
            if number % 5:
                await running.ledger.grant(sent.rcpt_to[0], [*Purpose], PAPER)
            arrived = await relayed(running, upstream, raw, sent)
            (recorded, *_) = await running.ledger.messages(limit=1)
            explained = await explain_message(config, raw, sent)
            assert {key: recorded[key] for key in SAME} == {key: explained[key] for key in SAME}, name
            assert (arrived is None) == (explained["refusal"] is not None) == (recorded["outcome"] == "refused"), name
            if arrived is not None:
                assert changes[-1] == explained["changes"], name
                assert (raw == arrived) == (explained["changes"] == []), name
            seen.add((explained["class"], explained["refusal"] is not None))
            seen.add((explained["reason"], False))
    # The messages are many enough for this to say something.
    assert {("individual", False), ("group", False), ("protected", True), ("tracked", False), ("rule", False)} <= seen


def explained(folder: Path, raw: bytes = LETTER, envelope: Envelope = ENVELOPE, policy: str = RULES) -> dict[str, Any]:
    """Return what explain says of a message where nothing was ever recorded."""
    return asyncio.run(explain_message(configuration(folder, policy), raw, envelope))


def test_what_each_rule_lowered(tmp_path: Path) -> None:
    """Every rule that matched is there with what it took away, and with nothing that was so already."""
    answer = explained(tmp_path)
    nothing = dict.fromkeys(["open", "click", "detail", "foreign_tracking", "ask", "footer", "refuse"])

    assert ["look closer at text"] == answer["rules"]
    expected = {**nothing, "rule": "look closer at text", "foreign_tracking": "refuse", "ask": "never"}
    assert [expected] == answer["lowered"]


NOTHING_NEW = """
[policy]
open = "never"
[[policy.rule]]
name = "r"
when = {}
then = { open = "never", click = "never" }
"""


def test_a_rule_that_lowered_nothing(tmp_path: Path) -> None:
    """A rule that says what the policy says anyway is named, and took away nothing."""
    (lowered,) = explained(tmp_path, policy=NOTHING_NEW)["lowered"]

    assert (None, "never") == (lowered["open"], lowered["click"])


def test_a_refusal_is_said_and_changes_nothing(tmp_path: Path) -> None:
    """What is refused does not go on: its text is there, and no change, not even of our own header."""
    raw = LETTER.replace(b"Subject: Our offer", b"X-Aboveboard-Track: open\r\nSubject: Our secret plan")
    answer = explained(tmp_path, raw)

    assert ("Not by mail", [], "rule") == (answer["refusal"], answer["changes"], answer["reason"])
    assert "refused: 550 5.7.1 Not by mail" in as_text(answer).splitlines()


def test_a_refusal_of_mail_from_outside_is_none(tmp_path: Path) -> None:
    """Mail that only passes through is not refused, and no rule is said to have refused it."""
    raw = LETTER.replace(b"Our offer", b"Our secret plan")
    answer = explained(tmp_path, raw, Envelope("x@elsewhere.test", ("bob@customer.test",)))

    assert (None, [None, None]) == (answer["refusal"], [one["refuse"] for one in answer["lowered"]])


MACHINES = """
[[policy.rule]]
name = "from the printers"
when = { listener = ["127.0.0.1:1588"], client = ["10.0.0.0/8"] }
then = { open = "never" }
"""


@pytest.mark.parametrize(
    ("listener", "client", "expected"),
    [
        ("", "", ("individual", [])),
        ("127.0.0.1:1588", "10.1.1.1", ("automated", ["from the printers"])),
        ("127.0.0.1:1588", "192.0.2.1", ("automated", [])),
        ("127.0.0.1:1587", "10.1.1.1", ("individual", [])),
    ],
)
def test_where_it_would_come_in(tmp_path: Path, listener: str, client: str, expected: tuple[str, list[str]]) -> None:
    """Rules about listeners and clients, and the class of a listener for machines, can be asked about."""
    config = configuration(tmp_path, MACHINES)
    sent = envelope_of(config, "alice@example.org", ("bob@customer.test",), listener, client)
    answer = explained(tmp_path, envelope=sent, policy=MACHINES)

    assert expected == (answer["class"], answer["rules"])


async def test_consent_relied_on(tmp_path: Path) -> None:
    """The events that the decision relied on are there with what they say and until when, for people and programs."""
    config = configuration(tmp_path)
    async with open_ledger(tmp_path) as ledger:
        await ledger.grant("bob@customer.test", [Purpose.OPEN], PAPER)
    answer = await explain_message(config, LETTER, ENVELOPE)
    (event,) = answer["consent_events"]

    assert ([event["id"]], "open", "granted") == (answer["consent"], event["purpose"], event["state"])
    assert event["valid_until"] > event["at"]
    line = f"consent: open granted on {event['at'][:10]}, until {event['valid_until'][:10]} (event {event['id']})"
    assert line in as_text(answer).splitlines()
    assert "You see when images in the message are loaded, and nothing of its links." == answer["sentence"]


async def test_promise_7_the_sentence_is_that_of_the_senders_page(tmp_path: Path) -> None:
    """Refused or never asked: the sentence is the same, and the sender's page says it in the same words."""
    config = configuration(tmp_path)
    unknown = (await explain_message(config, LETTER, ENVELOPE))["sentence"]
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.ledger.refuse(Person.of(running.ledger.keyring, "bob@customer.test"), list(Purpose), PAPER)
        answer = await explain_message(config, LETTER, ENVELOPE)
        await relayed(running, upstream, LETTER, ENVELOPE)
        transport = httpx2.ASGITransport(build(showing.site(config, running.ledger)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            page = await client.get(sender_url(running.ledger.keyring, "", "alice@example.org", 60))
    assert ("refused", unknown) == (answer["reason"], answer["sentence"])
    assert unknown in page.text


def test_the_text(tmp_path: Path) -> None:
    """An administrator reads class, purposes with their reasons, rules, changes and the sender's sentence."""
    text = as_text(explained(tmp_path, LETTER.replace(b"To: bob@", b"To: max@")))

    expected = [
        "class: group",
        "  because of recipients (group)",
        "  because of not_addressed (group)",
        "open: off (group)",
        "click: off (group)",
        "detail: off (group)",
        "reason: group",
        "rule: look closer at text: foreign_tracking = refuse, ask = never",
        "change: none, the message goes on as it came",
        "the sender reads: Mail to several people, or to a shared mailbox, is never tracked.",
    ]
    assert expected == text.splitlines()[:-1]
