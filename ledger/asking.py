"""Asking: who may be asked for their agreement now, and the record that they were.

A question that comes again and again is no question: after one, after a refusal, and after silence, six months pass
before the next (CNIL 2026-042). That is no setting.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, links, outbox
from ledger.consent import SUSPENDED_UP_TO, Act, Person, consent_of, event_row
from ledger.errors import ConsentRefused
from ledger.keys import Keyring
from ledger.links import LinkKind
from ledger.notice import Notice
from ledger.outbox import Letter
from ledger.schema import consent_event, mailbox_link, meta, question, stamp
from policies.consent import PAUSE, REFUSALS, Assurance, State
from policies.footer import Language
from policies.words import Purpose

_FOR_GOOD = frozenset({State.SUPPRESSED, State.INVALIDATED})
"""Whoever was erased, or said that they never agreed, is not asked again at all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on record: its id, which the answer will name, and the chain's new head."""

    id: str
    head: tuple[int, str]


async def why_not(connection: AsyncConnection, keyring: Keyring, address: str, now: datetime) -> str | None:
    """Return why a person may not be asked now, as a sentence; None where they may.

    They may where nobody asked them for six months and they have not said yes or no.
    """
    person = Person.of(keyring, address)
    consent = await consent_of(connection, person)
    if (await connection.execute(select(meta.c.value).where(meta.c.name == SUSPENDED_UP_TO))).first() is not None:
        return "After a restore without its journal nobody is asked: they may have refused since."
    if consent.do_not_write:
        return "This person asked not to be written to."
    if any(consent.on(purpose).state in _FOR_GOOD for purpose in Purpose):
        return "This person was erased, or says they never agreed; only they can begin again."
    if any(consent.granted(purpose, now) for purpose in Purpose):
        return "This person has answered already: a grant stands."
    if any(event.domain for purpose in Purpose if (event := consent.on(purpose).event) is not None):
        return "This person's whole domain refuses."
    refused = select(func.max(consent_event.c.event_time)).where(
        consent_event.c.folded_hash == person.folded_hash,
        consent_event.c.state.in_([state.value for state in REFUSALS]),
    )
    last_refusal = (await connection.execute(refused)).scalar()
    if last_refusal is not None and last_refusal > stamp(now - PAUSE):
        return "This person refused less than six months ago."
    if await asked_since(connection, person, now - PAUSE):
        return "This person was asked less than six months ago."
    return None


async def asked_since(connection: AsyncConnection, person: Person, since: datetime) -> bool:
    """Tell whether a person was asked, in any way, after a moment."""
    statement = select(question.c.id).where(
        question.c.folded_hash == person.folded_hash, question.c.asked_at > stamp(since)
    )
    return (await connection.execute(statement.limit(1))).first() is not None


async def asked(
    connection: AsyncConnection,
    keyring: Keyring,
    address: str,
    way: str,
    notice: Notice,
    now: datetime,
    purposes: Sequence[Purpose] = tuple(Purpose),
) -> Asked:
    """Record that a person is asked, and how ("footer", "mail", "renewal"): one event per purpose.

    Call it with ``why_not`` in one transaction, the chain locked (``chain.lock``), so that of two that ask at the same
    time one sees the other. ``notice`` is the one they are shown, and must be on record (``notices.keep``).
    """
    question_id, folded_hash = secrets.token_hex(16), Person.of(keyring, address).folded_hash
    values = {"id": question_id, "folded_hash": folded_hash, "asked_at": stamp(now), "way": way}
    await connection.execute(insert(question).values(values))
    return Asked(question_id, await append(connection, keyring, address, way, question_id, notice, now, purposes))


async def append(
    connection: AsyncConnection,
    keyring: Keyring,
    address: str,
    way: str,
    question_id: str,
    notice: Notice,
    now: datetime,
    purposes: Sequence[Purpose] = tuple(Purpose),
) -> tuple[int, str]:
    """Append one event per purpose for a question that is on record, and return the chain's new head."""
    head = await chain.lock(connection)
    act = Act("system", f"ask_{way}", Assurance.ASSERTED, "asked for agreement", request=question_id)
    person = Person.of(keyring, address)
    rows = [event_row(person, purpose, State.REQUESTED, act, notice, now) for purpose in purposes]
    return await chain.append(connection, keyring, head, rows)


async def ask_by_mail(
    connection: AsyncConnection, keyring: Keyring, address: str, notice: Notice, public_url: str, now: datetime
) -> Asked:
    """Put one letter into the outbox that asks for agreement, with a link that proves the mailbox; on record as asked.

    ``public_url`` is where links in mail lead. Raises ConsentRefused, saying why, where the person may not be asked.
    """
    await chain.lock(connection)
    problem = await why_not(connection, keyring, address, now)
    if problem is not None:
        raise ConsentRefused(problem)
    return await send_question(connection, keyring, Question("ask", "mail", address, {}), notice, public_url, now)


@dataclass(frozen=True, slots=True)
class Question:
    """A letter that asks."""

    letter: str
    way: str
    address: str
    values: Mapping[str, str]
    purposes: Sequence[Purpose] = tuple(Purpose)


async def send_question(
    connection: AsyncConnection, keyring: Keyring, said: Question, notice: Notice, public_url: str, now: datetime
) -> Asked:
    """Put a letter that asks into the outbox and have it on record, whatever was asked before."""
    found = await asked(connection, keyring, said.address, said.way, notice, now, said.purposes)
    content = {"purposes": [purpose.value for purpose in said.purposes], "request": found.id}
    row, token = links.new_row(keyring, LinkKind.JOIN, said.address, now, content)
    await connection.execute(insert(mailbox_link).values(row))
    values = {**said.values, "url": links.url_of(public_url, LinkKind.JOIN, token)}
    await outbox.put(connection, keyring, Letter(said.letter, said.address, Language(notice.language), values), now)
    return found
