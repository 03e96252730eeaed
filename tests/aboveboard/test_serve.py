"""The parent process: binding, starting, and ending in order."""

import faulthandler
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Self

import pytest
import trustme

from aboveboard.config import ConfigError
from aboveboard.reload import InForce
from aboveboard.serve import Parent, _Worker
from aboveboard.sockets import bind
from tests.aboveboard.calling import keep_from_beginning
from tests.e2e.waiting import free_port, until
from tests.proxy.test_certificates import write

CONFIG = """
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"
[[relay.listener]]
address = "127.0.0.1:0"
[[relay.upstream]]
url = "smtp://127.0.0.1:9"
[web]
address = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
"""
ENDED_BY = (signal.SIGTERM, signal.SIGINT)


def test_bound_sockets_are_tcp_by_name() -> None:
    """A socket is bound as TCP said outright, or asyncio would leave Nagle's algorithm on."""
    with bind("web.address", "127.0.0.1:0") as bound:
        assert socket.IPPROTO_TCP == bound.proto
        assert not bound.getblocking()


@pytest.mark.parametrize("address", ["192.0.2.1:2525", "no.such.host.invalid:25"])
def test_what_cannot_be_bound_is_named(address: str) -> None:
    """An address that is not of this machine is one sentence with its key path."""
    with pytest.raises(ConfigError, match=r"^relay\.listener\[0\]\.address: "):
        bind("relay.listener[0].address", address)


def test_connections_suffice_for_the_workers(tmp_path: Path) -> None:
    """More workers than an upstream may have connections are refused: together they would have more."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(CONFIG.replace("127.0.0.1:0", "127.0.0.1:1587", 1).replace("[web]", "connections = 3\n[web]"))
    Parent(path, ["relay"], 3)
    Parent(path, ["web"], 4)
    with pytest.raises(ConfigError, match=r"^relay\.upstream\[0\]\.connections: is 3, and each of 4 workers needs"):
        Parent(path, ["relay", "web"], 4)


@contextmanager
def serving(folder: Path, part: str = "serve", web: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run `aboveboard serve`, or a part of it, in a folder; killed at the end if it has not ended by itself.

    ``web`` is put into the file's section of that name.
    """
    path = folder / "aboveboard.toml"
    content = CONFIG.replace('address = "127.0.0.1:0"', f'address = "127.0.0.1:{free_port()}"', 1)
    path.write_text(content.replace("[web]\n", f"[web]\n{web}\n", 1))
    command = [sys.executable, "-P", "-m", "aboveboard", part, "--config", str(path)]
    # What it leaves behind when it is killed goes with the test's folder.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def events_until(log: IO[str], last: str) -> list[str]:
    """Return the names of the events up to one of them."""
    found: list[str] = []
    while last not in found:
        line = log.readline()
        assert line, f"ended after {found}"
        found.append(json.loads(line)["event"])
    return found


@pytest.mark.parametrize("number", ENDED_BY, ids=lambda number: number.name)
def test_signals_end_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end it with exit 0 and a last line that says so."""
    with serving(tmp_path) as process:
        assert process.stderr is not None
        events_until(process.stderr, "serve.ready")
        process.send_signal(number)
        events_until(process.stderr, "serve.ended")
        assert 0 == process.wait(30)


class Interruption:
    """Counts every step that Python code makes, our own and the library's, and raises SIGTERM at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __call__(self, frame: FrameType, event: str, _: object) -> Self:
        """Be told of a step, as by sys.settrace."""
        frame.f_trace_opcodes = True
        self._left -= event == "opcode"
        if self._left == 0:
            self._left = -1
            signal.raise_signal(signal.SIGTERM)
        return self


def too_late(*_: object) -> None:
    """Be called by SIGALRM where somebody waits for what never comes."""
    raise TimeoutError


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    """A parent without workers, which hears SIGTERM and makes no pauses."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(CONFIG)
    monkeypatch.setattr("aboveboard.serve.LOOK_SECONDS", 0.0)
    parent = Parent(path, ["web"], 1)
    before = [(number, signal.signal(number, too_late)) for number in (signal.SIGALRM, *ENDED_BY)]
    parent._listen()
    yield parent
    faulthandler.cancel_dump_traceback_later()
    for number, handler in before:
        signal.signal(number, handler)


def ends(parent: Parent, at: int) -> bool:
    """Tell whether a parent that is told to end at a step comes to its end."""
    parent._ending = False
    signal.alarm(20)
    sys.settrace(Interruption(at))
    try:
        parent._watch()
    except TimeoutError:
        return False
    finally:
        sys.settrace(None)
        signal.alarm(0)
    return True


def test_the_end_is_heard_at_every_step(parent: Parent) -> None:
    """SIGTERM ends the parent whatever it is about to do: it needs no lock that the interrupted step may hold."""
    assert all(ends(parent, at) for at in range(1, 1_000))


@pytest.mark.parametrize("renews", [False, True], ids=["file", "certificate"])
def test_what_could_not_be_put_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renews: bool) -> None:
    """A changed file, or a renewed certificate, for which there was no room comes into force once there is, once."""
    monkeypatch.setattr("aboveboard.reload.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("aboveboard.reload.AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("aboveboard.certificatewatch.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("aboveboard.certificatewatch.AGAIN_SECONDS", 0.0)
    listener = 'address = "127.0.0.1:0"\ntls = "starttls"\ncertificate = "chain.pem"\nkey = "key.pem"'
    path, authority, folder = tmp_path / "aboveboard.toml", trustme.CA(), tmp_path / "folder"
    path.write_text(CONFIG.replace('address = "127.0.0.1:0"', listener, 1))
    write(tmp_path, authority.issue_cert("relay.test"))
    parent = Parent(path, ["relay"], 1)
    parent._place = folder / "in-force.json"

    def look() -> None:
        for _ in range(4):
            parent._look_at_certificates(asked=False)
            parent._look_at_file(asked=False)

    folder.touch()  # so that nothing can be written into it
    if renews:
        write(tmp_path, authority.issue_cert("relay.test"))
    else:
        path.write_text(path.read_text() + '[policy]\nopen = "never"\n')
    look()
    folder.unlink()
    look()
    found = InForce.read(parent._place)
    assert (renews, "with-consent" if renews else "never", False) == (
        found.certificates > 0, found.config.policy.open, found.stale,
    )  # fmt: skip
    parent._place.unlink()
    look()
    assert not parent._place.exists()


def test_a_worker_is_heard_whatever_the_number_of_its_pipe() -> None:
    """A thousand scrapers of metrics at once, which have the numbers up to there, do not end the parent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    low, say_ready = os.pipe()
    ready = fcntl.fcntl(low, fcntl.F_DUPFD, 1_500)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        worker = _Worker("relay", process, ready, 0)
        worker.look()
        assert (False, ready) == (worker.served, worker.ready)
        os.write(say_ready, b"r")
        worker.look()
        assert (True, -1) == (worker.served, worker.ready)
    os.close(low)
    os.close(say_ready)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def workers_of(pid: int) -> list[int]:
    """Return the process ids of a parent's workers, without one that is its copy still, its program not begun."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [int(child) for child in children if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_ended_before_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM while workers are starting is not kept waiting for them, and nobody hears that they serve."""
    keep_from_beginning("worker", tmp_path, monkeypatch)
    with serving(tmp_path) as process:
        until(lambda: len(workers_of(process.pid)) == 2, "both workers are there")
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert ["serve.ended"] == [json.loads(line)["event"] for line in log.splitlines()]
        assert 0 == process.returncode


STUCK = """
import sys, time
from pathlib import Path
from aboveboard import logs, serve

class Stuck(serve.Parent):
    def _end(self):
        time.sleep(60)

serve.END_SECONDS = 0.5
logs.set_up(serving=True)
Stuck(Path(sys.argv[1]), [], 1).run()
"""
"""A parent that never comes to its end, and has no workers."""


def test_a_parent_that_is_stuck_ends(tmp_path: Path) -> None:
    """Whatever the parent waits for, after a while it is gone, and has said where it stood."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(CONFIG)
    command = [sys.executable, "-c", STUCK, str(path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        events_until(process.stderr, "serve.ready")
        process.terminate()
        _, said = process.communicate(timeout=30)
        assert -signal.SIGALRM == process.returncode
        assert " in _end\n" in said


def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    """Workers are in no group of a terminal's: interrupted in the middle of an import they would show tracebacks."""
    with serving(tmp_path) as process:
        workers = until(lambda: workers_of(process.pid), "there are workers")
        assert [os.getpgrp()] == [os.getpgid(process.pid)]
        assert os.getpgrp() not in map(os.getpgid, workers)


def test_relay_and_web_run_beside_each_other(tmp_path: Path) -> None:
    """By one file too: the part that finds the metrics' address taken goes on without, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = f'metrics_address = "127.0.0.1:{taken.getsockname()[1]}"'
        with serving(tmp_path, "web", metrics) as process:
            assert process.stderr is not None
            assert "metrics.address_in_use" in events_until(process.stderr, "serve.ready")


def test_both_together_need_the_address_of_the_metrics(tmp_path: Path) -> None:
    """`serve` has no other part beside it that could have taken the address: it refuses to begin, in one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(tmp_path, "serve", f'metrics_address = "{address}"') as process:
            assert process.stderr is not None
            said = process.stderr.read()
            assert 1 == process.wait(30)
    assert f"web.metrics_address: {address} cannot be listened on: Address already in use.\n" in said


def test_a_worker_is_replaced_also_where_the_shared_folder_is_gone(tmp_path: Path) -> None:
    """What workers share may be cleared away while they run; one that dies then is started again, and serves."""
    with serving(tmp_path) as process:
        assert process.stderr is not None
        events_until(process.stderr, "serve.ready")
        (shared,) = tmp_path.glob("aboveboard-*/")
        shutil.rmtree(shared)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
        (relay,) = [one for one in children if b"\0relay\0" in Path(f"/proc/{one}/cmdline").read_bytes()]
        os.kill(int(relay), signal.SIGKILL)
        events_until(process.stderr, "serve.worker_died")
        port = int((tmp_path / "aboveboard.toml").read_text().partition('"127.0.0.1:')[2].partition('"')[0])
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            assert b"220 " == client.recv(4)
        assert 0o700 == stat.S_IMODE(shared.stat().st_mode)
        process.terminate()
        events_until(process.stderr, "serve.ended")


def test_nothing_in_the_folder_stands_in_for_the_program(tmp_path: Path) -> None:
    """A file in the current folder named like a part of the program is not run in its place."""
    for name in ("web.py", "ledger.py", "aboveboard.py"):
        (tmp_path / name).write_text("raise SystemExit('not this one')\n")
    with serving(tmp_path) as process:
        assert process.stderr is not None
        assert "serve.ready" in events_until(process.stderr, "serve.ready")


def test_a_missing_ledger_is_not_begun_anew(tmp_path: Path) -> None:
    """With events on record and the file gone it serves without a ledger, says so, and makes no new one."""
    (tmp_path / "aboveboard.db.head").write_text(f"7 {'a' * 64}\n")
    (tmp_path / "aboveboard.key").write_text(_key_file())
    with serving(tmp_path) as process:
        assert process.stderr is not None
        assert "serve.ledger_missing" in events_until(process.stderr, "serve.ready")
    assert not (tmp_path / "aboveboard.db").exists()


def _key_file() -> str:
    key = "A" * 43 + "="
    return json.dumps({"format": 1, "lookup": key, "tokens": [{"id": 1, "key": key}], "sealing": 1})
