"""The notice: what people are told before they agree."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from ledger.errors import LedgerError
from ledger.fields import MARKS, TOLD, Mark
from ledger.ledger import Ledger
from ledger.notice import Notice
from ledger.schema import metadata
from policies.footer import Language
from policies.words import Purpose
from tests.ledger.samples import ANNA, EVERYTHING, MAX, NOTICE, ON_PAPER, OPEN, TELLER, now

_FIELDS = [field.name for field in fields(Notice)]


def own(**changes: Any) -> str:
    """Return the file of an organisation's own notice in English; a text that is None is left out."""
    texts: dict[str, Any] = {
        "title": "Recording",
        "why": "You agreed.",
        "how_long": "90 days.",
        "recipients": "The sender.",
        "storage_location": "Frankfurt",
        "authority": "Any.",
        "withdrawal": "By the link.",
        "what": dict.fromkeys(Purpose, "a thing"),
        "what_for": dict.fromkeys(Purpose, "The sender of {organisation} sees it."),
        **changes,
    }
    lines = []
    for key, text in texts.items():
        if isinstance(text, dict):
            lines += [f"{key}.{purpose} = {json.dumps(one)}" for purpose, one in text.items()]
        elif text is not None:
            lines.append(f"{key} = {json.dumps(text)}")
    return "[en]\n" + "\n".join(lines)


@pytest.mark.parametrize("language", Language)
def test_nothing_in_the_built_in_notice_is_empty(language: Language) -> None:
    """What, why, what for, how long, by whom and how to withdraw are all said, in every language (row 71)."""
    said = TELLER.built_in(language)
    texts = [text for name in _FIELDS if isinstance(text := getattr(said, name), str)]

    assert language.value == said.language
    assert all(text.strip() and "{" not in text for text in texts)
    assert all(set(Purpose) == set(by_purpose) for by_purpose in (said.what, said.what_for, said.stored))


def test_built_in_names_the_organisation() -> None:
    """The notice says who the controller is, whom to write to, and where to withdraw."""
    assert ("Example GmbH", "privacy@example.org", "https://example.org/privacy") == (
        NOTICE.controller,
        NOTICE.contact,
        NOTICE.privacy_url,
    )
    assert "privacy@example.org" in NOTICE.withdrawal


@pytest.mark.parametrize("name", [name for name in _FIELDS if isinstance(getattr(NOTICE, name), str)])
def test_id_names_exactly_one_wording(name: str) -> None:
    """Another word anywhere in the notice makes it another notice."""
    assert NOTICE.id != replace(NOTICE, **{name: getattr(NOTICE, name) + "."}).id


def test_body_holds_every_word() -> None:
    """What is stored is the whole notice, readable without the program, and reads back as what it was."""
    assert set(_FIELDS) == set(json.loads(NOTICE.body))
    assert (NOTICE, NOTICE.id) == (Notice.of_body(NOTICE.body), Notice.of_body(NOTICE.body).id)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"language": "en"}'])
def test_a_damaged_notice_is_none(body: str) -> None:
    """What is stored and is no notice is said to be damaged."""
    with pytest.raises(LedgerError, match="damaged"):
        Notice.of_body(body)


def test_every_column_is_marked() -> None:
    """Row 84: every column of every table says what it is to a person, and nothing that is not there is marked."""
    assert {f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns} == set(MARKS)


def test_what_is_told_is_there() -> None:
    """What people are told is stored are columns that there are, about them, in every language (row 69)."""
    columns = [column for told in TOLD for column in told.columns]

    assert {Mark.ABOUT, Mark.PERSONAL} >= {MARKS[column] for column in columns} - {Mark.HARMLESS}
    assert all(set(Language) == set(told.words) for told in TOLD)


def test_every_column_of_a_hit_is_told() -> None:
    """No column says something about a hit that the notice does not list (row 84)."""
    told = {column for one in TOLD for column in one.columns}

    assert {name for name, mark in MARKS.items() if name.startswith("hit.") and mark is not Mark.KEYED} == {
        name for name in told if name.startswith("hit.")
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (own(why=None), "en.why: is missing or empty"),
        (own(how_long="  "), "en.how_long: is missing or empty"),
        (own(what={"open": "a", "click": "b", "detail": ""}), "en.what.detail: is missing or empty"),
        (own(what_for={"open": "a"}), "en.what_for: must say something for each of open, click, detail"),
        (own(extra="x"), "en.extra: is not a known key"),
        ("[pl]\n", "one table per language"),
        ("", "one table per language"),
        ("en = 1", "en: must be a table"),
        ("[en", "not valid TOML"),
    ],
    ids=["why", "how_long", "what", "what_for", "unknown_key", "language", "empty", "no_table", "toml"],
)
def test_a_notice_that_does_not_say_enough_is_refused(content: str, expected: str) -> None:
    """A notice without what, why, what for or how long is refused with the key that is wrong (row 71)."""
    with pytest.raises(LedgerError, match=expected):
        TELLER.parse(content, 1)


async def test_the_newest_notice_is_in_force(ledger: Ledger) -> None:
    """The organisation's newest notice is shown, in every language; without one the built-in one is."""
    assert TELLER.built_in(Language.GERMAN) == await ledger.notice(Language.GERMAN)

    await ledger.add_notice(own(), "anna")
    added = await ledger.add_notice(own(title="Newer"), "anna")

    assert (2, False) == (added.version, added.ends_grants)
    assert ["Newer", "Newer"] == [(await ledger.notice(one)).title for one in (Language.ENGLISH, Language.ITALIAN)]
    assert [2, 1] == [one["version"] for one in await ledger.notices()]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (own(why="You agreed to it.", how_long="60 days."), True),
        (own(what_for=dict.fromkeys(Purpose, "Everybody at {organisation} sees it.")), False),
        (own(recipients="The sender and a partner."), False),
    ],
    ids=["other_words", "other_purpose", "other_recipients"],
)
async def test_changed_purposes_need_new_consent(ledger: Ledger, second: str, expected: bool) -> None:
    """Who agreed to something else has not agreed to this; other words for the same change nothing (row 73)."""
    await ledger.add_notice(own(), "anna")
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    assert (await ledger.look_up(MAX, ANNA)).consent.granted(Purpose.OPEN, now())

    added = await ledger.add_notice(second, "anna")

    assert expected is not added.ends_grants
    assert expected == (await ledger.look_up(MAX, ANNA)).consent.granted(Purpose.OPEN, now())
    await ledger.grant(MAX, OPEN, ON_PAPER)
    assert (await ledger.look_up(MAX, ANNA)).consent.granted(Purpose.OPEN, now())
    assert (await ledger.verify()).whole
