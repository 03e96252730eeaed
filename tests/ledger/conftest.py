"""An empty ledger on either database, and the pieces around it."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.chain import HeadFile
from ledger.database import Database, Place, match_keys, prepare, upgrade
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from tests.ledger.samples import TELLER
from tests.postgresql import Cluster

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)]


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a place where there are no tables yet: no file, or an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/aboveboard.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Where the key file is, or will be."""
    return tmp_path / "aboveboard.key"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger to copy, because migrating one takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "aboveboard.db"
    upgrade(Place(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_cluster: Cluster) -> Iterator[str]:
    """The name of an empty ledger to copy."""
    with postgresql_cluster.database() as url:
        upgrade(Place(url))
        yield postgresql_cluster.name_in(url)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path, key_file: Path) -> Iterator[str]:
    """The URL of an empty ledger that is ready for use."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path)
            found = f"sqlite:///{tmp_path}/aboveboard.db"
        else:
            cluster: Cluster = request.getfixturevalue("postgresql_cluster")
            template: str = request.getfixturevalue("postgresql_template")
            found = stack.enter_context(cluster.database(template))
        match_keys(Place(found), key_file)
        yield found


@pytest.fixture
def postgresql_ledger_url(postgresql_url: str, key_file: Path) -> str:
    """The URL of an empty ledger on PostgreSQL, for what only happens there."""
    upgrade(Place(postgresql_url))
    prepare(postgresql_url, key_file)
    return postgresql_url


@pytest.fixture
def keyring(url: str, key_file: Path) -> Keyring:
    """The keys of the ledger."""
    return Keyring.load(key_file)


@pytest.fixture
def settings(url: str, tmp_path: Path) -> LedgerSettings:
    """The settings of the ledger."""
    return LedgerSettings(url, tmp_path / "aboveboard.db.head", TELLER)


@pytest.fixture
def head_file(settings: LedgerSettings) -> HeadFile:
    """The head of the chain outside the database."""
    return HeadFile(settings.head_file)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Connections to the ledger's database."""
    opened = Database(url)
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(settings: LedgerSettings, keyring: Keyring) -> AsyncIterator[Ledger]:
    """The ledger, running."""
    async with Ledger(settings, keyring) as running:
        yield running


@pytest.fixture
def on_disk(url: str, request: pytest.FixtureRequest) -> Callable[[], bytes]:
    """Return everything that is on disk of the ledger's database, its write-ahead log included."""
    path = Place(url).sqlite
    if path is not None:
        return lambda: b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    cluster: Cluster = request.getfixturevalue("postgresql_cluster")
    return lambda: cluster.bytes_of(url)


IN_A_HURRY = {
    "test_domains",
    "test_informing",
    "test_journal",
    "test_ledger",
    "test_merge",
    "test_patience",
    "test_subject",
    "test_writer",
}
"""Modules whose tests are about how long the ledger may take, or see to it themselves."""


@pytest.fixture(autouse=True)
def _time_enough(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not about the ledger's patience must not fail by it on a busy machine."""
    if request.module.__name__.rpartition(".")[2] not in IN_A_HURRY:
        monkeypatch.setattr("ledger.patience.PATIENCE", 10.0)
