"""The metrics server: no client holds it up, and none leaves anything in the log."""

import socket
import struct
import threading

import pytest
from prometheus_client import CollectorRegistry, Gauge

from aboveboard import metricserver
from tests.e2e.waiting import free_port

LINGER = struct.pack("ii", 1, 0)
"""Has a connection end with a reset."""


def connected(port: int, said: bytes) -> socket.socket:
    """Return a connection on which so much has been said."""
    client = socket.create_connection(("127.0.0.1", port), 20)
    client.sendall(said)
    return client


def test_clients_that_say_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever connects and does not ask is let go of after a while, and whoever is gone is not missed."""
    said = threading.Event()
    # Nobody's time begins to run before all have said what they say.
    monkeypatch.setattr(metricserver._Handler, "timeout", property(lambda _: 0.2 if said.wait(20) else None))
    registry, port = CollectorRegistry(), free_port()
    Gauge("sessions", "Sessions.", registry=registry).set(2)
    close = metricserver.start("127.0.0.1", port, registry)
    try:
        silent = [connected(port, b""), connected(port, b"GET /metrics HTTP/1.1\r\n")]
        with connected(port, b"GET /metrics HT") as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        with connected(port, b"GET /metrics HTTP/1.1\r\n\r\n") as asking, asking.makefile("rb") as answer:
            said.set()
            assert b"sessions 2.0\n" in answer.read()
        for client in silent:
            with client:
                assert b"" == client.recv(1)
    finally:
        close()
    assert ("", "") == capfd.readouterr()
