"""The server's conduct when a side goes away or is slow: nothing acknowledged is lost."""

import asyncio
import math
import os
import socket
import struct
from pathlib import Path

import pytest
import structlog

from proxy import upstream as upstream_module
from proxy.relay import Relay
from proxy.route import LIMITS
from tests.proxy.sending import until
from tests.relaying import running_relay
from tests.upstream import FakeUpstream

ENVELOPE = b"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@customer.test>\r\n"
MESSAGE = b"Subject: x\r\n\r\nhi\r\n"


async def talk(port: int, content: bytes, replies: int) -> tuple[list[str], asyncio.StreamWriter]:
    """Send bytes and return the last lines of so many replies, the greeting included, and the open connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    found: list[str] = []
    while len(found) < replies:
        line = (await asyncio.wait_for(reader.readline(), 10)).decode().rstrip()
        if not line:
            break
        if line[3:4] != "-":
            found.append(line)
    return found, writer


async def test_client_gone_after_the_final_dot(tmp_path: Path) -> None:
    """168: a client that hangs up after its final dot does not stop the message, which arrives once."""
    upstream = FakeUpstream(data_delay=0.3)
    async with upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\n", 5)
        await until(lambda: running.server.deliveries)
        writer.transport.abort()
        await until(lambda: upstream.messages)
        await until(lambda: not running.server.deliveries)
    assert 1 == len(upstream.messages)


async def test_client_gone_during_data(tmp_path: Path) -> None:
    """A client that hangs up in the middle of its message has sent nothing."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE, 5)
        writer.close()
        await until(lambda: not running.server.sessions)
        assert [] == await running.ledger.messages()
    assert [] == upstream.messages
    assert "DATA" not in upstream.heard


async def test_client_that_only_stops_sending_still_hears_the_answer(tmp_path: Path) -> None:
    """A client that has said all it had to say and closes its side still gets every reply."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\nQUIT\r\n")
        writer.write_eof()
        heard = (await asyncio.wait_for(reader.read(), 10)).decode()
        writer.close()
    assert "250 2.0.0 Ok: queued as 4XYZ\r\n221" in heard
    assert 1 == len(upstream.messages)


async def test_upstream_unreachable(tmp_path: Path) -> None:
    """Nobody listens behind the relay: 451 with a plain reason, nothing recorded."""
    async with FakeUpstream() as upstream:
        await upstream.stop()
        async with running_relay(tmp_path, upstream.port) as running:
            replies, writer = await talk(running.port, ENVELOPE, 4)
            writer.close()
            assert [] == await running.ledger.messages()
    assert replies[-1].startswith("451 4.4.1 The mail server behind this relay cannot be reached")


async def test_log_does_not_name_whom_the_upstream_names(tmp_path: Path) -> None:
    """What an upstream says of why it lets nobody in is logged without the addresses in it."""
    words = "554 5.7.1 No mail from <relay@example.org>, blocked; see https://x.test"
    async with FakeUpstream(greeting=words) as upstream:
        with structlog.testing.capture_logs() as logged:
            async with running_relay(tmp_path, upstream.port):
                pass
    (line,) = [one for one in logged if one["event"] == "upstream.unreachable"]
    assert "No mail from <(address)>, blocked; see https://x.test" in line["why"]


@pytest.mark.parametrize(
    ("step", "reply"),
    [("MAIL", "451 4.4.2"), ("RCPT", "451 4.4.2"), ("DATA", "451 4.4.2"), (".", "451 4.4.2")],
)
async def test_upstream_lost(tmp_path: Path, step: str, reply: str) -> None:
    """S19, 163: the upstream hangs up at any step: the client hears 451 and never 250."""
    async with FakeUpstream(hang_up_on=step) as upstream, running_relay(tmp_path, upstream.port) as running:
        content = ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\n"
        replies, writer = await talk(running.port, content, 6 if step in ("DATA", ".") else 4)
        writer.close()
        outcomes = [one["outcome"] for one in await running.ledger.messages()]
    assert replies[-1].startswith(reply)
    assert outcomes == {"DATA": ["refused"], ".": ["unknown"]}.get(step, [])


async def test_stale_connection_is_replaced(tmp_path: Path) -> None:
    """An upstream that hung up between two messages of one session gets the second on a fresh connection."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for _ in range(2):
            writer.write(ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\n")
            while b"queued" not in (line := await asyncio.wait_for(reader.readline(), 10)):
                assert line[:1] in b"23", line
            upstream.hang_up()
        writer.close()
    assert 2 == len(upstream.messages)


async def test_internal_error_says_nothing_of_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the handler becomes 451 4.3.0, never its text, and the session goes on."""

    async def fail(*_: object) -> None:
        raise RuntimeError("secret /etc/path")

    monkeypatch.setattr(Relay, "deliver", fail)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        content = ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\nNOOP\r\n"
        replies, writer = await talk(running.port, content, 7)
        writer.close()
    assert "451 4.3.0 Something went wrong here; please try again later" == replies[5]
    assert "250 2.0.0 OK" == replies[6]


async def test_drain(tmp_path: Path) -> None:
    """SIGTERM's way: a session at rest gets 421, one in the middle of a message may end it, new ones are not taken."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", running.port)
        await idle_reader.readline()
        busy_reader, busy_writer = await asyncio.open_connection("127.0.0.1", running.port)
        busy_writer.write(ENVELOPE + b"DATA\r\n" + MESSAGE)
        while not (await busy_reader.readline()).startswith(b"354"):
            pass
        draining = asyncio.create_task(running.server.drain(5.0))
        assert (await asyncio.wait_for(idle_reader.readline(), 5)).startswith(b"421 4.3.2")
        busy_writer.write(b".\r\n")
        assert (await asyncio.wait_for(busy_reader.readline(), 5)).startswith(b"250 2.0.0 Ok: queued")
        assert (await asyncio.wait_for(busy_reader.readline(), 5)).startswith(b"421 4.3.2")
        await draining
        idle_writer.close()
        busy_writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.port)
    assert 1 == len(upstream.messages)


async def test_drain_has_an_end(tmp_path: Path) -> None:
    """A client that is still in the middle of its message when time is up hears 421; nothing of it is passed on."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(ENVELOPE + b"DATA\r\n" + MESSAGE)
        while not (await reader.readline()).startswith(b"354"):
            pass
        await asyncio.wait_for(running.server.drain(0.1), 5)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"421 4.3.2")
        writer.close()
    assert [] == upstream.messages
    assert "DATA" not in upstream.heard


async def test_no_answer_to_the_final_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that is silent after the final dot: 451, on record as unknown, and never said a second time by us."""
    monkeypatch.setattr(upstream_module, "FINAL_SECONDS", 0.1)
    upstream = FakeUpstream(data_delay=1.0)
    async with upstream, running_relay(tmp_path, upstream.port) as running:
        replies, writer = await talk(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\n", 6)
        writer.close()
        outcomes = [one["outcome"] for one in await running.ledger.messages()]
        await until(lambda: upstream.messages)
    assert replies[-1].startswith("451 4.4.2 The mail server behind this relay did not confirm")
    assert ["unknown"] == outcomes
    assert (1, 1) == (len(upstream.messages), upstream.heard.count("DATA"))


async def test_silence_ends_a_session(tmp_path: Path) -> None:
    """S15: a client that says nothing for too long hears 421."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port, idle_seconds=0.1) as running:
        replies, writer = await talk(running.port, b"", 2)
        writer.close()
    assert ["220", "421 4.4.2"] == [replies[0][:3], replies[1][:9]]


async def test_slow_is_not_silent(tmp_path: Path) -> None:
    """S15: a client that sends slowly, and takes longer for all of it than it may be silent, is not sent away."""
    now = asyncio.get_running_loop().time
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        await reader.readline()
        (session,) = running.server.sessions
        for piece in (ENVELOPE, b"DATA\r\n", *(b"line\r\n" for _ in range(8)), b".\r\n"):
            # As if most of the time were over; no clock of ours, which a busy machine would have run out.
            session._silent_until = now() + 100
            writer.write(piece)
            await until(lambda: session._silent_until - now() > 200)
        while not (line := await asyncio.wait_for(reader.readline(), 5)).startswith(b"250 2.0.0 Ok: queued"):
            assert line[:3] in (b"250", b"354"), line
        writer.close()
    assert 1 == len(upstream.messages)


async def test_early_answer_in_the_middle_of_the_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that refuses before it has heard the whole message is heard, and the client gets its reply."""
    monkeypatch.setattr(upstream_module, "_SLICE", 1_000)

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readexactly(500)
                writer.write(b"552 5.3.4 That is enough\r\n")
                await reader.read()
                break
            writer.write(b"250 ok\r\n")
        writer.close()

    early = await asyncio.start_server(session, "127.0.0.1", 0)
    port = early.sockets[0].getsockname()[1]
    async with running_relay(tmp_path, port) as running:
        body = b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" * 2_000_000
        replies, writer = await talk(running.port, ENVELOPE + b"DATA\r\n" + body + b".\r\n", 6)
        writer.close()
    early.close()
    assert "552 5.3.4 That is enough" == replies[-1]


async def test_a_command_ends_a_silence(tmp_path: Path) -> None:
    """Silence is counted anew from every command, also from one that is answered before more can come."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE, 4)
        (session,) = running.server.sessions
        session._silent_until = asyncio.get_running_loop().time() + 10
        writer.write(b"DATA\r\n")
        await until(lambda: session._work is not None)
        assert session._silent_until - asyncio.get_running_loop().time() > 100
        writer.close()


async def test_a_client_that_takes_up_no_answer(tmp_path: Path) -> None:
    """A client that leaves its answers lying, also that to its message, is silent, and in the end let go of."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\n", 6)
        (session,) = running.server.sessions
        session._rest_timeout()
        session.pause_writing()
        assert session._silent_until < math.inf
        # More than the system takes in for it: an answer under way that stays here.
        session.transport.write(bytes(1 << 24))
        session._silent_until = 0.0
        session._timeout_cb()
        await until(lambda: not running.server.sessions)
        writer.close()


async def test_a_client_that_takes_up_no_answer_to_data(tmp_path: Path) -> None:
    """A client that leaves the answer to DATA lying, and sends its message all the same, is silent from then on."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE + b"DATA\r\n", 5)
        (session,) = running.server.sessions
        session.pause_writing()
        writer.write(MESSAGE + b".\r\n")
        await until(lambda: upstream.messages and session._work is None)
        assert session._silent_until < math.inf
        writer.close()


async def test_a_client_that_takes_up_no_farewell(tmp_path: Path) -> None:
    """A session that is over, and whose last answers are not taken up, keeps its connection only for so long."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE, 4)
        (session,) = running.server.sessions
        session.transport.write(bytes(1 << 24))
        session._rest_timeout()
        session.hang_up()
        assert session._silent_until < math.inf
        assert running.server.sessions
        session._silent_until = 0.0
        session._timeout_cb()
        await until(lambda: not running.server.sessions)
        writer.close()


async def test_a_client_that_resets_with_data(tmp_path: Path) -> None:
    """A client whose connection is reset together with its DATA leaves the connection to the upstream for others."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        _, writer = await talk(running.port, ENVELOPE, 4)
        client = writer.get_extra_info("socket")
        # Both at once, before the relay gets its turn.
        os.write(client.fileno(), b"DATA\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        (pool,) = running.server.upstreams.pools
        await until(lambda: not running.server.sessions and pool._idle)
        assert LIMITS.connections == pool._slots._value
    assert [] == upstream.messages
