"""The running relay beside its peers: rates, added latency, memory, stalls. ``make bench TABLES=relay``.

The peers and the load are Postfix's: its before-queue filter, which rewrites nothing, smtp-source and smtp-sink. Runs
as root, for Postfix; without it the comparison is left out.
"""

import asyncio
import os
import shutil
import smtplib
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme

from tests.bench import sessions
from tests.bench.samples import bench_message
from tests.bench.sessions import reply
from tests.bench.workers import peak, spent
from tests.e2e.waiting import free_port, says_hello, until
from tests.peers.postfix import running_postfix

CONFIG = """
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"
[[relay.listener]]
address = "127.0.0.1:{plain}"
[[relay.listener]]
address = "127.0.0.1:{tls}"
tls = "starttls"
certificate = "certificate.pem"
key = "key.pem"
[[relay.listener]]
address = "127.0.0.1:{login}"
tls = "starttls"
certificate = "certificate.pem"
key = "key.pem"
auth = "accounts"
[[relay.upstream]]
url = "smtp://127.0.0.1:{sink}"
[relay]
[web]
public_url = "http://127.0.0.1:8080"
[policy]
merge_window = "off"
"""
FILTER = """\
127.0.0.1:{{port}} inet n - n - 100 smtpd
  -o smtpd_proxy_filter=127.0.0.1:{sink} -o smtpd_proxy_options=speed_adjust"""
ROUNDS = 3
MANY = 800
WORDS = "team share the pricing " * 12
PARAGRAPH = f"<p class=MsoNormal style='margin-bottom:12.0pt'><span lang=EN-US>{WORDS}</span></p>\n"
LINK = '<p><a href="https://www.example.com/offer/{}?a=1&amp;b=2">our offer</a></p>\n'
MEGABYTE = 1_000_000
SIZES = (("5 kB", 5_000, 600), ("50 kB", 50_000, 400), ("1 MB", MEGABYTE, 60), ("25 MB", 25 * MEGABYTE, 4))


def letter(size: int) -> str:
    """Return a message of about so many bytes: HTML with a link per 2.5 kB, from 200 kB on mostly an attachment."""
    head = "From: alice@example.org\nTo: reader@customer.test\nSubject: x\nMIME-Version: 1.0\n"
    body = min(size, 50_000)
    links = max(1, body // 2_500)
    html = "".join(PARAGRAPH * (body // links // len(PARAGRAPH)) + LINK.format(at) for at in range(links))
    part = f"Content-Type: text/html; charset=utf-8\n\n<html><body>{html}</body></html>\n"
    if size < 200_000:
        return head + part
    line = "QUJD" * 19 + "\n"
    return (
        f"{head}Content-Type: multipart/mixed; boundary=b\n\n--b\n{part}--b\nContent-Type: application/pdf\n"
        f"Content-Transfer-Encoding: base64\n\n{line * ((size - body) // len(line))}--b--\n"
    )


class Bench:
    """A folder with a relay in it, and a sink behind it."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.plain, self.tls, self.login, self.sink = (free_port() for _ in range(4))
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
        (folder / "aboveboard.toml").write_text(
            CONFIG.format(plain=self.plain, tls=self.tls, login=self.login, sink=self.sink)
        )
        self.aboveboard = [sys.executable, "-m", "aboveboard"]
        self.environment = {**os.environ, "ABOVEBOARD_CONFIG": str(folder / "aboveboard.toml")}
        self.workers = workers

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run sink and relay, with a recipient who agreed."""
        with ExitStack() as stack:
            stack.enter_context(started(["smtp-sink", "-u", "nobody", f"127.0.0.1:{self.sink}", "500"], self.sink))
            self.say("db", "upgrade")
            evidence = ("--method", "paper", "--evidence", "bench")
            self.say("consent", "grant", "reader@customer.test", "--purpose", "open", "--purpose", "click", *evidence)
            self.say("account", "add", sessions.LOGIN, said=sessions.PASSWORD + "\n")
            command = [*self.aboveboard, "relay", "--workers", str(self.workers)]
            self.parent = stack.enter_context(started(command, self.plain, self.environment))
            yield

    def say(self, *words: str, said: str = "") -> None:
        """Run a command of ours, and say something to it."""
        command = [*self.aboveboard, *words]
        subprocess.run(command, env=self.environment, check=True, capture_output=True, input=said, text=True)

    def rate(self, port: int, message: Path, count: int, at_once: int = 20) -> float:
        """Return how many messages a second go through a port, a new connection for each."""
        ends = ["-f", "alice@example.org", "-t", "reader@customer.test", f"127.0.0.1:{port}"]
        command = ["smtp-source", "-s", str(at_once), "-m", str(count), "-F", str(message), *ends]
        start = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        return count / (time.monotonic() - start)


@contextmanager
def started(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Run a program until the block ends; it greets on a port. Yields its process id."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: says_hello(port), f"{command[0]} greets")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def beside_postfix(bench: Bench, message: Path) -> None:
    """Print the rate of the relay beside that of Postfix's filter, which passes everything on, in turn."""
    with running_postfix(FILTER.format(sink=bench.sink)) as peer:
        ratios = []
        for _ in range(ROUNDS):
            direct, theirs = bench.rate(bench.sink, message, MANY), bench.rate(peer.port, message, MANY)
            before = spent(bench.parent)
            ours = bench.rate(bench.plain, message, MANY)
            each = (spent(bench.parent) - before) / MANY * 1_000
            ratios.append(ours / theirs)
            rates = f"direct {direct:7.0f}/s   Postfix's filter {theirs:6.0f}/s   relay {ours:6.0f}/s"
            print(f"  {rates}, {each:.1f} ms of CPU each")
    print(f"  relay / Postfix, median of {ROUNDS}: {statistics.median(ratios):.2f}")


def sizes(bench: Bench) -> None:
    """Print rate and CPU by size of message."""
    for name, size, count in SIZES:
        message = bench.folder / "sized.eml"
        message.write_text(letter(size))
        before = spent(bench.parent)
        rate = bench.rate(bench.plain, message, count, at_once=min(20, count))
        used = spent(bench.parent) - before
        print(f"  {name:>6}: {rate:7.1f} messages/s   {count / used:7.1f} messages/s per core of the relay")


def memory(bench: Bench) -> None:
    """Print what one message of 25 MB takes."""
    message = bench.folder / "sized.eml"
    message.write_text(letter(25 * MEGABYTE))
    before = peak(bench.parent)
    bench.rate(bench.plain, message, 1, at_once=1)
    grown = peak(bench.parent) - before
    times = grown / message.stat().st_size
    print(f"  one message of 25 MB: {grown / MEGABYTE:.0f} MB at its peak, {times:.1f} times its size")


def latency(bench: Bench, message: Path) -> None:
    """Print what the relay adds to the time of a message, one at a time on one connection."""
    content = message.read_text()

    def times(port: int) -> list[float]:
        with smtplib.SMTP("127.0.0.1", port) as client:
            found = []
            for _ in range(200):
                start = time.perf_counter()
                client.sendmail("alice@example.org", ["reader@customer.test"], content)
                found.append(time.perf_counter() - start)
        return sorted(found)

    direct, through = times(bench.sink), times(bench.plain)
    p50, p99 = ((through[at] - direct[at]) * 1_000 for at in (100, 198))
    print(f"  added to a message of 50 kB: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


async def waits(port: int, count: int) -> list[float]:
    """Return how long each of so many commands of one session waited for its answer, in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reply(reader)
    found = []
    for _ in range(count):
        start = time.perf_counter()
        writer.write(b"NOOP\r\n")
        await reply(reader)
        found.append(time.perf_counter() - start)
        await asyncio.sleep(0.001)
    writer.close()
    return found


async def stall(bench: Bench) -> None:
    """Print how long another session waits at most while messages of 25 MB go through."""
    message = bench.folder / "sized.eml"
    message.write_text(letter(25 * MEGABYTE))
    sending = asyncio.create_task(asyncio.to_thread(bench.rate, bench.plain, message, 3, 1))
    found = []
    while not sending.done():
        # Sessions are short: one that says nothing but NOOP is sent away after a while.
        found += await waits(bench.plain, 50)
    print(f"  longest wait of another session meanwhile: {max(found) * 1_000:.0f} ms")


def bench(workers: int, measure: Callable[[Bench], None]) -> None:
    """Have something measured on a relay with so many workers."""
    with tempfile.TemporaryDirectory(prefix="aboveboard-bench-") as folder:
        made = Bench(Path(folder), workers)
        with made.running():
            measure(made)


def benchmark(made: Bench) -> Path:
    """Write the message of 50 kB that everything is compared by, as smtp-source reads it."""
    message = made.folder / "benchmark.eml"
    message.write_bytes(bench_message().replace(b"\r\n", b"\n"))
    return message


def two_workers(made: Bench) -> None:
    """Print what depends on the whole machine."""
    message = benchmark(made)
    if shutil.which("postfix") and os.geteuid() == 0:
        beside_postfix(made, message)
    else:
        print("  Postfix is not installed, or this is not root: no comparison")
    context = ssl.create_default_context()
    made.authority.configure_trust(context)
    asyncio.run(sessions.table(made.tls, made.login, context))


def one_worker(made: Bench) -> None:
    """Print what depends on one process."""
    latency(made, benchmark(made))
    memory(made)
    asyncio.run(stall(made))
    sizes(made)


def table() -> None:
    """Print everything."""
    if shutil.which("smtp-source") is None:
        print("relay: smtp-source and smtp-sink (of Postfix) are not installed")
        return
    print("relay, two workers, ledger on disk, 20 messages of 50 kB at once, tracked")
    bench(2, two_workers)
    print("relay, one worker")
    bench(1, one_worker)
