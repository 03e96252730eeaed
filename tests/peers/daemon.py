"""A program that serves until it is told to end, as the peers do."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.waiting import says_hello, until


class Daemon:
    """A peer that greets on a port once it runs. What it prints is in ``start.log``, in its folder."""

    def __init__(
        self,
        command: Sequence[str | Path],
        port: int,
        work: Path,
        environment: Mapping[str, str],
        account: dict[str, Any],
    ) -> None:
        self._command = command
        self._port = port
        self._output = work / "start.log"
        self._environment = environment
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its greeting."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                **self._account,
            )  # fmt: skip
        until(lambda: says_hello(self._port), f"{type(self).__name__} greets")

    def stop(self) -> None:
        """Stop it; nobody listens on its ports then."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
