"""Long work in slices: the same result, with turns for others."""

import asyncio
import gc
from collections.abc import Iterator
from dataclasses import replace
from time import thread_time
from typing import TypeVar

import pytest

from ledger.keys import Keyring
from ledger.tokens import OwnTokens
from policies import Purpose
from proxy import slices
from proxy.footer import Footer
from proxy.message import Reading, reading_message
from proxy.rewrite import tracking
from proxy.slices import STEP_BYTES, Walk, at_once, each, in_slices
from proxy.trackers import Watch
from proxy.vendors import load_rules
from tests.bench.samples import newsletter, page
from tests.fuzz.mutate import encoded
from tests.proxy.samples import FixedMarks, decision, html_mail, read
from tests.proxy.tracking import OPAQUE, PIXEL

T = TypeVar("T")


def counting(steps: int) -> Walk[int]:
    """Walk so many steps."""
    for _ in range(steps):
        yield
    return steps


def failing() -> Walk[int]:
    """Fail in the second step."""
    yield
    raise LookupError("the second step")


def test_at_once() -> None:
    """A walk that is run to its end gives its result."""
    assert (3, 0) == (at_once(counting(3)), at_once(counting(0)))


async def test_others_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk whose slices are over after each step lets others run that often, and gives its result."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    result = await in_slices(counting(10))
    task.cancel()

    assert (10, 10) == (result, turns)


async def test_short_work_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that is over within one slice waits for nobody."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 1_000.0)
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, 1)

    assert 10 == await in_slices(counting(10))
    assert [] == turns


async def test_failures_come_through() -> None:
    """What goes wrong in a walk is raised where its result was expected."""
    with pytest.raises(LookupError):
        at_once(failing())
    with pytest.raises(LookupError):
        await in_slices(failing())


def test_each() -> None:
    """Every item is a step, and all of them are the result."""
    walk = each(iter("abc"))

    assert [None, None, None] == [next(walk) for _ in range(3)]
    assert ["a", "b", "c"] == at_once(each("abc"))


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + b"x" * (20 * STEP_BYTES) + b"\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 900 + b"--b--\r\n",
        html_mail(b"<a href=https://a.test/>x</a>" * 900 + b"</body>"),
        html_mail(b"<p>" * 900),
    ],
    ids=["one large part", "many parts", "many links", "nothing to see"],
)
def test_reading_can_be_interrupted(raw: bytes) -> None:
    """A large message, or one of many things, is read in many steps, to the same end as at once."""
    walk = reading_message(raw, Reading())
    steps = 0
    while True:
        try:
            next(walk)
        except StopIteration as end:
            message = end.value
            break
        steps += 1

    assert steps > 18
    assert message.facts == read(raw).facts


LONG_PAGES = {
    "letter": page(2_000, 1_000),
    "newsletter": newsletter(2_000, 20),
    "text": b"<p>" + b"a few words, a few more\r\n" * 80_000,
}
LONG_TEXTS = {
    "words": b"a few words, a few more\r\n" * 80_000,
    "addresses": b"see https://shop.example/a?b=1 for more\r\n" * 50_000,
    "what looks like ours": b"https://track.example/l/" + b"A" * 60 + b"\r\n" + b"see http://x.example\r\n" * 90_000,
}
READING = Reading(watch=Watch(load_rules()))
WRAPPING = replace(READING, plain_text_links=True, tokens=OwnTokens(Keyring.throwaway()))


def longest_step(walk: Walk[T]) -> tuple[float, T]:
    """Return how much of the processor's time the longest step of a walk takes, in seconds, and its result."""
    longest = 0.0
    while True:
        begun = thread_time()
        try:
            next(walk)
        except StopIteration as end:
            return max(longest, thread_time() - begun), end.value
        longest = max(longest, thread_time() - begun)


def longest_of_all(raw: bytes, read_so: Reading = READING) -> float:
    """Return how long the longest step takes from the message that came to the tracked one that goes, in seconds."""
    reading, message = longest_step(reading_message(raw, read_so))
    rewriting, _ = longest_step(tracking(message, decision(*Purpose), FixedMarks(), Footer("Example GmbH")))
    return max(reading, rewriting)


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """The collector looks at all that the tests have left; a relay has put aside what it started with."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize("encoding", [b"8bit", b"quoted-printable", b"base64"])
@pytest.mark.parametrize("name", LONG_PAGES)
def test_no_step_of_a_long_page_is_long(name: str, encoding: bytes) -> None:
    """An ordinary page of 2 MB is read and rewritten in steps that keep nobody waiting, however it is encoded."""
    raw = html_mail(encoded(LONG_PAGES[name], encoding), encoding=encoding)

    # What else the machine does only adds to it, so the least of some is what the work takes.
    assert any(longest_of_all(raw) < 0.01 for _ in range(5))


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize(
    ("name", "encoding"),
    [*((name, b"8bit") for name in LONG_TEXTS), ("words", b"quoted-printable"), ("words", b"base64")],
)
def test_no_step_of_a_long_text_is_long(name: str, encoding: bytes) -> None:
    """Text of 2 MB, full of addresses or of none, is read and rewritten in steps that keep nobody waiting."""
    raw = html_mail(encoded(LONG_TEXTS[name], encoding), b"text/plain; charset=utf-8", encoding)

    # What else the machine does only adds to it, so the least of some is what the work takes.
    assert any(longest_of_all(raw, WRAPPING) < 0.01 for _ in range(5))


MADE_UP_PAGES = {
    "comments": b"<!---->",
    "conditional comments": b"<!--[if mso]>x<![endif]-->",
    "addresses after white space": b"<meta http-equiv=refresh content='" + b" " * 4_000 + b"'>",
    "an address cut short, and a letter": f'<a href="{OPAQUE}">https://a.test/{"." * 3_900}x</a>'.encode(),
    "brackets": b"(",
    "spaces": b"&nbsp;",
    "candidates": (b'<img srcset="', b"https://cdn.example/a 1x,", b'">'),
    "attributes": (b"<a ", b"a ", b'href="https://a.test/">x</a>'),
    "declarations": (b'<p style="background:url(' + PIXEL.encode() + b");", b"a:url(x);", b'">'),
    "escapes": (b"<script>", b"<!--<script>", b"</script>"),
    "a style sheet": (b"<style>a{background:url(" + PIXEL.encode() + b")}", b"a{b:c}", b"</style>"),
}
"""What no program writes: something over and over, or between two other things."""


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize("name", MADE_UP_PAGES)
def test_no_step_of_a_made_up_page_is_long(name: str) -> None:
    """A page of half a megabyte that is made to keep others waiting is read in steps that do not."""
    made = MADE_UP_PAGES[name]
    before, piece, after = made if isinstance(made, tuple) else (b"", made, b"")
    raw = html_mail(before + piece * (500_000 // len(piece)) + after)

    # What else the machine does only adds to it, so the least of some is what the work takes.
    assert any(longest_step(reading_message(raw, WRAPPING))[0] < 0.01 for _ in range(5))


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize(
    "lines",
    [b"a few words and more of them \r\n" * 60_000, b"a \r\n" + b" " * 100_000 + b"x\r\n"],
    ids=["behind every line", "within one"],
)
def test_no_step_of_padded_quoted_printable_is_long(lines: bytes) -> None:
    """White space at the ends of lines, which decoders drop, and any that looks like it, keeps nobody waiting."""
    raw = html_mail(b"<p>" + lines + b'<a href=3D"https://a.test/">x</a>', encoding=b"quoted-printable")

    # What else the machine does only adds to it, so the least of some is what the work takes.
    assert any(longest_of_all(raw) < 0.01 for _ in range(5))


@pytest.mark.usefixtures("_no_collections")
def test_thousands_of_trackers_are_told_of_in_steps() -> None:
    """What is told of thousands of trackers in one message is summed up in steps that keep nobody waiting."""
    raw = html_mail(b'<img src="https://t.yesware.com/t/a/b/spacer.gif">\r\n' * 8_000)

    assert any(longest_of_all(raw) < 0.01 for _ in range(5))
