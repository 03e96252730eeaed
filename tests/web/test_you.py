"""The preference centre: what a token from ordinary mail can do, what a mailed link can, and for how long."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import links
from ledger.consent import SUSPENDED_UP_TO, Act, Person
from ledger.domains import METHOD
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.links import LinkKind
from ledger.schema import consent_event, meta, stamp
from policies import PolicyModel, compile_policy
from policies.consent import Assurance
from policies.words import Purpose
from tests.web.mailing import BOB, Mailing, carried, mailing_site
from web.agreement import by_owner

SCANNERS = ["Barracuda/5.0", "Mozilla/5.0 (compatible; bingbot/2.0)", "curl/8", ""]


def you(mailing: Mailing) -> str:
    """Return the page that the token in an ordinary mail leads to."""
    return mailing.marks.stop().replace("/stop/", "/you/")


@pytest.mark.parametrize("kind", list(LinkKind))
async def test_promise_6_scanners_change_nothing(mailing: Mailing, kind: LinkKind) -> None:
    """150, W6, W8: 1 000 GETs and HEADs of a mailed link change nothing, and it still works."""
    page = "join" if kind in (LinkKind.JOIN, LinkKind.ASK) else "you"
    path = f"/{page}/{await mailing.mailed(kind=kind, purposes=['open'])}"
    before = await mailing.history()
    for number in range(500):
        for method in ("GET", "HEAD"):
            answer = await mailing.client.request(method, path, headers={"user-agent": SCANNERS[number % 4]})
            assert 200 == answer.status_code
    assert before == await mailing.history()
    assert [] == await mailing.letters()
    assert 200 == (await mailing.client.post(path, data={"do": "refuse"})).status_code


async def test_a_link_works_once(mailing: Mailing) -> None:
    """W10: a used link is 410, for GET and POST."""
    url, _ = await mailing.visit()
    assert [410, 410] == [(await mailing.client.get(url)).status_code, (await mailing.client.post(url)).status_code]


async def test_a_visit_goes_on_and_ends(mailing: Mailing) -> None:
    """A visit is carried in the forms and renewed by each step; one that is over, or made up, opens nothing."""
    url, visit = await mailing.visit()
    page = await mailing.client.post(url, data={"visit": visit, "do": "stop"})
    assert "Nothing was ticked" in page.text
    assert BOB == links.visitor(mailing.ledger.keyring, carried(page.text), datetime.now(UTC) + timedelta(minutes=14))
    assert "set-cookie" not in page.headers
    over = links.visit(mailing.ledger.keyring, BOB, datetime.now(UTC) - timedelta(minutes=16))
    for bad in (over, "made-up", mailing.marks.stop().rpartition("/")[2]):
        answer = await mailing.client.post(url, data={"visit": bad, "do": "erase", "sure": "yes"})
        assert 410 == answer.status_code
        assert BOB not in answer.text
    assert {"granted"} == {event["state"] for event in await mailing.history()}


ACTIONS = ["agree", "do_not_write", "copy_json", "copy_csv", "erase", "correct", "complain", "never"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_ordinary_token_only_refuses(mailing: Mailing, action: str) -> None:
    """W10: a token from ordinary mail can grant, copy, correct and erase nothing, with or without a visit."""
    visit = links.visit(mailing.ledger.keyring, BOB, datetime.now(UTC))
    form = {"do": action, "agree": "detail", "sure": "yes", "text": "x", "visit": visit}
    before = await mailing.history()
    answer = await mailing.client.post(you(mailing), data=form)
    assert BOB not in answer.text
    assert "attachment" not in answer.headers.get("content-disposition", "")
    assert before == await mailing.history()
    assert [] == await mailing.letters()


async def test_a_link_can_be_asked_for(mailing: Mailing) -> None:
    """Who holds a token can have a link mailed to its address, and sees no more of it than before."""
    answer = await mailing.client.post(you(mailing), data={"do": "link"})
    assert BOB not in answer.text
    (letter,) = await mailing.letters()
    assert ("you", BOB) == (letter.kind, letter.address)


async def test_a_link_for_nobody_known_answers_the_same(mailing: Mailing) -> None:
    """W18: where the address is not known any more, the answer is the same, and no letter is written."""
    known = await mailing.client.post(you(mailing), data={"do": "link"})
    await mailing.letters()
    await mailing.ledger.erase(Person.of(mailing.ledger.keyring, BOB), by_owner("preference_page", "test"))
    unknown = await mailing.client.post(you(mailing), data={"do": "link"})
    assert (known.status_code, known.text) == (unknown.status_code, unknown.text)
    assert [] == await mailing.letters()


async def test_the_page_tells_everything(mailing: Mailing) -> None:
    """In a visit: who tracks, since when, until when, on which notice, what is stored, and where it came from."""
    page = (await mailing.client.post(f"/you/{await mailing.mailed()}")).text
    granted = (await mailing.history())[0]
    for word in (
        BOB, "Example GmbH is responsible", granted["time"][:10], granted["valid_until"][:10], granted["notice"],
        "form 12, signed", "nothing is recorded about that", "1 message to you", "with 0 recorded events.",
    ):  # fmt: skip
        assert word in page
    assert "checked" not in page


@pytest.mark.parametrize("said", ["refused", "agreed again", "expired", "suspended"])
async def test_both_pages_say_how_it_stands(mailing: Mailing, said: str) -> None:
    """What was agreed to and is over, rests, or was taken back and given again, is shown as just that on every page."""
    bob = Person.of(mailing.ledger.keyring, BOB)
    if said in ("refused", "agreed again"):
        await mailing.client.post(mailing.marks.stop())
    if said == "agreed again":
        await mailing.ledger.grant(BOB, list(Purpose), by_owner("preference_page", "test"))
    if said == "expired":
        await mailing.ledger.job(lambda connection: age(connection, timedelta(days=400)))
    if said == "suspended":
        await mailing.ledger.job(rest)
    ordinary, visit = (
        (await mailing.client.get(you(mailing))).text,
        await mailing.client.post(f"/you/{await mailing.mailed()}"),
    )
    over = said in ("expired", "suspended")
    assert (over, over) == tuple("does not count any more" in page for page in (ordinary, visit.text))
    assert (said == "agreed again") == ("You agreed, <time>" in ordinary) == ("you agreed on" in visit.text)
    assert (said == "refused") == ("Stopped, <time>" in ordinary) == ("you refused on" in visit.text)
    stop = (await mailing.client.get(mailing.marks.stop())).text
    assert (said == "refused") == ("Tracking is stopped already" in stop)
    copy = (await mailing.ledger.copy_of(bob))["consent"]
    assert {"refused": "withdrawn", "agreed again": "granted"}.get(said, said) == copy["open"]


async def age(connection: AsyncConnection, by: timedelta) -> None:
    """Have every grant end earlier, as if that much time had passed."""
    ended = update(consent_event).where(consent_event.c.valid_until.is_not(None))
    await connection.execute(ended.values(valid_until=stamp(datetime.now(UTC) + timedelta(days=365) - by)))


async def rest(connection: AsyncConnection) -> None:
    """Have every grant rest, as after a restore without its journal."""
    await connection.execute(insert(meta).values(name=SUSPENDED_UP_TO, value="1000"))


async def test_what_the_domain_refused_is_said(mailing: Mailing) -> None:
    """In a visit, and in the copy, stands that the whole domain refused, since when, and not who asked for it."""
    entry = Act("admin", METHOD, Assurance.ASSERTED, "the domain", "letter of Ms Doe", "root")
    await mailing.ledger.refuse_domain("customer.test", entry)
    url, visit = await mailing.visit()
    page = (await mailing.client.post(url, data={"visit": visit})).text
    assert f"refused on {datetime.now(UTC).date()} for your whole domain" in page
    assert "None" not in page
    copy = await mailing.ledger.copy_of(Person.of(mailing.ledger.keyring, BOB))
    assert [("open", "refused"), ("click", "refused"), ("detail", "refused")] == [
        (event["purpose"], event["state"]) for event in copy["domain_events"]
    ]
    assert "Ms Doe" not in page + json.dumps(copy)


async def test_agreeing_and_refusing(mailing: Mailing) -> None:
    """What is ticked is refused, and can be agreed to again: proven, with the label as it stood, and a receipt."""
    url, visit = await mailing.visit()
    page = await mailing.client.post(url, data={"visit": visit, "do": "stop", "stop": ["open", "click"]})
    assert {"open": "withdrawn", "click": "withdrawn", "detail": None} == await mailing.states()
    assert [] == await mailing.letters()
    page = await mailing.client.post(
        url, data={"visit": carried(page.text), "do": "agree", "agree": ["open", "detail"]}
    )
    assert {"open": "granted", "click": "withdrawn", "detail": None} == await mailing.states()
    last = (await mailing.history())[-1]
    assert Assurance.MAILBOX_PROVEN == last["assurance"]
    assert "☐ That an image in a message to you was loaded · Agree to the ones I ticked" == last["expression"]
    (receipt,) = await mailing.letters()
    assert ("receipt", BOB, "open") == (receipt.kind, receipt.address, receipt.values["purposes"])
    assert json.loads(receipt.values["json"])


async def test_agreeing_under_a_notice_that_is_over(mailing: Mailing) -> None:
    """Nobody agrees to words that they were not shown: the visit goes on with those that are in force by now."""
    url, visit = await mailing.visit("ann@customer.test")
    form = {"do": "agree", "agree": "open", "notice": "0123456789abcdef"}
    page = await mailing.client.post(url, data={"visit": visit, **form})
    assert "has changed since you opened the page" in page.text
    assert [] == await mailing.history("ann@customer.test")
    (shown,) = re.findall(r'name="notice" value="([0-9a-f]{16})"', page.text)
    await mailing.client.post(url, data={"visit": carried(page.text), **form, "notice": shown})
    assert [shown] == [one["notice"] for one in await mailing.history("ann@customer.test")]


async def test_what_is_no_text_is_shown_all_the_same(mailing: Mailing) -> None:
    """An address that an administrator's terminal sent as something else than UTF-8 takes nobody their page."""
    url, visit = await mailing.visit("gr\udcfc\udcdfe@customer.test")
    page = await mailing.client.post(url, data={"visit": visit})
    assert (200, True) == (page.status_code, "gr??e@customer.test" in page.text)


async def away(*_: Any, **__: Any) -> Any:
    """Be a ledger that does not answer."""
    raise LedgerUnavailable("away")


@pytest.mark.parametrize(
    ("do", "said", "denied"),
    [
        ("stop", {"withdrawn"}, False),
        ("never", {"invalidated"}, False),
        ("complain", {"granted"}, False),
        ("", {"granted"}, True),
        ("agree", {"granted"}, True),
    ],
)
async def test_what_is_done_is_not_denied(
    mailing: Mailing, monkeypatch: pytest.MonkeyPatch, do: str, said: set[str], denied: bool
) -> None:
    """Where the ledger goes away between what is done and the page about it, nobody reads that nothing was changed."""
    url, visit = await mailing.visit()
    monkeypatch.setattr(Ledger, "holdings", away)
    answer = await mailing.client.post(url, data={"visit": visit, "do": do, "stop": ["open", "click"], "text": "x"})
    assert (503, denied) == (answer.status_code, "Nothing was changed." in answer.text)
    assert (not denied) == ("What you asked for is done." in answer.text)
    assert said == {state for state in (await mailing.states()).values() if state is not None}


async def test_what_was_taken_back_is_not_denied(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the link that takes a grant back."""
    url = f"/you/{await mailing.mailed(kind=LinkKind.UNDO, purposes=['open'])}"
    monkeypatch.setattr("web.you._used", away)
    answer = await mailing.client.post(url)
    assert (503, True) == (answer.status_code, "What you asked for is done." in answer.text)
    assert "withdrawn" == (await mailing.states())["open"]


async def test_being_written_to_is_kept_apart(mailing: Mailing) -> None:
    """ "Do not write to me" is recorded beside tracking, changes none of it, and can be taken back."""
    url, visit = await mailing.visit()
    before = await mailing.states()
    page = await mailing.client.post(url, data={"visit": visit, "do": "do_not_write"})
    person = Person.of(mailing.ledger.keyring, BOB)
    assert (await mailing.ledger.standing(person)).do_not_write
    page = await mailing.client.post(url, data={"visit": carried(page.text), "do": "write_again"})
    assert not (await mailing.ledger.standing(person)).do_not_write
    assert before == await mailing.states()
    assert "You may write to me again" not in page.text


@pytest.mark.parametrize(
    ("action", "kind"), [("copy_json", "application/json"), ("copy_csv", "text/csv; charset=utf-8")]
)
async def test_a_copy(mailing: Mailing, action: str, kind: str) -> None:
    """Case 157: the copy comes as a file that nobody keeps, and holds what is on record."""
    url, visit = await mailing.visit()
    answer = await mailing.client.post(url, data={"visit": visit, "do": action})
    assert (kind, "no-store") == (answer.headers["content-type"], answer.headers["cache-control"])
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "form 12, signed" in answer.text


async def test_erasing_needs_a_tick_and_leaves_nothing(mailing: Mailing) -> None:
    """Case 157, W12: without the box nothing is erased; with it nothing is left, and the visit has nothing to show."""
    url, visit = await mailing.visit()
    page = await mailing.client.post(url, data={"visit": visit, "do": "erase"})
    assert "Please tick the box first" in page.text
    page = await mailing.client.post(url, data={"visit": carried(page.text), "do": "erase", "sure": "yes"})
    assert "Everything is erased" in page.text
    assert {"suppressed"} == set((await mailing.states()).values())
    assert {None} == {event["address"] for event in await mailing.history()}
    await mailing.client.get(mailing.marks.pixel())
    assert [] == await mailing.ledger.hits()


@pytest.mark.parametrize("action", ["correct", "complain"])
async def test_a_request_gets_a_number(mailing: Mailing, action: str) -> None:
    """Row 77: what somebody writes, a correction too, is a case whose number they see; without words none is."""
    url, visit = await mailing.visit()
    page = await mailing.client.post(url, data={"visit": visit, "do": action, "text": " "})
    assert "Please write a few words first" in page.text
    page = await mailing.client.post(url, data={"visit": carried(page.text), "do": action, "text": "Not from me."})
    (case,) = (await mailing.ledger.copy_of(Person.of(mailing.ledger.keyring, BOB)))["requests"]
    assert "Not from me." == case["text"]
    assert case["number"] in page.text


@pytest.mark.parametrize("action", ["correct", "complain", "never"])
async def test_a_button_pressed_twice_is_one_request(mailing: Mailing, action: str) -> None:
    """Row 80: the same words twice are one case, with one number; other words are another."""
    url, visit = await mailing.visit()
    form = {"visit": visit, "do": action, "text": "Not from me."}
    first, second = [await mailing.client.post(url, data=form) for _ in range(2)]
    (case,) = (await mailing.ledger.copy_of(Person.of(mailing.ledger.keyring, BOB)))["requests"]
    assert [True, True] == [case["number"] in one.text for one in (first, second)]
    await mailing.client.post(url, data={**form, "do": "complain", "text": "Nor is this."})
    assert 2 == len((await mailing.ledger.copy_of(Person.of(mailing.ledger.keyring, BOB)))["requests"])


async def test_a_button_pressed_twice_is_one_yes(mailing: Mailing) -> None:
    """Two clicks on the same button are one grant, and one receipt."""
    url, visit = await mailing.visit()
    await mailing.client.post(url, data={"visit": visit, "do": "stop", "stop": "open"})
    for _ in range(2):
        page = await mailing.client.post(url, data={"visit": visit, "do": "agree", "agree": "open"})
        assert "You can stop it at any time" in page.text
    assert ["granted", "withdrawn", "granted"] == [
        event["state"] for event in await mailing.history() if event["purpose"] == "open"
    ]
    assert 1 == [letter.kind for letter in await mailing.letters()].count("receipt")


@pytest.mark.parametrize("character", ["ж", "€", "😀", "\r\n"], ids=["two bytes", "three", "four", "line ends"])
async def test_every_word_of_a_complaint_arrives(mailing: Mailing, character: str) -> None:
    """Row 80: as many characters as the page has room for arrive, whatever they are, and the last one too."""
    url, visit = await mailing.visit()
    units = len(character.replace("\r\n", "\n").encode("utf-16-le")) // 2
    written = "from" + character * ((2_000 - len("fromto")) // units) + "to"
    page = await mailing.client.post(url, data={"visit": visit, "do": "complain", "text": written})
    (case,) = (await mailing.ledger.copy_of(Person.of(mailing.ledger.keyring, BOB)))["requests"]
    assert (200, written.replace("\r\n", "\n")) == (page.status_code, case["text"])


async def test_i_never_agreed(mailing: Mailing) -> None:
    """ "I never agreed" makes every grant invalid and opens a case."""
    url, visit = await mailing.visit()
    page = await mailing.client.post(url, data={"visit": visit, "do": "never"})
    assert {"open": "invalidated", "click": "invalidated", "detail": None} == await mailing.states()
    (case,) = (await mailing.ledger.copy_of(Person.of(mailing.ledger.keyring, BOB)))["requests"]
    assert case["number"] in page.text
    assert "invalid_grant" == case["kind"]


async def test_what_somebody_else_recorded_is_taken_back(mailing: Mailing) -> None:
    """The link in a receipt shows one button, which refuses, and opens no visit."""
    url = f"/you/{await mailing.mailed(kind=LinkKind.UNDO, purposes=['open'])}"
    assert 'name="visit"' not in (await mailing.client.get(url)).text
    page = await mailing.client.post(url)
    assert 'name="visit"' not in page.text
    assert {"open": "withdrawn", "click": "granted", "detail": None} == await mailing.states()
    assert 410 == (await mailing.client.post(url)).status_code


async def test_a_copy_has_no_address_of_its_own(mailing: Mailing) -> None:
    """A13: only a step of a visit gives the copy; what opened the visit is 410 a second time, and nothing is kept."""
    url = f"/you/{await mailing.mailed()}"
    visit = carried((await mailing.client.post(url)).text)
    assert 410 == (await mailing.client.post(url)).status_code
    for wrong in ({"do": "copy_json"}, {"do": "copy_json", "visit": visit[:-2] + "xx"}):
        assert 410 == (await mailing.client.post(url, data=wrong)).status_code
    assert 410 == (await mailing.client.get(url, params={"do": "copy_json", "visit": visit})).status_code
    answer = await mailing.client.post(url, data={"do": "copy_json", "visit": visit})
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])


async def test_stopping_is_not_unsubscribing(mailing: Mailing) -> None:
    """Row 45, case 153: who stops the tracking goes on getting mail; the page says so, and nothing else is recorded."""
    page = await mailing.client.get(mailing.marks.stop())
    assert "You go on getting mail" in page.text
    await mailing.client.post(mailing.marks.stop())
    standing = await mailing.ledger.standing(Person.of(mailing.ledger.keyring, BOB))
    assert not standing.do_not_write
    assert {"open", "click", "detail"} == {one["purpose"] for one in await mailing.history()}


async def test_the_same_work_for_everybody(mailing: Mailing) -> None:
    """W18: for a known and an unknown address the same statements are carried out, so that they take the same time."""
    done: list[list[str]] = []
    for address in (BOB, "nobody@elsewhere.test"):
        statements: list[str] = []

        def see(_: Any, __: Any, statement: str, *___: Any, into: list[str] = statements) -> None:
            into.append(statement)

        engine = mailing.ledger._database._writing.sync_engine
        event.listen(engine, "before_cursor_execute", see)
        await mailing.client.post("/stop", data={"address": address})
        event.remove(engine, "before_cursor_execute", see)
        done.append(statements)
    assert done[0] == done[1]
    assert any("INSERT INTO outbox" in one for one in done[0])


async def test_how_it_works_names_everybody(mailing: Mailing) -> None:
    """Rows 67, 72 and 74: a public page says who tracks, that images and links do it, and whom to ask, to be copied."""
    text = (await mailing.client.get("/how")).text
    for words in ("Example GmbH", "privacy@example.org", "https://example.org/privacy", "image", "link"):
        assert words in text


async def test_how_it_works_says_what_never_happens(mailing: Mailing) -> None:
    """Rows 89 and 90: that nothing is read, sold, profiled or trained with stands on the public page."""
    text = (await mailing.client.get("/how")).text
    for words in (
        "never keeps what a message says",
        "no profiles",
        "no automated decisions",
        "no advertising",
        "no models",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("heeded", "sentence"),
    [("refuse", "messages to you alone are not sent"), ("ignore", "that is on record, and you are not asked")],
)
async def test_the_page_promises_what_the_policy_does(tmp_path: Path, heeded: str, sentence: str) -> None:
    """Row 76: that mail is refused for whoever wants none is said only where the policy refuses it."""
    policy = compile_policy(PolicyModel(do_not_write=heeded), ["example.org"])
    async with mailing_site(tmp_path, policy=policy) as mailing:
        page = (await mailing.client.post(f"/you/{await mailing.mailed()}")).text
    assert f"If you ask for it, {sentence}" in page
