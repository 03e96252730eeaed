"""One person's data: the copy holds everything of theirs and nothing of others, and erasing leaves only the marker."""

import base64
import csv
import io
import json
import quopri
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select

from ledger import decisions, inviting, links, outbox, requests, senders, subject
from ledger.batch import WithinTransaction
from ledger.calendar import Calendar
from ledger.consent import Act, Person
from ledger.ledger import Ledger
from ledger.links import LinkKind
from ledger.outbox import Letter
from ledger.requests import CaseKind
from ledger.schema import consent_personal, hit, mailbox_link, message, request_case
from ledger.schema import outbox as outbox_table
from ledger.subject import as_csv
from policies.consent import Assurance, State
from policies.footer import Language
from policies.words import Purpose
from tests.ledger.samples import BY_MAILBOX, EVERYTHING, OPEN, decided, now
from tests.ledger.samples import hit as sample_hit

JANE = "Jane.Canary@nest.example"
OTHER = "Otto.Other@elsewhere.example"
IMPORTED = Act(
    "import", "csv_import", Assurance.ASSERTED, "Yes, track me", "evidence-canary, page 9", "source-canary fair"
)
SUBJECT, PLACE = "Subject-canary offer", "shop.example/path-canary"
QUESTION, ANSWER, VALUE = "Question-canary text", "Answer-canary text", "value-canary"
CANARIES = (JANE, "jane.canary", "evidence-canary", "source-canary", "Subject-canary", "path-canary")
CANARIES += ("Question-canary", "Answer-canary", "value-canary")
BY_LINK = Act("data_subject", "preference_page", Assurance.MAILBOX_PROVEN, "Erase everything")
CALENDAR = Calendar(letters=True)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the ledger wait as long as a busy machine takes: a decision that comes too late is not recorded."""
    monkeypatch.setattr("ledger.patience.PATIENCE", 1.0)


async def fill(ledger: Ledger, address: str = JANE) -> str:
    """Put something about a person everywhere it can be, and return the id of a message to them."""
    keyring, person = ledger.keyring, Person.of(ledger.keyring, address)
    await ledger.grant(address, OPEN, IMPORTED)
    await ledger.grant(address, EVERYTHING, BY_MAILBOX)
    to_them = decided(recipients=(address,), subject=SUBJECT)
    assert await ledger.record_decision(to_them)
    assert await ledger.record_decision(decided(sender=address, recipients=(OTHER,), subject=SUBJECT))
    await ledger.record_hit(sample_hit(to_them.id))
    await ledger.record_hit(sample_hit(to_them.id, Purpose.CLICK, link=1, place=PLACE))

    async def work(connection: Any) -> None:
        await senders.save(connection, person.folded_hash, frozenset(OPEN), now())
        await links.make(connection, keyring, LinkKind.YOU, address, now(), {"value": VALUE})
        await outbox.put(connection, keyring, Letter("ask", address, values={"url": VALUE}), now())
        number = await requests.open_case(
            connection, keyring, CaseKind.COMPLAINT, person, address, QUESTION, now(), CALENDAR
        )
        await requests.answer(connection, keyring, number, ANSWER, now(), CALENDAR)
        await requests.open_case(connection, keyring, CaseKind.ACCESS, person, address, QUESTION, now(), CALENDAR)

    await ledger.job(work)
    return to_them.id


def spellings(canary: str) -> Iterator[bytes]:
    """Yield a canary as it may lie in a file: plain and folded, in UTF-8, UTF-16, base64, quoted-printable and hex."""
    for text in (canary, canary.lower()):
        for plain in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")):
            yield plain
            yield plain.hex().encode()
            yield quopri.encodestring(plain, quotetabs=True)
            # Wherever it begins in what was encoded, all but its edges looks the same.
            for at in range(3):
                yield base64.b64encode(b"\0" * at + plain)[4:-4]


SEALED = {
    consent_personal: (consent_personal.c.sealed,),
    message: (message.c.sealed,),
    hit: (hit.c.sealed,),
    mailbox_link: (mailbox_link.c.sealed,),
    outbox_table: (outbox_table.c.sealed,),
    request_case: (request_case.c.sealed,),
}


async def sealed(ledger: Ledger) -> list[bytes]:
    """Return every sealed value in the ledger."""

    async def work(connection: Any) -> list[bytes]:
        found = []
        for columns in SEALED.values():
            found += [row[0] for row in await connection.execute(select(*columns)) if row[0] is not None]
        return found

    return await ledger.read(work)


async def test_erasing_leaves_no_trace(
    ledger: Ledger, on_disk: Callable[[], bytes], tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 78, 79 and 87, A10: after an erasure no file holds anything of the person, in any encoding or sealed."""
    with structlog.testing.capture_logs() as logged:
        await fill(ledger)
        before = await sealed(ledger)
        copy = await ledger.copy_of(Person.of(ledger.keyring, JANE))
        await ledger.erase(Person.of(ledger.keyring, JANE), BY_LINK)
        after = await sealed(ledger)
        everything = on_disk() if url.startswith("sqlite") else b""
        files = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
        export = json.dumps(await ledger.copy_of(Person.of(ledger.keyring, JANE)))
        listed = json.dumps([await ledger.messages(), await ledger.hits()])
    places = everything + files + export.encode() + as_csv(json.loads(export)).encode() + listed.encode()
    places += repr(logged).encode() + caplog.text.encode()

    assert all(canary.lower() in json.dumps(copy).lower() for canary in CANARIES if canary != "value-canary")
    assert [] == [found for canary in CANARIES for found in spellings(canary) if found in places]
    # The sealed values of the grants, the message, the hit, the link, the letters and the cases.
    assert len(before) > 9
    assert [] == [one for one in before if one in everything]
    assert [] == [one for one in after if one in before]


async def test_the_chain_stays_whole_and_says_no(ledger: Ledger) -> None:
    """Row 78, A10: what stays is a keyed marker; it tracks nobody, and the chain shows no flaw."""
    await fill(ledger)
    summary = await ledger.erase(Person.of(ledger.keyring, JANE), BY_LINK)
    standing = await ledger.standing(Person.of(ledger.keyring, JANE.upper()))

    assert [] == (await ledger.verify()).flaws
    assert {State.SUPPRESSED} == {standing.on(purpose).state for purpose in Purpose}
    assert {"consent_texts": 4, "hits": 2, "messages": 1, "sent": 1, "links": 1, "questions": 0} | {
        "trackers_sent": 0,
        "sender_settings": 1,
        "fingerprints": 0,
        "letters": 4,
        "requests": 2,
    } == summary["removed"]
    assert {"consent_events": 7} == summary["kept"]


async def test_late_hits_of_an_erased_person_are_dropped(ledger: Ledger) -> None:
    """A11: a pixel of an old message, loaded after the erasure, records nothing."""
    message_id = await fill(ledger)
    await ledger.erase(Person.of(ledger.keyring, JANE), BY_LINK)
    await ledger.record_hit(sample_hit(message_id))

    assert [] == await ledger.hits()


async def test_a_message_that_is_recorded_late_does_not_bring_the_address_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A11: a message decided upon before the erasure, and written down in another process after it, is removed too."""
    late = decided(recipients=(JANE,))
    settle = subject.remove_late

    async def written_meanwhile(connection: Any, folded_hash: str) -> None:
        rows = [decisions.to_row(ledger.keyring, late)]
        await connection.run_sync(lambda inside: decisions.record(WithinTransaction(inside), rows))
        await settle(connection, folded_hash)

    monkeypatch.setattr(subject, "remove_late", written_meanwhile)
    await ledger.erase(Person.of(ledger.keyring, JANE), BY_LINK)

    assert [] == await ledger.messages()


async def test_erasing_again_adds_nothing(ledger: Ledger) -> None:
    """Erasing somebody of whom only the marker is left changes nothing."""
    await fill(ledger)
    person = Person.of(ledger.keyring, JANE)
    await ledger.erase(person, BY_LINK)
    again = await ledger.erase(person, BY_LINK)

    assert {0} == set(again["removed"].values())
    assert {"consent_events": 7} == again["kept"]
    assert [] == (await ledger.verify()).flaws


async def test_only_a_proven_mailbox_begins_anew(ledger: Ledger) -> None:
    """After an erasure the person may agree again, and be erased again, and the chain is whole after both."""
    await fill(ledger)
    person = Person.of(ledger.keyring, JANE)
    await ledger.erase(person, BY_LINK)
    await ledger.grant(JANE, OPEN, BY_MAILBOX)
    agreed = (await ledger.standing(Person.of(ledger.keyring, JANE))).granted(Purpose.OPEN, now())
    await ledger.erase(person, BY_LINK)

    assert agreed
    assert State.SUPPRESSED == (await ledger.standing(Person.of(ledger.keyring, JANE))).on(Purpose.OPEN).state
    assert [] == (await ledger.verify()).flaws


async def test_others_keep_theirs(ledger: Ledger) -> None:
    """Erasing one person leaves everybody else's data as it was."""
    await fill(ledger, "bob@client.example")
    before = await ledger.copy_of(Person.of(ledger.keyring, "bob@client.example"))
    await fill(ledger)
    await ledger.erase(Person.of(ledger.keyring, JANE), BY_LINK)

    assert before == await ledger.copy_of(Person.of(ledger.keyring, "bob@client.example"))


async def test_a_copy_is_whole_and_of_one_person(ledger: Ledger) -> None:
    """Row 75, A12: the copy has every kind of record of the person, and no address of anybody else who got mail."""
    await fill(ledger)
    await fill(ledger, OTHER)
    copy = await ledger.copy_of(Person.of(ledger.keyring, JANE))

    assert {
        "consent": 3,
        "consent_events": 4,
        "domain_events": 0,
        "notices": 1,
        "messages": 1,
        "hits": 2,
        "sent": 1,
        "trackers_sent": 0,
        "sender_settings": 1,
        "accounts": 0,
        "links": 1,
        "questions": 0,
        "letters": 4,
        "requests": 2,
    } == {what: len(held) for what, held in copy.items() if what != "do_not_write"}
    assert "otto" not in json.dumps(copy).lower()
    assert VALUE not in json.dumps(copy)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1", "'＝1"),
        ("  =1", "'  =1"),
        ("a=1", "a=1"),
    ],
    ids=repr,
)
def test_cells_are_no_formulas(cell: str, expected: str) -> None:
    """A3: no cell of the CSV copy begins as a formula."""
    lines = list(csv.reader(io.StringIO(as_csv({"messages": [{"subject": cell}]}), newline="")))
    assert [["what", "number", "field", "value"], ["messages", "1", "subject", expected]] == lines


async def test_nothing_is_known_of_a_stranger(ledger: Ledger) -> None:
    """Of somebody without a record there is nothing to copy; erasing them leaves a marker (they asked for it)."""
    person = Person.of(ledger.keyring, "nobody@nowhere.example")
    copy = await ledger.copy_of(person)
    summary = await ledger.erase(person, BY_LINK)

    assert [] == [what for what, held in copy.items() if isinstance(held, list) and held]
    assert {"consent_events": len(Purpose)} == summary["kept"]
    assert subject.METHOD == (await ledger.history(person))[0]["method"]


@pytest.mark.parametrize("reserved", [True, False], ids=["leaves later", "is reserved later"])
async def test_an_invitation_under_way_brings_nothing_back(ledger: Ledger, reserved: bool) -> None:
    """Whoever is erased while an invitation to them is on its way is not on record by it afterwards."""
    person = Person.of(ledger.keyring, JANE)
    invitation = inviting.prepare(ledger.keyring, JANE, Language.ENGLISH, "https://track.example.org", now())
    if reserved:
        assert await ledger.invite(invitation)
    await ledger.erase(person, BY_LINK)
    if not reserved:
        assert await ledger.invite(invitation)
        await ledger.job(lambda connection: subject.remove_late(connection, person.folded_hash))
    ledger.invited(invitation)
    await ledger.tick()
    copy = await ledger.copy_of(person)

    assert ["suppressed"] * 3 == [event["state"] for event in copy["consent_events"]]
    assert ([], []) == (copy["links"], copy["questions"])
