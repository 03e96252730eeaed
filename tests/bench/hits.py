"""Pixels a second of the running web beside nginx's built-in GIF with an access log. ``make bench TABLES=hits``.

nginx writes a line per request and decides nothing; ours has each hit on disk, by consent as it is, before it answers.
Needs Debian's nginx-light and wrk.
"""

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aboveboard import compose
from aboveboard.config import load
from ledger.database import prepare
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.tokens import Marks
from tests.bench.workers import spent
from tests.e2e.waiting import free_port, until
from tests.ledger.samples import EVERYTHING, ON_PAPER, decided

CONFIG = """
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"
[[relay.listener]]
address = "127.0.0.1:{smtp}"
[[relay.upstream]]
url = "smtp://127.0.0.1:25"
[web]
address = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
[policy]
"""
NGINX = """
worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log {work}/access.log; server {{ listen 127.0.0.1:{port}; location / {{ empty_gif; }} }} }}
"""
REQUESTS = """
local paths = {{}}
for line in io.lines("{paths}") do paths[#paths + 1] = line end
local i = 0
request = function() i = i % #paths + 1; return wrk.format("GET", paths[i]) end
"""
MESSAGES, RECIPIENTS = 2_000, 100
ROUNDS, SECONDS, CONNECTIONS, WORKERS = 3, 5, 64, 2


async def tracked_messages(config: Path) -> list[str]:
    """Record messages to people who agreed, and return the paths of their pixels."""
    settings = load(config)
    prepare(settings.ledger.url, settings.ledger.key_file)
    async with compose.ledger(settings, Keyring.load(settings.ledger.key_file)) as ledger:
        await ledger.recall()
        people = [f"reader{at}@customer.test" for at in range(RECIPIENTS)]
        for person in people:
            await ledger.grant(person, EVERYTHING, ON_PAPER)
        paths: list[str] = []
        while len(paths) < MESSAGES:
            # No more at once than the ledger has the patience for, however slow the machine.
            paths += await asyncio.gather(*(tracked_message(ledger, person) for person in people[:50]))
            people = people[50:] + people[:50]
        return paths


async def tracked_message(ledger: Ledger, person: str) -> str:
    """Record a message and return the path of its pixel."""
    message = decided(recipients=(person,))
    while not await ledger.record_decision(message):
        message = decided(recipients=(person,))
    return Marks(ledger.keyring, "", message.id, person).pixel()


@contextmanager
def serving(command: list[str], url: str, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Run a web server until the block ends. Yields its process id."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(url), f"{command[0]} answers")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Tell whether a web server answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def load_of(folder: Path, url: str) -> tuple[float, str]:
    """Return how many pixels a second a server gives, and what wrk says of latency."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(folder / "requests.lua"), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise AssertionError(f"bad answers: {said}")
    rate, late = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"(?m)^\s+99%\s+(\S+)", said)
    assert rate is not None
    assert late is not None
    return float(rate[1]), late[1]


def beside_nginx(folder: Path, ours: str, web: int) -> None:
    """Print pixels a second of both servers, in turn."""
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(work=folder, port=port))
    theirs = f"http://127.0.0.1:{port}"
    with serving(["nginx", "-c", str(folder / "nginx.conf")], theirs):
        ratios = []
        for _ in range(ROUNDS):
            nginx, _ = load_of(folder, theirs)
            before = spent(web)
            rate, late = load_of(folder, ours)
            each = (spent(web) - before) / (rate * SECONDS) * 1_000
            ratios.append(rate / nginx)
            print(f"  nginx {nginx:7.0f}/s   ours {rate:6.0f}/s, 99 % within {late}, {each:.2f} ms of CPU each")
    print(f"  ours / nginx, median of {ROUNDS}: {statistics.median(ratios):.3f}")


def table() -> None:
    """Print everything."""
    if shutil.which("nginx") is None or shutil.which("wrk") is None:
        print("hits: nginx or wrk (Debian: nginx-light, wrk) is not installed")
        return
    print(f"hits, {WORKERS} workers, ledger on disk, {CONNECTIONS} connections, {MESSAGES} messages")
    with tempfile.TemporaryDirectory(prefix="aboveboard-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        port, config = free_port(), folder / "aboveboard.toml"
        config.write_text(CONFIG.format(smtp=free_port(), port=port))
        (folder / "paths").write_text("\n".join(asyncio.run(tracked_messages(config))) + "\n")
        (folder / "requests.lua").write_text(REQUESTS.format(paths=folder / "paths"))
        command = [sys.executable, "-m", "aboveboard", "web", "--workers", str(WORKERS)]
        url = f"http://127.0.0.1:{port}"
        with serving(command, f"{url}/health", {**os.environ, "ABOVEBOARD_CONFIG": str(config)}) as web:
            beside_nginx(folder, url, web)
