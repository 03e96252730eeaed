"""Languages: which one a visitor hears, and that nothing is left unsaid in any of the five."""

import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg

from policies.footer import Language
from tests.web.mailing import Mailing, mailing_site
from web.language import LOCALE, catalogue, negotiated, said

OTHERS = [language for language in Language if language is not Language.ENGLISH]
ROOT = LOCALE.parent.parent


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "fr"),
        ("de", "de"),
        ("de-AT,de;q=0.9", "de"),
        ("nl,en;q=0.5,it;q=0.8", "it"),
        ("DE-ch", "de"),
        ("nl, sv", "fr"),
        ("nl, *;q=0.1", "fr"),
        ("de;q=0, es;q=0.1", "es"),
        ("de;q=0", "fr"),
        ("en;q=x, it;q=0.2", "it"),
        ("en;q=0.5,de;q=0.5", "en"),
        ("en;q=nan, it;q=0.2", "it"),
        ("en;q = 0.2, it;q=0.5", "it"),
        (";;;,,=q", "fr"),
        ("de" + ",nl" * 10_000, "de"),
    ],
)
def test_negotiated(header: str, expected: str) -> None:
    """Of what a browser asks for, the most wanted of our five counts; without one it is the organisation's."""
    assert expected == negotiated(header, Language.FRENCH)


@cache
def sentences() -> frozenset[str | tuple[str, ...]]:
    """Return every sentence of templates, letters and programs that recipients read."""
    with (LOCALE / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "listed": None}
    found = [message for _, _, message, _, _ in extract_from_dir(ROOT, methods, options, keywords)]
    assert len(found) > 100
    return frozenset(found)


def entries(language: Language) -> list[Message]:
    """Return the sentences of a catalogue, without its header."""
    return [message for message in catalogue(language) if message.id]


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_in_the_catalogue(language: Language) -> None:
    """Templates and catalogues have the same sentences: none is missing, and none is left over."""
    assert sentences() == {message.id for message in entries(language)}


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated(language: Language) -> None:
    """No sentence is without its translation, and none is only guessed."""
    texts = [message.string if message.pluralizable else (message.string,) for message in entries(language)]
    assert [] == [message.id for message in entries(language) if message.fuzzy]
    assert all(all(text) for text in texts)


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_what_is_filled_in(language: Language) -> None:
    """A translation has the same places to fill in, and the same tags, as the English sentence."""
    for message in entries(language):
        singular = message.id[0] if message.pluralizable else message.id
        for text in message.string if message.pluralizable else (message.string,):
            assert marks(singular) == marks(text), text


def marks(text: str) -> list[str]:
    """Return the places and tags in a sentence."""
    return sorted(re.findall(r"%\(\w+\)s|<[^>]+>", text))


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("page", ["stop", "you", "/how", "/stop", "/nothing", "/l/x", "/you/x"])
async def test_pages_speak_the_visitors_language(mailing: Mailing, language: Language, page: str) -> None:
    """Every page says in which language it is, and speaks that of the visitor."""
    path = page if page.startswith("/") else mailing.marks.stop().replace("/stop/", f"/{page}/")
    answer = await mailing.client.get(path, headers={"accept-language": f"{language}-XX,nl;q=0.5"})
    assert f'<html lang="{language}">' in answer.text
    assert language == answer.headers["content-language"]
    assert said("How this works", language) in answer.text
    if language is not Language.ENGLISH:
        assert "How this works" not in answer.text


async def test_the_organisations_language(tmp_path: Path) -> None:
    """Who asks for none of the five is spoken to in the organisation's."""
    async with mailing_site(tmp_path, language=Language.ITALIAN) as site:
        answer = await site.client.get("/how", headers={"accept-language": "nl"})
    assert "Come funziona" in answer.text


async def test_a_refusal_is_recorded_as_it_was_read(mailing: Mailing) -> None:
    """What goes on record is the label that was pressed, in the language in which it stood there."""
    await mailing.client.post(mailing.marks.stop(), headers={"accept-language": "de"})
    last = (await mailing.history())[-1]
    assert "Erfassung beenden" == last["expression"]
