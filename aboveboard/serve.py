"""The parent: makes the ledger ready, binds the sockets, keeps the workers running, and ends them in order.

It watches the configuration file too, and puts in force what may change while running.
"""

import asyncio
import errno
import itertools
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from aboveboard import compose, metricfiles, metricserver, pastmetrics, relaying
from aboveboard.certificatewatch import WatchedCertificates
from aboveboard.config import ConfigError
from aboveboard.ending import end_within
from aboveboard.reload import InForce, WatchedFile
from aboveboard.settings import Config
from aboveboard.sockets import allow_many_files, bind
from aboveboard.values import split_address
from aboveboard.worker import DRAIN_SECONDS
from ledger.errors import LedgerMissing
from ledger.keys import Keyring
from proxy.limits import prepare

START_SECONDS = 60.0
LOOK_SECONDS = 0.2
"""Between two looks at how the workers are, and whether it is the end."""
PATIENCE_SECONDS = DRAIN_SECONDS + 5.0
"""After which a worker that was told to end is ended."""
END_SECONDS = PATIENCE_SECONDS + 3.0
"""After which the parent itself is gone, whatever it still waits for: systemd is told to wait for 40 seconds."""
RESTART_SECONDS = 1.0
"""A worker that dies is started again, but no more often than this."""
ROOM = 33_554_432
"""Octets that there must be in memory, or what workers share is kept elsewhere: 128 of them share less."""
MEMORY = "/dev/shm"  # noqa: S108  # TemporaryDirectory makes a folder in it that is ours alone

FAILURES = Counter("aboveboard_policy_reload_failures", "Changes of the configuration file that were not right.")
VERSION = Gauge("aboveboard_policy_info", "1 for the version of the policy that is in force.", ["version"])
SINCE = Gauge("aboveboard_policy_since_seconds", "When what is in force came into force, in seconds since 1970.")
STALE = Gauge("aboveboard_policy_stale", "1 where the file has changed since and is not right.")

IN_PLACE = {"MALLOC_MMAP_THRESHOLD_": "1048576"}
"""Has what is a megabyte and more grow in place (mallopt(3)). glibc raises that size by itself with large messages, and
then copies one of 25 MB while it grows: 20 ms in which its worker serves nobody else."""

log = structlog.get_logger()


def _in_memory() -> str | None:
    """Return where a folder in memory can be made, unless TMPDIR says where temporary files belong; None for there.

    The workers' metrics are mapped files: on a disk that is full, writing to one ends the process with SIGBUS.
    """
    if os.environ.get("TMPDIR") or not os.access(MEMORY, os.W_OK | os.X_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM else None


def check_connections(config: Config, workers: int) -> None:
    """Raise ConfigError where an upstream's connections do not suffice for so many workers."""
    problems = [
        f"relay.upstream[{at}].connections: is {one.connections}, and each of {workers} workers needs at least one; "
        "raise it, or start fewer."
        for at, one in enumerate(config.relay.upstream)
        if one.connections < workers
    ]
    if problems:
        raise ConfigError(problems)


def _is_readable(descriptor: int, seconds: float) -> bool:
    # select.select knows no number above 1023, and everybody who reads the metrics has one.
    looking = select.poll()
    looking.register(descriptor, select.POLLIN)
    return bool(looking.poll(seconds * 1_000))


@dataclass(slots=True)
class _Worker:
    part: str
    process: subprocess.Popen[bytes]
    ready: int
    """The end of a pipe from which one byte can be read once it serves."""
    number: int
    """Which one of its part it is, from 0."""
    started: float = field(default_factory=time.monotonic)
    served: bool = False
    """It has said that it serves, when last looked."""

    def look(self, seconds: float = 0.0) -> None:
        """See whether it says that it serves, waiting so long for that at most."""
        if self.ready != -1 and _is_readable(self.ready, seconds):
            self.served = os.read(self.ready, 1) == b"r"
            self.forget()

    def forget(self) -> None:
        """Listen no more whether it says so."""
        if self.ready != -1:
            os.close(self.ready)
            self.ready = -1


class Parent:
    """Runs the workers of one installation."""

    def __init__(self, config_path: Path, parts: Sequence[str], workers: int) -> None:
        """Read the configuration. Raises ConfigError."""
        self._file = WatchedFile(config_path)
        self._in_force = InForce.begin(config_path, self._file.take_first())
        self._config = self._in_force.config
        """As it was at the beginning, for what needs a restart."""
        self._certificates = WatchedCertificates(self._config.relay.listener)
        self._place = Path()
        if "relay" in parts:
            check_connections(self._config, workers)
        self._parts = parts
        self._count = workers
        self._sockets: dict[str, list[socket.socket]] = {}
        self._workers: list[_Worker] = []
        self._ending = False
        """Somebody asked for the end."""
        self._asked = False
        """Somebody asked for the file to be read again."""
        self._life: tuple[int, int] = (-1, -1)
        self._census = -1
        """Descriptor of the memory in which the workers count together."""
        self._environment = {**IN_PLACE, **os.environ}

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP has the file read again.

        Raises ConfigError or LedgerError where it cannot begin.
        """
        self._listen()
        allow_many_files()
        self._make_ledger_ready()
        self._bind()
        self._life = os.pipe()
        with ExitStack() as stack:
            memory = _in_memory()
            self._census = stack.enter_context(tempfile.TemporaryFile(prefix="aboveboard-", dir=memory)).fileno()
            prepare(self._census, self._count)
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="aboveboard-", dir=memory))
            self._place = Path(directory) / "in-force.json"
            self._show(self._in_force)
            self._environment[metricfiles.FOLDER] = directory
            self._serve_metrics(directory, stack)
            try:
                for part in self._parts:
                    self._workers += [self._start(part, number) for number in range(self._count)]
                for worker in self._workers:
                    self._wait_until_ready(worker)
                if not self._ending:
                    log.info("serve.ready", workers=self._count, **self._places())
                self._watch()
            finally:
                self._end()

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_for_end)
        signal.signal(signal.SIGHUP, self._ask)

    # A signal comes between any two steps. What is done then must not need a lock, as an Event's set() does: the step
    # before it may hold it, and neither would ever go on.

    def _ask_for_end(self, *_: object) -> None:
        if not self._ending:
            end_within(END_SECONDS)
        self._ending = True

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _make_ledger_ready(self) -> None:
        try:
            asyncio.run(compose.make_ready(self._config))
        except LedgerMissing as missing:
            # Mail must flow and links must lead on; what is missing shows in /health, and as ledger_unavailable.
            log.error("serve.ledger_missing", why=str(missing))

    def _bind(self) -> None:
        places = [
            ("relay", f"relay.listener[{at}].address", one.address)
            for at, one in enumerate(self._config.relay.listener)
        ]
        places.append(("web", "web.address", self._config.web.address))
        try:
            for part, key_path, address in places:
                if part in self._parts:
                    self._sockets.setdefault(part, []).append(bind(key_path, address))
        except ConfigError:
            self._close_sockets()
            raise

    def _places(self) -> dict[str, list[str]]:
        """Return where each part listens."""
        return {
            part: [":".join(map(str, one.getsockname()[:2])) for one in sockets]
            for part, sockets in self._sockets.items()
        }

    def _close_sockets(self) -> None:
        for one in itertools.chain(*self._sockets.values()):
            one.close()

    def _serve_metrics(self, directory: str, stack: ExitStack) -> None:
        """Serve the metrics of all workers on a listener of their own."""
        address = self._config.web.metrics_address
        if address is None:
            return
        registry = CollectorRegistry()
        pastmetrics.AllProcesses(registry, directory)
        for metric in (FAILURES, VERSION, SINCE, STALE):
            registry.register(metric)
        host, port = split_address(address)
        try:
            stack.callback(metricserver.start(host, port, registry))
        except OSError as error:
            if len(self._parts) == 1 and error.errno == errno.EADDRINUSE:
                # Relay and web may run apart, by one file: who comes second goes on without, for mail matters more.
                log.warning("metrics.address_in_use", address=address)
                return
            raise ConfigError([f"web.metrics_address: {address} cannot be listened on: {error.strerror}."]) from error

    def _start(self, part: str, number: int) -> _Worker:
        """Start one worker. Raises OSError where that is not possible now."""
        if not self._place.exists():
            # The first start; or something that cleans temporary folders has taken it.
            self._in_force.write(self._place)
        descriptors = [one.fileno() for one in self._sockets[part]]
        ready, say_ready = os.pipe()
        command = [
            sys.executable, "-P", "-m", "aboveboard", "worker", part, "--in-force", str(self._place),
            "--sockets", ",".join(map(str, descriptors)), "--workers", str(self._count), "--number", str(number),
            "--census", str(self._census),
            "--ready", str(say_ready), "--life", str(self._life[0]),
        ]  # fmt: skip
        try:
            process = subprocess.Popen(
                command,
                pass_fds=[*descriptors, say_ready, self._life[0], self._census],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                # A terminal's Ctrl-C is for us, who tell the workers: in the middle of an import they would complain.
                process_group=0,
            )
        except OSError:
            os.close(ready)
            raise
        finally:
            os.close(say_ready)
        return _Worker(part, process, ready, number)

    def _wait_until_ready(self, worker: _Worker) -> None:
        """Wait until a worker serves, or all is to end. Raises ConfigError where it does not serve."""
        while not self._ending and worker.ready != -1 and time.monotonic() < worker.started + START_SECONDS:
            worker.look(LOOK_SECONDS)
        if not worker.served and not self._ending:
            worker.process.kill()
            worker.process.wait()
            raise ConfigError([f"A {worker.part} process did not start; its own message is above."])

    def _watch(self) -> None:
        while self._goes_on():
            asked, self._asked = self._asked, False
            self._look_at_certificates(asked=asked)
            self._look_at_file(asked=asked)
            for at, worker in enumerate(self._workers):
                self._look_after(at, worker)

    def _goes_on(self) -> bool:
        time.sleep(LOOK_SECONDS)
        return not self._ending

    def _look_after(self, at: int, worker: _Worker) -> None:
        """Replace a worker that died, and end one that does not come to serve, without waiting: others may die, too."""
        worker.look()
        age = time.monotonic() - worker.started
        if worker.process.poll() is None:
            if not worker.served and age > START_SECONDS:
                worker.process.kill()
        elif age >= RESTART_SECONDS:
            worker.forget()
            pastmetrics.add_up(self._environment[metricfiles.FOLDER], worker.process.pid)
            event = "serve.worker_died" if worker.served else "serve.worker_did_not_start"
            log.error(event, part=worker.part, code=worker.process.returncode)
            self._restart(at, worker)

    def _look_at_certificates(self, *, asked: bool) -> None:
        """Have the workers take up certificates that were renewed, unless they are not right."""
        try:
            if "relay" not in self._parts or not self._certificates.renewed(asked=asked):
                return
            self._in_force = replace(self._in_force, certificates=self._in_force.certificates + 1)
            self._in_force.write(self._place)
        except ConfigError as error:
            log.error("serve.certificate_kept", problems=error.problems)
        except OSError:
            # No room for what is in force, most likely: that passes.
            log.exception("serve.reload_failed")
            self._certificates.take_again()
        else:
            log.info("serve.certificate_renewed")

    def _look_at_file(self, *, asked: bool) -> None:
        """Take up a file that has changed and come to rest, or at once where somebody asked."""
        if not self._file.changed() and not asked:
            return
        try:
            taken = self._file.take()
            if taken is None:
                # It changed while it was read: the next round reads it again.
                self._asked = True
                return
            fresh = self._in_force.renewed(taken)
            # A rehearsal: what does not come together here must not reach a worker.
            relaying.conduct(fresh.config, Keyring.throwaway())
            self._put_in_force(fresh)
        except ConfigError as error:
            # Only the keys: a sentence may quote an address.
            self._keep([problem.partition(":")[0] for problem in error.problems])
        except Exception as error:
            log.exception("serve.reload_failed")
            if isinstance(error, OSError):
                self._file.take_again()
            self._keep([])

    def _put_in_force(self, fresh: InForce) -> None:
        fresh.write(self._place)
        before, self._in_force = self._in_force, fresh
        self._show(fresh)
        changed = fresh.config != before.config
        log.info("serve.reloaded", policy_version=fresh.policy_version, changed=changed)
        if fresh.waiting:
            log.warning("serve.needs_restart", keys=fresh.waiting)

    def _keep(self, keys: list[str]) -> None:
        """Go on with what is in force, and say so."""
        FAILURES.inc()
        self._in_force = replace(self._in_force, stale=True)
        self._show(self._in_force)
        log.error("serve.not_reloaded", keys=keys, policy_version=self._in_force.policy_version)
        try:
            self._in_force.write(self._place)
        except OSError:
            log.exception("serve.reload_failed")

    @staticmethod
    def _show(in_force: InForce) -> None:
        VERSION.clear()
        VERSION.labels(in_force.policy_version).set(1)
        SINCE.set(in_force.since.timestamp())
        STALE.set(in_force.stale)

    def _restart(self, at: int, died: _Worker) -> None:
        try:
            self._workers[at] = self._start(died.part, died.number)
        except OSError:
            # Tried again: no memory, or no more processes, may pass.
            log.exception("serve.worker_did_not_start", part=died.part)
            died.started = time.monotonic()

    def _end(self) -> None:
        """Have no new clients, let the workers drain, and end those that do not."""
        self._close_sockets()
        for worker in self._workers:
            with suppress(ProcessLookupError):
                worker.process.terminate()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        for end in self._life:
            os.close(end)
        log.info("serve.ended")
