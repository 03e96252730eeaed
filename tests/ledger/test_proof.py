"""Proof: one signed file about one person."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger import proof
from ledger.consent import Person
from ledger.keys import KeyFile, Keyring
from ledger.ledger import Ledger
from ledger.notice import Notice
from ledger.proof import FORMAT
from tests.ledger.samples import BY_FOOTER, EVERYTHING, MAX, NOTICE, ON_PAPER, OPEN, decided, now

ANOTHER = "another@customer.test"


async def made(ledger: Ledger) -> dict[str, Any]:
    """Return the proof about somebody who agreed, was written to, and refused."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ledger.grant(ANOTHER, OPEN, ON_PAPER)
    assert await ledger.record_decision(decided())
    await ledger.refuse(Person(ledger.keyring.folded(MAX)), EVERYTHING, BY_FOOTER)
    person = Person.of(ledger.keyring, MAX)
    return await ledger.read(lambda connection: proof.proof(connection, ledger.keyring, person, now()))


async def test_56_it_holds_what_was_shown_said_and_done(ledger: Ledger) -> None:
    """Rows 56 and 58: the notice as shown, every event with its evidence, the decisions, and the chain's head."""
    found = await made(ledger)

    assert (FORMAT, MAX) == (found["format"], found["address"])
    assert [NOTICE.id] == [Notice.of_body(one["body"]).id for one in found["notices"]]
    assert ["granted", "withdrawn", "refused", "refused"] == [one["state"] for one in found["said"]]
    assert "folder 7, page 12" == found["said"][0]["evidence"]
    assert [("tracked", MAX)] == [(one["reason"], one["recipient"]) for one in found["decisions"]]
    assert found["events"][-1]["row_hash"] == found["anchor"].split()[2]
    assert ANOTHER not in json.dumps(found)


async def test_it_is_as_it_was_made(ledger: Ledger) -> None:
    """The file is found right as it was written, with its key, and wrong with another."""
    text = json.dumps(await made(ledger), indent=2)

    assert [] == proof.check(ledger.keyring, text)
    assert ["The file was not signed with this key file."] == proof.check(Keyring(KeyFile.new()), text)


def _resign(keyring: Keyring, found: dict[str, Any]) -> dict[str, Any]:
    return proof.signed(keyring, {name: found[name] for name in found if name not in ("sha256", "signature")})


ALTERED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an event": (lambda found: found["events"][0].update(state="refused"), "Event 1 was altered."),
    "the evidence": (
        lambda found: found["events"][0].update(sealed="AAAA"),
        "The personal part of event 1 was altered.",
    ),
    "no base64": (
        lambda found: found["events"][0].update(sealed="?"),
        "The personal part of event 1 was altered.",
    ),
    "the notice": (
        lambda found: found["notices"][0].update(body="{}"),
        "The notice that event 1 relies on is missing or another one.",
    ),
}


@pytest.mark.parametrize(("alter", "sentence"), ALTERED.values(), ids=ALTERED)
async def test_what_is_altered_is_found(ledger: Ledger, alter: Callable[[dict[str, Any]], Any], sentence: str) -> None:
    """Any change of the file is seen; and where it was made before signing, the event or notice is named."""
    found = await made(ledger)
    alter(found)

    assert ["The file was altered: its content is not that of its SHA-256."] == proof.check(
        ledger.keyring, json.dumps(found)
    )
    assert sentence == proof.check(ledger.keyring, json.dumps(_resign(ledger.keyring, found)))[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "The file is no JSON."), ("[]", "The file is no proof that this version of aboveboard made.")],
)
def test_what_is_no_proof(text: str, sentence: str) -> None:
    """Another file is said to be one."""
    assert [sentence] == proof.check(Keyring(KeyFile.new()), text)
