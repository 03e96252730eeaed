"""Agreeing by a form: the form, the mailed link, and what is recorded only then."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.links import LinkKind
from policies.footer import Language
from tests.web.mailing import PUBLIC, Mailing, mailing_site
from web.client import PER_CLIENT
from web.site import Point

ANN = "ann@customer.test"
BUILT_IN = (Path(__file__).parent.parent.parent / "ledger/texts/built_in.toml").read_text("utf-8")
POINT = Point("Newsletter form", "Tell us whether we may see what you open.")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Mailing]:
    """A site with one collection point."""
    async with mailing_site(tmp_path, points={"web-form": POINT}) as site:
        yield site


async def joined(site: Mailing, **headers: str) -> str:
    """Fill in the form and return the path of the link that is mailed."""
    form = {"address": ANN, "agree": ["open", "click"]}
    assert 200 == (await site.client.post("/join/web-form", data=form, headers=headers)).status_code
    (letter,) = await site.letters()
    assert ("join", ANN, POINT.title) == (letter.kind, letter.address, letter.values["point"])
    return letter.values["url"].removeprefix(PUBLIC)


def notice_in(page: str) -> str:
    """Return the notice that a page's form says it was shown under."""
    (found,) = re.findall(r'name="notice" value="([0-9a-f]{16})"', page)
    return str(found)


async def test_the_form_has_no_mail_sent_without_end(site: Mailing) -> None:
    """W19: one client can have mail sent to so many addresses in an hour, and to no more."""
    forms = [{"address": f"reader{at}@customer.test", "agree": ["open"]} for at in range(PER_CLIENT + 1)]

    statuses = [(await site.client.post("/join/web-form", data=form)).status_code for form in forms]

    assert [200] * PER_CLIENT + [429] == statuses


async def test_the_form_records_nothing(site: Mailing) -> None:
    """Row 57, W8: boxes are unticked, notice and privacy statement are there, and filling it in only mails a link."""
    page = (await site.client.get("/join/web-form")).text
    assert POINT.wording in page
    assert 'href="https://example.org/privacy"' in page
    assert "How long" in page
    assert "checked" not in page
    await joined(site)
    assert [] == await site.history(ANN)


async def test_only_the_button_agrees(site: Mailing) -> None:
    """Case 155, W8: GET shows what would be agreed to; POST records it as proven, and a receipt goes out."""
    path = await joined(site)
    assert "Which links in a message to you were followed" in (await site.client.get(path)).text
    assert [] == await site.history(ANN)
    page = await site.client.post(path, data={"do": "agree"})
    assert "A receipt comes by mail" in page.text
    events = await site.history(ANN)
    assert [("open", "granted"), ("click", "granted")] == [(event["purpose"], event["state"]) for event in events]
    assert {("doi_link", "mailbox_proven", "web-form")} == {
        (event["method"], event["assurance"], event["collection_point"]) for event in events
    }
    assert "☐ That an image in a message to you was loaded · I agree to this" == events[0]["expression"]
    assert ["receipt"] == [letter.kind for letter in await site.letters()]
    assert 410 == (await site.client.post(path, data={"do": "agree"})).status_code


async def test_saying_no(site: Mailing) -> None:
    """The other button refuses, and uses the link up too."""
    path = await joined(site)
    page = await site.client.post(path, data={"do": "refuse"})
    assert "that you said no" in page.text
    assert {"refused"} == set((await site.states(ANN)).values())
    assert [] == await site.letters()


async def test_a_post_without_a_button_does_nothing(site: Mailing) -> None:
    """An empty POST, as a program might send it, agrees to nothing and leaves the link as it is."""
    path = await joined(site)
    assert 200 == (await site.client.post(path)).status_code
    assert [] == await site.history(ANN)


async def test_an_answer_to_a_question_is_ticked(site: Mailing) -> None:
    """Who was asked by mail ticks what they agree to; the answer names the question."""
    content = {"purposes": ["open", "click", "detail"], "request": "a" * 32}
    path = f"/join/{await site.mailed(ANN, LinkKind.JOIN, **content)}"
    page = (await site.client.get(path)).text
    assert 2 == page.count('name="agree"')
    assert "checked" not in page
    assert "Nothing was ticked" in (await site.client.post(path, data={"do": "agree"})).text
    await site.client.post(path, data={"do": "agree", "agree": "click"})
    assert {"open": None, "click": "granted", "detail": None} == await site.states(ANN)


async def test_the_record_is_in_the_language_that_was_read(site: Mailing) -> None:
    """What is on record is what was shown: label and notice in the visitor's language."""
    path = await joined(site, **{"accept-language": "de"})
    await site.client.post(path, data={"do": "agree"}, headers={"accept-language": "de"})
    (receipt,) = await site.letters()
    assert Language.GERMAN == receipt.language
    assert (await site.history(ANN))[0]["expression"].endswith("Ich willige darin ein")


async def test_a_notice_that_changes_meanwhile(site: Mailing) -> None:
    """Nobody agrees to words that they were not shown: the page comes back with those that are in force by now."""
    path = await joined(site)
    before = notice_in((await site.client.get(path)).text)
    await site.ledger.add_notice(BUILT_IN.replace('open = "', 'open = "New: '), "admin")
    page = (await site.client.post(path, data={"do": "agree", "notice": before})).text
    assert "has changed since you opened the page" in page
    assert "<li>New: That an image" in page
    assert [] == await site.history(ANN)
    await site.client.post(path, data={"do": "agree", "notice": notice_in(page)})
    assert {notice_in(page)} == {event["notice"] for event in await site.history(ANN)}


async def test_a_notice_in_one_language_only(site: Mailing) -> None:
    """WCAG 3.1.2: where the organisation's notice is not in the page's language, its words say which they are in."""
    english = BUILT_IN[BUILT_IN.index("[en]") : BUILT_IN.index("[de]")]
    for notice, expected in ((BUILT_IN, 0), (english, 10)):
        await site.ledger.add_notice(notice, "admin")
        page = (await site.client.get("/join/web-form", headers={"accept-language": "fr"})).text
        assert expected == page.count('lang="en"')
    assert '<span lang="en">That an image in a message to you was loaded</span>' in page
    assert "<dt>Pourquoi</dt>" in page


async def test_a_notice_that_changes_stops_no_refusal(site: Mailing) -> None:
    """Who refuses need not have read anything."""
    path = await joined(site)
    await site.ledger.add_notice(BUILT_IN.replace('open = "', 'open = "New: '), "admin")
    assert "that you said no" in (await site.client.post(path, data={"do": "refuse", "notice": "other"})).text


async def test_a_page_read_in_another_language(site: Mailing) -> None:
    """Where a browser asks for another language than it did before, what was read is what is on record."""
    path = await joined(site)
    page = (await site.client.get(path, headers={"accept-language": "it"})).text
    await site.client.post(path, data={"do": "agree", "notice": notice_in(page)}, headers={"accept-language": "fr"})
    assert {notice_in(page)} == {event["notice"] for event in await site.history(ANN)}


@pytest.mark.parametrize(
    "form",
    [{"agree": "open"}, {"address": "no address", "agree": "open"}, {"address": ANN}, {"address": ANN, "agree": "all"}],
)
async def test_a_form_that_says_too_little(site: Mailing, form: dict[str, str]) -> None:
    """Without an address, or without a tick, the form comes back and no letter goes out."""
    answer = await site.client.post("/join/web-form", data=form)
    assert 400 == answer.status_code
    assert 'role="alert"' in answer.text
    assert [] == await site.letters()


@pytest.mark.parametrize("name", ["other", "x" * 500, "%00"])
async def test_a_point_that_is_none(site: Mailing, name: str) -> None:
    """A point that does not exist, or has no form, is nothing."""
    assert 404 == (await site.client.get(f"/join/{name}")).status_code


async def test_a_link_for_agreeing_opens_no_visit(site: Mailing) -> None:
    """W10: a link is good for what it was mailed for, and nothing else."""
    join, you = await site.mailed(ANN, LinkKind.JOIN), await site.mailed(ANN)
    for path in (f"/you/{join}", f"/join/{you}"):
        assert 410 == (await site.client.get(path)).status_code
        assert 410 == (await site.client.post(path, data={"do": "agree", "agree": "open"})).status_code
    assert [] == await site.history(ANN)


async def test_three_links_a_day(site: Mailing) -> None:
    """W19: a form that somebody fills in again and again mails three links, and does not tell."""
    form = {"address": ANN, "agree": "open"}
    answers = {(await site.client.post("/join/web-form", data=form)).text for _ in range(6)}
    assert 1 == len(answers)
    assert 3 == len(await site.letters())


async def invited(site: Mailing) -> str:
    """Return the path of an invitation that stood below a message to ann."""
    return f"/join/{await site.mailed(ANN, LinkKind.ASK)}"


async def test_case_154_an_invitation_can_refuse(site: Mailing) -> None:
    """Cases 150 and 154: looking changes nothing; its refusal counts at once, and ann hears of it."""
    path = await invited(site)
    page = (await site.client.get(path)).text
    assert (False, True) == (ANN in page, "a••@customer.test" in page or "a•" in page)
    assert "checked" not in page
    assert [] == await site.history(ANN)
    answer = await site.client.post(path, data={"do": "refuse"})
    assert ANN not in answer.text
    assert {("refused", "token_possession")} == {
        (event["state"], event["assurance"]) for event in await site.history(ANN)
    }
    assert [("stopped", ANN)] == [(letter.kind, letter.address) for letter in await site.letters()]
    assert 410 == (await site.client.post(path, data={"do": "refuse"})).status_code


async def test_a_yes_below_a_message_is_proven_by_mail(site: Mailing) -> None:
    """Promise 6: whoever has the message passed on to them cannot agree: a yes mails a link, and that one grants."""
    path = await invited(site)
    assert "Nothing was ticked" in (await site.client.post(path, data={"do": "agree"})).text
    assert "Look into your mailbox" in (await site.client.post(path, data={"do": "agree", "agree": ["open"]})).text
    assert [] == await site.history(ANN)
    assert 410 == (await site.client.get(path)).status_code
    (letter,) = await site.letters()
    assert ("said_yes", ANN) == (letter.kind, letter.address)
    proof = letter.values["url"].removeprefix(PUBLIC)
    await site.client.get(proof)
    assert [] == await site.history(ANN)
    await site.client.post(proof, data={"do": "agree"})
    assert [("open", "granted", "mailbox_proven")] == [
        (event["purpose"], event["state"], event["assurance"]) for event in await site.history(ANN)
    ]


async def test_an_invitation_opens_no_visit(site: Mailing) -> None:
    """W10: what stood below a message shows and erases nothing."""
    token = (await invited(site)).removeprefix("/join/")
    assert 410 == (await site.client.post(f"/you/{token}")).status_code
