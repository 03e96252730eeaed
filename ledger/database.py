"""The database behind the ledger: SQLite by default, PostgreSQL by URL. How it is opened, migrated and missed."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, column, create_engine, event, insert, inspect, select, table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from ledger.batch import Batch, WithinTransaction
from ledger.errors import LedgerContended, LedgerError, LedgerMissing, LedgerUnavailable
from ledger.keys import KeyFile, Keyring
from ledger.schema import REVISION, chain_head, meta
from ledger.sqlite import BUSY_LOOK_SECONDS, BUSY_SECONDS, PRAGMAS, SqliteThread
from ledger.turns import STUCK_SECONDS, Turn, line_up

GENESIS = "0" * 64
# PostgreSQL's serialization_failure and deadlock_detected.
_CONTENDED = frozenset({"40001", "40P01"})
_NOTICED = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A PostgreSQL that is gone without a word, as a machine that was switched off, is noticed within half a minute: else
that takes up to two hours, in which nothing is recorded. What the ledger's URL says of it counts instead."""
Result = TypeVar("Result")
MIGRATIONS = Path(__file__).parent / "migrations"
_ALEMBIC_VERSION = table("alembic_version", column("version_num"))


class Place:
    """Where the ledger is: parsed from the configuration's URL."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.sqlite: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise LedgerError("The ledger needs a file: sqlite:///PATH.")
            self.sqlite = Path(parsed.database)
        elif parsed.get_backend_name() != "postgresql":
            raise LedgerError("The ledger is a sqlite:/// or a postgresql:// URL.")
        elif find_spec("psycopg") is None:
            raise LedgerError("A ledger in PostgreSQL needs a driver: install aboveboard with its extra, postgres.")
        self._url = parsed

    def url(self, driver: str, mode: str = "rw") -> URL:
        """Return the URL for a driver; an SQLite file is never created unless ``mode`` is ``rwc``."""
        if self.sqlite is None:
            return self._url.set(drivername="postgresql+psycopg")
        # Put together and not parsed: parsing would take off the quotes that SQLite's own URI needs around a path.
        return URL.create(driver, database=_file(self.sqlite), query={"mode": mode, "uri": "true"})


def _file(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def _set_up_sqlite(engine: Engine, begin: str, *, patient: bool = True) -> None:
    """Make every connection durable, and every transaction one that SQLAlchemy begins (not the driver).

    One that is not patient hears at once that another process is writing; ``_begin`` is for those.
    """

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        if not patient:
            cursor.execute("PRAGMA busy_timeout=0")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


@contextmanager
def _synchronous(place: Place, mode: str) -> Iterator[Connection]:
    """Open a transaction without asyncio, for what happens before anything runs. Raises LedgerError."""
    engine = create_engine(place.url("sqlite", mode), poolclass=NullPool, hide_parameters=True)
    if place.sqlite is not None:
        _set_up_sqlite(engine, "BEGIN IMMEDIATE")
    try:
        with line_up(place.sqlite) as turn:
            turn.wait()
            with engine.begin() as connection:
                yield connection
    except SQLAlchemyError as error:
        where = f"The ledger's file {place.sqlite}" if place.sqlite is not None else "The ledger"
        raise LedgerError(f"{where} cannot be opened: {_cause(error)}.") from error
    finally:
        engine.dispose()


def _cause(error: SQLAlchemyError) -> str:
    """Return the database's own words, without the statement, its values or a password."""
    original = getattr(error, "orig", None)
    return str(original or type(error).__name__).strip().splitlines()[0].rstrip(".")


def upgrade(place: Place) -> None:
    """Bring the ledger's tables up to this version, creating an SQLite file where there is none. Raises LedgerError."""
    _create(place)
    with _synchronous(place, "rw") as connection:
        current = _revision(connection)
        if current is not None and current > REVISION:
            raise LedgerError("The ledger's tables are of a later version of aboveboard: install that one.")
        if current != REVISION:
            _migrate(connection)
        if connection.execute(select(chain_head.c.id)).first() is None:
            connection.execute(insert(chain_head).values(id=1, sequence=0, row_hash=GENESIS))


def _revision(connection: Connection) -> str | None:
    """Return which migration the tables were left by; None where there are none."""
    if not inspect(connection).has_table(_ALEMBIC_VERSION.name):
        return None
    return connection.execute(select(_ALEMBIC_VERSION.c.version_num)).scalar()


def _migrate(connection: Connection) -> None:
    # Imported here: it is large, and hardly any start has something to migrate.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create(place: Place) -> None:
    """Create an SQLite file where there is none, for its owner's eyes only, and so will be its companions."""
    if place.sqlite is None or place.sqlite.exists():
        return
    try:
        place.sqlite.touch(mode=0o600)
    except OSError as error:
        raise LedgerError(f"The ledger's file {place.sqlite} cannot be made: {error.strerror}.") from error


def check_version(place: Place) -> None:
    """Raise LedgerError, saying what to do, unless the tables are those of this version."""
    with _synchronous(place, "rw") as connection:
        current = _revision(connection)
    if current != REVISION:
        raise LedgerError("The ledger's tables are not of this version: run `aboveboard db upgrade` first.")


_MISSING_KEY = "The key file {} is missing, and this ledger was written with one: put it back from a backup."
_OTHER_KEY = "The key file {} is not the one this ledger was written with: put that one back from a backup."


def match_keys(place: Place, key_file: Path) -> None:
    """See that key file and ledger belong together; make a key file for an empty ledger that has never had one.

    Raises LedgerError where it is missing or another one: going on would forget every refusal.
    """
    with _synchronous(place, "rw") as connection:
        # The lock has two that start together make one key file and not two.
        events = connection.execute(select(chain_head.c.sequence).with_for_update()).scalar()
        known = connection.execute(select(meta.c.value).where(meta.c.name == "key_fingerprint")).scalar()
        if known is None and not events and not key_file.exists():
            KeyFile.new().write(key_file)
        elif not key_file.exists():
            raise LedgerError(_MISSING_KEY.format(key_file))
        fingerprint = Keyring.load(key_file).fingerprint
        if known is None:
            connection.execute(insert(meta).values(name="key_fingerprint", value=fingerprint))
        elif known != fingerprint:
            raise LedgerError(_OTHER_KEY.format(key_file))


def wrong_key(place: Place, key_file: Path) -> str | None:
    """Return why a key file is not that of an SQLite ledger that is there; None where it is, or that cannot be told.

    Changes nothing. Raises LedgerError where the key file is damaged.
    """
    if place.sqlite is None or not place.sqlite.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{_file(place.sqlite)}?mode=ro", uri=True)) as connection:
            known = connection.execute("SELECT value FROM meta WHERE name = 'key_fingerprint'").fetchone()
    except sqlite3.Error:
        # Not begun yet, or no ledger: the start says so.
        return None
    if known is None:
        return None
    if not key_file.exists():
        return _MISSING_KEY.format(key_file)
    return None if Keyring.load(key_file).fingerprint == known[0] else _OTHER_KEY.format(key_file)


def see_that_it_is_there(place: Place) -> None:
    """Raise LedgerMissing where the file of a ledger in which consent was recorded is gone: no other must be begun."""
    if place.sqlite is not None and not place.sqlite.exists():
        raise LedgerMissing(
            f"The ledger's file {place.sqlite} is missing, and consent was recorded in it: put it back from a backup."
        )


def prepare(url: str, key_file: Path, *, begun: bool = False) -> None:
    """Make the ledger ready: migrate an SQLite file (creating it), check a PostgreSQL one, and match the key file.

    ``begun`` says that consent events have been recorded: then a missing file is no reason to begin anew, and
    LedgerMissing is raised.
    """
    place = Place(url)
    if begun:
        see_that_it_is_there(place)
    if place.sqlite is not None:
        upgrade(place)
    else:
        check_version(place)
    match_keys(place, key_file)


async def _begin(connection: AsyncConnection, turn: Turn) -> None:
    """Begin a transaction when its turn has come, where several write to one SQLite file.

    Somebody who is not in the queue may be writing too, a backup or an administrator: SQLite tells.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        if not turn.comes().done():
            await asyncio.wait([asyncio.wrap_future(turn.comes())], timeout=STUCK_SECONDS)
        try:
            await connection.begin()
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        else:
            return
        await asyncio.sleep(BUSY_LOOK_SECONDS)


def _checkpoint(path: Path) -> bool:
    """Write everything in the write-ahead log to its place and cut the log to nothing; tell whether it was done."""
    try:
        # Never made anew: a file that is missing is to be missed.
        file = f"file:{quote(str(path.absolute()))}?mode=rw"
        with line_up(path) as turn, closing(sqlite3.connect(file, uri=True, timeout=BUSY_SECONDS)) as connection:
            turn.wait()
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        return False
    return not busy


class Database:
    """Connections for one event loop. Every failure is LedgerUnavailable, and a later try may work again."""

    def __init__(self, url: str) -> None:
        self._place = Place(url)
        self._writing = self._engine(writes=True)
        self._reading = self._engine(writes=False)
        self._threads: dict[bool, SqliteThread] = {}
        if self._place.sqlite is not None:
            uri = f"{_file(self._place.sqlite)}?mode=rw"
            writing = SqliteThread(uri, "BEGIN IMMEDIATE", queue=self._place.sqlite)
            self._threads = {True: writing, False: SqliteThread(uri, None)}
        self._inode: tuple[int, int] | None = None

    def _engine(self, *, writes: bool) -> AsyncEngine:
        url = self._place.url("sqlite+aiosqlite")
        if self._place.sqlite is None:
            # Whoever reads sees one state of the ledger, however many queries it takes; SQLite cannot do otherwise.
            isolation = "READ COMMITTED" if writes else "REPEATABLE READ"
            # A connection that the server has closed meanwhile must not cost a message its decision.
            return create_async_engine(
                url,
                pool_size=2,
                max_overflow=8,
                isolation_level=isolation,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={name: value for name, value in _NOTICED.items() if name not in url.query},
            )
        # What a statement is given may be somebody's; errors go into a log.
        engine = create_async_engine(url, pool_size=2, max_overflow=8, hide_parameters=True)
        _set_up_sqlite(engine.sync_engine, "BEGIN IMMEDIATE" if writes else "BEGIN", patient=False)
        return engine

    async def _notice_absence(self) -> None:
        """See that the file is still the one that is open: a deleted one would go on taking writes into nothing."""
        if self._place.sqlite is None:
            return
        try:
            status = self._place.sqlite.stat()
        except OSError as error:
            await self._forget()
            raise LedgerUnavailable("The ledger's file is missing.") from error
        if self._inode is not None and self._inode != (status.st_dev, status.st_ino):
            await self._forget()
        self._inode = (status.st_dev, status.st_ino)

    async def _forget(self) -> None:
        if self._inode is not None:
            self._inode = None
            await self.close()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that will write; committed when the block ends. Raises LedgerUnavailable."""
        async with self._transaction(self._writing) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads. Raises LedgerUnavailable."""
        async with self._transaction(self._reading) as connection:
            yield connection

    async def batch(self, work: Callable[[Batch], Result], *, writes: bool) -> Result:
        """Return what ``work`` returned, once its transaction is committed. Raises LedgerUnavailable.

        Where it does not write, each of its queries may see a later state of the ledger than the one before.
        """
        if not self._threads:
            async with self._transaction(self._writing if writes else self._reading) as connection:
                return await connection.run_sync(lambda inside: work(WithinTransaction(inside)))
        await self._notice_absence()
        try:
            return await self._threads[writes].run(work)
        except (sqlite3.Error, OSError) as error:
            cause = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
            raise LedgerUnavailable(f"The ledger does not answer: {cause}.") from error

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        await self._notice_absence()
        try:
            with line_up(self._place.sqlite if engine is self._writing else None) as turn:
                async with engine.connect() as connection:
                    await _begin(connection, turn)
                    yield connection
                    await connection.commit()
        except (SQLAlchemyError, OSError) as error:
            cause = _cause(error) if isinstance(error, SQLAlchemyError) else type(error).__name__
            contended = getattr(getattr(error, "orig", None), "sqlstate", None) in _CONTENDED
            kind = LedgerContended if contended else LedgerUnavailable
            raise kind(f"The ledger does not answer: {cause}.") from error

    async def settle(self) -> bool:
        """Empty SQLite's write-ahead log, which still holds what was deleted; tell whether nobody was in the way.

        Others may be in the middle of reading: it waits for them for a while, and the log is emptied later otherwise.
        """
        if self._place.sqlite is None:
            return True
        return await asyncio.to_thread(_checkpoint, self._place.sqlite)

    async def close(self) -> None:
        """Close every connection; new ones are opened when needed."""
        await self._writing.dispose()
        await self._reading.dispose()
        for thread in self._threads.values():
            await thread.close()
