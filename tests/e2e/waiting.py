"""Waiting: for what another process does, with a deadline and without guessing how long it takes."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def until(condition: Callable[[], Result], what: str, seconds: float = 30.0, pause: float = 0.05) -> Result:
    """Return the first true result of a condition that is asked again and again; fail where it never comes."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return result


def free_port() -> int:
    """Return a port on loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def says_hello(port: int) -> bool:
    """Tell whether an SMTP server on loopback greets its clients."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.settimeout(5)
            return client.recv(4) == b"220 "
    except OSError:
        return False
