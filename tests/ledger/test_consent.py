"""Consent on record: what people said, and where they stand."""

import asyncio
import gc
import json
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from ledger.chain import SCHEMA_VERSION
from ledger.consent import VALIDITY, Act, Person, consents_of
from ledger.consent import refuse as record_refusal
from ledger.database import Database
from ledger.errors import ConsentRefused, LedgerUnavailable
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.schema import consent_event, moment, notice
from policies.consent import Assurance, State
from policies.words import Purpose
from tests.ledger.samples import (
    ANNA,
    BY_FOOTER,
    BY_MAILBOX,
    EVERYTHING,
    MAX,
    NOTICE,
    ON_PAPER,
    OPEN,
    WITHOUT_EVIDENCE,
    by_hand,
    now,
)

OTHER_SPELLING = "max@client.example"
BY_MAIL = Act("data_subject", "reply_mail", Assurance.MAILBOX_PROVEN, "Stop it, please")


async def states(ledger: Ledger, address: str = MAX) -> dict[str, str]:
    """Return where somebody stands, as far as that is known."""
    consent = (await ledger.look_up(address, ANNA)).consent
    assert consent.available
    return {purpose.value: state.value for purpose in Purpose if (state := consent.on(purpose).state)}


async def refuse(
    ledger: Ledger, address: str = MAX, purposes: tuple[Purpose, ...] = OPEN, act: Act = BY_FOOTER
) -> None:
    """Refuse as the footer link does: it knows the folded hash, and no spelling."""
    await ledger.refuse(Person(ledger.keyring.folded(address)), purposes, act)


async def events(ledger: Ledger, address: str = MAX) -> list[tuple[str, str]]:
    """Return purpose and state of every event on record of somebody."""
    found = await ledger.history(Person.of(ledger.keyring, address))
    return [(event["purpose"], event["state"]) for event in found]


async def test_nobody_is_known_at_first(ledger: Ledger) -> None:
    """Without an event consent is unknown, which is not granted."""
    assert {} == await states(ledger)
    assert not (await ledger.look_up(MAX, ANNA)).consent.granted(Purpose.OPEN, now())


async def test_grant_stands(ledger: Ledger) -> None:
    """A grant stands from the moment it is recorded, for its purpose only, and for as long as is said."""
    before = now()
    await ledger.grant(MAX, OPEN, ON_PAPER)
    consent = (await ledger.look_up(MAX, ANNA)).consent

    assert {"open": "granted"} == await states(ledger)
    assert consent.granted(Purpose.OPEN, now())
    assert not consent.granted(Purpose.CLICK, now())
    assert consent.granted(Purpose.OPEN, before + VALIDITY)
    assert not consent.granted(Purpose.OPEN, now() + VALIDITY + timedelta(seconds=1))


async def test_grant_is_for_one_spelling(ledger: Ledger) -> None:
    """A grant counts for the address as it was written, because a server may tell its spellings apart."""
    await ledger.grant(MAX, OPEN, ON_PAPER)

    assert {"open": "granted"} == await states(ledger, "Max@CLIENT.example")
    assert {} == await states(ledger, OTHER_SPELLING)


async def test_refusal_is_for_every_spelling(ledger: Ledger) -> None:
    """A refusal in any case counts for every case: nobody is tracked by a capital letter."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await refuse(ledger, OTHER_SPELLING)

    assert {"open": "withdrawn"} == await states(ledger, MAX)
    assert {"open": "withdrawn"} == await states(ledger, "MAX@client.example")


async def test_refusal_before_any_grant(ledger: Ledger) -> None:
    """Whoever never agreed refuses; whoever did withdraws, purpose by purpose."""
    await ledger.grant(MAX, (Purpose.CLICK,), ON_PAPER)
    await refuse(ledger, purposes=EVERYTHING)

    assert {"open": "refused", "click": "withdrawn", "detail": "refused"} == await states(ledger)


async def test_refusing_one_purpose_leaves_the_others(ledger: Ledger) -> None:
    """A choice is taken back for the purpose it was taken back for."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    await refuse(ledger)

    assert {"open": "withdrawn", "click": "granted", "detail": "granted"} == await states(ledger)


async def test_refusing_again_records_nothing(ledger: Ledger) -> None:
    """A second click on the same button, in whatever way, changes nothing."""
    for _ in range(2):
        await refuse(ledger, purposes=EVERYTHING)
        await refuse(ledger, OTHER_SPELLING, act=BY_MAIL)
    await ledger.refuse(Person.of(ledger.keyring, MAX), EVERYTHING, ON_PAPER)

    assert [(purpose.value, "refused") for purpose in Purpose] == await events(ledger)


@pytest.mark.parametrize("again", [MAX, OTHER_SPELLING, None], ids=["same spelling", "other spelling", "footer link"])
async def test_refusal_after_a_second_grant_is_not_taken_for_the_first(ledger: Ledger, again: str | None) -> None:
    """Agree, refuse, agree again, refuse again: the last word counts, however the address is known then."""
    await ledger.grant(MAX, OPEN, BY_MAILBOX)
    await refuse(ledger)
    await ledger.grant(MAX, OPEN, BY_MAILBOX)
    assert {"open": "granted"} == await states(ledger)

    person = Person.of(ledger.keyring, again) if again else Person(ledger.keyring.folded(MAX))
    await ledger.refuse(person, OPEN, BY_FOOTER)

    assert {"open": "withdrawn"} == await states(ledger)


async def test_refused_person_cannot_be_asserted_to_agree(ledger: Ledger) -> None:
    """After a refusal in any spelling nobody else's word counts, and nothing of it is recorded."""
    await refuse(ledger)

    with pytest.raises(ConsentRefused, match=r"has refused \(open\)"):
        await ledger.grant(OTHER_SPELLING, EVERYTHING, ON_PAPER)

    assert [("open", "refused")] == await events(ledger)


async def test_refused_person_can_agree_by_their_mailbox(ledger: Ledger) -> None:
    """Only the person themselves can take a refusal back, by proof of their mailbox."""
    await refuse(ledger)
    await ledger.grant(MAX, OPEN, BY_MAILBOX)

    assert {"open": "granted"} == await states(ledger)
    assert {"open": "refused"} == await states(ledger, OTHER_SPELLING)


@pytest.mark.parametrize("assurance", [Assurance.ASSERTED, Assurance.TOKEN_POSSESSION], ids=lambda one: one.value)
async def test_grant_needs_evidence(ledger: Ledger, assurance: Assurance) -> None:
    """What somebody else says, or a token anybody may have forwarded, needs evidence; white space is none."""
    act = Act(WITHOUT_EVIDENCE.actor_kind, WITHOUT_EVIDENCE.method, assurance, "", WITHOUT_EVIDENCE.evidence)

    with pytest.raises(ConsentRefused, match="needs evidence"):
        await ledger.grant(MAX, OPEN, act)

    assert [] == await events(ledger)
    assert (await ledger.verify()).whole


async def test_refused_grant_does_not_disturb_others(ledger: Ledger) -> None:
    """A grant that is refused leaves those beside it in the same commit alone."""
    found = await asyncio.gather(
        *(
            ledger.grant(f"p{number}@x.example", OPEN, WITHOUT_EVIDENCE if number == 2 else ON_PAPER)
            for number in range(5)
        ),
        return_exceptions=True,
    )

    assert [2] == [number for number, result in enumerate(found) if isinstance(result, ConsentRefused)]
    assert [None] * 4 == [result for result in found if not isinstance(result, ConsentRefused)]
    assert 4 == (await ledger.verify()).events


async def test_odd_characters_do_not_disturb_others(ledger: Ledger) -> None:
    """What no text in UTF-8 can hold is recorded with a mark in its place, and disturbs nobody."""
    act = Act("admin", "paper", Assurance.ASSERTED, "words", "folder \udcff")
    await asyncio.gather(ledger.grant("\udcff@x.example", OPEN, act), ledger.grant(MAX, OPEN, ON_PAPER))

    assert {"open": "granted"} == await states(ledger)
    assert {"open": "granted"} == await states(ledger, "\udcff@x.example")
    assert (await ledger.verify()).whole


async def test_event_says_everything_that_proof_needs(ledger: Ledger, url: str) -> None:
    """A grant on record says who, what for, how, on what notice, on what ground, until when, and how to withdraw."""
    before = now()
    await ledger.grant(MAX, OPEN, ON_PAPER)

    with by_hand(url) as connection:
        row: Any = connection.execute(select(consent_event)).one()
        stored = connection.execute(select(notice.c.language, notice.c.body).where(notice.c.id == row.notice_id)).one()
    assert (SCHEMA_VERSION, "open", "granted") == (row.schema_version, row.purpose, row.state)
    assert ("admin", "paper", "asserted", "consent") == (row.actor_kind, row.method, row.assurance, row.legal_basis)
    assert (ON_PAPER.expression, NOTICE.withdrawal) == (row.expression, row.withdrawal)
    assert (NOTICE.id, NOTICE.language) == (row.notice_id, row.language)
    assert ("en", NOTICE.body) == tuple(stored)
    assert before <= moment(row.event_time) <= now()
    assert VALIDITY == moment(row.valid_until) - moment(row.event_time)


async def test_notice_is_kept_once(ledger: Ledger, url: str) -> None:
    """Every event names its notice, and each wording is stored once."""
    await asyncio.gather(*(ledger.grant(f"p{number}@x.example", OPEN, ON_PAPER) for number in range(5)))

    with by_hand(url) as connection:
        assert 1 == len(connection.execute(select(notice.c.id)).all())


async def test_history_opens_what_is_sealed(ledger: Ledger) -> None:
    """A person's own history shows address and evidence, and which events are of another spelling."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await refuse(ledger)
    granted, refused = await ledger.history(Person.of(ledger.keyring, OTHER_SPELLING))

    assert (MAX, "folder 7, page 12", False) == (granted["address"], granted["evidence"], granted["exact"])
    assert (None, "", "footer_link") == (refused["address"], refused["evidence"], refused["method"])
    assert refused["valid_until"] is None
    assert json.loads(json.dumps([granted, refused])) == [granted, refused]


async def test_history_is_of_one_person(ledger: Ledger) -> None:
    """Nobody's history holds an event of somebody else."""
    await ledger.grant("somebody@x.example", OPEN, ON_PAPER)

    assert [] == await events(ledger)


async def test_address_is_on_record_only_sealed(ledger: Ledger, on_disk: Any) -> None:
    """Neither address nor evidence can be read in the database without the key file."""
    await ledger.grant("kanarienvogel@x.example", OPEN, ON_PAPER)
    found = on_disk().lower()

    assert b"recorded by an administrator" in found
    assert b"kanarienvogel" not in found
    assert "kanarienvogel".encode("utf-16-le") not in found
    assert b"folder 7" not in found


async def test_known_address_is_of_the_newest_event(ledger: Ledger) -> None:
    """The address to write to is the last one that the person themselves used."""
    person = Person(ledger.keyring.folded(MAX))
    assert None is await ledger.known_address(person)

    await ledger.grant(OTHER_SPELLING, OPEN, ON_PAPER)
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await refuse(ledger)

    assert MAX == await ledger.known_address(person)


async def test_several_people_at_once(ledger: Ledger, database: Database, keyring: Keyring) -> None:
    """Where several people stand is read with one query, spelling by spelling."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await refuse(ledger, "eva@x.example")
    people = [Person.of(keyring, address) for address in (MAX, OTHER_SPELLING, "eva@x.example", "new@x.example")]
    found = await database.batch(lambda batch: consents_of(batch, people), writes=False)

    assert [State.GRANTED, None, State.REFUSED, None] == [found[person].on(Purpose.OPEN).state for person in people]


async def test_altered_state_is_not_believed_blindly(ledger: Ledger, url: str) -> None:
    """A state that the program does not know is never taken for a grant."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    with by_hand(url) as connection:
        connection.execute(update(consent_event).values(state="agreed"))

    assert not (await ledger.look_up(MAX, ANNA)).consent.granted(Purpose.OPEN, now())


async def test_refusal_and_asserted_grant_at_once(ledger: Ledger, database: Database, keyring: Keyring) -> None:
    """A grant that somebody asserts while the refusal is being recorded comes after it, and is refused."""
    async with database.writing() as connection:
        person = Person.of(keyring, MAX)
        await record_refusal(connection, keyring, person, OPEN, BY_FOOTER, NOTICE, now())
        asserted = asyncio.create_task(ledger.grant(MAX, OPEN, ON_PAPER))
        await asyncio.sleep(0.2)
        assert not asserted.done()

    with pytest.raises(ConsentRefused):
        await asserted


async def test_reading_without_a_ledger_says_so(ledger: Ledger, url: str) -> None:
    """What must be known for certain raises where it cannot be known."""
    with by_hand(url) as connection:
        connection.exec_driver_sql("ALTER TABLE consent_event RENAME TO gone")

    person = Person.of(ledger.keyring, MAX)
    for asked in (ledger.standing(person), ledger.history(person), ledger.known_address(person), ledger.verify()):
        with pytest.raises(LedgerUnavailable, match="The ledger does not answer"):
            await asked
    with pytest.raises(LedgerUnavailable):
        await ledger.grant(MAX, OPEN, ON_PAPER)
    with pytest.raises(LedgerUnavailable):
        await refuse(ledger)


async def test_who_changes_their_mind_all_day_takes_no_memory(ledger: Ledger) -> None:
    """Where somebody stands is looked up after every change, and none of it is kept once there are many."""

    async def change_their_mind(times: int) -> int:
        for _ in range(times):
            await ledger.grant(MAX, EVERYTHING, BY_MAILBOX)
            await states(ledger)
            await refuse(ledger, MAX, EVERYTHING)
            await states(ledger)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await change_their_mind(3)
        grown = await change_their_mind(4) - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000
