"""Renewal: people whose grant ends soon are asked once whether it is to go on."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, notices
from ledger.asking import Asked, Question, asked_since, send_question
from ledger.consent import Person, consent_of
from ledger.keys import Keyring
from ledger.notice import Teller
from ledger.schema import consent_event, consent_personal, stamp
from policies.consent import GRANTS, PAUSE
from policies.footer import Language
from policies.words import Purpose

AHEAD = timedelta(days=30)
"""How long before its end a grant may be renewed by a question."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A person of whom a grant ends soon, and the language they agreed in."""

    address: str
    language: Language


async def ending(connection: AsyncConnection, keyring: Keyring, now: datetime) -> list[Ending]:
    """Return whose grants end soon, as far as their address is on record; whether they stand, ``renew`` looks."""
    event, joined = consent_event.c, consent_event.c.sequence == consent_personal.c.sequence
    statement = select(event.exact_hash, event.language, event.sequence, consent_personal.c.sealed)
    statement = statement.join_from(consent_event, consent_personal, joined)
    statement = statement.where(
        event.valid_until > stamp(now),
        event.valid_until <= stamp(now + AHEAD),
        event.state.in_([state.value for state in GRANTS]),
    )
    found: dict[str, Ending] = {}
    for row in await connection.execute(statement.order_by(event.sequence)):
        address = json.loads(keyring.open_column(row.sealed, f"consent_personal/{row.sequence}"))["address"]
        if address is not None:
            found[row.exact_hash] = Ending(address, Language(row.language))
    return list(found.values())


async def renew(
    connection: AsyncConnection, keyring: Keyring, teller: Teller, one: Ending, public_url: str, now: datetime
) -> Asked | None:
    """Put a letter into the outbox that asks whether a grant is to go on; None where it is no time to ask.

    That is where no grant stands that ends soon, or the person was asked less than six months ago.
    """
    await chain.lock(connection)
    person = Person.of(keyring, one.address)
    consent = await consent_of(connection, person)
    ends = {
        purpose: event.valid_until
        for purpose in Purpose
        if (event := consent.on(purpose).event) is not None
        and event.valid_until is not None
        and consent.granted(purpose, now)
        and event.valid_until <= now + AHEAD
    }
    if not ends or consent.do_not_write or await asked_since(connection, person, now - PAUSE):
        return None
    notice = await notices.in_force(connection, teller, one.language)
    await notices.keep(connection, notice, now)
    until = stamp(min(ends.values()))[:10]
    question = Question("renew", "renewal", one.address, {"until": until, "purposes": ", ".join(ends)}, list(ends))
    return await send_question(connection, keyring, question, notice, public_url, now)
