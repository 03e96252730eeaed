"""Workers that are ended one after the other while mail flows: nothing is cut, nothing is lost, nothing comes twice."""

import os
import re
import signal
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.aboveboard.test_serve_reload import Upstream
from tests.e2e.serving import Service, running_service
from tests.e2e.waiting import until

BODY = b"x" * 70 + b"\r\n"


class Client(threading.Thread):
    """Hands in messages one after the other, some in one session, each again until it is accepted."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(name=name)
        self._port = port
        self._enough = threading.Event()
        self.accepted: list[str] = []
        self.unanswered: list[str] = []
        """Those whose session ended after their final dot without an answer."""

    def run(self) -> None:
        """Send until it is enough."""
        number = 0
        while not self._enough.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, "client.test", 30) as client:
                    for _ in range(5):
                        self._send(client, f"{self.name}-{number}")
                        number += 1
            except (smtplib.SMTPException, OSError):
                # 421, or the end of a session that was at rest: whatever was not accepted is sent again.
                continue

    def _send(self, client: smtplib.SMTP, name: str) -> None:
        client.ehlo_or_helo_if_needed()
        for code, text in (client.mail("alice@example.org"), client.rcpt("bob@customer.test")):
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        code, text = client.docmd("DATA")
        if code != 354:
            raise smtplib.SMTPResponseException(code, text)
        client.send(b"From: alice@example.org\r\nX-Number: " + name.encode() + b"\r\n\r\n" + BODY * 200)
        try:
            code, text = client.docmd(".")
        except smtplib.SMTPServerDisconnected:
            self.unanswered.append(name)
            raise
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        self.accepted.append(name)

    def end(self) -> None:
        """Stop sending."""
        self._enough.set()
        self.join()


@contextmanager
def sending(port: int) -> Iterator[list[Client]]:
    """Have several clients send while the block runs."""
    clients = [Client(port, f"client{at}") for at in range(4)]
    for one in clients:
        one.start()
    try:
        yield clients
    finally:
        for one in clients:
            one.end()


def restart(service: Service, clients: list[Client]) -> None:
    """End the relay processes one after the other, each when its successor serves and mail has flowed meanwhile."""
    for pid in service.workers("relay"):
        before = [len(one.accepted) for one in clients]
        os.kill(pid, signal.SIGTERM)
        until(partial(_is_replaced, service, pid), "another in its place", seconds=60)
        until(partial(_flows, clients, before), "mail flows for everybody", seconds=60)


def _is_replaced(service: Service, pid: int) -> bool:
    return len(set(service.workers("relay")) - {pid}) == 2


def _flows(clients: list[Client], before: list[int]) -> bool:
    return all(len(one.accepted) > count + 5 for one, count in zip(clients, before, strict=True))


def test_rolling_restart(tmp_path: Path) -> None:
    """Whatever was accepted arrived once and whole, and no client was left without an answer to its message."""
    upstream = Upstream()
    upstream.fake.data_delay = 0.02
    upstream.start()
    try:
        with running_service(tmp_path, upstream.wait_until_ready(), workers=2) as service:
            with sending(service.smtp_port) as clients:
                restart(service, clients)
            assert 0 == service.end()
    finally:
        upstream.end()
    arrived = Counter(re.findall(rb"X-Number: ([\w-]+)", b"".join(upstream.fake.messages)))
    accepted = [name.encode() for one in clients for name in one.accepted]
    assert [] == [name for one in clients for name in one.unanswered]
    assert {1} == set(arrived.values())
    assert sorted(accepted) == sorted(arrived)
    assert {200} == {message.count(BODY) for message in upstream.fake.messages}
