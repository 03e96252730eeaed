"""Sockets: listening ones, bound by the parent before any worker starts, and how many there may be."""

import resource
import socket

from aboveboard.config import ConfigError
from aboveboard.values import split_address

BACKLOG = 511
"""Connections that wait to be taken."""
MANY_FILES = 65_536


def bind(key_path: str, address: str) -> socket.socket:
    """Return a listening socket for ``HOST:PORT``. Raises ConfigError with the key path."""
    host, port = split_address(address)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ConfigError([f"{key_path}: {address} is not an address of this machine: {error.strerror}."]) from error
    # IPPROTO_TCP said outright: asyncio switches Nagle's algorithm off only where it sees that.
    bound = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        # Ports below 1024 are the superuser's.
        needs = "; such a port needs the capability CAP_NET_BIND_SERVICE" if isinstance(error, PermissionError) else ""
        raise ConfigError([f"{key_path}: {address} cannot be listened on: {error.strerror}{needs}."]) from error
    bound.setblocking(False)
    return bound


def allow_many_files() -> None:
    """Have this process and its workers open as many files as they may: every session takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
