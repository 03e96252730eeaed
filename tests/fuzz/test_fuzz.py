"""The engine against mutated messages: a quick share of what ``make fuzz`` does at length."""

from dataclasses import replace
from html.entities import html5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.tokens import Marks
from proxy.entities import decode_attribute
from proxy.message import Message
from proxy.relay import Conduct, Examination
from proxy.rewrite import Outgoing
from tests.fuzz import judge as module
from tests.fuzz.judge import judge
from tests.fuzz.mutate import HEAD, OLD_SHAPES, SHAPES, Mutator, encoded, pages, seeds
from tests.fuzz.reading import Fault, decoded_attribute
from tests.fuzz.watching import foreign_shapes
from tests.proxy.samples import MAIL

MESSAGES, PAGES, FOREIGN = seeds(), pages(), foreign_shapes()
NO_HURRY = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
PIECES = st.lists(
    st.one_of(st.sampled_from([*SHAPES, *OLD_SHAPES, b"<p>text</p>\r\n", b" "]), st.sampled_from(FOREIGN)), max_size=12
).map(b"".join)


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_seeds(number: int) -> None:
    """Every message that mutations start from is judged right, whatever the upstream takes."""
    assert judge(MESSAGES[number]) != "FAILED"
    assert judge(MESSAGES[number], eight_bit=False, plain_text_links=True, watching=True) != "FAILED"


@given(st.randoms(use_true_random=False), st.booleans(), st.booleans(), st.booleans())
@NO_HURRY
def test_mutations(random: object, eight_bit: bool, plain_text_links: bool, watching: bool) -> None:
    """Never an exception, untracked is untouched, tracked changes links and footer alone, links lead where they led.

    Where other people's trackers are taken out, nothing else goes.
    """
    foreign = FOREIGN if watching else ()
    raw = Mutator(random, MESSAGES, PAGES, foreign).make()  # type: ignore[arg-type]  # hypothesis' one is a Random

    judge(raw, eight_bit=eight_bit, plain_text_links=plain_text_links, watching=watching)


@given(PIECES, st.sampled_from([b"7bit", b"8bit", b"quoted-printable", b"base64"]), st.booleans(), st.booleans())
@NO_HURRY
def test_shapes(html: bytes, encoding: bytes, eight_bit: bool, watching: bool) -> None:
    """HTML made of shapes alone, which hypothesis can make smaller where one of them is handled wrongly."""
    said = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n"

    judge(HEAD + said + encoded(b"<p>x</p>" + html, encoding), eight_bit=eight_bit, watching=watching)


def test_a_message_without_a_header() -> None:
    """Behind an empty first line all is text: what reads as a header of ours there stays, old marks go."""
    old = next(shape for shape in OLD_SHAPES if b"/mail/l/" in shape)

    assert judge(b"\r\nX-Aboveboard-Track: open\r\n\r\n" + old + b"\r\n", plain_text_links=True) == "nothing to track"


@given(st.lists(st.one_of(st.sampled_from(sorted(html5)), st.text(max_size=3)).map(lambda name: f"&{name}")))
def test_the_judge_and_the_engine_decode_alike(pieces: list[str]) -> None:
    """Two readings of WHATWG HTML §13.2.5.72 to 80, written apart, agree."""
    assert decoded_attribute("".join(pieces)) == decode_attribute("".join(pieces))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"https://shop.example/offer?a=1", b"https://shop.example/offer?a=2"),
        (b"our offer</a>", b"our  offer</a>"),
        (b"Message-ID", b"Message-Id"),
    ],
    ids=["target", "text", "header"],
)
def test_the_judge_sees(monkeypatch: pytest.MonkeyPatch, before: bytes, after: bytes) -> None:
    """A judge that overlooks damage would let everything pass."""
    raw = (MAIL / "cases" / "consent-unknown.in.eml").read_bytes()
    read, rewrite = module.read_message, module.rewrite
    assert judge(raw) == "tracked"

    def damaging(conduct: Conduct, examined: Examination, marks: Marks, *, eight_bit: bool) -> object:
        message = read(raw.replace(before, after), conduct.reading)
        return rewrite(conduct, replace(examined, message=message), marks, eight_bit=eight_bit)

    monkeypatch.setattr(module, "rewrite", damaging)

    with pytest.raises(Fault):
        judge(raw)


@pytest.mark.parametrize(
    "taken",
    [b"color:red", b">go</a>", b"https://a.example/", b"Subject: Hello\r\n"],
    ids=["style", "text", "target", "header"],
)
def test_the_judge_sees_what_else_goes(monkeypatch: pytest.MonkeyPatch, taken: bytes) -> None:
    """A judge that overlooks what goes with a tracker would let everything pass."""
    link = "https://t.yesware.com/tl/" + "/".join(("0a" * 20, "0b" * 16, "0c" * 16)) + "?ytl=https%3A%2F%2Fa.example%2F"
    html = f'<p style="color:red">x</p><a href="{link}">go</a>'
    raw = HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + html.encode()
    genuine = module.untracked
    assert judge(raw, watching=True) == "tracked"

    def damaging(message: Message, *, clean: bool = False) -> Outgoing:
        outgoing = genuine(message, clean=clean)
        return Outgoing(outgoing.raw.replace(taken, b"")) if clean else outgoing

    monkeypatch.setattr(module, "untracked", damaging)

    with pytest.raises(Fault):
        judge(raw, watching=True)
