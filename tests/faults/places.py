"""Where the scenarios happen: services of our own, two workers each, and their ledger read from the outside."""

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import trustme

from aboveboard import compose
from aboveboard.config import load
from ledger.database import Place, upgrade
from ledger.keys import Keyring
from policies import Purpose
from tests.e2e.serving import Service, alone, running_service
from tests.e2e.waiting import free_port, says_hello, until
from tests.faults.account import Account
from tests.faults.upstream import Copy
from tests.relaying import PAPER

READER = "reader@customer.test"
"""Agreed to everything: what is sent to this one alone is tracked."""
CONFIG = """\
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"

[[relay.listener]]
address = "127.0.0.1:{smtp}"

[relay]

[web]
address = "127.0.0.1:{web}"
public_url = "http://127.0.0.1:{web}"

[ledger]
url = "LEDGER"
key_file = "aboveboard.key"

[policy]
merge_window = "off"
"""
WORKERS = 2
SMALL_BYTES = 96_000_000
SQLITE = "sqlite:///ledger/aboveboard.db"
TLS_ROUTE = """
[[relay.upstream]]
url = "smtp+starttls://127.0.0.1:{port}"
senders = ["{sender}"]
username = "relay"
password_file = "password"
connections = 4
messages_per_connection = {messages}
"""
ROUTE = """
[[relay.upstream]]
url = "smtp://127.0.0.1:{port}"
"""


@dataclass
class Scene:
    """A running service, and a folder beside it for the upstreams."""

    folder: Path
    certificate: Path
    service: Service
    read: Callable[[], list[tuple[str, str, str]]]
    """Returns id, reason and outcome of every message on record."""
    small: bool = False
    """The service's folder is a small file system of its own."""

    @property
    def port(self) -> int:
        """Where the relay listens."""
        return self.service.smtp_port

    def on_record(self) -> dict[str, tuple[str, str]]:
        """Return reason and outcome of every message that the ledger has, by its id."""
        return {id_: (reason, outcome) for id_, reason, outcome in self.read()}

    async def misrecorded(self, account: Account, record: Sequence[Copy], **expected: Any) -> list[str]:
        """Return what the ledger says of delivered messages and is not so, once it has had time to write it.

        ``expected`` is as for ``differences``.
        """
        found: list[str] = []
        for _ in range(100):
            mine = [one for one in record if one["id"] in account.letters]
            found = differences(await asyncio.to_thread(self.on_record), mine, **expected)
            if not found:
                break
            await asyncio.sleep(0.1)
        return found

    async def healed(self, killed: Collection[int], *, greeting: bool = True) -> None:
        """Wait until as many relay processes run as should, none of them one that was killed, and until each greets.

        To see that each does, the others stand still meanwhile: not for what measures how long mail takes.
        """

        def whole() -> bool:
            found = self.service.workers("relay")
            return len(found) == WORKERS and not set(found) & set(killed)

        await asyncio.to_thread(until, whole, "every worker that died is replaced", 60.0)
        for pid in await asyncio.to_thread(self.service.workers, "relay") if greeting else ():
            await asyncio.to_thread(self._greets, pid)

    def _greets(self, pid: int) -> None:
        """Wait until one process greets, while the others stand still."""
        with alone(pid, self.service.workers("relay")):
            until(lambda: says_hello(self.port), "a new worker greets", 60.0)


def differences(
    ledger: Mapping[str, tuple[str, str]], record: Sequence[Copy], *, killed: bool = False, outcome: str = ""
) -> list[str]:
    """Return where ledger and upstream differ.

    A tracked message must be on record as that, and only such a one; none that was delivered may be there as refused.
    ``killed`` says that a worker may have died before it knew the outcome. One must have ``outcome``, if it is given.
    """
    found, outcomes = [], set()
    for one in record:
        reason, said = ledger.get(one["relay_id"], ("", ""))
        outcomes.add(said)
        if one["tracked"] != (reason == "tracked"):
            found.append(f"{one['id']}: tracked is {one['tracked']}, and on record is {reason!r}")
        if said == "refused" or (said == "pending" and not killed):
            found.append(f"{one['id']} was delivered and is on record as {said}")
    if outcome and outcome not in outcomes:
        found.append(f"no message is on record as {outcome}")
    return found


def sqlite_reader(database: Path) -> Callable[[], list[tuple[str, str, str]]]:
    """Return how to read the messages of an SQLite ledger."""

    def read() -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as ledger:
            return ledger.execute(MESSAGES).fetchall()

    return read


def postgresql_reader(url: str) -> Callable[[], list[tuple[str, str, str]]]:
    """Return how to read the messages of a PostgreSQL ledger."""

    def read() -> list[tuple[str, str, str]]:
        with psycopg.connect(url) as ledger:
            return ledger.execute(MESSAGES).fetchall()

    return read


MESSAGES = "SELECT id, reason, outcome FROM message"


def certificate(folder: Path) -> Path:
    """Make a certificate for loopback; return its file, with the key in it. The authority's is beside it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    file = folder / "upstream.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    return file


@contextmanager
def small_file_system(folder: Path) -> Iterator[bool]:
    """Make a folder a small file system, in memory, until the block ends; yield whether that is permitted."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs"]
    done = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            # Lazily: what still runs in it, after a failure, ends by itself.
            subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


@asynccontextmanager
async def place(folder: Path, routes: str, ledger: str = SQLITE) -> AsyncIterator[Scene]:
    """Run a service with routes to upstreams in a small file system, where permitted, until the block ends."""
    pem, home = certificate(folder), folder / "service"
    with ExitStack() as stack:
        small = stack.enter_context(small_file_system(home))
        (home / "password").write_text("secret\n")
        (home / "password").chmod(0o600)
        if ledger != SQLITE:
            # As its administrator does before the service is started.
            await asyncio.to_thread(upgrade, Place(ledger))
        # As where people run it: TMPDIR is not set.
        environment = {"SSL_CERT_FILE": str(folder / "authority.pem"), "TMPDIR": ""}
        config = CONFIG.replace("LEDGER", ledger)
        running = running_service(home, 0, WORKERS, routes, config=config, environment=environment)
        # Ended in a thread, as it was begun: the upstreams go on meanwhile.
        service = await asyncio.to_thread(running.__enter__)
        read = sqlite_reader(service.database) if ledger == SQLITE else postgresql_reader(ledger)
        try:
            await _agree(service)
            yield Scene(folder, pem, service, read, small)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def _agree(service: Service) -> None:
    """Record that the one reader agreed, as the command does, in a process of its own."""
    config = load(service.config)
    async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
        await ledger.grant(READER, list(Purpose), PAPER)


def ports(count: int) -> list[int]:
    """Return so many ports on which nobody listens now, all different."""
    found: dict[int, None] = {}
    while len(found) < count:
        found[free_port()] = None
    return list(found)
