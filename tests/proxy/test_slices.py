"""Long work in slices: the same result, with turns for others."""

import asyncio

import pytest

from proxy import slices
from proxy.message import Reading, reading_message
from proxy.slices import STEP_BYTES, Walk, at_once, each, in_slices
from tests.proxy.samples import html_mail, read


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
