"""The dialects: what SQLite and PostgreSQL say differently.

PostgreSQL's, which is large, is imported where it is spoken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Table, Text, any_, bindparam, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Words:
    """What the two databases say differently."""

    dialect: Dialect
    among: Callable[[ColumnElement[Any], str], ColumnElement[bool]]
    """Makes a condition that a column is among the values of a list, which is a parameter by that name."""
    insert: Callable[[Table], Any]
    """An INSERT that may say ON CONFLICT."""


def words_of(connection: Connection | AsyncConnection) -> Words:
    """Return the words of the database that a connection leads to."""
    return sqlite_words() if connection.dialect.name == "sqlite" else postgresql_words()


@cache
def sqlite_words() -> Words:
    """Return what SQLite says."""

    def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))

    return Words(sqlite.dialect(paramstyle="named"), among, sqlite.insert)


@cache
def postgresql_words() -> Words:
    """Return what PostgreSQL says, by psycopg."""
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.dialects.postgresql import ARRAY, psycopg

    def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return column == any_(bindparam(name, type_=ARRAY(Text)))

    return Words(psycopg.dialect(), among, postgresql.insert)  # type: ignore[no-untyped-call]
