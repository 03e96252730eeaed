"""IPv6: containers and many machines have none, and what needs it is skipped there."""

import socket

import pytest


def _answers() -> bool:
    """Tell whether there is an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HERE = _answers()
needs_ipv6 = pytest.mark.skipif(not HERE, reason="there is no IPv6 on this machine")
