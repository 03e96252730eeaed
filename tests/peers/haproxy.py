"""HAProxy in front of the relay, from Debian's package: passes TLS through and says by the PROXY protocol who comes."""

import csv
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import ipv6
from tests.e2e.waiting import free_port, until
from tests.peers import environment, program

HEAD = """\
global
  stats socket {work}/stats level user
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
"""

FRONT = """
listen {name}
  bind {address}:{port}
  option smtpchk EHLO balancer.test
  server relay 127.0.0.1:{relay} {header} check check-send-proxy inter 500ms {check}
"""

HEADERS = {"v1": "send-proxy", "v2": "send-proxy-v2"}


class HAProxy:
    """A HAProxy of our own: a port for each version of the header and each port of the relay."""

    def __init__(self, work: Path, command: Path, relay: dict[str, int]) -> None:
        self._work = work
        self._command = command
        self.ports: dict[str, int] = {}
        """By version and name of the relay's port, like ``v2-none``; ``v2-none-ipv6`` for clients from ``::1``."""
        config = HEAD.format(work=work)
        for version, header in HEADERS.items():
            for name, port in relay.items():
                for suffix, address in (("", "127.0.0.1"), *([("-ipv6", "[::1]")] if ipv6.HERE else [])):
                    front = f"{version}-{name}{suffix}"
                    self.ports[front] = free_port()
                    config += FRONT.format(
                        name=front, address=address, port=self.ports[front], relay=port, header=header,
                        check="check-ssl verify none" if name.endswith("implicit") else "",
                    )  # fmt: skip
        (work / "haproxy.cfg").write_text(config)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        with (self._work / "log").open("wb") as log:
            process = subprocess.Popen(
                [self._command, "-db", "-f", self._work / "haproxy.cfg"],
                env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until((self._work / "stats").exists, "HAProxy is there")
            assert process.poll() is None, (self._work / "log").read_text()
            yield
        finally:
            process.terminate()
            process.wait(30)

    def health(self) -> dict[str, str]:
        """Return what its probes found, by the names of the ports: ``L7OK`` where an SMTP server greets."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self._work / "stats"))
            asking.sendall(b"show stat\n")
            said = b"".join(iter(lambda: asking.recv(65_536), b""))
        rows = csv.DictReader(said.decode().lstrip("# ").splitlines())
        return {row["pxname"]: row["check_status"] for row in rows if row["svname"] == "relay"}

    @property
    def version(self) -> str:
        """What it calls itself."""
        done = subprocess.run([self._command, "-v"], env=environment(), capture_output=True, text=True, check=True)
        return f"HAProxy {done.stdout.split()[2]}"


@contextmanager
def running_haproxy(work: Path, relay: dict[str, int]) -> Iterator[HAProxy]:
    """Run a HAProxy in a folder, in front of a relay's ports by their names."""
    haproxy = HAProxy(work, program("haproxy"), relay)
    with haproxy.running():
        yield haproxy
