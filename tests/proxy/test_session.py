"""A session hears anything: every line gets a reply of SMTP's, and none breaks it."""

import asyncio
import random
import re
from pathlib import Path

import pytest

from tests.relaying import running_relay
from tests.upstream import FakeUpstream

VERBS = [
    *("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT", "STARTTLS", "AUTH"),
    *("BDAT", "ETRN", "TURN", "GET", "PROXY", "mail", "Rcpt", "\x00", "\xff"),
]
WORDS = [
    *(
        "FROM:<alice@example.org>",
        "TO:<bob@customer.test>",
        "FROM:<>",
        "TO:<>",
        "FROM:",
        "<",
        ">",
        "<<>>",
        "@",
        '"',
        "\\",
    ),
    *(
        "SIZE=",
        "SIZE=9",
        "SIZE=99999999999999999999",
        "BODY=8BITMIME",
        "SMTPUTF8",
        "RET=FULL",
        "ENVID=+",
        "NOTIFY=NEVER",
    ),
    *("ORCPT=rfc822;a", "AUTH=<>", "PLAIN", "LOGIN", "XOAUTH2", "AAAA", "=", "*", "client.test", "[127.0.0.1]"),
    *("=?utf-8?q?a?=", "a@b\u00fc.test", "\u2028", "\x7f", "\t", "0", "LAST", "LAST\x00"),
]
REPLY = re.compile(rb"[2345][0-9][0-9](?:[ -][^\r\n]*)?\r\n")
LINES_OF_A_SESSION = 25


def any_line(chance: random.Random) -> bytes:
    """Return a command line that might be right, or not at all."""
    words = [chance.choice(VERBS), *(chance.choice(WORDS) for _ in range(chance.randrange(4)))]
    end = chance.choice(["\r\n"] * 12 + ["\n", "\r\r\n", "\0\r\n"])
    line = (chance.choice([" "] * 9 + [""]).join(words) + end).encode(chance.choice(["utf-8"] * 5 + ["utf-16"]))
    return line[: chance.randrange(1, len(line) + 1)] + b"\r\n" if chance.random() < 0.05 else line


async def said(port: int, content: bytes) -> bytes:
    """Return everything that is answered to some bytes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(content)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        # It hung up before it had heard everything.
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("seed", range(4))
async def test_any_lines(tmp_path: Path, seed: int) -> None:
    """Whatever the lines, each answer is a reply, none tells of an error of ours, and the next client is served."""
    chance = random.Random(seed)
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        for _ in range(40):
            heard = await said(running.port, b"".join(any_line(chance) for _ in range(LINES_OF_A_SESSION)))
            assert b"" == REPLY.sub(b"", heard), heard
            assert b"451 4.3.0" not in heard
        assert b"\r\n221 " in await said(running.port, b"EHLO client.test\r\nQUIT\r\n")
