"""How connections end, on either side: nothing of them is left behind, whoever does not play along."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from proxy import bare
from proxy import upstream as upstream_module
from proxy.limits import SharedLimits
from proxy.reply import reply
from proxy.server import Listener
from proxy.session import Session
from tests.proxy.sending import until
from tests.proxy.test_server import ENVELOPE, talk
from tests.relaying import Running, running_relay
from tests.upstream import FakeUpstream


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return who vouches for the relay."""
    return trustme.CA()


@pytest.fixture(scope="module")
def starttls(authority: trustme.CA) -> Listener:
    """Return a listener that offers STARTTLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("relay.test").configure_cert(context)
    return Listener((ip_network("127.0.0.0/8"),), "starttls", context)


async def before_tls(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection on which TLS may begin."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"EHLO client.test\r\nSTARTTLS\r\n")
    await asyncio.wait_for(reader.readuntil(b"220 2.0.0 Go on with TLS\r\n"), 10)
    return reader, writer


def counted(running: Running) -> tuple[int, int]:
    """Return how many connections are counted, here and for all workers."""
    return len(running.server.sessions), running.server._census.connections


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01", b"MAIL FROM:<alice@example.org>\r\n"])
async def test_a_client_that_does_not_come_to_tls(tmp_path: Path, starttls: Listener, said: bytes) -> None:
    """A client that hangs up after STARTTLS, or says what is no TLS, is counted no more."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=starttls) as running:
        _, writer = await before_tls(running)
        assert (1, 1) == counted(running)
        writer.write(said)
        await writer.drain()
        writer.transport.abort()
        await until(lambda: counted(running) == (0, 0))


async def test_the_end_of_a_service_with_a_client_half_way_to_tls(tmp_path: Path, starttls: Listener) -> None:
    """A service that ends does so although a client is in the middle of beginning TLS."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=starttls) as running:
        _, writer = await before_tls(running)
        await running.server.drain(0.1)
        await until(lambda: counted(running) == (0, 0))
        writer.close()


async def test_clients_that_never_begin_with_tls(tmp_path: Path, starttls: Listener, authority: trustme.CA) -> None:
    """Connections on which TLS is still to begin are no more than one client, and all of them, may have."""
    before, limits = replace(starttls, tls="implicit"), SharedLimits(connections=3, per_client=2)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with FakeUpstream() as upstream, AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            running_relay(tmp_path, upstream.port, listener=before, shared=limits)
        )

        async def connected(host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            found = await asyncio.open_connection("127.0.0.1", running.port, local_addr=(host, 0))
            stack.callback(found[1].close)
            return found

        silent = [await connected(host) for host in ("127.0.0.1", "127.0.0.1", "127.0.0.2")]
        for host in ("127.0.0.1", "127.0.0.3"):
            assert b"" == await asyncio.wait_for((await connected(host))[0].read(), 10)
        for _, writer in silent:
            writer.close()
        await until(lambda: not running.server._listening[0]._beginning)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", running.port, ssl=client, server_hostname="relay.test"
        )
        stack.callback(writer.close)
        assert b"220 " == (await asyncio.wait_for(reader.readline(), 10))[:4]


async def test_a_client_behind_tls_that_does_not_hang_up(
    tmp_path: Path, starttls: Listener, authority: trustme.CA
) -> None:
    """One whom the service has said goodbye to, and who leaves TLS open, does not keep the service from ending."""
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=starttls) as running:
        _, writer = await before_tls(running)
        await writer.start_tls(client, server_hostname="relay.test")
        writer.write(b"QUIT\r\n")
        await writer.drain()
        # From here on nothing that the service says is read, not that TLS ends either.
        writer.transport.pause_reading()
        (session,) = running.server.sessions
        await until(lambda: not session.is_open)
        session.dismiss()
        session.dismiss()
        session.say(reply(250, "2.0.0 OK"))
        session.abort()
        await until(lambda: counted(running) == (0, 0))
        writer.transport.abort()


async def test_an_upstream_that_stands_still_in_the_middle_of_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream that takes up nothing more of a message is given up: its connection does not stay for ever."""
    monkeypatch.setattr(upstream_module, "BLOCK_SECONDS", 0.1)
    seen = asyncio.Event()

    async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await upstream._say(writer, "354 go on")
        writer.transport.pause_reading()
        await seen.wait()
        return False

    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        monkeypatch.setattr(upstream, "_message", stand_still)
        (pool,) = running.server.upstreams.pools
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(ENVELOPE + b"DATA\r\nSubject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 130_000 + b".\r\nQUIT\r\n")
        heard = (await asyncio.wait_for(reader.read(), 10)).decode().splitlines()
        writer.close()
        await until(lambda: not pool._open)
        assert 0 == running.server.upstreams.census.connected(0)
        seen.set()
    assert "451 4.4.2 The connection to the mail server behind this relay was lost" == heard[-2]


NOT_STRICT = b"Subject: x\r\n\r\na\0b\r\n"
LARGE = NOT_STRICT + (b"x" * 70 + b"\r\n") * 130_000 + b".\r\n"


def hand_in(port: int, client: ssl.SSLContext | None) -> list[bytes]:
    """Hand in a large message that is not strict, as most programs do: all of it, and only then a look for answers."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        sock = client.wrap_socket(plain, server_hostname="relay.test") if client is not None else plain
        with sock, sock.makefile("rb") as answers:
            sock.sendall(ENVELOPE + b"DATA\r\n")
            while not answers.readline().startswith(b"354"):
                pass
            sock.sendall(LARGE)
            return answers.readlines()


@pytest.mark.parametrize("tls", [False, True], ids=["in clear", "behind TLS"])
async def test_who_is_refused_in_the_middle_of_a_message_hears_why(
    tmp_path: Path, starttls: Listener, authority: trustme.CA, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: a message that is refused at its beginning can be sent to its end, and nothing of it is a command."""
    # A client that a busy machine holds up is not silent: that it is, is said below.
    monkeypatch.setattr(bare, "LEAVE_SILENCE", 60.0)
    heard_of, take_in = list[int](), Session.data_received

    def counting(session: Session, data: bytes) -> None:
        heard_of.append(len(data))
        take_in(session, data)

    monkeypatch.setattr(Session, "data_received", counting)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    listener = replace(starttls, tls="implicit") if tls else None
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, listener=listener) as running:
        handing_in = asyncio.create_task(asyncio.to_thread(hand_in, running.port, client if tls else None))
        await until(lambda: sum(heard_of) == len(ENVELOPE + b"DATA\r\n" + LARGE), 20.0)
        for session in list(running.server.sessions):
            session.hang_up()
        heard = await handing_in
        await until(lambda: counted(running) == (0, 0))
    assert [b"521 5.5.2"] == [answer[:9] for answer in heard]


@pytest.mark.parametrize(("setting", "bound"), [("LEAVE_SILENCE", 0.1), ("LEAVE_SECONDS", 0.1), ("LEAVE_BYTES", 100)])
async def test_who_never_comes_to_the_end_of_a_refused_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, bound: float
) -> None:
    """A client that goes on sending what was refused, or keeps silent, has its connection for so long and no longer."""
    monkeypatch.setattr(bare, setting, bound)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        heard, writer = await talk(running.port, ENVELOPE + b"DATA\r\n" + NOT_STRICT, 6)
        assert "521 5.5.2" == heard[-1][:9]
        while setting != "LEAVE_SILENCE" and running.server.sessions:
            writer.write(b"x" * 70 + b"\r\n")
            await asyncio.sleep(0.01)
        await until(lambda: counted(running) == (0, 0), 1.0)
        writer.close()
