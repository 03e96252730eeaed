"""Waiting: for what another process does, with a deadline and without guessing how long it takes."""

import os
import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_given: set[int] = set()
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PORTS = range(10_000 + _WORKER, 20_000, _WORKERS)
"""Those of this process of tests: the others have their own, and the demo looks for its ports above them."""


def until(condition: Callable[[], Result], what: str, seconds: float = 30.0, pause: float = 0.05) -> Result:
    """Return the first true result of a condition that is asked again and again; fail where it never comes."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return result


def free_port() -> int:
    """Return a port on loopback on which nobody listens now, and that no other test was given.

    Until the program that it is for listens there, minutes may pass. It lies below the ports that Linux gives to
    clients (32768 and more), none of which is quicker then.
    """
    while (port := random.choice(_PORTS)) in _given or not _is_free(port):  # no secret
        pass
    _given.add(port)
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def says_hello(port: int) -> bool:
    """Tell whether an SMTP server on loopback greets its clients."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.settimeout(5)
            return client.recv(4) == b"220 "
    except OSError:
        return False
