"""Being written to at all: what a person said about that. Kept beside tracking and never mixed with it."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.consent import CONTACT, Act, Person, consent_of, event_row
from ledger.keys import Keyring
from ledger.notice import Notice
from policies.consent import State


async def say(
    connection: AsyncConnection,
    keyring: Keyring,
    person: Person,
    act: Act,
    notice: Notice,
    now: datetime,
    *,
    may_write: bool,
) -> tuple[int, str] | None:
    """Record whether a person wants to be written to and return the chain's new head; None where that stands."""
    head = await chain.lock(connection)
    if (await consent_of(connection, person)).do_not_write is not may_write:
        return None
    state = State.GRANTED if may_write else State.REFUSED
    return await chain.append(connection, keyring, head, [event_row(person, CONTACT, state, act, notice, now)])
