"""The public page for any address, and the letter after a refusal by a token that may have been passed on."""

from pathlib import Path

import pytest

from policies.footer import Language
from policies.words import Purpose
from tests.web.mailing import BOB, PUBLIC, Mailing, mailing_site


async def test_one_answer_for_known_and_unknown(mailing: Mailing) -> None:
    """Row 46, W18: the answer is the same byte for byte whether the address is known or not, and each gets a link."""
    known = await mailing.client.post("/stop", data={"address": BOB})
    unknown = await mailing.client.post("/stop", data={"address": "nobody@elsewhere.test"})
    assert (known.status_code, known.content, known.headers) == (
        unknown.status_code, unknown.content, unknown.headers,
    )  # fmt: skip
    assert [BOB, "nobody@elsewhere.test"] == sorted(letter.address for letter in await mailing.letters())


async def test_three_letters_a_day(mailing: Mailing) -> None:
    """W19: however often a link is asked for, three are mailed, and the page does not tell."""
    answers = {(await mailing.client.post("/stop", data={"address": BOB})).text for _ in range(10)}
    assert 1 == len(answers)
    assert 3 == len(await mailing.letters())


async def test_the_link_leads_to_the_configured_host(mailing: Mailing) -> None:
    """W17: what a request names as its host is in no mail."""
    await mailing.client.post("/stop", data={"address": BOB}, headers={"host": "evil.example"})
    (letter,) = await mailing.letters()
    assert letter.values["url"].startswith(f"{PUBLIC}/you/")


async def test_letters_are_in_the_visitors_language(mailing: Mailing) -> None:
    """Who asks in Spanish gets a letter in Spanish."""
    await mailing.client.post("/stop", data={"address": BOB}, headers={"accept-language": "es-MX"})
    (letter,) = await mailing.letters()
    assert ("you", Language.SPANISH) == (letter.kind, letter.language)


NO_ADDRESSES = [
    "", "bob", "bob@", "@x.test", "a b@x.test", "a@x.test\r\nBcc: b@x.test", "a@b@x.test", "<a@x.test>",
    "a@x.test,b@x.test", "a@localhost", "a@x..test", "a@.x.test", "a@x.test.",
    "\u202ea@x.test", "a@" + "x" * 300 + ".test",
]  # fmt: skip


@pytest.mark.parametrize("typed", NO_ADDRESSES)
async def test_what_is_no_address_gets_no_letter(mailing: Mailing, typed: str) -> None:
    """What mail cannot be sent to, or could be two addresses or a header, is refused with a sentence."""
    answer = await mailing.client.post("/stop", data={"address": typed})
    assert 400 == answer.status_code
    assert "This is not a mail address" in answer.text
    assert [] == await mailing.letters()


async def test_a_long_address_gets_its_letter(mailing: Mailing) -> None:
    """Whom mail can be sent to can refuse: also with more than 64 characters before the @."""
    address = "x" * 65 + "@customer.test"
    await mailing.client.post("/stop", data={"address": address})
    assert [address] == [letter.address for letter in await mailing.letters()]


async def test_looking_at_the_page_does_nothing(mailing: Mailing) -> None:
    """W6: GET and HEAD mail nothing."""
    for method in ("GET", "HEAD"):
        assert 200 == (await mailing.client.request(method, "/stop", params={"address": BOB})).status_code
    assert [] == await mailing.letters()


async def test_without_system_mail_people_write(tmp_path: Path) -> None:
    """Where no mail can be sent the page says whom to write to, and has no form."""
    async with mailing_site(tmp_path, mails=False) as site:
        for answer in (await site.client.get("/stop"), await site.client.post("/stop", data={"address": BOB})):
            assert "mailto:privacy@example.org" in answer.text
            assert "<form" not in answer.text
            assert "The quickest way to stop it is the link at the end" in answer.text
        assert [] == await site.letters()


async def test_a_refusal_is_told_once(mailing: Mailing) -> None:
    """W9: who is refused for by a token is told by mail, once, with the way to see and change it."""
    for _ in range(3):
        await mailing.client.post(mailing.marks.stop())
    (letter,) = await mailing.letters()
    assert ("stopped", BOB) == (letter.kind, letter.address)
    assert letter.values["you_url"].startswith(f"{PUBLIC}/you/")
    assert 200 == (await mailing.client.get(letter.values["you_url"])).status_code


@pytest.mark.parametrize(("spoken", "language"), [("es-MX", Language.SPANISH), ("xx", Language.ENGLISH)])
async def test_who_refuses_is_told_in_their_language(mailing: Mailing, spoken: str, language: Language) -> None:
    """The letter after a refusal is in the language of the page on which the person, as is on record, made it."""
    await mailing.client.post(mailing.marks.stop(), headers={"accept-language": spoken})
    (letter,) = await mailing.letters()
    assert ("stopped", language) == (letter.kind, letter.language)
    assert "data_subject" == (await mailing.history())[-1]["actor"]


async def test_stopped_already_is_what_has_nothing_left_to_refuse(mailing: Mailing) -> None:
    """The page says that nothing need be done once everything is refused, not before."""
    url, said = mailing.marks.stop(), []
    for purpose in Purpose:
        await mailing.client.post(url.replace("/stop/", "/you/"), data={"stop": purpose})
        said.append("Tracking is stopped already" in (await mailing.client.get(url)).text)
    assert [False, False, True] == said


async def test_health_says_how_many_letters_wait(mailing: Mailing) -> None:
    """Letters that wait are in the health page."""
    await mailing.client.post("/stop", data={"address": BOB})
    assert 1 == (await mailing.client.get("/health")).json()["letters_waiting"]
