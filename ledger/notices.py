"""Notices on record: which one is in force, adding one, and what a change means to the agreements before it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain
from ledger.consent import NOTICE_IN_FORCE, Person, standings_of
from ledger.dialects import words_of
from ledger.notice import Notice, Teller
from ledger.schema import consent_event, meta, notice, stamp
from policies.footer import Language
from policies.words import Purpose

_SLICE = 500


@dataclass(frozen=True, slots=True)
class Added:
    """What came of a new notice."""

    version: int
    notices: tuple[Notice, ...]
    ends_grants: bool
    """It asks for something else than the one before: whoever agreed to that one must be asked again."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a new notice would do to the agreements before it."""

    ends_grants: bool
    standing: int
    """Of how many people, by the spelling of their address, a grant stands now."""


async def in_force(connection: AsyncConnection, teller: Teller, language: Language) -> Notice:
    """Return the organisation's newest notice in a language; the built-in one where it has none."""
    newest = await _newest_version(connection)
    if newest:
        statement = select(notice.c.language, notice.c.body).where(notice.c.version == newest)
        bodies = {row.language: row.body for row in await connection.execute(statement)}
        if language.value in bodies:
            return Notice.of_body(bodies[language.value])
        # People are better told in another language than under words that are no longer in force.
        return Notice.of_body(bodies.get(Language.ENGLISH.value) or bodies[min(bodies)])
    return teller.built_in(language)


async def keep(connection: AsyncConnection, said: Notice, now: datetime, by: str = "system") -> None:
    """Put a notice on record; one that is there already stays as it is."""
    values = {
        "id": said.id,
        "language": said.language,
        "body": said.body,
        "created_at": stamp(now),
        "version": said.version,
        "created_by": by,
    }
    await connection.execute(words_of(connection).insert(notice).values(values).on_conflict_do_nothing())


async def add(connection: AsyncConnection, teller: Teller, content: str, by: str, now: datetime) -> Added:
    """Put a notice in force, in every language that the file has.

    Where it asks for something else than the one before, grants under older notices do not count from now on. Raises
    LedgerError for a notice that does not say enough.
    """
    # One after the other: a version is one notice.
    await chain.lock(connection)
    version, told, same = await _compared(connection, teller, content)
    for said in told.values():
        await keep(connection, said, now, by)
    if not same:
        await connection.execute(delete(meta).where(meta.c.name == NOTICE_IN_FORCE))
        await connection.execute(insert(meta).values(name=NOTICE_IN_FORCE, value=str(version)))
    return Added(version, tuple(told.values()), not same)


async def change(connection: AsyncConnection, teller: Teller, content: str, now: datetime) -> Change:
    """Return what adding a notice would do. Raises LedgerError for a notice that does not say enough."""
    _, _, same = await _compared(connection, teller, content)
    return Change(not same, await _standing(connection, now))


async def _compared(
    connection: AsyncConnection, teller: Teller, content: str
) -> tuple[int, dict[Language, Notice], bool]:
    """Return a new notice's version and texts, and whether it asks for the same as the one in force."""
    version = await _newest_version(connection) + 1
    told = teller.parse(content, version)
    before = {language: await in_force(connection, teller, language) for language in told}
    return version, told, all(before[language].asks_for_the_same(said) for language, said in told.items())


async def _standing(connection: AsyncConnection, now: datetime) -> int:
    """Return how many people have a grant that stands."""
    candidates = select(consent_event.c.exact_hash, consent_event.c.folded_hash).where(
        consent_event.c.valid_until > stamp(now)
    )
    people = [Person(row.folded_hash, row.exact_hash) for row in await connection.execute(candidates.distinct())]
    count = 0
    for at in range(0, len(people), _SLICE):
        found = await standings_of(connection, people[at : at + _SLICE])
        count += sum(any(one.granted(purpose, now) for purpose in Purpose) for one in found.values())
    return count


async def listed(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return every notice on record, newest first."""
    statement = select(notice).order_by(notice.c.created_at.desc(), notice.c.language)
    return [
        {
            "id": row.id,
            "version": row.version,
            "language": row.language,
            "created_at": row.created_at,
            "created_by": row.created_by,
            "body": row.body,
        }
        for row in await connection.execute(statement)
    ]


async def _newest_version(connection: AsyncConnection) -> int:
    newest = (await connection.execute(select(func.max(notice.c.version)))).scalar()
    return int(newest or 0)
