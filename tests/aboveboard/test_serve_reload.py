"""A running service whose file changes: every process goes by the same policy within seconds, or by the one before."""

import asyncio
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from policies import PolicyModel, compile_policy
from tests.e2e.serving import Service, alone, fetch, running_service
from tests.e2e.waiting import until
from tests.upstream import FakeUpstream

MESSAGE = (
    b"From: Alice <alice@example.org>\r\nTo: bob@customer.test\r\nSubject: Our offer\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: text/html; charset=utf-8\r\n\r\n<p><a href="https://shop.example/a">our offer</a></p>\r\n'
)
STRICT = '[policy]\nopen = "never"\nclick = "never"\n'
BROKEN = '[policy]\nopen = "nver"\n'


def version(**policy: str) -> str:
    """Return the version of a policy of the service's organisation."""
    return compile_policy(PolicyModel.model_validate(policy), ["example.org"]).version


LOOSE_VERSION, STRICT_VERSION = version(), version(open="never", click="never")


class Upstream(threading.Thread):
    """A fake upstream in a thread and an event loop of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeUpstream()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()

    def run(self) -> None:
        """Serve until told to end."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with self.fake:
            self._ready.set()
            await self._done.wait()
            # Clients are gone by now, and their sessions may be yet to hear of it.
            async with asyncio.timeout(30):
                while sessions := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(sessions)

    def wait_until_ready(self) -> int:
        """Return the port, once it serves."""
        assert self._ready.wait(10)
        return self.fake.port

    def end(self) -> None:
        """End and wait for that."""
        self._loop.call_soon_threadsafe(self._done.set)
        self.join()


class Changing:
    """A service of two relay and two web processes, and its file as it was at the beginning."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.path = service.config
        self.text = self.path.read_text()
        # Commands read a file of their own, which is never broken.
        service.config = self.path.with_name("commands.toml")
        service.config.write_text(self.text)

    def write(self, text: str) -> None:
        """Put a new file in the place of the old one."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def health(self) -> list[tuple[str, bool]]:
        """Return the version in force in every web process, and whether that is not what the file says."""
        found = []
        for pid in self.service.workers("web"):
            with alone(pid, self.service.workers("web")):
                policy = fetch(f"{self.service.url}/health").json()["policy"]
            found.append((policy["version"], policy["stale"]))
        return found

    def decided(self) -> list[tuple[str, str]]:
        """Have every relay process pass on a message, and return the reasons and the versions they went by."""
        pids = self.service.workers("relay")
        for pid in pids:
            with self._alone_and_unlocked(pid, pids):
                self.service.send(MESSAGE, "bob@customer.test")
        with closing(sqlite3.connect(self.service.database)) as database:
            statement = "SELECT reason, policy_version FROM message ORDER BY decided_at DESC LIMIT ?"
            return list(database.execute(statement, [len(pids)]))

    @contextmanager
    def _alone_and_unlocked(self, pid: int, pids: list[int]) -> Iterator[None]:
        """Stop every process but one, and none while it has the ledger locked: a message's outcome is written late."""
        with ExitStack() as stack:
            with closing(sqlite3.connect(self.service.database, isolation_level=None, timeout=30)) as ledger:
                ledger.execute("BEGIN IMMEDIATE")
                stack.enter_context(alone(pid, pids))
                ledger.execute("ROLLBACK")
            yield

    def in_force(self, expected: str, *, stale: bool = False) -> None:
        """Wait until every process goes by a version."""
        until(lambda: self.health() == [(expected, stale)] * 2, f"{expected} in every web process")
        until(lambda: {found for _, found in self.decided()} == {expected}, f"{expected} in every relay process")

    def metrics(self, name: str) -> list[float]:
        """Return the values of the parent's metrics of a name: one, or none as long as there is none."""
        page = fetch(f"http://127.0.0.1:{self.service.metrics_port}/metrics").body.decode()
        return [float(line.rpartition(" ")[2]) for line in page.splitlines() if line.rpartition(" ")[0] == name]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changing]:
    """The service, running."""
    upstream = Upstream()
    upstream.start()
    try:
        with running_service(tmp_path_factory.mktemp("service"), upstream.wait_until_ready(), workers=2) as service:
            service.grant("bob@customer.test")
            yield Changing(service)
    finally:
        upstream.end()


@pytest.fixture
def changing(running: Changing) -> Changing:
    """The service with its file, and what is in force, as it was at the beginning."""
    running.write(running.text)
    os.kill(running.service.process.pid, signal.SIGHUP)
    running.in_force(LOOSE_VERSION)
    return running


def test_a_changed_file_rules_in_every_process(changing: Changing) -> None:
    """The next messages are decided by the new version in both relay processes, and each decision names it."""
    assert [("tracked", LOOSE_VERSION)] * 2 == changing.decided()
    changing.write(changing.text + STRICT)
    changing.in_force(STRICT_VERSION)
    assert [("policy_off", STRICT_VERSION)] * 2 == changing.decided()
    # Workers may have it before the parent has said so.
    until(lambda: changing.metrics(f'aboveboard_policy_info{{version="{STRICT_VERSION}"}}') == [1], "metrics say so")


def test_sighup_has_the_file_read(changing: Changing) -> None:
    """SIGHUP takes up a file and ends nothing."""
    changing.path.write_text(changing.text + '[policy]\nopen = "never"\n')
    os.kill(changing.service.process.pid, signal.SIGHUP)
    changing.in_force(version(open="never"))
    assert changing.service.process.poll() is None


def test_a_broken_file_leaves_the_old_policy_in_force(changing: Changing) -> None:
    """The version before rules on, also in a process that is started again; health, metrics and log say so."""
    changing.write(changing.text + STRICT)
    changing.in_force(STRICT_VERSION)
    (failures,) = changing.metrics("aboveboard_policy_reload_failures_total")
    changing.write(changing.text + BROKEN)
    until(lambda: changing.health() == [(STRICT_VERSION, True)] * 2, "health says so")
    assert [("policy_off", STRICT_VERSION)] * 2 == changing.decided()
    assert ([failures + 1], [1]) == (
        changing.metrics("aboveboard_policy_reload_failures_total"), changing.metrics("aboveboard_policy_stale"),
    )  # fmt: skip
    assert '"keys": ["policy.open"]' in changing.service.log
    for part in ("relay", "web"):
        pids = changing.service.workers(part)
        os.kill(pids[0], signal.SIGKILL)
        until(lambda part=part, pids=pids: len(set(changing.service.workers(part)) - {pids[0]}) == 2, "started again")  # type: ignore[misc]
    changing.in_force(STRICT_VERSION, stale=True)
    changing.write(changing.text)
    changing.in_force(LOOSE_VERSION)
    until(lambda: changing.metrics("aboveboard_policy_stale") == [0], "metrics say so")


@pytest.mark.parametrize(
    "content",
    [b"[policy", b'[organisation]\nname = "\xff"\n', b"x = " + b"[" * 100_000, b"", None],
    ids=["not TOML", "not UTF-8", "nested too deep", "empty", "missing"],
)
def test_whatever_the_file_holds_the_service_goes_on(changing: Changing, content: bytes | None) -> None:
    """No file, or any bytes at all in it, end or change nothing but what health says."""
    if content is None:
        changing.path.unlink()
    else:
        changing.path.write_bytes(content)
    until(lambda: changing.health() == [(LOOSE_VERSION, True)] * 2, "health says so")
    assert [("tracked", LOOSE_VERSION)] * 2 == changing.decided()
    assert changing.service.process.poll() is None


def test_what_needs_a_restart_is_said(changing: Changing) -> None:
    """A change of what cannot change while running is named in the log; the policy beside it rules."""
    text = changing.text.replace("[relay]\n", "[relay]\nreceived = false\n")
    changing.write(text + STRICT)
    changing.in_force(STRICT_VERSION)
    until(lambda: '"keys": ["relay.received"]' in changing.service.log, "the log says so")


def test_every_version_that_ruled_is_kept(changing: Changing) -> None:
    """A version is on record in full from before its first decision, and stays."""
    changing.write(changing.text + STRICT)
    changing.in_force(STRICT_VERSION)
    for found, ceiling in ((LOOSE_VERSION, "with-consent"), (STRICT_VERSION, "never")):
        kept = changing.service.policy(found)
        assert (ceiling, True) == (kept["policy"]["open"], kept["unaltered"])
        assert changing.path.owner() == kept["author"]
