"""A program that serves until it is told to end, in a folder of its own, as the peers do."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.waiting import says_hello, until
from tests.peers import account


class Daemon:
    """A peer that greets on a port once it runs. What it prints is in ``start.log``, in its folder.

    Without ``environment`` it has the tests' own; ``runs_as`` is what ``account`` returns, or empty for the tests' own.
    """

    def __init__(
        self,
        work: Path,
        command: Sequence[str | Path],
        port: int,
        log: str,
        environment: Mapping[str, str] | None = None,
        runs_as: Mapping[str, Any] | None = None,
    ) -> None:
        self.work = work
        self._command = command
        self._port = port
        self._log = work / log
        self._environment = environment
        self._runs_as = runs_as or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its greeting."""
        with (self.work / "start.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                **self._runs_as,
            )  # fmt: skip
        until(lambda: says_hello(self._port), f"{type(self).__name__} greets")

    def stop(self) -> None:
        """Stop it; nobody listens on its ports then."""
        if self._process is not None:
            self._tell_to_end(self._process)
            self._process.wait(30)
            self._process = None

    def _tell_to_end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()

    @property
    def log(self) -> str:
        """What it has written into its log so far."""
        return self._log.read_text("utf-8")


SomeDaemon = TypeVar("SomeDaemon", bound=Daemon)


@contextmanager
def running(name: str, make: Callable[[Path], SomeDaemon]) -> Iterator[SomeDaemon]:
    """Run what ``make`` sets up in a temporary folder, and end and remove it afterwards."""
    # Not pytest's tmp_path: nobody but its owner may pass through that, and mail is delivered as somebody else.
    work = Path(tempfile.mkdtemp(prefix=f"aboveboard-{name}-"))
    work.chmod(0o755)
    daemon = make(work)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(work, ignore_errors=True)


def owned_folders(work: Path, *names: str) -> tuple[int, int]:
    """Make folders below one, have all belong to the account that a peer runs as, and return its user and group id."""
    runs_as = account()
    uid, gid = runs_as.get("user", os.geteuid()), runs_as.get("group", os.getegid())
    for folder in (work, *(work / name for name in names)):
        folder.mkdir(exist_ok=True)
        os.chown(folder, uid, gid)
    return uid, gid
