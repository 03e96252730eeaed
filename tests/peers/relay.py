"""`aboveboard relay` between real clients and a real upstream: what its configuration says, and where it listens."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.e2e.waiting import free_port, says_hello, until
from tests.peers.authority import Certificates
from tests.peers.login import PASSWORDS, PEOPLE, SERVICE
from tests.peers.maildir import Maildir

HEAD = """\
[organisation]
name = "Example GmbH"
domains = ["example.org", {domains}]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"

[web]
public_url = "http://127.0.0.1:{web}"

[policy]
merge_window = "off"
"""

LISTENER = """
[[relay.listener]]
address = "127.0.0.1:{port}"
tls = "{tls}"
"""

CERTIFICATE = """\
certificate = "{certificates.certificate}"
key = "{certificates.key}"
"""

UPSTREAM = """
[[relay.upstream]]
url = "{scheme}://localhost:{port}"
senders = ["*@{tls}.example.org"]
username = "{user}"
password_file = "{password}"
"""

BALANCED_CLIENT = "127.0.0.2"
KINDS = {
    "": 'auth = "networks"\n',
    "login-": 'auth = "pass-through"\n',
    "account-": 'auth = "accounts"\n',
    "balanced-": f'networks = ["{BALANCED_CLIENT}", "::1"]\nproxy_protocol_from = ["127.0.0.1"]\n',
    "balanced-login-": 'auth = "pass-through"\nproxy_protocol_from = ["127.0.0.1"]\n',
}
"""Who may send by a listener, and whether a balancer is in front of it, which itself is in no trusted network."""
LISTENERS = (
    "none", "starttls", "implicit", "login-starttls", "login-implicit", "account-starttls", "account-implicit",
    "balanced-none", "balanced-starttls", "balanced-implicit", "balanced-login-implicit",
)  # fmt: skip
"""A kind, and how TLS is spoken."""
SCHEMES = {"starttls": "smtp+starttls", "implicit": "smtps"}


class Upstream(Protocol):
    """A real mail server with a port for each kind of TLS, and a maildir where its mail arrives."""

    starttls_port: int
    implicit_port: int
    maildir: Maildir

    @property
    def version(self) -> str:
        """Its name and version."""

    @property
    def log(self) -> str:
        """What it has written into its log so far."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay: its configuration, and its port for each kind of listener."""

    config: Path
    ports: dict[str, int]
    """By the names in ``LISTENERS``."""

    def grant(self, address: str) -> None:
        """Record that a person agreed to everything."""
        purposes = ("--purpose", "open", "--purpose", "click")
        self.command("consent", "grant", address, *purposes, "--method", "paper", "--evidence", "folder 7, page 3")

    def add_account(self, login: str, password: str) -> None:
        """Give somebody an account of the relay's own."""
        self.command("account", "add", login, said=password + "\n")

    def command(self, *words: str, said: str = "") -> str:
        """Run `aboveboard` with the relay's configuration, and what is said to it, and return what it prints."""
        command = [sys.executable, "-m", "aboveboard", *words, "--config", str(self.config)]
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def log(self) -> str:
        """What the relay has written so far."""
        return (self.config.parent / "log").read_text("utf-8")


def configuration(folder: Path, upstream: Upstream, certificates: Certificates, ports: dict[str, int]) -> str:
    """Return a configuration: listeners without TLS, with STARTTLS and behind TLS; routes by the sender's domain."""
    password = folder / "password"
    password.write_text(PASSWORDS[SERVICE])
    domains = ", ".join(f'"{person.partition("@")[2]}"' for person in PEOPLE.values())
    config = HEAD.format(domains=domains, web=free_port())
    for name, port in ports.items():
        kind, dash, tls = name.rpartition("-")
        config += LISTENER.format(port=port, tls=tls) + KINDS[kind + dash]
        config += CERTIFICATE.format(certificates=certificates) if tls != "none" else ""
    for tls, scheme in SCHEMES.items():
        port = getattr(upstream, f"{tls}_port")
        config += UPSTREAM.format(scheme=scheme, port=port, tls=tls, user=SERVICE, password=password)
    return config


@contextmanager
def running_relay(folder: Path, upstream: Upstream, certificates: Certificates) -> Iterator[Relay]:
    """Run a relay in front of an upstream until the block ends."""
    ports = {tls: free_port() for tls in LISTENERS}
    relay = Relay(folder / "aboveboard.toml", ports)
    relay.config.write_text(configuration(folder, upstream, certificates, ports))
    command = [sys.executable, "-m", "aboveboard", "relay", "--config", str(relay.config)]
    # The servers' certificates are verified against this authority and no other.
    environment = {**os.environ, "SSL_CERT_FILE": str(certificates.authority), "TMPDIR": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        until(lambda: process.poll() is not None or says_hello(ports["none"]), "the relay greets", seconds=90)
        assert process.poll() is None, relay.log
        yield relay
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
