"""Rewriting: what tracked and untracked messages look like, byte for byte."""

import base64
import tracemalloc

import pytest
from bs4 import BeautifulSoup

from policies import Purpose
from proxy.header import Unparsable
from proxy.links import link_rules
from proxy.message import Reading
from proxy.rewrite import MAX_URL, Change, tracked, untracked
from proxy.slices import at_once
from tests.proxy.samples import (
    EVERYTHING_ON,
    FOOTER,
    PIXEL,
    FixedMarks,
    bodies,
    decision,
    fixture,
    html_mail,
    names,
    read,
)

READING = Reading(links=link_rules(False, ["https://never.example/*"], ["https://mail.example.org"]))
CASES = {
    "attachments": "36, 50 to 54, 58 and 59",
    "base64": "38 and 69",
    "control": "22, 32, 62, M1 and M2",
    "czech": "43 and 85",
    "euc-jp": "44",
    "fragment": "85 and 114",
    "latin-1": "41 and 42",
    "links": "68 to 108",
    "long-lines": "64",
    "outlook": "84 to 94 and 113",
    "quoted-printable": "35, 37, 57 and M10",
    "reply": "110 and 115",
    "two-html": "56 and 107",
    "utf-8": "39, 46 and 65",
}
OPEN, CLICK = decision(Purpose.OPEN), decision(Purpose.CLICK)


def _tracked(raw: bytes, eight_bit: bool = True) -> bytes:
    return tracked(read(raw, READING), EVERYTHING_ON, FixedMarks(), FOOTER, eight_bit=eight_bit).raw


def test_every_fixture_has_a_case() -> None:
    """No fixture of a tracked message is left out."""
    assert {name for name in names() if not name.startswith("protected-")} == set(CASES)


@pytest.mark.parametrize("name", CASES, ids=[f"{cases}: {name}" for name, cases in CASES.items()])
def test_tracked(name: str) -> None:
    """A tracked message differs in its wrapped links, its footer and what was for us alone."""
    assert _tracked(fixture(f"{name}.in")) == fixture(f"{name}.out")


@pytest.mark.parametrize("name", [name for name in CASES if name != "control"])
def test_untracked(name: str) -> None:
    """A message that is not tracked is the very bytes that came (cases 1 to 3 and M8)."""
    raw = fixture(f"{name}.in")
    outgoing = untracked(read(raw, READING))

    assert outgoing.raw is raw
    assert outgoing.changes == ()


def test_untracked_control() -> None:
    """What was for us alone goes from an untracked message too, and nothing else (cases 22 and M2)."""
    raw = fixture("control.in")
    expected = (
        raw.replace(b"X-Aboveboard-Track: open, click\r\nRec", b"Rec")
        .replace(b"x-aboveboard-track: off\r\n", b"")
        .replace(b"X-ABOVEBOARD-TRACK: click,\r\n open\r\n", b"")
        .replace(b"[track_open]_", b"")
    )
    outgoing = untracked(read(raw))

    assert outgoing.raw == expected
    assert outgoing.changes == (Change("control", 4),)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("control", "long-lines")])
def test_line_feeds(name: str) -> None:
    """A file with bare line feeds keeps them, and gets no other line breaks."""
    raw = fixture(f"{name}.in").replace(b"\r\n", b"\n")

    assert _tracked(raw) == fixture(f"{name}.out").replace(b"\r\n", b"\n")


HTML = b'<body><a href="https://x.com/1">x</a> <a href="https://x.com/2">y</a></body>\r\n'


def test_opens_only() -> None:
    """With opens alone there is a pixel, and every link is as it was (case 6)."""
    outgoing = tracked(read(html_mail(HTML)), OPEN, FixedMarks(), FOOTER)

    assert outgoing.raw.count(PIXEL) == 1
    assert b'<a href="https://x.com/1">x</a> <a href="https://x.com/2">y</a>' in outgoing.raw
    assert outgoing.changes == (Change("pixel", 1), Change("footer", 1))


def test_clicks_only() -> None:
    """With clicks alone the links are wrapped, and there is no pixel (case 7)."""
    marks = FixedMarks()
    outgoing = tracked(read(html_mail(HTML)), CLICK, marks, FOOTER)

    assert (b"<img" in outgoing.raw, marks.pixels) == (False, 0)
    assert marks.targets == {1: "https://x.com/1", 2: "https://x.com/2"}
    assert outgoing.changes == (Change("link", 2), Change("footer", 1))


def test_nothing_to_change() -> None:
    """Where there is no HTML nothing changes, and nothing is said to have been changed (cases 25 and 119)."""
    raw = html_mail(b"https://x.com\r\n", b"text/plain")
    outgoing = tracked(read(raw), EVERYTHING_ON, FixedMarks(), FOOTER)

    assert (outgoing.raw, outgoing.changes) == (raw, ())


def test_targets() -> None:
    """What the marks get is the exact address of each link, numbered in order (cases 68 to 72, 83 and 107)."""
    marks = FixedMarks()
    tracked(read(fixture("links.in"), READING), EVERYTHING_ON, marks, FOOTER)

    assert marks.targets == {
        1: "https://shop.example/1?a=1&b=2&copy=3&c=%2F",
        2: "https://shop.example/1?a=1&b=2&copy=3&c=%2F",
        3: "https://shop.example/area",
        4: "https://shop.example/trim",
        5: "HTTPS://Shop.Example?q#f",
    }


def test_links_are_not_wrapped_twice() -> None:
    """A message that comes by again has its links wrapped once (cases 21 and 102)."""
    out = _tracked(html_mail(HTML))
    marks = FixedMarks()
    tracked(read(out, READING), EVERYTHING_ON, marks, FOOTER)

    assert marks.targets == {}


def test_long_url() -> None:
    """A link whose wrapped address would be too long is left alone (case 79)."""
    base = len(FixedMarks().link(1, ""))
    for length, wrapped in ((MAX_URL, 2), (MAX_URL + 1, 0)):
        outgoing = tracked(read(html_mail(HTML)), CLICK, FixedMarks(length - base), FOOTER)

        assert sum(change.count for change in outgoing.changes if change.what == "link") == wrapped
        assert outgoing.raw.count(b'href="https://x.com/') == 2 - wrapped


@pytest.mark.parametrize("end", [b"</body>", b"</BODY>", b"</body >", b"</body\r\n>"], ids=repr)
def test_pixel_before_the_end(end: bytes) -> None:
    """The footer with the pixel stands before the last end of the body (cases 113 and 115)."""
    out = _tracked(html_mail(b"<body>x" + end + b"<p>y" + end + b"</html>"))

    assert out.count(PIXEL) == 1
    assert out.endswith(PIXEL + b"</div>\r\n" + end + b"</html>")


@pytest.mark.parametrize("tail", [b"", b"\r\n", b"\r\n\r\n"], ids=["none", "one", "two"])
def test_pixel_at_the_end(tail: bytes) -> None:
    """Without an end of the body the footer stands at the end of the part, before its last line breaks (case 114)."""
    assert _tracked(html_mail(b"<p>x" + tail)).endswith(PIXEL + b"</div>" + tail)


@pytest.mark.parametrize("tag", [b"<div hidden>", b'<div style="display:none">', b"<details>"])
def test_the_only_tag_hides(tag: bytes) -> None:
    """An element that covers its content is found wherever its tag stands among the tags of the page."""
    with pytest.raises(Unparsable):
        _tracked(html_mail(b"x " + tag + b"y"))


@pytest.mark.parametrize("html", [b"<p>x<!-- y", b"<p>x<p title='y", b"<p>x<style>", b"x<plaintext>"])
def test_no_place_for_the_pixel(html: bytes) -> None:
    """Where nothing can be appended so that it shows, nothing is (case 114)."""
    with pytest.raises(Unparsable):
        _tracked(html_mail(html))


@pytest.mark.parametrize(
    "open_element",
    [
        b'<div style="display: none">y',
        b'<DIV STYLE="max-height:0;overflow:hidden;VISIBILITY:Hidden"><p>y</p>',
        b'<span style=mso-hide:all;opacity:0>y<a href="https://x.com">z</a>',
        b"<div hidden><div>y</div>",
        b"<table><tr><td style='display:none'>y",
        b"<select><option>y",
        b"<template>y</div>",
        b"<details><summary>y</summary>",
        b"<div><b><details>y</b>",
        b"<div><object><p>y</p></div>",
        b"<div><details><p>y<template><b>z</template></b></p></div>",
        b"<p><select><option>y</p><details>z</details>",
    ],
)
@pytest.mark.parametrize("tail", [b"</body></html>", b"\r\n", b"</body><body>z</body>"], ids=["body", "none", "two"])
def test_no_footer_where_nobody_would_see_it(open_element: bytes, tail: bytes) -> None:
    """Who is tracked is told: behind an element left open that covers its content, nothing is put."""
    html = b'<html><body><p>x</p><a href="https://x.com">z</a>' + open_element + tail

    with pytest.raises(Unparsable):
        _tracked(html_mail(html))


def test_no_footer_behind_frames() -> None:
    """Who is tracked is told: of a document made of frames nothing else is shown, so nothing is put behind them."""
    with pytest.raises(Unparsable):
        _tracked(html_mail(b"<html><FRAMESET rows='*'><frame src=x></FRAMESET><p>y</p></html>"))


@pytest.mark.parametrize(
    "html",
    [
        b'<div style="display:none">y</div>',
        b'<div style="display:none">y<p>z</div>',
        b"<template><div>y</div></template>",
        b'<!--[if mso]><div style="display:none"><![endif]-->',
        b'<div style="font-size:0;line-height:0">y',
        b'<div style="overflow: hidden; text-decoration:none">y',
        b'<p title="display:none">y',
        b"<select><option>y</select><details>y</details>",
        b"<div><details><details><b>y</details></b></details></div>",
    ],
)
def test_a_footer_behind_what_is_hidden(html: bytes) -> None:
    """What is hidden and ends, or hides only by the size of its text, keeps no message from being tracked."""
    out = _tracked(html_mail(b"<body>x" + html + b"</body>"))

    assert out.endswith(html + out[out.rindex(b"\r\n<div style=") :])
    assert out.endswith(PIXEL + b"</div>\r\n</body>")


def test_no_personal_data() -> None:
    """Nothing that is added names the people or the message (cases 118 and M15)."""
    raw = html_mail(HTML, more=b"Message-ID: <1234@example.org>\r\n")
    out = _tracked(raw)

    for word in (b"ada", b"max", b"client.example", b"1234"):
        assert out.lower().count(word) == raw.lower().count(word)
    assert out.partition(b"\r\n\r\n")[0] == raw.partition(b"\r\n\r\n")[0]


def _text(html: str) -> str:
    return " ".join(BeautifulSoup(html, "html.parser").get_text().split())


# Not "control": the package takes the space before a colon, which RFC 5322 §4.5.3 lets pass, for the end of the header.
@pytest.mark.parametrize("name", [name for name in CASES if name != "control"])
def test_judge(name: str) -> None:
    """The library's email package reads the same text, in the charset that is said, and one pixel (cases 41 to 44)."""
    raw, out = bodies(fixture(f"{name}.in")), bodies(fixture(f"{name}.out"))
    sentence = (
        "With your consent, Example GmbH records when images in this message are loaded and which of its links are "
        "followed. Stop this"
    )
    texts = [_text(html).replace(sentence, "") for html in out]

    assert [" ".join(text.split()) for text in texts] == [_text(html) for html in raw]
    assert sum(html.count(PIXEL.decode()) for html in out) == 1


EIGHT_BIT = "<p>gr\u00fcn <a href=https://x.com/>x</a>\r\n</p>\r\n".encode()


def test_upstream_without_8bitmime() -> None:
    """Where the upstream takes no 8-bit bytes an edited part becomes quoted-printable, and says so (case 40)."""
    raw = html_mail(EIGHT_BIT, encoding=b"8bit")
    out = _tracked(raw, eight_bit=False)

    assert out.isascii()
    assert b"\r\nContent-Transfer-Encoding: quoted-printable\r\n" in out
    assert bodies(out) == bodies(_tracked(raw))
    assert untracked(read(raw)).raw == raw


def test_encoding_not_said() -> None:
    """A part that said nothing of its encoding says it after it has become quoted-printable (cases 40 and 64)."""
    raw = html_mail(b"<p>" + b"x" * 999).replace(b"Content-Transfer-Encoding: 7bit\r\n", b"")
    out = _tracked(raw)

    assert (
        b"\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>x" in out
    )
    assert bodies(out)[0].startswith("<p>" + "x" * 999 + "\r\n<div")


@pytest.mark.parametrize(("length", "encoding"), [(998, b"7bit"), (999, b"quoted-printable")])
def test_longest_line(length: int, encoding: bytes) -> None:
    """A line of 998 characters is legal and stays; a longer one is not cut but encoded (case 64)."""
    out = _tracked(html_mail(b"x" * length + b"\r\n<p>y</p>\r\n"))

    assert b"Content-Transfer-Encoding: " + encoding in out
    assert max(map(len, out.split(b"\r\n"))) <= 998
    assert bodies(out)[0].startswith("x" * length + "\r\n<p>y</p>\r\n<div")


def test_long_line_without_a_break() -> None:
    """The soft breaks of a part that had no line break of its own are the message's (case 63)."""
    part = b"Content-Type: text/html; charset=utf-8\r\n\r\n<a href=https://x.com/>" + b"x" * 2_000
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n"

    assert b"\n" not in _tracked(raw).replace(b"\r\n", b"")


def test_encoded_line_feeds() -> None:
    """Quoted-printable that encodes its line feeds gets no bare one (case 63)."""
    raw = html_mail(b"<p>x</p>=0A<p>y=0A", encoding=b"quoted-printable")
    out = _tracked(raw)

    assert b"\n" not in out.replace(b"\r\n", b"")
    assert bodies(out)[0].startswith("<p>x</p>\n<p>y\r\n<div")


def test_line_feeds_in_base64() -> None:
    """In base64 the text keeps line breaks of its own, and the footer takes them (case 38)."""
    raw = html_mail(base64.b64encode(b"<p>x</p>\n<p>y</p>\n") + b"\r\n", encoding=b"base64")
    (html,) = bodies(_tracked(raw))

    assert html.startswith("<p>x</p>\n<p>y</p>\n<div")
    assert "\r" not in html


@pytest.mark.parametrize("encoding", [b"7bit", b"base64", b"quoted-printable"])
def test_empty_part(encoding: bytes) -> None:
    """A second HTML part without content takes the footer, and its header stays a header (case 119)."""
    first = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>x"
    empty = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n"
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + first + b"\r\n--b\r\n" + empty + b"\r\n--b--\r\n"
    )
    out = _tracked(raw)

    assert out.startswith(raw.removesuffix(b"\r\n--b--\r\n"))
    assert [PIXEL.decode() in html for html in bodies(out)] == [False, True]


def test_control_header_last() -> None:
    """A control header at the very end of the header goes, while the encoding is said there (cases 22 and 64)."""
    raw = html_mail(b"x" * 999).replace(b"Content-Transfer-Encoding: 7bit\r\n", b"X-Aboveboard-Track: open\r\n")
    out = _tracked(raw)

    assert b"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nxxx" in out


def test_unquoted_value_stays_one() -> None:
    """A wrapped address in a value without quotes leaves the tag as it was around it (cases 85 and 86)."""
    out = _tracked(html_mail(b"<a CLASS=c href=https://x.com/a?b=c  ID='i'\tdata-x>x</a>"))

    assert b"<a CLASS=c href=https://mail.example.org/l/link1  ID='i'\tdata-x>x</a>" in out


def test_one_copy_is_made_of_a_large_message() -> None:
    """Reading and rewriting a message with a large attachment takes the memory of one copy, not of two."""
    attachment = b"Content-Type: application/pdf\r\n\r\n" + b"x" * 8_000_000 + b"\r\n--b--\r\n"
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<a href='https://a.test/'>x</a></body>"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + html + b"\r\n--b\r\n" + attachment

    tracemalloc.start()
    outgoing = tracked(read(raw), EVERYTHING_ON, FixedMarks(), FOOTER)
    content = at_once(outgoing.putting_behind(b"Received: by relay.test\r\n"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert b"Received: by relay.test\r\n" + outgoing.raw == content == outgoing.behind(b"Received: by relay.test\r\n")
    assert outgoing.size == len(outgoing.raw)
    assert peak < 1.2 * len(raw)
