"""What comes in from the client: the content after DATA, however it is cut into packets."""

import asyncio
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.reply import ReplyError
from proxy.wire import Wire, with_dots

LIMIT = 10_000_000


def wire(*packets: bytes) -> Wire:
    """Return a wire on which these packets come in, one at a time, and nothing after them."""
    left = list(packets)

    class Reader(asyncio.StreamReader):
        async def read(self, n: int = -1) -> bytes:
            return left.pop(0) if left else b""

    return Wire(Reader(), lambda: None)


async def received(*packets: bytes, limit: int = LIMIT) -> bytes:
    """Return the message that came in."""
    return await wire(*packets).content(limit)


LINES = st.lists(st.sampled_from([b"", b"a", b".", b"..", b".a", b"a.", b"-" * 9]), max_size=8)


@given(LINES, st.lists(st.integers(0, 60), max_size=12))
def test_any_packets(lines: list[bytes], cuts: list[int]) -> None:
    """Whatever the packets, the message is its lines, with the dots that were doubled single again."""
    message = b"".join(line + b"\r\n" for line in lines)
    sent = with_dots(message, 0, len(message)) + b".\r\n"
    ends = sorted(cut for cut in cuts if 0 < cut < len(sent))
    packets = [sent[start:end] for start, end in zip([0, *ends], [*ends, len(sent)], strict=True) if start < end]

    assert message == asyncio.run(received(*packets))


async def test_byte_by_byte() -> None:
    """A message that comes one byte at a time is the same, and what follows its end is the next command."""
    sent = b"..a\r\n\r\n.\r\nQUIT\r\n"
    line = wire(*(sent[at : at + 1] for at in range(len(sent))))

    assert b".a\r\n\r\n" == await line.content(LIMIT)
    assert b"QUIT" == await line.line(512)


@pytest.mark.parametrize(
    "packets",
    [
        [b"a\rb\r\n"],
        [b"a\nb\r\n"],
        [b"a\0b\r\n"],
        [b"a\r", b"b\r\n"],
        [b"a\r\n.\r", b"b\r\n"],
        [b"a\r.\r"],
        [b"a\n.\r\n"],
        [b"a\r\n", b"\n.\r\n"],
        [b"a\r", b"\r\n.\r\n"],
        [b"\n"],
    ],
    ids=repr,
)
async def test_bare_line_ends(packets: list[bytes]) -> None:
    """A bare CR, a bare LF or a NUL is refused with 521 as soon as it is there, also across packets."""
    with pytest.raises(ReplyError) as refused:
        await received(*packets)

    assert (521, True) == (refused.value.reply.code, refused.value.close)


async def test_the_limit_is_on_the_message() -> None:
    """The dots that SMTP adds do not count (RFC 1870 section 3); one octet too many is refused with 552."""
    message = b".\r\n" * 1_000
    sent = with_dots(message, 0, len(message)) + b".\r\n"

    assert message == await received(sent, limit=len(message))
    with pytest.raises(ReplyError) as refused:
        await received(sent, limit=len(message) - 1)
    assert (552, False) == (refused.value.reply.code, refused.value.close)


async def test_too_large_is_read_to_its_end() -> None:
    """A message over the limit is read to its end, so that the next command is one again."""
    line = wire(*[b"0123456789\r\n" * 1_000] * 9, b"\r\n", b".", b"\r\nNOOP\r\n")

    with pytest.raises(ReplyError) as refused:
        await line.content(20_000)
    assert 552 == refused.value.reply.code
    assert b"NOOP" == await line.line(512)


async def test_a_message_is_held_once() -> None:
    """A large message takes little more memory than it has bytes while it comes in, doubled dots or none."""
    packet = b"..4567890123456789012345678901234567890123456789012345678901234567890123456\r\n" * 800
    packets = [packet] * 128
    size = len(packet) * 128

    tracemalloc.start()
    content = await received(*packets, b".\r\n", limit=size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size - 128 * 800 == len(content)
    assert peak < 1.5 * size
