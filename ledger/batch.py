"""The batch: what many messages or hits need of the database at once, said to its driver in one go.

SQLAlchemy writes the statements, once; under load its sessions on top of aiosqlite, with two switches of thread for
every step, cost more than all the rest of a message (DESIGN.md §2).
"""

import json
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

from sqlalchemy import Connection, Executable, Select
from sqlalchemy.sql import ClauseElement

from ledger.dialects import Words, postgresql_words, sqlite_words

Parameters = Mapping[str, Any]
APART_SECONDS = 0.004
"""From the beginning of one transaction to that of the next, at least: what comes in meanwhile shares the next one."""
CROWDED_SECONDS = 0.012
"""The same where several messages shared the last one: a transaction costs more than all that a message has in it."""
TOUCH = "PRAGMA user_version = 0"
"""Writes SQLite's first page as it was. Nothing of ours reads that number."""
_LOCK = "SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(%(numbers)s AS bigint[])) AS number"


@dataclass(frozen=True, slots=True)
class _Written:
    """A statement in one database's words."""

    text: str
    fixed: dict[str, Any]
    """Values that belong to the statement itself."""


class Statement:
    """A statement that is used again and again, with parameters by name."""

    everyone: ClassVar[list["Statement"]] = []
    """Every statement there is, as modules make them."""

    def __init__(self, build: Callable[[Words], Executable]) -> None:
        self._build = build
        self.everyone.append(self)

    def _written(self, words: Words) -> _Written:
        built = self._build(words)
        assert isinstance(built, ClauseElement)
        compiled = built.compile(dialect=words.dialect)
        return _Written(str(compiled), {name: value for name, value in compiled.params.items() if value is not None})

    @cached_property
    def sqlite(self) -> _Written:
        """The statement as SQLite's driver takes it; lists are JSON there."""
        return self._written(sqlite_words())

    @cached_property
    def postgresql(self) -> _Written:
        """The statement as psycopg takes it."""
        return self._written(postgresql_words())

    @cached_property
    def row(self) -> Callable[[Sequence[Any]], Any]:
        """Makes a row with the columns' names of what the driver returns."""
        built = self._build(sqlite_words())
        if not isinstance(built, Select):
            return tuple
        # Its columns are known at run time only.
        named: Any = namedtuple("named", list(built.selected_columns.keys()))  # type: ignore[misc]
        make: Callable[[Sequence[Any]], Any] = named._make
        return make


def write_statements(*, sqlite: bool) -> None:
    """Put every statement into a database's words now: done for the first message, it would wait 10 ms for that."""
    for statement in Statement.everyone:
        _ = (statement.sqlite if sqlite else statement.postgresql, statement.row)


class Batch(Protocol):
    """A transaction, as a batch sees it. Not asynchronous: on SQLite it runs in the driver's thread."""

    def rows(self, statement: Statement, parameters: Parameters) -> list[Any]:
        """Return the rows of a SELECT, with the columns' names."""

    def execute(self, statement: Statement, parameters: Sequence[Parameters]) -> None:
        """Carry a statement out once for each set of parameters; there is at least one."""

    def lock(self, numbers: Sequence[int]) -> None:
        """Let no other transaction that locks one of these numbers, of 64 bits, go on before this one has ended.

        Nothing to do on SQLite, where one transaction writes at a time.
        """

    def touch(self) -> None:
        """Have the commit wait for the disk, also where nothing was written: how long it takes tells nothing."""


def json_lists(parameters: Parameters) -> Parameters:
    """Return parameters for SQLite, which has no lists."""
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in parameters.items()}


class WithinTransaction:
    """A batch inside a transaction of SQLAlchemy's, on either database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_sqlite = connection.dialect.name == "sqlite"

    def rows(self, statement: Statement, parameters: Parameters) -> list[Any]:
        """Return the rows of a SELECT, with the columns' names."""
        written = statement.sqlite if self._is_sqlite else statement.postgresql
        given = json_lists(parameters) if self._is_sqlite else parameters
        found = self._connection.exec_driver_sql(written.text, {**written.fixed, **given})
        return [statement.row(row) for row in found]

    def execute(self, statement: Statement, parameters: Sequence[Parameters]) -> None:
        """Carry a statement out once for each set of parameters; there is at least one."""
        written = statement.sqlite if self._is_sqlite else statement.postgresql
        self._connection.exec_driver_sql(written.text, [{**written.fixed, **one} for one in parameters])

    def lock(self, numbers: Sequence[int]) -> None:
        """Let no other transaction that locks one of these numbers, of 64 bits, go on before this one has ended."""
        if not self._is_sqlite:
            self._connection.exec_driver_sql(_LOCK, {"numbers": list(numbers)})

    def touch(self) -> None:
        """Have the commit wait for the disk, also where nothing was written: how long it takes tells nothing."""
        self._connection.exec_driver_sql(TOUCH if self._is_sqlite else "SELECT txid_current()")
