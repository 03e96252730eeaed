"""The database behind the ledger: how it is made ready, opened and missed."""

import os
import socket
import threading
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, delete, func, insert, inspect, select, text, update

from ledger import chain
from ledger import database as module
from ledger.consent import VALIDITY, Person, event_row
from ledger.database import GENESIS, Database, Place, match_keys, prepare, upgrade
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.keys import KeyFile, Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.schema import REVISION, chain_head, meta, metadata
from policies.consent import State
from policies.words import Purpose
from tests.ledger.samples import BY_FOOTER, EVERYTHING, MAX, NOTICE, ON_PAPER, OPEN, TELLER, by_hand, now


def tables(url: str) -> set[str]:
    """Return the tables in a database."""
    with by_hand(url) as connection:
        return set(inspect(connection).get_table_names())


def migrations(connection: Connection | None = None) -> Config:
    """Return what Alembic needs to know of the migrations, and of where they are applied."""
    config = Config()
    config.set_main_option("script_location", str(module.MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def test_prepare_makes_an_sqlite_ledger(tmp_path: Path) -> None:
    """A path where nothing is becomes a ledger with all its tables and a key file."""
    url = f"sqlite:///{tmp_path}/aboveboard.db"
    prepare(url, tmp_path / "aboveboard.key")

    assert {*metadata.tables, "alembic_version"} == tables(url)
    assert (tmp_path / "aboveboard.key").exists()


@pytest.mark.peer
def test_prepare_does_not_migrate_postgresql(postgresql_url: str, tmp_path: Path) -> None:
    """A PostgreSQL ledger is migrated by whoever runs it, and the sentence says how."""
    with pytest.raises(LedgerError, match="run `aboveboard db upgrade` first"):
        prepare(postgresql_url, tmp_path / "aboveboard.key")

    assert set() == tables(postgresql_url)
    assert not (tmp_path / "aboveboard.key").exists()


def test_prepare_takes_up_a_ledger_that_is_migrated(empty_url: str, key_file: Path) -> None:
    """After `aboveboard db upgrade` the ledger is ready, whichever database it is."""
    upgrade(Place(empty_url))
    prepare(empty_url, key_file)

    assert {*metadata.tables, "alembic_version"} == tables(empty_url)
    assert key_file.exists()


def test_prepare_twice_changes_nothing(url: str, key_file: Path) -> None:
    """Starting again finds everything as it was."""
    keys = key_file.read_bytes()
    with by_hand(url) as connection:
        connection.execute(update(chain_head).values(sequence=7))
    prepare(url, key_file)
    upgrade(Place(url))

    with by_hand(url) as connection:
        assert [(1, 7)] == [tuple(row)[:2] for row in connection.execute(select(chain_head))]
        assert 1 == connection.scalar(select(func.count()).select_from(meta))
    assert keys == key_file.read_bytes()


def test_ledger_of_another_version_is_refused(url: str) -> None:
    """A ledger that a later version has migrated is not touched."""
    with by_hand(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(LedgerError, match="run `aboveboard db upgrade` first"):
        module.check_version(Place(url))


def test_ledger_of_a_later_version_is_not_upgraded(url: str) -> None:
    """An earlier version of the program says in a sentence that it cannot upgrade a later one's ledger."""
    with by_hand(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(LedgerError, match="of a later version of aboveboard: install that one"):
        upgrade(Place(url))


def test_revision_is_the_last_migration() -> None:
    """What the program takes for its own version of the tables is where the migrations lead."""
    assert REVISION == ScriptDirectory.from_config(migrations()).get_current_head()


def test_migrations_make_the_tables_of_the_schema(url: str) -> None:
    """What the migrations make and what the program reads are the same tables."""
    with by_hand(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})

        assert [] == compare_metadata(context, metadata)


def _written_at(url: str, revision: str, keyring: Keyring) -> None:
    """Make the tables of an earlier revision, with what its version of the program wrote: a notice and a grant."""
    place = Place(url)
    if place.sqlite is not None:
        place.sqlite.touch()
    row, content = event_row(
        Person.of(keyring, MAX), Purpose.OPEN, State.GRANTED, ON_PAPER, NOTICE, now(), now() + VALIDITY
    )
    sealed = keyring.seal_column(content, "consent_personal/1")
    row |= {"sequence": 1, "previous_hash": GENESIS, "personal_hash": chain.personal_hash(sealed)}
    if revision == "0001":
        row["schema_version"] = "27560-2023/1"
    row["row_hash"] = chain.row_hash(keyring, row)
    said = {"id": NOTICE.id, "language": "en", "body": NOTICE.body, "created_at": row["event_time"]}
    with by_hand(url) as connection:
        command.upgrade(migrations(connection), revision)
        made = MetaData()
        made.reflect(connection)
        for name, values in {
            "notice": said,
            "consent_event": row,
            "consent_personal": {"sequence": 1, "sealed": sealed},
            "chain_head": {"id": 1, "sequence": 1, "row_hash": row["row_hash"]},
            "meta": {"name": "key_fingerprint", "value": keyring.fingerprint},
        }.items():
            table = made.tables[name]
            known = {column: value for column, value in values.items() if column in table.c}
            connection.execute(table.delete())
            connection.execute(table.insert().values(known))


@pytest.mark.parametrize("revision", ["0001", "0002", "0004", "0006"])
async def test_what_an_earlier_version_wrote_still_counts(empty_url: str, key_file: Path, revision: str) -> None:
    """The ledger of every earlier version is brought up to this one: a grant in it counts, and its chain is whole."""
    KeyFile.new().write(key_file)
    keyring = Keyring.load(key_file)
    _written_at(empty_url, revision, keyring)
    upgrade(Place(empty_url))
    prepare(empty_url, key_file)

    async with Ledger(LedgerSettings(empty_url, key_file.with_name("head"), TELLER), keyring) as ledger:
        assert (await ledger.standing(Person.of(keyring, MAX))).granted(Purpose.OPEN, now())
        assert await ledger.refuse(Person.of(keyring, MAX), EVERYTHING, BY_FOOTER)
        found = await ledger.verify()
        assert (1 + len(EVERYTHING), []) == (found.events, found.flaws)


def test_ledger_is_never_downgraded(url: str) -> None:
    """Going back to older tables is refused, because consent events would be lost."""
    before = tables(url)
    with pytest.raises(RuntimeError, match="Restore a backup"), by_hand(url) as connection:
        command.downgrade(migrations(connection), "base")

    assert before == tables(url)


def test_fresh_ledger_makes_a_key_file(empty_url: str, key_file: Path) -> None:
    """The first start makes the key file, for its owner only."""
    upgrade(Place(empty_url))
    match_keys(Place(empty_url), key_file)

    assert 0o600 == key_file.stat().st_mode & 0o777


def test_fresh_ledger_takes_a_key_file_that_is_there(empty_url: str, key_file: Path) -> None:
    """A key file that an administrator has put there is used and left as it is, even where it is read-only."""
    KeyFile.new().write(key_file)
    key_file.chmod(0o400)
    before = (key_file.read_bytes(), key_file.stat().st_mtime_ns)
    upgrade(Place(empty_url))
    match_keys(Place(empty_url), key_file)
    match_keys(Place(empty_url), key_file)

    assert before == (key_file.read_bytes(), key_file.stat().st_mtime_ns)


def test_missing_key_file_stops(url: str, key_file: Path) -> None:
    """A ledger that was written with a key file does not start without it, and makes no new one."""
    key_file.unlink()

    with pytest.raises(LedgerError, match=rf"The key file {key_file} is missing, .* put it back from a backup\."):
        prepare(url, key_file)

    assert not key_file.exists()


def test_different_key_file_stops(url: str, key_file: Path) -> None:
    """A ledger that was written with another key file does not start, and the file stays as it is."""
    KeyFile.new().write(key_file)
    before = key_file.read_bytes()

    with pytest.raises(LedgerError, match=rf"The key file {key_file} is not the one this ledger was written with"):
        prepare(url, key_file)

    assert before == key_file.read_bytes()


def test_rotated_key_file_is_the_same(url: str, key_file: Path) -> None:
    """A rotation makes the key file no different one, and starting leaves it as it is."""
    KeyFile.read(key_file).rotated().rotated().write(key_file)
    rotated = key_file.read_bytes()

    prepare(url, key_file)

    assert rotated == key_file.read_bytes()


def test_damaged_key_file_stops(url: str, key_file: Path) -> None:
    """A key file that cannot be read as one stops with a sentence naming it."""
    key_file.write_text("{}")

    with pytest.raises(LedgerError, match=f"The key file {key_file} is damaged: put it back"):
        prepare(url, key_file)


async def test_key_file_is_made_only_for_an_empty_ledger(ledger: Ledger, url: str, key_file: Path) -> None:
    """Where there are consent events, no new key file is made even when the fingerprint is gone from the ledger."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    with by_hand(url) as connection:
        connection.execute(delete(meta))
    key_file.unlink()

    with pytest.raises(LedgerError, match="is missing"):
        prepare(url, key_file)

    assert not key_file.exists()


def test_two_that_start_together_agree_on_the_key_file(
    empty_url: str, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relay and web may start at the same moment: one key file is made, and both start with it."""
    upgrade(Place(empty_url))
    together = threading.Barrier(2)
    make = KeyFile.new
    problems: list[Exception] = []

    def slow() -> KeyFile:
        try:
            together.wait(timeout=1)
        except threading.BrokenBarrierError:
            """The other one waits for the database: so it should."""
        return make()

    def start() -> None:
        try:
            match_keys(Place(empty_url), key_file)
        except LedgerError as problem:
            problems.append(problem)

    monkeypatch.setattr(KeyFile, "new", slow)
    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == problems
    with by_hand(empty_url) as connection:
        assert Keyring.load(key_file).fingerprint == connection.scalar(select(meta.c.value))


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name"], ids=["no path", "memory", "another database"]
)
def test_place_is_a_file_or_postgresql(url: str) -> None:
    """Anything else is refused with a sentence that says what would be right."""
    with pytest.raises(LedgerError, match=r"sqlite:///"):
        Place(url)


@pytest.mark.parametrize("name", ["a b", "50%", "%20", "#1", "für", "a&b=c", "a?b", "file:x"])
async def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    """No character that a folder's name may have leads to another file."""
    folder = tmp_path / name
    folder.mkdir()
    url = f"sqlite:///{quote(str(folder))}/aboveboard.db"
    prepare(url, folder / "aboveboard.key")
    opened = Database(url)
    async with opened.writing() as connection:
        await connection.execute(insert(meta).values(name="a", value="b"))
    await opened.close()

    assert {"aboveboard.db", "aboveboard.db-queue", "aboveboard.key"} == {file.name for file in folder.iterdir()}


@pytest.mark.peer
def test_no_password_in_what_is_said(postgresql_url: str, tmp_path: Path) -> None:
    """Where the database cannot be reached the sentence does not tell how to log in."""
    with pytest.raises(LedgerError) as caught:
        prepare("postgresql://somebody:hunter2@127.0.0.1:1/nothing", tmp_path / "aboveboard.key")

    assert "The ledger cannot be opened" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_sqlite_commits_are_on_disk(tmp_path: Path) -> None:
    """Every connection writes ahead and syncs at each commit."""
    url = f"sqlite:///{tmp_path}/aboveboard.db"
    prepare(url, tmp_path / "aboveboard.key")
    opened = Database(url)
    found: list[Any] = []
    for transaction in (opened.writing, opened.reading):
        async with transaction() as connection:
            journal = await connection.exec_driver_sql("PRAGMA journal_mode")
            synchronous = await connection.exec_driver_sql("PRAGMA synchronous")
            found += [journal.scalar(), synchronous.scalar()]
    await opened.close()

    assert ["wal", 2, "wal", 2] == found


async def test_database_makes_no_file(tmp_path: Path) -> None:
    """A ledger that is not there is missed, not made."""
    opened = Database(f"sqlite:///{tmp_path}/aboveboard.db")
    with pytest.raises(LedgerUnavailable, match=r"The ledger's file is missing\."):
        async with opened.writing():
            pass
    await opened.close()

    assert [] == [*tmp_path.iterdir()]


async def test_failed_transaction_leaves_nothing(database: Database, url: str) -> None:
    """What was written before an error is taken back, and the next transaction works."""

    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(insert(meta).values(name="a", value="b"))
            await connection.exec_driver_sql("SELECT nothing FROM nowhere")

    with pytest.raises(LedgerUnavailable, match="The ledger does not answer"):
        await fail()
    async with database.writing() as connection:
        await connection.execute(insert(meta).values(name="c", value="d"))

    with by_hand(url) as connection_by_hand:
        assert {"key_fingerprint", "c"} == set(connection_by_hand.scalars(select(meta.c.name)))


async def test_errors_hold_no_values(database: Database) -> None:
    """What a statement was given is not in the error that it ends with, which may go into a log."""
    with pytest.raises(LedgerUnavailable) as raised:
        async with database.reading() as connection:
            await connection.execute(text("SELECT :who FROM nowhere"), {"who": "bob@customer.test"})
    logged = "".join(traceback.format_exception(raised.value))
    assert "nowhere" in logged
    assert "bob@customer.test" not in logged.replace("""{"who": "bob@customer.test"}""", "")


async def test_exchanged_file_is_noticed(tmp_path: Path) -> None:
    """After another ledger has been put in its place, that one is read and written, not the one that was open."""
    paths = [tmp_path / "aboveboard.db", tmp_path / "other.db"]
    for path in paths:
        prepare(f"sqlite:///{path}", tmp_path / "aboveboard.key")
    opened = Database(f"sqlite:///{paths[0]}")
    async with opened.writing() as connection:
        await connection.execute(insert(meta).values(name="a", value="b"))
    for leftover in tmp_path.glob("aboveboard.db-*"):
        leftover.unlink()
    paths[1].rename(paths[0])
    async with opened.reading() as connection:
        found = set(await connection.scalars(select(meta.c.name)))
    await opened.close()

    assert {"key_fingerprint"} == found


@pytest.mark.parametrize(
    ("more", "expected"),
    [("", (1, 10, 20_000)), ("?keepalives_idle=77", (1, 77, 20_000))],
    ids=["by itself", "as said"],
)
async def test_a_server_that_is_gone_without_a_word_is_noticed(
    postgresql_url: str, more: str, expected: tuple[int, int, int]
) -> None:
    """Connections to PostgreSQL end soon where nothing comes back any more; the ledger's URL may say otherwise."""
    database = Database(postgresql_url + more)
    async with database.reading() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        with socket.socket(fileno=os.dup(driver.fileno())) as tcp:
            keeps = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            found = (keeps, idle, tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    await database.close()
    assert expected == found
