"""The PROXY protocol, versions 1 and 2: who a balancer's client is, told in front of the connection.

Strict: what is not exactly as HAProxy's proxy-protocol.txt has it is no header, because who may send hangs on it.
"""

import ipaddress
import re
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIRST = len(SIGNATURE)
_SHORTEST_V1 = len(b"PROXY UNKNOWN\r\n")
_LONGEST_V1 = 107
_FIXED_V2 = 16
_LONGEST_V2 = 2_048
"""More than any balancer has to say: 232 octets of addresses at most, the rest in additional fields."""
_PORT = r"(?:0|[1-9][0-9]{0,4})"
_V1 = re.compile(rf"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ({_PORT}) ({_PORT})\r\n")
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_ADDRESSES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36}
"""Octets of the addresses and ports, by family and transport."""


_SSL_FIELD = 0x20
_CAME_BY_TLS = 1


class NoHeader(ValueError):
    """What came is no header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class Client:
    """Whom a balancer speaks for."""

    address: str
    """Empty where the balancer does not know it."""
    encrypted: bool = False
    """The balancer says that the client came to it by TLS."""

    @property
    def is_private(self) -> bool:
        """Tell whether nobody could listen in on the way to the balancer."""
        return self.encrypted or (self.address != "" and ipaddress.ip_address(self.address).is_loopback)


def missing(header: bytes) -> int:
    """Return how many octets are still to come at least; 0 where the header is whole. Raises NoHeader.

    Whoever reads exactly so many at a time never reads anything behind the header.
    """
    if len(header) < _FIRST:
        return _FIRST - len(header)
    if header.startswith(SIGNATURE):
        if len(header) < _FIXED_V2:
            return _FIXED_V2 - len(header)
        whole = _FIXED_V2 + int.from_bytes(header[14:_FIXED_V2], "big")
        if whole > _LONGEST_V2:
            raise NoHeader("too long")
        return whole - len(header)
    if not header.startswith(b"PROXY "):
        raise NoHeader("neither version")
    if len(header) < _SHORTEST_V1:
        return _SHORTEST_V1 - len(header)
    if header.endswith(b"\r\n"):
        return 0
    more = 1 if header.endswith(b"\r") else 2
    if len(header) + more > _LONGEST_V1:
        raise NoHeader("too long")
    return more


def client(header: bytes) -> Client | None:
    """Return the client that a whole header names.

    None where there is no client: the balancer itself has connected, to see whether we are well. Raises NoHeader.
    """
    return _client_v2(header) if header.startswith(SIGNATURE) else Client(_client_v1(header))


def _client_v1(header: bytes) -> str:
    if re.match(rb"PROXY UNKNOWN[ \r]", header):
        # "The receiver must ignore anything presented before the CRLF": the client is not known.
        return ""
    try:
        match = _V1.fullmatch(header.decode("ascii"))
    except UnicodeDecodeError as error:
        raise NoHeader("not ASCII") from error
    if match is None or max(int(match[4]), int(match[5])) > 65_535:
        raise NoHeader("not the line of version 1")
    _address(match[3], int(match[1]))
    return _address(match[2], int(match[1]))


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise NoHeader("no address") from error
    if address.version != version:
        raise NoHeader("an address of another family")
    return _plain(address)


def _client_v2(header: bytes) -> Client | None:
    version, command, family = header[12] >> 4, header[12] & 15, header[13]
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise NoHeader("not version 2")
    if command == _LOCAL:
        # What follows is to be skipped, whatever it is.
        return None
    said = header[_FIXED_V2:]
    if family not in _ADDRESSES or len(said) < _ADDRESSES[family]:
        raise NoHeader("not TCP, or no room for the addresses")
    if family == _UNSPECIFIED:
        return Client("")
    encrypted = _came_by_tls(said[_ADDRESSES[family] :])
    octets = said[:4] if family == _TCP4 else said[:16]
    return Client(_plain(ipaddress.ip_address(octets)), encrypted)


def _came_by_tls(fields: bytes) -> bool:
    """Tell what the additional fields (type, length, value) say of TLS. Raises NoHeader where they end elsewhere."""
    at, encrypted = 0, False
    while at < len(fields):
        end = at + 3 + int.from_bytes(fields[at + 1 : at + 3], "big")
        if fields[at] == _SSL_FIELD and end > at + 3:
            encrypted = bool(fields[min(at + 3, len(fields) - 1)] & _CAME_BY_TLS)
        at = end
    if at != len(fields):
        raise NoHeader("fields that do not end where the header does")
    return encrypted


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as text; an IPv4 address in IPv6 form is IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address)
