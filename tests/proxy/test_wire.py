"""What comes in from the client: the content after DATA, however it is cut into packets."""

import asyncio
import re
import tracemalloc
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.content import END
from proxy.reply import ReplyError
from proxy.wire import Wire, with_dots

LIMIT = 10_000_000


def has_room(octets: int) -> bool:
    """Say that there is room for any message."""
    return True


class PacketWire(Wire):
    """A wire on which packets come in, one whenever more is waited for, and nothing after them."""

    def __init__(self, *packets: bytes) -> None:
        super().__init__(lambda: None)
        self._packets = list(packets)

    async def _fill(self) -> None:
        asyncio.get_running_loop().call_soon(self._next)
        await super()._fill()

    def _next(self) -> None:
        if self._packets:
            self.feed(self._packets.pop(0))
        else:
            self.feed_eof()

    def left(self) -> int:
        """Return how many packets were not read."""
        return len(self._packets)


wire = PacketWire


async def received(*packets: bytes, limit: int = LIMIT, normalise: bool = False) -> bytes:
    """Return the message that came in."""
    return await wire(*packets).content(limit, has_room, normalise=normalise)


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

    assert b".a\r\n\r\n" == await line.content(LIMIT, has_room)
    assert b"QUIT" == await line.line(512)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("cut", range(1, 11))
async def test_a_line_as_long_as_may_be(cut: int, normalise: bool) -> None:
    """A line of just so many octets is taken, and one of one more refused, wherever it is cut into packets."""
    sent = b"12345678\r\n"
    packets = sent[:cut], sent[cut:]

    assert b"12345678" == await wire(*packets).line(8, normalise=normalise)
    with pytest.raises(ReplyError) as refused:
        await wire(*packets).line(7, normalise=normalise)
    assert 500 == refused.value.reply.code


class Tap(asyncio.ReadTransport):
    """A connection that can be made to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.flows = True

    def pause_reading(self) -> None:
        """Let nothing more in."""
        self.flows = False

    def resume_reading(self) -> None:
        """Let more in."""
        self.flows = True


async def test_client_that_is_ahead_waits() -> None:
    """Whoever sends more than is read waits until it was read; what came in clear is gone once TLS has begun."""
    tap, line = Tap(), Wire(lambda: None)
    line.begin(tap)
    line.feed(b"NOOP\r\n" * 80_000)
    assert tap.flows
    line.feed(b"NOOP\r\n" * 80_000)
    assert not tap.flows

    for _ in range(80_000):
        assert b"NOOP" == line.next_line(512)
    assert tap.flows

    line.feed(b"NOOP\r\n" * 80_000)
    line.begin(Tap())
    assert tap.flows
    assert line.next_line(512) is None


@pytest.mark.parametrize(
    "pieces", [[1.0], [0.4, 0.6], [0.7, 0.3]], ids=["all of it at once", "its end ahead", "most of it ahead"]
)
@pytest.mark.parametrize("limit", [LIMIT, 600_000, 100_000], ids=["taken", "a little too large", "too large"])
async def test_a_message_that_came_ahead(pieces: list[float], limit: int) -> None:
    """Once a message that had come ahead is read, or refused, whoever sent it is let go on with the next command."""
    tap, line = Tap(), Wire(lambda: None)
    line.begin(tap)
    message = b"0123456789\r\n" * 60_000 + b".\r\n"
    reading = None
    for share in pieces:
        cut = int(len(message) * share)
        piece, message = message[:cut], message[cut:]
        line.feed(piece)
        if reading is None:
            reading = asyncio.create_task(line.content(limit, has_room))
        await asyncio.sleep(0)
    assert reading is not None
    line.feed(message)
    (outcome,) = await asyncio.gather(reading, return_exceptions=True)
    assert isinstance(outcome, bytes if limit == LIMIT else ReplyError)
    assert tap.flows


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


PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\r\r\n", b"-" * 9]), max_size=14)


@given(PIECES, st.lists(st.integers(0, 60), max_size=12))
def test_any_newlines_normalised(pieces: list[bytes], cuts: list[int]) -> None:
    """S2, 161: normalised, every line end becomes CRLF however it is cut, and nothing but CRLF.CRLF is an end."""
    body = b"".join(pieces)
    # The end must not come earlier, not even together with the beginning of our own.
    assume(len(body) + 2 == (b"\r\n" + body + END).find(END))
    sent = body + END
    ends = sorted(cut for cut in cuts if 0 < cut < len(sent))
    packets = [sent[start:end] for start, end in zip([0, *ends], [*ends, len(sent)], strict=True) if start < end]
    without_dots = (b"\r\n" + body + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]
    expected = re.sub(rb"\r{0,2}\n|\r", b"\r\n", without_dots)

    message = asyncio.run(received(*packets, normalise=True))

    assert expected == message
    again = with_dots(message, 0, len(message)) + b".\r\n"
    assert len(again) - len(END) == (b"\r\n" + again).find(END) - 2


async def test_nul_is_no_newline() -> None:
    """A NUL is refused where line ends are normalised, too."""
    with pytest.raises(ReplyError) as refused:
        await received(b"a\0b\n", END, normalise=True)

    assert (521, True) == (refused.value.reply.code, refused.value.close)


async def test_a_line_without_end() -> None:
    """S4: of 64 MiB without a line end less than 2 MiB are read at a limit of 1 MiB, and held in less than 16."""
    packets = [bytes([65]) * 65_536] * 1_024
    line = wire(*packets)

    tracemalloc.start()
    with pytest.raises(ReplyError) as refused:
        await line.content(1_048_576, has_room)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (552, True) == (refused.value.reply.code, refused.value.close)
    assert 1_024 - 32 < line.left()
    assert peak < 16_777_216


async def test_no_room() -> None:
    """A message for which there is no room is read to its end, keeping nothing, and 452 says to try again."""
    line = wire(b"0123456789\r\n" * 100, b"0123456789\r\n" * 100, b".\r\nNOOP\r\n")

    with pytest.raises(ReplyError) as refused:
        await line.content(LIMIT, lambda octets: octets <= 2_000)
    assert (452, False) == (refused.value.reply.code, refused.value.close)
    assert b"NOOP" == await line.line(512)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have every packet take some seconds, by the clock that the wire goes by."""

    def tick(seconds: float) -> None:
        monkeypatch.setattr("proxy.wire.monotonic", count(0.0, seconds).__next__)

    return tick


@pytest.mark.parametrize("limit", [LIMIT, 20_000], ids=["taken", "too large"])
async def test_too_slow(clock: Callable[[float], None], limit: int) -> None:
    """S15: a message that drips in for ever is ended with 421, also while it is only read to its end."""
    clock(30.0)
    line = wire(*[b"0123456789\r\n" * 1_000] * 200)

    with pytest.raises(ReplyError) as refused:
        await line.content(limit, has_room)
    assert (421, True) == (refused.value.reply.code, refused.value.close)


async def test_slow_but_honest(clock: Callable[[float], None]) -> None:
    """S15: whoever keeps to the least rate may take as long as the message is large."""
    clock(20.0)

    assert 1_200_000 == len(await received(*[b"0123456789\r\n" * 1_000] * 100, b".\r\n"))


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
        await line.content(20_000, has_room)
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
