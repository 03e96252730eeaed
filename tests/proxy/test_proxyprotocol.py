"""The PROXY protocol's header: what is right names the client, whatever else there is names nobody."""

import ipaddress
import socket
import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.proxyprotocol import SIGNATURE, Client, NoHeader, client, missing

PORTS = st.integers(0, 65_535)
V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
PAIRS = st.one_of(st.tuples(V4, V4), st.tuples(V6, V6))
FIELDS = st.lists(st.tuples(st.sampled_from([0x20, 1, 3, 255]), st.binary(max_size=40)), max_size=4)


def version_1(pair: tuple[object, object], ports: tuple[int, int]) -> bytes:
    """Return a header in text."""
    family = ipaddress.ip_address(str(pair[0])).version
    return f"PROXY TCP{family} {pair[0]} {pair[1]} {ports[0]} {ports[1]}\r\n".encode()


def version_2(said: bytes, family: int, command: int = 0x21) -> bytes:
    """Return a header in binary with these addresses and fields."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(said)) + said


def fields(several: list[tuple[int, bytes]]) -> bytes:
    """Return additional fields."""
    return b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in several)


def read(content: bytes) -> bytes:
    """Return the header in front of some bytes, read as a server reads it. Raises EOFError where they end before it."""
    header = b""
    while (count := missing(header)) > 0:
        more = content[len(header) : len(header) + count]
        if not more:
            raise EOFError
        header += more
    return header


def plain(address: object) -> str:
    """Return an address as it is compared: IPv4 in IPv6 form is IPv4."""
    parsed = ipaddress.ip_address(str(address))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@given(PAIRS, st.tuples(PORTS, PORTS), st.binary(max_size=50))
def test_version_1(pair: tuple[object, object], ports: tuple[int, int], behind: bytes) -> None:
    """Any line of version 1 names its client, and not an octet behind it is read."""
    header = version_1(pair, ports)

    assert header == read(header + behind)
    assert Client(plain(pair[0])) == client(header)


@given(PAIRS, st.tuples(PORTS, PORTS), FIELDS, st.binary(max_size=50))
def test_version_2(
    pair: tuple[ipaddress.IPv4Address, ipaddress.IPv4Address],
    ports: tuple[int, int],
    several: list[tuple[int, bytes]],
    behind: bytes,
) -> None:
    """Any header of version 2 names its client, whatever fields follow, and not an octet behind it is read."""
    said = pair[0].packed + pair[1].packed + struct.pack("!HH", *ports) + fields(several)
    header = version_2(said, 0x11 if pair[0].version == 4 else 0x21)

    by_tls = [bool(value[0] & 1) for kind, value in several if kind == 0x20 and value]

    assert header == read(header + behind)
    assert Client(plain(pair[0]), by_tls != [] and by_tls[-1]) == client(header)


@given(PAIRS, st.tuples(PORTS, PORTS), st.integers(0, 106))
def test_half_a_header(pair: tuple[object, object], ports: tuple[int, int], cut: int) -> None:
    """A header that ends too early is never taken for a whole one."""
    header = version_1(pair, ports)
    assume(cut < len(header))
    with pytest.raises(EOFError):
        read(header[:cut])


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda end: SIGNATURE + end), st.text().map(
    lambda text: b"PROXY " + text.encode() + b"\r\n")))  # fmt: skip
@example(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n")
@example(version_2(bytes(12), 0x11))
def test_any_bytes(content: bytes) -> None:
    """Whatever comes is a header with an address in its one spelling, or none at all; never another error."""
    try:
        header = read(content)
        named = client(header)
    except (NoHeader, EOFError):
        return
    assert len(header) <= 2_048
    assert named is None or named.address == "" or str(ipaddress.ip_address(named.address)) == named.address


@pytest.mark.parametrize(
    "line",
    [
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 25",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 25",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 25",
        "PROXY TCP4 192.0.2.1 2001:db8::1 1 25",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 25",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 25",
        "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 25",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 25",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 25 ",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 25",
        "PROXY UNKNOWNN and so on",
        "PROXY TCP4 192.0.2.\u0661 192.0.2.2 1 25",
        "PROXY " + "x" * 200,
        "proxy TCP4 192.0.2.1 192.0.2.2 1 25",
        "EHLO client.test",
    ],
)
def test_no_line_of_version_1(line: str) -> None:
    """What is nearly a line of version 1 is none."""
    with pytest.raises(NoHeader):
        client(read(line.encode() + b"\r\n"))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(version_2(bytes(11), 0x11), id="addresses cut"),
        pytest.param(version_2(bytes(12), 0x21), id="IPv6 with room for IPv4"),
        pytest.param(version_2(bytes(12), 0x12), id="UDP"),
        pytest.param(version_2(bytes(216), 0x31), id="a Unix socket"),
        pytest.param(version_2(bytes(12), 0x11, command=0x11), id="version 1 in binary"),
        pytest.param(version_2(bytes(12), 0x11, command=0x22), id="unknown command"),
        pytest.param(version_2(bytes(12) + b"\x04\0\x05abc", 0x11), id="a field that is longer than the header"),
        pytest.param(version_2(bytes(12) + b"\x04\0", 0x11), id="half a field"),
        pytest.param(version_2(bytes(3_000), 0x11), id="too long"),
    ],
)
def test_no_header_of_version_2(header: bytes) -> None:
    """What is nearly a header of version 2 is none."""
    with pytest.raises(NoHeader):
        client(read(header))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(b"PROXY UNKNOWN\r\n", "", id="1, not known"),
        pytest.param(b"PROXY UNKNOWN ffff:f::1 ::2 1 2\r\n", "", id="1, not known, with addresses to ignore"),
        pytest.param(version_2(b"", 0x00), "", id="2, not known"),
        pytest.param(version_2(b"", 0x00, command=0x20), None, id="2, the balancer itself"),
        pytest.param(version_2(b"anything", 0x11, command=0x20), None, id="2, the balancer itself, with more"),
        pytest.param(
            version_2(socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1") + bytes(20), 0x21), "192.0.2.1", id="mapped"
        ),
    ],
)
def test_no_client(header: bytes, expected: str | None) -> None:
    """A client that the balancer does not know has no address; a balancer on its own behalf is no client."""
    assert (None if expected is None else Client(expected)) == client(read(header))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Client("192.0.2.1"), False),
        (Client("192.0.2.1", encrypted=True), True),
        (Client("127.0.0.1"), True),
        (Client("::1"), True),
        (Client(""), False),
    ],
)
def test_nobody_listens_in(found: Client, expected: bool) -> None:
    """The way to a balancer is private by TLS, or on this machine."""
    assert expected == found.is_private
