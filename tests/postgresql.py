"""A throw-away PostgreSQL cluster: started for a session of tests, one fresh database for each."""

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.e2e.waiting import free_port
from tests.peers import account, program

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_SUPERUSER = "aboveboard"
_SETTINGS = {"listen_addresses": "127.0.0.1", "max_connections": "60", "shared_buffers": "32MB", "autovacuum": "off"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.folder / "data"

    def url(self, database: str) -> str:
        """Return the URL of a database, as the configuration has it."""
        return f"postgresql://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def execute(self, statement: str, *names: str) -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction, with names put in place of ``{}``, and return its rows."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Make a copy of a database, by default an empty one, and yield its URL; in the end it is dropped."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        try:
            yield self.url(name)
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have every process of the cluster stand still, as behind a network that swallows packets."""
        stopped = [self.pid]
        os.kill(self.pid, signal.SIGSTOP)
        try:
            for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
                stopped.append(int(child))
                os.kill(int(child), signal.SIGSTOP)
            yield
        finally:
            # The postmaster last: it would take leave of children that had ended, and nobody has their numbers then.
            for process in reversed(stopped):
                os.kill(process, signal.SIGCONT)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it shut down at once, connections and all, and started again in the end."""
        command = [program("pg_ctl", *_FOLDERS), "-D", self.data, "-w", "-t", "30", "-l", self.folder / "server.log"]
        # With the options that it was started with.
        options = shlex.split((self.data / "postmaster.opts").read_text())[1:]
        _run([*command, "-m", "fast", "stop"], self.folder)
        try:
            yield
        finally:
            _run([*command, "-o", shlex.join(options), "start"], self.folder)

    @staticmethod
    def name_in(url: str) -> str:
        """Return the name of the database in a URL."""
        return url.rpartition("/")[2]

    def bytes_of(self, url: str) -> bytes:
        """Return everything that the cluster has on disk of a database, its share of the write-ahead log included."""
        self.execute("CHECKPOINT")
        [(oid,)] = self.execute(f"SELECT oid FROM pg_database WHERE datname = '{self.name_in(url)}'")
        files = [*(self.data / "base" / str(oid)).iterdir(), *(self.data / "pg_wal").iterdir()]
        return b"".join(file.read_bytes() for file in files if file.is_file())


def _run(command: list[str | Path], folder: Path, **environment: str) -> None:
    """Run a command of PostgreSQL's as somebody who is not root, whom it refuses."""
    log = folder / "log"
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **environment},
            timeout=60,
            check=False,
            **account("postgres"),
        )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{log.read_text('utf-8', 'replace')}")


@contextmanager
def cluster(*, durable: bool = False, preload: Path | None = None) -> Iterator[Cluster]:
    """Run a cluster of its own.

    ``durable`` has it sync for real, which most tests can do without. ``preload`` is a library that is loaded into its
    processes, which find the path of a file to write in ``SYNCS``: ``syncs`` in the cluster's folder.
    """
    initdb, pg_ctl = program("initdb", *_FOLDERS), program("pg_ctl", *_FOLDERS)
    owner = account("postgres")
    # pytest's own folder is closed to every other account.
    folder = Path(tempfile.mkdtemp(prefix="aboveboard-postgresql-"))
    settings = {**_SETTINGS, "fsync": "on" if durable else "off", "unix_socket_directories": str(folder)}
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        found = Cluster(folder, free_port())
        arguments = ["-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D", found.data]
        _run([initdb, *arguments], folder)
        options = " ".join(f"-c {name}={value}" for name, value in (settings | {"port": str(found.port)}).items())
        environment = {}
        if preload is not None:
            environment = {"LD_PRELOAD": shutil.copy(preload, folder), "SYNCS": str(folder / "syncs")}
        start = [pg_ctl, "-D", found.data, "-w", "-t", "30", "-l", folder / "server.log", "-o", options, "start"]
        _run(start, folder, **environment)
        try:
            yield found
        finally:
            _run([pg_ctl, "-D", found.data, "-w", "-t", "30", "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
