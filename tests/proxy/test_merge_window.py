"""The merge window in real sessions: the cases 97 and 98, and what a run does to its earlier messages."""

import asyncio
import re
import smtplib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ledger import patience as patience_module
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.merge import Window
from ledger.notice import Teller
from ledger.reader import NOT_KNOWN, Known
from policies import Envelope, PolicyModel
from proxy.relay import examine
from tests.correspondence import Sent, honest, runs
from tests.relaying import PUBLIC_URL, Running, conduct, open_ledger, running_relay
from tests.upstream import FakeUpstream
from web.app import build
from web.site import Site

SENDER = "alice@example.org"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
OFFER = (
    "Dear {name},\n\nour summer prices are out: sails are a tenth cheaper, ropes have stayed where they were, and for "
    "anchors there is a new model that folds. The whole list is at https://shop.example/summer for you to look at.\n\n"
    "Kind regards\nAlice"
)


def offer(number: int) -> Sent:
    """Return the same letter to one more person."""
    name = f"Friend{chr(97 + number)}"
    return Sent("name", f"{name.lower()}@customer.test", "Summer prices", OFFER.format(name=name), name, html=True)


def raw(sent: Sent, header: str = "") -> bytes:
    """Return a letter as a message from Alice, with a word for its link: links that show an address are not wrapped."""
    content = sent.raw(header=header).replace(b"The sender <sender@example.org>", b"Alice <alice@example.org>")
    return content.replace(b">https://shop.example/summer</a>", b">our shop</a>")


def hand_in(port: int, letters: Iterable[tuple[str, bytes]], sender: str) -> None:
    """Hand in messages one after the other, as a mail merge does."""
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=20) as client:
        for recipient, content in letters:
            client.sendmail(sender, recipient, content, mail_options=["BODY=8BITMIME"])


async def send(running: Running, *letters: Sent, header: str = "", sender: str = SENDER) -> None:
    """Hand in letters in one session."""
    await asyncio.to_thread(hand_in, running.port, [(one.recipient, raw(one, header)) for one in letters], sender)


async def reasons(running: Running) -> list[str]:
    """Return why the messages were tracked or not, oldest first, when everything is on record."""
    for _ in range(3):
        await running.ledger.tick()
    return [one["reason"] for one in reversed(await running.ledger.messages())]


def pixels(upstream: FakeUpstream) -> list[bool]:
    """Tell of each message that arrived whether it has a pixel."""
    return [b"/o/" in one for one in upstream.messages]


@asynccontextmanager
async def setting(folder: Path, policy: PolicyModel | None = None) -> AsyncIterator[tuple[FakeUpstream, Running]]:
    """Run a relay; all of Alice's friends have agreed."""
    async with FakeUpstream() as upstream, running_relay(folder, upstream.port, settings=conduct(policy)) as running:
        for number in range(8):
            await running.agree(offer(number).recipient)
        yield upstream, running


@asynccontextmanager
async def web(ledger: Ledger) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve the web pages of a ledger."""
    contact, privacy_url = "privacy@example.org", "https://example.org/privacy"
    teller = Teller("Example GmbH", contact, privacy_url)
    app = build(Site(ledger, "Example GmbH", contact, privacy_url, PUBLIC_URL, teller, conduct().policy))
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=BROWSER) as client:
        yield client


async def test_97_a_mail_merge_is_bulk_from_the_fifth(tmp_path: Path) -> None:
    """97: of six messages with the same body the fifth and sixth are bulk, the first four are taken back."""
    async with setting(tmp_path) as (upstream, running):
        await send(running, *map(offer, range(6)))
        assert ["bulk"] * 6 == await reasons(running)
        classes = [one["class"] for one in reversed(await running.ledger.messages())]
    assert [True] * 4 + [False] * 2 == pixels(upstream)
    assert ["individual"] * 4 + ["bulk"] * 2 == classes
    assert raw(offer(5)) == upstream.messages[5].partition(b"\r\n")[2]


async def test_97_links_of_the_earlier_ones_lead_on_and_record_nothing(tmp_path: Path) -> None:
    """97: what was recorded of the first four is gone; a click still leads to its destination and leaves no trace."""
    async with setting(tmp_path) as (upstream, running), web(running.ledger) as client:
        await send(running, *map(offer, range(4)))
        links = [re.search(rb"/l/[\w-]+", one)[0].decode() for one in upstream.messages]  # type: ignore[index]
        seen = [re.search(rb"/o/[\w-]+\.gif", one)[0].decode() for one in upstream.messages]  # type: ignore[index]
        for url in (*links, *seen):
            await client.get(url)
        assert 8 == len(await running.ledger.hits())

        await send(running, offer(4))
        assert ["bulk"] * 5 == await reasons(running)
        assert [] == await running.ledger.hits()
        for url in links:
            answer = await client.get(url)
            assert (302, "https://shop.example/summer") == (answer.status_code, answer.headers["location"])
        assert {200} == {(await client.get(url)).status_code for url in seen}
        assert [] == await running.ledger.hits()


async def test_98_short_replies_are_no_run(tmp_path: Path) -> None:
    """98: six times "Thanks!" in six threads stays six messages to six people."""
    async with setting(tmp_path) as (upstream, running):
        for number in range(6):
            thanks = Sent("name", offer(number).recipient, "Re: your order", "Thanks!", html=True)
            await send(running, thanks, header=f"In-Reply-To: <{number}@customer.test>\n")
        assert ["tracked"] * 6 == await reasons(running)
    assert all(pixels(upstream))


async def test_98_long_replies_are_no_run(tmp_path: Path) -> None:
    """98: an answer that is given to six people in six threads is no mail merge, however long it is."""
    async with setting(tmp_path) as (_, running):
        for number in range(6):
            answer = Sent("name", offer(number).recipient, "Re: prices?", offer(number).text, html=True)
            await send(running, answer, header=f"References: <{number}@customer.test>\n")
        assert ["tracked"] * 6 == await reasons(running)


async def test_people_without_consent_are_part_of_a_run(tmp_path: Path) -> None:
    """Four messages to people who never agreed, and one to somebody who did: that one is the fifth of a run."""
    async with setting(tmp_path) as (upstream, running):
        strangers = [Sent("name", f"stranger{n}@customer.test", "x", offer(n).text, html=True) for n in range(4)]
        await send(running, *strangers, offer(0))
        assert ["no_consent"] * 4 + ["bulk"] == await reasons(running)
    assert not any(pixels(upstream))


async def test_one_person_is_no_run(tmp_path: Path) -> None:
    """The same letter to the same person again and again is a repetition and not a mail merge."""
    async with setting(tmp_path) as (_, running):
        await send(running, *[offer(0)] * 6)
        assert ["tracked"] * 6 == await reasons(running)


async def test_senders_are_counted_apart(tmp_path: Path) -> None:
    """Two senders with three such letters each have no run."""
    async with setting(tmp_path) as (_, running):
        await send(running, *map(offer, range(3)))
        await send(running, *map(offer, range(3, 6)), sender="ben@example.org")
        assert ["tracked"] * 6 == await reasons(running)


async def test_a_day_of_honest_letters_is_tracked(tmp_path: Path) -> None:
    """Letters that were written one by one, near-duplicates among them, stay individual in one sender's window."""
    letters = [one for number, one in enumerate(honest()) if number % 4 == 0 or one.kind != "single"]
    async with setting(tmp_path) as (_, running):
        # Shared mailboxes are groups whatever they are sent.
        people = [
            Sent(one.kind, f"person-of-{one.recipient}", one.subject, one.text, html=number % 2 == 0)
            for number, one in enumerate(letters)
        ]
        await send(running, *people)
        found = await reasons(running)
        classes = {one["class"] for one in await running.ledger.messages()}
    assert len(people) == len(found)
    assert {"individual"} == classes


@pytest.mark.parametrize("window", ["off", {"messages": 7}], ids=["off", "seven"])
async def test_the_policy_says_how_many(tmp_path: Path, window: Any) -> None:
    """Policy can switch the window off, or ask for more messages."""
    async with setting(tmp_path, PolicyModel(merge_window=window)) as (_, running):
        await send(running, *map(offer, range(6)))
        assert ["tracked"] * 6 == await reasons(running)


async def test_off_asks_nothing_of_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off, nothing is computed, asked or kept."""

    def never(*_: object) -> None:
        raise AssertionError("the window was asked")

    monkeypatch.setattr(Window, "arrive", never)
    async with setting(tmp_path, PolicyModel(merge_window="off")) as (_, running):
        await send(running, offer(0))
        assert ["tracked"] == await reasons(running)


async def test_mail_from_outside_leaves_no_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of mail that only passes through, nothing is kept to compare with."""
    kept: list[object] = []

    def arrive(*found: object) -> None:
        kept.append(found)

    monkeypatch.setattr(Window, "arrive", arrive)
    async with setting(tmp_path) as (_, running):
        await send(running, offer(0), sender="someone@elsewhere.test")
        assert ["policy_off"] == await reasons(running)
    assert [] == kept


def _fails() -> Callable[..., Any]:
    def arrive(*_: object) -> None:
        raise LedgerUnavailable("gone")

    return arrive


def _hangs() -> Callable[..., Any]:
    def arrive(*_: object) -> None:
        time.sleep(1.0)

    return arrive


@pytest.mark.parametrize("arrive", [_fails(), _hangs()], ids=["fails", "too slow"])
async def test_a_window_that_does_not_answer_means_untracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrive: Callable[..., Any]
) -> None:
    """4: whether it is one of many is not known: the message goes as it came, and is not held up for long."""
    async with setting(tmp_path) as (upstream, running):
        monkeypatch.setattr(Window, "arrive", arrive)
        monkeypatch.setattr(patience_module, "PATIENCE", 0.25)
        await send(running, offer(0))
    assert raw(offer(0)) == upstream.messages[0].partition(b"\r\n")[2]


async def test_letters_at_the_same_moment_are_one_run(tmp_path: Path) -> None:
    """Ten sessions at once: whatever was decided meanwhile, in the end the whole run is untracked."""
    async with setting(tmp_path) as (_, running):
        await asyncio.gather(*(send(running, offer(number)) for number in range(8)))
        assert ["bulk"] * 8 == await reasons(running)


async def test_a_written_merge_is_bulk(tmp_path: Path) -> None:
    """A merge with a personal paragraph, as people write them, is untracked from its fifth message on."""
    run = next(one for one in runs() if one.kind == "personal")
    async with setting(tmp_path) as (_, running):
        for one in run.letters:
            await running.agree(one.recipient)
        await send(running, *(Sent(one.kind, one.recipient, one.subject, one.text, html=True) for one in run.letters))
        assert ["bulk"] * len(run.letters) == await reasons(running)


async def test_spellings_are_asked_for_together() -> None:
    """However many spellings of one address an envelope has, the ledger is waited for once."""
    spellings = ("Bob@customer.test", "bob@customer.test", "BOB@customer.test")
    asked, all_asked = list[str](), asyncio.Event()

    async def look_up(address: str, sender: str) -> Known:
        asked.append(address)
        if len(asked) == len(spellings):
            all_asked.set()
        await asyncio.wait_for(all_asked.wait(), 5)
        return NOT_KNOWN

    await examine(conduct(), raw(offer(0)), Envelope(SENDER, spellings), look_up)
    assert sorted(spellings) == sorted(asked)


async def test_a_message_by_itself_is_no_run(tmp_path: Path) -> None:
    """What explains or tries a message asks for no window: it says what holds for the message alone."""
    async with open_ledger(tmp_path) as ledger:
        envelope = Envelope(SENDER, (offer(0).recipient,))
        for _ in range(6):
            examined = await examine(conduct(), raw(offer(0)), envelope, ledger.look_up)
            assert "individual" == examined.classification.message_class
