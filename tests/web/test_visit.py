"""A visit to the preference centre: what its page says of each purpose, and what each of its buttons does."""

import re
from datetime import UTC, datetime

from ledger.consent import Act
from ledger.hits import Hit
from policies.consent import Assurance
from policies.words import Purpose, Verdict
from tests.web.mailing import BOB, Mailing
from web.agreement import by_owner

ANN = "ann@customer.test"


def choices(page: str) -> list[str]:
    """Return what a page says of each purpose, without its name and markup."""
    (found,) = re.findall(r'<ul class="choices">(.*?)</ul>', page, re.DOTALL)
    return [re.sub(r"^[^:]*: ", "", re.sub("<[^>]*>", "", line)) for line in found.strip().splitlines()]


async def step(mailing: Mailing, address: str = BOB, **form: str) -> str:
    """Return the page that a step of a fresh visit leads to."""
    url, visit = await mailing.visit(address)
    return (await mailing.client.post(url, data={"visit": visit, **form})).text


async def test_each_purpose_says_its_own(mailing: Mailing) -> None:
    """What was agreed to, refused and never asked stands apart, each with its own days and notice."""
    page = await step(mailing, do="stop", stop="click")
    granted, refused = (await mailing.history())[0], (await mailing.history())[-1]
    since, until, notice = granted["time"][:10], granted["valid_until"][:10], granted["notice"]
    assert [
        f"you agreed on {since}; this counts until {until} (notice {notice})",
        f"you refused on {refused['time'][:10]}",
        "not recorded: you never agreed",
    ] == choices(page)


async def test_who_never_agreed_is_offered_what_they_can_do(mailing: Mailing) -> None:
    """Only whom a grant is on record of can say that it was never given, also when it was taken back since."""
    assert 'value="never"' not in await step(mailing, ANN)
    assert 'value="never"' in await step(mailing, do="stop", stop="open")
    assert ["not recorded: you never agreed"] * 3 == choices(await step(mailing, ANN))


async def test_where_the_address_came_from(mailing: Mailing) -> None:
    """Every source on record is named, once."""
    for source in ("trade fair 2026", "trade fair 2026", "shop"):
        act = Act("admin", "paper", Assurance.ASSERTED, "recorded by an administrator", "list 4", source)
        await mailing.ledger.grant(ANN, [Purpose.OPEN], act)
    page = await step(mailing, ANN)
    assert "Where your address came from: <bdi>trade fair 2026; shop</bdi>" in page


async def test_what_was_recorded_goes_unless_it_is_to_stay(mailing: Mailing) -> None:
    """Refusing in a visit takes along what was recorded, or leaves it where the person ticks that."""
    for keep, left in (("yes", 1), ("no", 0)):
        hit = Hit(mailing.marks.message_id, Purpose.OPEN, datetime.now(UTC), Verdict.UNKNOWN)
        await mailing.ledger.record_hit(hit)
        await step(mailing, do="stop", stop="open", keep=keep)
        assert left == len(await mailing.ledger.hits())
        await mailing.ledger.grant(BOB, [Purpose.OPEN], by_owner("preference_page", "test"))


async def test_nothing_ticked_changes_nothing(mailing: Mailing) -> None:
    """Refusing and agreeing without a tick is said to have changed nothing, and has not."""
    before = await mailing.history()
    for do in ("stop", "agree"):
        assert "Nothing was ticked, so nothing was changed." in await step(mailing, do=do)
    assert before == await mailing.history()


async def test_being_written_to_is_on_record_by_its_label(mailing: Mailing) -> None:
    """Not to be written to, and to be again, is recorded in the words of the button that was pressed, and confirmed."""
    said = []
    for do, noted in (("do_not_write", "you do not want to be written to"), ("write_again", "you may be written to")):
        assert f"Noted: {noted}" in await step(mailing, do=do)
        said.append((await mailing.history())[-1]["expression"])
    assert ["Do not write to me", "You may write to me again"] == said


async def test_looking_at_a_mailed_link_opens_no_visit(mailing: Mailing) -> None:
    """Promise 6: a program that follows links in mail sees one button, and nothing of whose link it is."""
    page = (await mailing.client.get(f"/you/{await mailing.mailed()}")).text
    assert [] == [word for word in (BOB, "b•••@", 'name="visit"', "you agreed on") if word in page]
    assert 1 == page.count("<button")


async def test_the_page_of_an_ordinary_token_offers_what_there_is(mailing: Mailing) -> None:
    """It says that nothing was ticked once nothing was, and offers to stop as long as there is something to stop."""
    url = mailing.marks.stop().replace("/stop/", "/you/")
    looked, pressed = (await mailing.client.get(url)).text, (await mailing.client.post(url)).text
    assert [False, True] == ["Nothing was ticked" in page for page in (looked, pressed)]
    (stop,) = re.findall(r'<a href="([^"]+)">Stop all of it</a>', looked)
    assert "Tracking is stopped" in (await mailing.client.post(stop)).text
    assert "Nothing about messages to you is recorded any more" in (await mailing.client.get(url)).text


async def test_who_asks_for_a_link_hears_where_it_went(mailing: Mailing) -> None:
    """The page after that says that a message is on its way."""
    answer = await mailing.client.post(mailing.marks.stop().replace("/stop/", "/you/"), data={"do": "link"})
    assert 200 == answer.status_code
    assert "a message with a link is on its way" in answer.text
