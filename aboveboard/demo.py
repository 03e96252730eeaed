"""The demo: the real relay on loopback, an embedded mailbox behind it, and a few messages that show what it does."""

import asyncio
import json
import os
import random
import re
import signal
import smtplib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import uvicorn

from aboveboard.config import ConfigError
from aboveboard.mailbox import Demo, Letter, Mailbox, build, shown
from aboveboard.sockets import bind
from aboveboard.worker import DRAIN_SECONDS
from proxy.structure import read_structure
from proxy.transfer import Edit, decode, splice

SENDER = "anna.weber@example.org"
AGREED = "marie.keller@customer.test"
SILENT = "jonas.brandt@printers.test"
REFUSED = "priya.nair@studio.test"
"""Domains that RFC 2606 reserves: nobody's."""

SITE = b"http://www.example.org"
"""Stands in the samples for the page that the links lead to: the mailbox's own, so that they arrive somewhere."""

_SAMPLES = Path(__file__).parent / "samples"
_START_SECONDS = 60.0
_PORTS = range(20_000, 32_000)
"""Below those that Linux gives to clients, of which one would now and then be quicker than the relay."""
_RECIPIENTS: dict[str, tuple[str, ...]] = {
    "1-quotation.eml": (AGREED,),
    "2-minutes.eml": (SILENT,),
    "3-delivery.eml": (REFUSED,),
    "4-two-people.eml": (AGREED, SILENT),
    "5-newsletter.eml": (AGREED,),
    "6-signed.eml": (AGREED,),
}

_CONFIG = """\
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "{mailbox}/landing/privacy"
contact = "privacy@example.org"

[[relay.listener]]
address = "{relay}"

[[relay.upstream]]
url = "smtp://{upstream}"

[web]
address = "{web}"
public_url = "http://{web}"

[ledger]
url = "sqlite:///aboveboard.db"
key_file = "aboveboard.key"

[[policy.vendor]]
id = "mailtracker"
name = "Mailtracker"
kind = "tool"
source = ["made up, for the newsletter of this demo"]

[[policy.vendor.mark]]
on = ["image"]
host = ["open.mailtracker.example"]
path = "/p/"
certainty = "certain"
hit = ["https://open.mailtracker.example/p/9f31c7/somebody@customer.test.gif"]
miss = ["https://mailtracker.example/"]
"""


class DemoError(Exception):
    """The demo cannot begin or go on; says why in one sentence."""


def run(smtp_port: int, web_port: int, mailbox_port: int) -> None:
    """Run the demo until Ctrl-C or SIGTERM; 0 means any port that is free. Ends the command with one where it fails."""
    try:
        asyncio.run(_until_told(_demo(smtp_port, web_port, mailbox_port)))
    except (DemoError, ConfigError) as error:
        click.echo(f"The demo cannot run: {error}", err=True)
        sys.exit(1)


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done or a signal comes; then it is cancelled, and cleans up after itself."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    working, waiting = asyncio.create_task(work), asyncio.create_task(told.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    working.cancel()
    # Ctrl-C reaches everything that the demo started, too; what ends because of it is no failure.
    with suppress(asyncio.CancelledError, *([DemoError] if told.is_set() else [])):
        await working


async def _demo(smtp_port: int, web_port: int, mailbox_port: int) -> None:
    mailbox = Mailbox()
    upstream, pages = bind("mailbox", "127.0.0.1:0"), bind("--mailbox-port", f"127.0.0.1:{mailbox_port}")
    relay, web = _free(smtp_port, web_port)
    places = {"mailbox": f"http://{_place(pages)}", "upstream": _place(upstream), "relay": relay, "web": web}
    with tempfile.TemporaryDirectory(prefix="aboveboard-demo-") as directory:
        installation = Installation(Path(directory) / "aboveboard.toml")
        installation.config.write_text(_CONFIG.format(**places), "utf-8")
        demo = Demo(mailbox, f"http://{web}", relay, installation.decisions, Sending(mailbox, relay).again)
        accepting = await mailbox.listen(upstream)
        async with accepting, _showing(demo, pages), installation.serving() as serve:
            await _send_samples(installation, demo, places["mailbox"].encode("ascii"))
            click.echo(_announcement(demo, places["mailbox"]))
            sys.stdout.flush()
            await serve.wait()
            raise DemoError("the relay has ended by itself.")


def _free(*ports: int) -> list[str]:
    """Return an address on loopback for each port; for 0, one that is free at this moment. Raises DemoError."""
    bound = [_some_port() for port in ports if not port]
    found = iter([_place(one) for one in bound])
    for one in bound:
        one.close()
    return [f"127.0.0.1:{port}" if port else next(found) for port in ports]


def _some_port() -> socket.socket:
    for port in random.sample(_PORTS, 100):
        with suppress(ConfigError):
            return bind("port", f"127.0.0.1:{port}")
    raise DemoError("no port is free; name one with --smtp-port and one with --web-port.")


def _place(bound: socket.socket) -> str:
    host, port = bound.getsockname()
    return f"{host}:{port}"


class _WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: the demo has its own, and cleans up afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


@asynccontextmanager
async def _showing(demo: Demo, bound: socket.socket) -> AsyncIterator[None]:
    """Serve the mailbox's pages."""
    settings = uvicorn.Config(
        build(demo), log_config=None, access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    server = _WebServer(settings)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class Installation:
    """An installation of aboveboard, worked with as an administrator does: by its command."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "aboveboard", *words, "--config", str(self.config)]

    async def call(self, *words: str) -> str:
        """Run a command to its end and return what it printed. Raises DemoError with what it complained about."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, complaint = await process.communicate()
        except asyncio.CancelledError:
            _signal(process, signal.SIGKILL)
            await process.wait()
            raise
        if process.returncode:
            raise DemoError(f"aboveboard {words[0]} says: {complaint.decode().strip()}")
        return out.decode()

    async def decisions(self) -> dict[str, dict[str, Any]]:
        """Return what was decided about every message, by message id."""
        return {one["message"]: one for one in json.loads(await self.call("messages", "--json"))}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run ``aboveboard serve``, and end it in order. Raises DemoError where it does not start."""
        log = self.config.with_name("serve.log")
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(*self._command("serve"), stdout=stream, stderr=stream)
        try:
            await _ready(process, log)
            yield process
        finally:
            _signal(process, signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), DRAIN_SECONDS + 10)
            except TimeoutError:
                _signal(process, signal.SIGKILL)
                await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal, if the process has not ended.

    Not by the process's own method: that may take the news of its end from asyncio, which then complains on standard
    error (CPython gh-87744).
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _said(log: Path) -> str:
    return log.read_text("utf-8", "replace")


async def _ready(process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait until the relay says that it serves. Raises DemoError with its own last sentence where it does not."""
    for _ in range(int(_START_SECONDS / 0.05)):
        said = _said(log)
        if '"serve.ready"' in said:
            return
        if process.returncode is not None:
            sentences = [line for line in said.splitlines() if line and not line.startswith("{")]
            raise DemoError(sentences[-1] if sentences else "the relay did not start and does not say why.")
        await asyncio.sleep(0.05)
    raise DemoError(f"the relay was not ready within {_START_SECONDS:.0f} seconds.")


class Sending:
    """Hands messages to the relay, as a mail program does."""

    def __init__(self, mailbox: Mailbox, relay: str) -> None:
        self._mailbox = mailbox
        self._host, _, self._port = relay.rpartition(":")

    async def send(self, raw: bytes, rcpt_to: tuple[str, ...]) -> None:
        """Send a message. Raises DemoError where the relay does not take it."""
        self._mailbox.remember(raw)
        try:
            await asyncio.to_thread(self._send, raw, rcpt_to)
        except (smtplib.SMTPException, OSError) as error:
            raise DemoError(f"the relay did not take a message: {error}") from error

    def _send(self, raw: bytes, rcpt_to: tuple[str, ...]) -> None:
        options = [] if raw.isascii() else ["BODY=8BITMIME"]
        with smtplib.SMTP(self._host, int(self._port), local_hostname="localhost", timeout=30) as client:
            client.sendmail(SENDER, rcpt_to, raw, options)

    async def again(self, letter: Letter) -> None:
        """Send once more what arrived as this letter."""
        if letter.sent is not None:
            await self.send(letter.sent, letter.rcpt_to)


async def _send_samples(installation: Installation, demo: Demo, site: bytes) -> None:
    agreed = ["--purpose", "open", "--purpose", "click", "--method", "paper", "--evidence", "Order form of 12 November"]
    _, _, link = await asyncio.gather(
        installation.call("consent", "grant", AGREED, *agreed),
        installation.call("consent", "withdraw", REFUSED, "--method", "phone"),
        installation.call("sender-link", SENDER),
    )
    sending = Sending(demo.mailbox, demo.relay)
    for name, rcpt_to in _RECIPIENTS.items():
        await sending.send(filled((_SAMPLES / name).read_bytes(), site), rcpt_to)
    stop = re.search(re.escape(demo.public_url) + r"/stop/[\w-]+", shown(demo.mailbox.letters[0].raw)[0])
    if stop is None:
        raise DemoError("the message to the person who agreed has no link to refuse.")
    demo.sender_url, demo.stop_url = link.strip(), stop[0]


def filled(raw: bytes, site: bytes) -> bytes:
    """Return a sample with its links leading to ``site``, encoded as it was."""
    edits: list[Edit] = []
    for entity in read_structure(raw):
        part = entity.part
        header = _found(raw[part.start : part.body], site)
        edits += [(part.start + start, part.start + end, new) for start, end, new in header]
        if part.content_type.startswith("text/"):
            encoded = decode(raw[part.body : part.end], part.encoding)
            inside = _found(encoded.decoded, site)
            if inside:
                edits.append((part.body, part.end, encoded.with_edits(inside, b"\r\n")))
    return splice(raw, edits)


def _found(content: bytes, site: bytes) -> list[Edit]:
    return [(match.start(), match.end(), site) for match in re.finditer(re.escape(SITE), content)]


def _announcement(demo: Demo, mailbox: str) -> str:
    return (
        "The demo runs, on this machine only. Open these three addresses; Ctrl-C ends it.\n\n"
        f"  mailbox        {mailbox}/\n"
        f"  sender's view  {demo.sender_url}\n"
        f"  refusal page   {demo.stop_url}"
    )
