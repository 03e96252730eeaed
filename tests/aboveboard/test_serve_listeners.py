"""A running service's listeners: what all its workers count together, and a certificate that is renewed."""

import os
import signal
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import trustme

from tests.e2e.serving import Service, alone, running_service, standing_still
from tests.e2e.waiting import free_port, until
from tests.proxy.test_certificates import write

LISTENERS = """
[[relay.listener]]
address = "127.0.0.1:{encrypted}"
tls = "starttls"
certificate = "chain.pem"
key = "key.pem"

[[relay.listener]]
address = "127.0.0.1:{balanced}"
networks = ["192.0.2.0/24"]
proxy_protocol_from = ["127.0.0.1"]
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A service of two relay processes, with a listener that has a certificate and one behind a balancer."""

    service: Service
    authority: trustme.CA
    encrypted: int
    balanced: int


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service, running."""
    folder, authority = tmp_path_factory.mktemp("service"), trustme.CA()
    write(folder, authority.issue_cert("relay.test"))
    encrypted, balanced = free_port(), free_port()
    more = LISTENERS.replace("{encrypted}", str(encrypted)).replace("{balanced}", str(balanced))
    with running_service(folder, 9, workers=2, more=more) as service:
        yield Running(service, authority, encrypted, balanced)


def greeting(port: int, client: str, stack: ExitStack) -> str:
    """Connect for a client, as its balancer does, and return the first line; the connection stays open."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
    connection.sendall(f"PROXY TCP4 {client} 192.0.2.99 40000 25\r\n".encode())
    with connection.makefile("rb") as said:
        return said.readline().decode()


def test_workers_count_together(running: Running) -> None:
    """S16: a client with 25 connections to one worker and 25 to the other gets no 51st from either; others do."""
    pids = running.service.workers("relay")
    with ExitStack() as stack:
        for pid in pids:
            with alone(pid, pids):
                assert {"220"} == {greeting(running.balanced, "192.0.2.7", stack)[:3] for _ in range(25)}
        for pid in pids:
            with alone(pid, pids):
                assert greeting(running.balanced, "192.0.2.7", stack).startswith("421 4.7.0 Too many connections")
                assert greeting(running.balanced, "192.0.2.8", stack).startswith("220")


def shown(running: Running) -> set[object]:
    """Return the serial numbers of the certificates that the relay processes show."""
    found, trust = set(), ssl.create_default_context()
    running.authority.configure_trust(trust)
    pids = running.service.workers("relay")
    for pid in pids:
        with alone(pid, pids), smtplib.SMTP("127.0.0.1", running.encrypted, "client.test", 20) as client:
            # The name is checked as if it had been connected to.
            client._host = "relay.test"
            client.starttls(context=trust)
            assert isinstance(client.sock, ssl.SSLSocket)
            found.add((client.sock.getpeercert() or {})["serialNumber"])
    return found


def renew(running: Running) -> None:
    """Renew the certificate, without the service's seeing that of one with the key of another."""
    with standing_still(running.service.process.pid):
        write(running.service.folder, running.authority.issue_cert("relay.test"))


def test_certificates_are_renewed(running: Running) -> None:
    """A renewed certificate is shown by every worker, soon or at SIGHUP; a broken one leaves the old and a log line."""
    service, folder = running.service, running.service.folder
    (first,) = shown(running)
    renew(running)
    until(lambda: first not in shown(running), "the new certificate in every worker")
    (second,) = shown(running)
    (folder / "chain.pem").write_text("nonsense")
    until(lambda: "serve.certificate_kept" in service.log, "the log says that it is broken")
    assert "relay.listener[1].certificate: certificate and key do not load" in service.log
    assert {second} == shown(running)
    renew(running)
    os.kill(service.process.pid, signal.SIGHUP)
    until(lambda: not {first, second} & shown(running), "the third certificate in every worker")
    # Workers may have it before the parent has said so.
    until(lambda: 2 == service.log.count("serve.certificate_renewed"), "the log says that there were two")
    assert 1 == service.log.count("serve.certificate_kept")
