"""aboveboard as people run it: `aboveboard serve` in a process of its own, and the command beside it."""

import json
import os
import signal
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import IO, Any

from tests.e2e.waiting import free_port, says_hello, until

CONFIG = """\
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"

[[relay.listener]]
address = "127.0.0.1:{smtp}"

[[relay.upstream]]
url = "{upstream}"

[relay]

[web]
address = "127.0.0.1:{web}"
public_url = "http://127.0.0.1:{web}"
metrics_address = "127.0.0.1:{metrics}"

[ledger]
url = "sqlite:///ledger/aboveboard.db"
key_file = "ledger/aboveboard.key"
"""

START_SECONDS = 120.0
"""How long a service may take to start on a machine that has much else to do."""
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the web said: status, header, body. Redirects are not followed."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Return what a JSON body says."""
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow nothing."""


def fetch(url: str, data: bytes | None = None) -> Answer:
    """Return the answer to a GET, or to a POST of ``data``, on a connection of its own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    request = urllib.request.Request(url, data, {"User-Agent": BROWSER})
    try:
        response: HTTPResponse = opener.open(request, timeout=30)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
    with response:
        return Answer(response.status, response.headers, response.read())


class Service:
    """A running `aboveboard serve`, with its files in a folder."""

    def __init__(
        self,
        folder: Path,
        upstream: int | str,
        workers: int = 1,
        more: str = "",
        *,
        config: str = CONFIG,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.smtp_port, self.web_port, self.metrics_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.database = folder / "ledger/aboveboard.db"
        self.database.parent.mkdir(exist_ok=True)
        self.config = folder / "aboveboard.toml"
        url = upstream if isinstance(upstream, str) else f"smtp://127.0.0.1:{upstream}"
        ports = {"smtp": self.smtp_port, "web": self.web_port, "metrics": self.metrics_port, "upstream": url}
        self.config.write_text((config + more).format(**ports))
        self._command = [sys.executable, "-m", "aboveboard", "serve", "--workers", str(workers)]
        # What a killed service leaves behind goes with the test's folder.
        self._environment = {"TMPDIR": str(folder), "ABOVEBOARD_CONFIG": str(self.config), **(environment or {})}
        self.start()

    def start(self) -> None:
        """Start the process; also once more, after an end."""
        self._errors: IO[bytes] = (self.folder / "stderr").open("ab")
        self.process = subprocess.Popen(
            self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
            env={**os.environ, **self._environment},
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Wait until every worker serves: the banner, the health page, and the service's own word."""
        until(self._greets, "the relay greets", START_SECONDS)
        until(self._healthy, "/health answers", START_SECONDS)
        until(lambda: '"serve.ready"' in self.log, "the service says that it is ready", START_SECONDS)

    def _greets(self) -> bool:
        assert self.process.poll() is None, self.log
        return says_hello(self.smtp_port)

    def _healthy(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return fetch(f"{self.url}/health").status == 200
        except OSError:
            return False

    @property
    def log(self) -> str:
        """What the service has written so far."""
        return (self.folder / "stderr").read_text("utf-8")

    def end(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(60)
        finally:
            self._errors.close()

    def end_if_running(self) -> None:
        """End it as an administrator does. Raises TimeoutExpired, and kills it, where a worker comes to no end."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._errors.close()

    @contextmanager
    def without_ledger(self) -> Iterator[None]:
        """Take the database's files away from under the running service, and put them back."""
        away = self.folder / "away"
        away.mkdir()
        for file in self.database.parent.glob("aboveboard.db*"):
            file.rename(away / file.name)
        try:
            yield
        finally:
            for file in away.iterdir():
                file.rename(self.database.parent / file.name)
            away.rmdir()

    def workers(self, part: str) -> list[int]:
        """Return the process ids of the workers of one part, "relay" or "web"."""
        return [pid for pid in _children(self.process.pid) if f"worker\0{part}" in _command_line(pid)]

    def command(self, *words: str) -> str:
        """Run `aboveboard` with the service's configuration in another process and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "aboveboard", *words],
            cwd=self.folder, env={**os.environ, **self._environment},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def grant(self, address: str, *purposes: str) -> None:
        """Record that a person agreed, to open and click unless said otherwise."""
        chosen = [word for purpose in purposes or ("open", "click") for word in ("--purpose", purpose)]
        self.command("consent", "grant", address, *chosen, "--method", "paper", "--evidence", "folder 7, page 3")

    def consent(self, address: str) -> dict[str, Any]:
        """Return what `aboveboard consent show` knows of a person."""
        found: dict[str, Any] = json.loads(self.command("consent", "show", address, "--json"))
        return found

    def messages(self) -> list[dict[str, Any]]:
        """Return what `aboveboard messages` lists."""
        found: list[dict[str, Any]] = json.loads(self.command("messages", "--json"))
        return found

    def policy(self, version: str) -> dict[str, Any]:
        """Return a version of the policy that ruled, as `aboveboard audit` prints it."""
        found: dict[str, Any] = json.loads(self.command("audit", "--policy", version))
        return found

    def hits(self, message: str) -> list[dict[str, Any]]:
        """Return the hits of one message that `aboveboard hits` lists."""
        found: list[dict[str, Any]] = json.loads(self.command("hits", "--json"))
        return [hit for hit in found if hit["message"] == message]

    def client(self) -> smtplib.SMTP:
        """Return an SMTP client that has said EHLO to the relay."""
        client = smtplib.SMTP("127.0.0.1", self.smtp_port, local_hostname="laptop.example.org", timeout=60)
        client.ehlo()
        return client

    def send(self, message: bytes, *recipients: str, sender: str = "alice@example.org") -> dict[str, tuple[int, bytes]]:
        """Hand in a message and return the recipients that were refused, with the replies."""
        with self.client() as client:
            return client.sendmail(sender, recipients, message)


def _children(parent: int) -> list[int]:
    """Return the process ids of a process's children (from /proc: no other program is asked)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = status.read_text().rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == parent:
            found.append(int(status.parent.name))
    return sorted(found)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@contextmanager
def running_service(
    folder: Path,
    upstream: int | str,
    workers: int = 1,
    more: str = "",
    *,
    config: str = CONFIG,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Run `aboveboard serve` in a folder, until the block ends; ``more`` is added to its configuration file.

    ``upstream`` is a port on loopback, or a URL.
    """
    service = Service(folder, upstream, workers, more, config=config, environment=environment)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.end_if_running()


@contextmanager
def alone(pid: int, all_of_them: list[int]) -> Iterator[None]:
    """Stop every process but one, so that it alone answers."""
    with standing_still(*(other for other in all_of_them if other != pid)):
        yield


@contextmanager
def standing_still(*pids: int) -> Iterator[None]:
    """Stop processes."""
    with ExitStack() as stack:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)
            until(partial(_stands_still, pid), f"process {pid} stands still")
        yield


def _stands_still(pid: int) -> bool:
    """Tell whether every thread of a process is stopped, or has ended: a signal is sent before it takes effect."""
    try:
        threads = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # One ends just now.
    return {status.rpartition(")")[2].split()[0] for status in threads} <= set("TZX")
