# ruff: noqa: E501  # a case reads best on one line
"""An upstream that does not keep to the order of things: never believed, never kept, and its own words passed on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ledger.decisions import messages
from proxy import upstream as upstream_module
from tests.relaying import Running, running_relay

ENVELOPE = b"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@customer.test>\r\n"
MESSAGE = b"Subject: x\r\n\r\nhi\r\n.\r\n"


@asynccontextmanager
async def upstream(answers: dict[str, bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a server that gives these bytes to commands that begin so; "." is the final dot. Yields port and messages."""
    messages: list[bytes] = []

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        in_data, content = False, b""
        while line := await reader.readline():
            name = "." if in_data and line == b".\r\n" else "" if in_data else line[:4].decode().strip()
            if in_data and name != ".":
                content += line
                continue
            answer = next((answers[key] for key in answers if name.startswith(key)), None)
            in_data = name == "DATA" and (answer or b"354").startswith(b"354")
            if name == ".":
                messages.append(content)
            writer.write(answer or (b"354 go\r\n" if in_data else b"250 ok\r\n"))
        writer.close()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], messages
    server.close()


async def replies(port: int, content: bytes, count: int) -> list[str]:
    """Send bytes and return the last lines of so many replies, the greeting included."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    found: list[str] = []
    while len(found) < count:
        line = (await asyncio.wait_for(reader.readline(), 10)).decode().removesuffix("\r\n")
        if line[3:4] != "-":
            found.append(line)
    writer.close()
    return found


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param({"DATA": b"354 go\r\n250 early ok\r\n", ".": b"554 5.7.1 no\r\n"}, "451 4.5.0", id="250 before the dot"),
        pytest.param({"DATA": b"354 go\r\n552 5.3.4 early\r\n"}, "552 5.3.4 early", id="its refusal before the dot"),
        pytest.param({"DATA": b"250 what\r\n"}, "451 4.5.0", id="250 to DATA"),
        pytest.param({".": b"354 again\r\n"}, "451 4.5.0", id="354 to the message"),
        pytest.param({".": b"250 ok\r\n"}, "250 ok", id="as it should be"),
    ],
)  # fmt: skip
async def test_answer_to_the_message(tmp_path: Path, answers: dict[str, bytes], expected: str) -> None:
    """S19, 163: the client hears 250 only for an answer to the message itself, and the upstream's refusal as it is."""
    async with upstream(answers) as (port, _), running_relay(tmp_path, port) as running:
        found = await replies(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE, 6)
    assert found[-1].startswith(expected)


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize(
    "answer", [b"354 odd\r\n", b"250 ok\r\n250 extra\r\n", b"199 odd\r\n"], ids=["354", "two", "199"]
)
async def test_answer_to_the_envelope(tmp_path: Path, command: str, answer: bytes) -> None:
    """An answer that does not belong to MAIL or RCPT is 451, and the connection is not used again."""
    async with upstream({command: answer}) as (port, messages), running_relay(tmp_path, port) as running:
        found = await replies(running.port, ENVELOPE, 4)
        assert not any(pool._idle for pool in running.server.upstreams.pools)
    assert found[-1].startswith("451 4.5.0")
    assert [] == messages


async def test_session_goes_on_after_nonsense(tmp_path: Path) -> None:
    """After an answer out of place the next message of the session gets a connection of its own."""
    async with upstream({"DATA": b"250 what\r\n"}) as (port, _), running_relay(tmp_path, port) as running:
        found = await replies(running.port, (ENVELOPE + b"DATA\r\n" + MESSAGE) + (ENVELOPE + b"DATA\r\n" + MESSAGE), 11)
    assert ["451", "451"] == [found[5][:3], found[10][:3]]


async def test_control_characters_stay_outside(tmp_path: Path) -> None:
    """A bare CR in the upstream's reply cannot make a second reply of it for the client."""
    async with (
        upstream({".": b"550 5.1.1 evil\r250 2.0.0 fake\r\n"}) as (port, _),
        running_relay(tmp_path, port) as running,
    ):
        found = await replies(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE, 6)
    assert "550 5.1.1 evil 250 2.0.0 fake" == found[-1]


async def outcomes(running: Running) -> list[str]:
    """Return how the messages on record ended."""
    found = await running.ledger.read(lambda connection: messages(connection, running.ledger.keyring))
    return [one["outcome"] for one in found]


async def test_silence_after_the_final_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 6: an upstream that says nothing to the whole message: 451, on record as unknown, and not sent again."""
    monkeypatch.setattr(upstream_module, "FINAL_SECONDS", 0.2)
    async with upstream({".": b" "}) as (port, sent), running_relay(tmp_path, port) as running:
        found = await replies(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE, 6)
        assert ["unknown"] == await outcomes(running)
    assert "451 4.4.2 The mail server behind this relay did not confirm; it may have the message" == found[-1]
    assert 1 == len(sent)


async def test_nonsense_after_the_final_dot(tmp_path: Path) -> None:
    """Issue 6: an answer to the whole message that says neither yes nor no: it may have it, and that is on record."""
    async with upstream({".": b"354 again\r\n"}) as (port, sent), running_relay(tmp_path, port) as running:
        found = await replies(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE, 6)
        assert ["unknown"] == await outcomes(running)
    assert found[-1].startswith("451 4.5.0")
    assert found[-1].endswith("it may have the message")
    assert 1 == len(sent)


async def test_nonsense_before_the_final_dot(tmp_path: Path) -> None:
    """An answer that comes together with the one to DATA: nothing is sent, and the message is on record as refused."""
    async with upstream({"DATA": b"354 go\r\n250 early\r\n"}) as (port, sent), running_relay(tmp_path, port) as running:
        await replies(running.port, ENVELOPE + b"DATA\r\n" + MESSAGE, 6)
        assert ["refused"] == await outcomes(running)
    assert [] == sent
