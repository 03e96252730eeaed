"""Taking connections: fairly among workers; from balancers, and on IPv6, by the address that counts."""

import asyncio
import ipaddress
import resource
import socket
import ssl
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog
import trustme

from policies import PolicyModel
from proxy import acceptor
from proxy.limits import SHARED_LIMITS
from proxy.proxyprotocol import SIGNATURE, Client
from proxy.server import Listener
from tests.ipv6 import needs_ipv6
from tests.proxy.sending import until
from tests.relaying import Running, conduct, running_relay
from tests.upstream import FakeUpstream

ENVELOPE = b"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\n"
MESSAGE = (
    ENVELOPE
    + b"RCPT TO:<bob@customer.test>\r\nDATA\r\nFrom: alice@example.org\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n"
)
HERE = ipaddress.ip_network("127.0.0.1")
CLIENTS = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))


def version_1(client: str) -> bytes:
    """Return a line that names a client."""
    family = ipaddress.ip_address(client).version
    return f"PROXY TCP{family} {client} {'192.0.2.99' if family == 4 else '::1'} 40000 25\r\n".encode()


def version_2(client: str, fields: bytes = b"") -> bytes:
    """Return the same in binary, with additional fields."""
    address = ipaddress.ip_address(client)
    said = address.packed * 2 + struct.pack("!HH", 40_000, 25) + fields
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if address.version == 4 else 0x21, len(said)) + said


def listener(*balancers: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Listener:
    """Return a listener behind balancers that trusts clients of documentation only."""
    return Listener(CLIENTS, balancers=balancers, address="127.0.0.1:25")


async def said(running: Running, content: bytes) -> str:
    """Return everything that is answered to some bytes until the connection ends, by either side."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(content)
    writer.write_eof()
    try:
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    except ConnectionResetError:
        return ""
    finally:
        writer.close()


async def test_workers_share_a_burst() -> None:
    """However many wait, a worker takes one connection and looks up, so that others on its socket have their share."""
    taken: list[list[int]] = [[], []]
    with socket.create_server(("127.0.0.1", 0), backlog=20) as bound, ExitStack() as stack:
        for worker in taken:

            def session(_: Client | None, worker: list[int] = worker) -> asyncio.Protocol:
                worker.append(1)
                return asyncio.Protocol()

            stack.callback(
                acceptor.Acceptor(bound.dup(), session, None, lambda _: False, lambda _: None, SHARED_LIMITS).close
            )
        for _ in range(20):
            stack.enter_context(socket.create_connection(bound.getsockname()))
        await until(lambda: sum(map(len, taken)) == 20)
    assert [10, 10] == [len(one) for one in taken]


async def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more files may be open, connections wait, and are taken once there may."""
    monkeypatch.setattr(acceptor, "_PAUSE_SECONDS", 0.01)
    taken: list[int] = []

    def session(_: Client | None) -> asyncio.Protocol:
        taken.append(1)
        return asyncio.Protocol()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as bound, socket.create_connection(bound.getsockname()):
        accepting = acceptor.Acceptor(bound.dup(), session, None, lambda _: False, lambda _: None, SHARED_LIMITS)
        with structlog.testing.capture_logs() as logged:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                await until(lambda: logged)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not taken
        await until(lambda: taken)
        accepting.close()
    assert {"smtp.accept_failed"} == {one["event"] for one in logged}


@pytest.mark.parametrize("header", [version_1, version_2], ids=["version 1", "version 2"])
@pytest.mark.parametrize(
    ("client", "expected"),
    [("192.0.2.7", "queued"), ("2001:db8::7", "queued"), ("198.51.100.1", "550 5.7.1"), ("127.0.0.1", "550 5.7.1")],
)
async def test_the_address_in_front_counts(tmp_path: Path, header: type, client: str, expected: str) -> None:
    """Who may send is told by the address that the balancer names, in either family, not by the balancer's."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=listener(HERE)) as running:
        heard = await said(running, header(client) + MESSAGE)
    assert expected in heard
    assert (1 if expected == "queued" else 0) == len(upstream.messages)


async def test_policy_sees_the_client(tmp_path: Path) -> None:
    """A rule about the client's network judges by the address that the balancer names."""
    rule = {"name": "Branch", "when": {"client": ["192.0.2.0/28"]}, "then": {"refuse": "Not from the branch"}}
    settings = conduct(PolicyModel.model_validate({"rule": [rule]}))
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, listener=listener(HERE), settings=settings) as running,
    ):
        branch, main = [await said(running, version_1(one) + MESSAGE) for one in ("192.0.2.7", "192.0.2.77")]
    assert "550 5.7.1 Not from the branch" in branch
    assert "queued" in main


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(MESSAGE, id="none"),
        pytest.param(b"PROXY TCP4 192.0.2.7 192.0.2.99 1 70000\r\n" + MESSAGE, id="wrong"),
        pytest.param(b"PROXY TCP4 192.0.2.7", id="half"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_no_header_from_a_balancer(tmp_path: Path, content: bytes) -> None:
    """A balancer whose connection does not begin with a header hears nothing but the end of it."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=listener(HERE)) as running:
        assert "" == await said(running, content)
        assert not running.server.sessions
    assert [] == upstream.messages


async def test_a_silent_balancer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer that says nothing is not waited for long."""
    monkeypatch.setattr(acceptor, "HEADER_SECONDS", 0.1)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=listener(HERE)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        assert b"" == await asyncio.wait_for(reader.read(), 10)
        writer.close()


@pytest.mark.parametrize("balancers", [(), (ipaddress.ip_network("203.0.113.5"),)], ids=["none listed", "another"])
async def test_a_header_from_anybody_else(tmp_path: Path, balancers: tuple[ipaddress.IPv4Network, ...]) -> None:
    """Whoever is no listed balancer cannot pass for another address: the header is no command, and the end."""
    relay = running_relay(tmp_path, 9, listener=listener(*balancers))
    async with relay as running:
        heard = await said(running, version_1("192.0.2.7") + MESSAGE)
        binary = await said(running, version_2("192.0.2.7") + MESSAGE)
    assert ["220", "502"] == [line[:3] for line in heard.splitlines()]
    assert ["220", "500", "500", "500"] == [line[:3] for line in binary.splitlines()]


@pytest.mark.parametrize("whole", [True, False], ids=["in one packet", "apart"])
async def test_in_front_of_implicit_tls(tmp_path: Path, whole: bool) -> None:
    """The header comes in front of TLS, also in one packet with the client's first words of it."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("relay.test").configure_cert(server)
    authority.configure_trust(client)
    behind = Listener(CLIENTS, "implicit", server, balancers=(HERE,))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(incoming, outgoing, server_hostname="relay.test")
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=behind) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        for packet in (
            [version_2("192.0.2.7") + outgoing.read()] if whole else [version_2("192.0.2.7"), outgoing.read()]
        ):
            writer.write(packet)
            await asyncio.sleep(0.05)
        heard = await _through(tls, incoming, outgoing, reader, writer)
        writer.close()
    assert "queued" in heard
    assert b"with ESMTPS id" in upstream.messages[0]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(version_2("192.0.2.7"), False, id="in clear"),
        pytest.param(version_2("192.0.2.7", b"\x20\0\5\0\0\0\0\0"), False, id="in clear, by its own word"),
        pytest.param(version_2("192.0.2.7", b"\x20\0\5\1\0\0\0\0"), True, id="by TLS"),
        pytest.param(version_2("127.0.0.1"), True, id="on this machine"),
        pytest.param(b"PROXY UNKNOWN\r\n", False, id="not known"),
    ],
)
async def test_logins_behind_a_balancer_that_takes_tls_off(tmp_path: Path, header: bytes, expected: bool) -> None:
    """S11, 159: AUTH is offered where the client came to the balancer by TLS; else a login is not taken."""
    behind = Listener((), auth="pass-through", balancers=(HERE,))
    async with (
        FakeUpstream(extensions=("AUTH PLAIN LOGIN",)) as upstream,
        running_relay(tmp_path, upstream.port, listener=behind) as running,
    ):
        heard = await said(running, header + b"EHLO client.test\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n")
    assert expected == ("AUTH PLAIN LOGIN" in heard)
    assert expected == ("538 5.7.11" not in heard)


async def test_starttls_behind_a_balancer(tmp_path: Path) -> None:
    """A session behind a balancer goes on encrypted, and is still its client's."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("relay.test").configure_cert(server)
    authority.configure_trust(client)
    behind = Listener(CLIENTS, "starttls", server, balancers=(HERE,))
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=behind) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(version_1("192.0.2.7") + b"EHLO client.test\r\nSTARTTLS\r\n")
        while not (await asyncio.wait_for(reader.readline(), 10)).startswith(b"220 2.0.0 "):
            pass
        await asyncio.wait_for(writer.start_tls(client, server_hostname="relay.test"), 10)
        writer.write(MESSAGE)
        while not (line := await asyncio.wait_for(reader.readline(), 10)).startswith(b"221"):
            assert line[:1] in b"23", line
        writer.close()
    assert b"with ESMTPS id" in upstream.messages[0]


async def _through(
    tls: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> str:
    """Hand in the message through TLS and return everything that is answered."""
    heard, shaken = b"", False
    while arrived := await asyncio.wait_for(reader.read(65_536), 10):
        incoming.write(arrived)
        try:
            if not shaken:
                tls.do_handshake()
                shaken = True
                tls.write(MESSAGE)
            # Nothing means that the other side has ended it.
            for piece in iter(tls.read, b""):
                heard += piece
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
    return heard.decode()


async def test_a_client_that_is_not_known(tmp_path: Path) -> None:
    """A balancer's own probe is answered, and a client without address may not send."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=listener(HERE)) as running:
        probe = await said(running, SIGNATURE + b"\x20\x00\x00\x00" + b"QUIT\r\n")
        unknown = await said(running, b"PROXY UNKNOWN\r\n" + MESSAGE)
    assert ["220", "221"] == [line[:3] for line in probe.splitlines()]
    assert "550 5.7.1" in unknown
    assert [] == upstream.messages


async def test_draining_behind_a_balancer(tmp_path: Path) -> None:
    """A worker that ends takes no more connections from balancers, and lets a session in the middle end."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=listener(HERE)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(version_1("192.0.2.7") + ENVELOPE)
        while not (await asyncio.wait_for(reader.readline(), 10)).startswith(b"250 2.1.0"):
            pass
        draining = asyncio.create_task(running.server.drain(5.0))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(MESSAGE.removeprefix(ENVELOPE))
        assert b"queued" in await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await draining
    assert 1 == len(upstream.messages)


@needs_ipv6
@pytest.mark.parametrize(("trusted", "expected"), [("::1/128", "queued"), ("127.0.0.0/8", "550 5.7.1")])
async def test_ipv6(tmp_path: Path, trusted: str, expected: str) -> None:
    """A listener on IPv6 trusts by IPv6 networks, and an upstream may stand there, too."""
    reached = Listener((ipaddress.ip_network(trusted),), address="[::1]:0")
    async with (
        FakeUpstream(host="::1") as upstream,
        running_relay(tmp_path, upstream.port, listener=reached, host="::1") as running,
    ):
        reader, writer = await asyncio.open_connection("::1", running.port)
        writer.write(MESSAGE)
        heard = (await asyncio.wait_for(reader.read(), 10)).decode()
        writer.close()
    assert expected in heard
