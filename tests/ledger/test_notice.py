"""The notice: what people are told before they agree."""

import json
from dataclasses import fields, replace

import pytest

from ledger.notice import Notice
from tests.ledger.samples import NOTICE

_FIELDS = [field.name for field in fields(Notice)]


@pytest.mark.parametrize("name", _FIELDS)
def test_nothing_in_the_built_in_notice_is_empty(name: str) -> None:
    """What, why, what for, how long, by whom and how to withdraw are all said."""
    assert "" != getattr(NOTICE, name).strip()


def test_built_in_names_the_organisation() -> None:
    """The notice says who the controller is, whom to write to, and where to withdraw."""
    assert ("Example GmbH", "privacy@example.org", "https://example.org/privacy") == (
        NOTICE.controller,
        NOTICE.contact,
        NOTICE.privacy_url,
    )
    assert "privacy@example.org" in NOTICE.withdrawal


@pytest.mark.parametrize("name", _FIELDS)
def test_id_names_exactly_one_wording(name: str) -> None:
    """Another word anywhere in the notice makes it another notice."""
    assert NOTICE.id != replace(NOTICE, **{name: getattr(NOTICE, name) + "."}).id


def test_id_stays() -> None:
    """The same wording has the same id in every process, so that a stored notice is found again."""
    assert NOTICE.id == replace(NOTICE).id
    assert 16 == len(NOTICE.id)


def test_body_holds_every_word() -> None:
    """What is stored is the whole notice, readable without the program."""
    assert {name: getattr(NOTICE, name) for name in _FIELDS} == json.loads(NOTICE.body)
