"""Exports: who agreed, who did not, and who was only asked; one line per person and purpose."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.cells import defused
from ledger.consent import Person, history, standings_of, where
from ledger.keys import Keyring
from ledger.schema import consent_event
from policies.consent import Consent, State
from policies.words import Purpose

COLUMNS = (
    "address", "purpose", "state", "since", "until", "method", "assurance", "collection_point", "batch", "notice",
    "source", "evidence",
)  # fmt: skip
_SLICE = 200


async def standings(connection: AsyncConnection, keyring: Keyring, now: datetime) -> AsyncIterator[dict[str, Any]]:
    """Yield where everybody on record stands, by person, spelling and purpose.

    ``state`` is one of granted, expired, suspended, refused, withdrawn, invalidated, suppressed, imported_unproven and
    requested, and lifted of a whole domain, which stands here as "@" and its name. Who was erased, or refused by a link
    in a mail that nobody remembers, has no address.
    """
    last = ""
    while True:
        statement = select(consent_event.c.folded_hash).where(consent_event.c.folded_hash > last).distinct()
        statement = statement.order_by(consent_event.c.folded_hash).limit(_SLICE)
        hashes = [row.folded_hash for row in await connection.execute(statement)]
        if not hashes:
            return
        last = hashes[-1]
        for folded_hash in hashes:
            for line in await _person(connection, keyring, folded_hash, now):
                yield line


async def _person(
    connection: AsyncConnection, keyring: Keyring, folded_hash: str, now: datetime
) -> list[dict[str, Any]]:
    events = await history(connection, keyring, Person(folded_hash))
    spellings = {keyring.exact(event["address"]): event["address"] for event in events if event["address"]}
    people = [replace(Person.of(keyring, address), folded_hash=folded_hash) for address in spellings.values()]
    people = people or [Person(folded_hash)]
    found = await standings_of(connection, people)
    if any(event.domain for one in found.values() for purpose in Purpose if (event := one.on(purpose).event)):
        # What the whole domain said counts: then it is that which stands in the line.
        events = await history(connection, keyring, people[0], wider=True)
    return [
        line
        for person in people
        for purpose in Purpose
        if (line := _line(keyring, person, purpose, found[person], events, now)) is not None
    ]


def _line(
    keyring: Keyring,
    person: Person,
    purpose: Purpose,
    consent: Consent,
    events: Sequence[dict[str, Any]],
    now: datetime,
) -> dict[str, Any] | None:
    """Return a line about one purpose; None where the person was never asked about it and never spoke of it."""
    ruling = consent.on(purpose).event
    about = [event for event in events if event["purpose"] == purpose]
    alone = [one for one in about if not one["domain"]]
    theirs = [one for one in alone if one["address"] is None or keyring.exact(one["address"]) == person.exact_hash]
    if not alone:
        return None
    event = next((one for one in about if ruling is not None and one["id"] == ruling.id), None)
    event = event or (theirs[-1] if theirs else None)
    if event is None:
        return None
    state = where(consent.on(purpose), [event], now)
    state = "granted" if state == State.RENEWED else state
    line = {name: event.get(name) or "" for name in COLUMNS}
    until = event["valid_until"] or ""
    own = {"address": person.address or "", "purpose": purpose.value, "state": state}
    return {**line, **own, "since": event["time"], "until": until}


def as_json(line: dict[str, Any]) -> str:
    """Return a line of JSON."""
    return json.dumps(line, ensure_ascii=False) + "\n"


def as_csv(cells: Sequence[str]) -> str:
    """Return a line of CSV that a spreadsheet does not calculate."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow([defused(cell) for cell in cells])
    return written.getvalue()
