"""Waiting: for what another process does, with a deadline and without guessing how long it takes."""

import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_given: set[int] = set()


def until(condition: Callable[[], Result], what: str, seconds: float = 30.0, pause: float = 0.05) -> Result:
    """Return the first true result of a condition that is asked again and again; fail where it never comes."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return result


def free_port() -> int:
    """Return a port on loopback on which nobody listens now, and that no other test of this process was given.

    It lies below the ports that Linux gives to clients (32768 and more): neither a client nor another process that
    looks for a port at the same moment is likely to be quicker than the program it is for.
    """
    while (port := random.randrange(10_000, 32_000)) in _given or not _is_free(port):  # no secret
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
