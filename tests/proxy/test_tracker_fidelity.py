# ruff: noqa: E501  # a case reads best on one line
"""Taking trackers out changes nothing else, whatever the message is made of (cases T50 to T61)."""

import base64
import quopri
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import Reason
from policies.words import ForeignTracking
from proxy.footer import Footer
from proxy.html import scan
from proxy.html_trackers import finding_in_html
from proxy.page import page
from proxy.rewrite import tracked, untracked
from proxy.slices import at_once
from proxy.transfer import apart, splice
from tests.proxy.samples import (
    EVERYTHING_ON,
    FixedMarks,
    corpus_messages,
    fixture,
    html_mail,
    leaves,
    names,
    needs_corpus,
    read,
)
from tests.proxy.tracking import (
    ACME_READING,
    AD,
    ID40,
    OPAQUE,
    PIXEL,
    READING,
    TRACKED_PAGE,
    WATCH,
    clean,
    left,
    reported,
)

HEAD = b"From: alice@example.org\r\nTo: bob@customer.test\r\nSubject: Re: offer\r\nX-Odd:value\r\nMIME-Version: 1.0\r\n"


def test_backtracking_host() -> None:
    """Case T50: a long address of many parts meets every rule in no time, and stays."""
    html = f'<a href="https://click.mailer.example/r?u={"seg." * 20}end&id=9">q</a>'.encode()
    begun = time.process_time()

    assert html_mail(html) == clean(html_mail(html)).raw
    assert time.process_time() - begun < 0.5


def test_large_html_is_left() -> None:
    """Case T51: HTML over the limit goes as it came."""
    raw = html_mail(f'<p><img src="{PIXEL}">'.encode() + b"<p>x</p>" * 700_000)

    assert raw is clean(raw).raw


SHAPES: dict[str, Callable[[int], str]] = {
    "pixels": lambda n: f'<img src="{AD}">' * (n // 4),
    "links": lambda n: '<a href="https://go.acme.test/?to=https%3A%2F%2Fa.example">x</a>' * (n // 4),
    "unknown images": lambda n: "".join(f'<img src="https://x.example/{ID40}{at}" width=1>' for at in range(n // 4)),
    "hidden images": lambda n: "".join(
        f'<p hidden></p><img src="https://x.example/{ID40}{at}">' for at in range(n // 4)
    ),
    "elements": lambda n: '<span id="acme-box">' * n,
    "closed elements": lambda n: '<span id="acme-box"></span>' * n,
    "styles": lambda n: f'<p style="background:url({AD})">' * (n // 4),
    "declarations": lambda n: "<style>a{" + f"b:url({AD});" * n,
    "open brackets": lambda n: "<style>a{b:" + "url(((" * n,
    "open comments": lambda n: "<style>" + "/*" * n + f"url({AD})",
    "open strings": lambda n: "<style>url(" + "'" * n,
    "a long srcset": lambda n: '<img srcset="' + f"{AD} 1x, " * n + '">',
    "commas": lambda n: '<img srcset="' + "," * n * 4 + f'{AD}">',
    "references": lambda n: f'<p style="background:url({AD})' + "&amp;" * n + '">',
    "conditional": lambda n: f'<!--[if mso]><v:fill src="{AD}"><![endif]-->' * (n // 4),
    "bases": lambda n: '<base href="//px.acme.test/">' * n,
    "glyphs": lambda n: "\u1427\r\n" * n,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_linear(shape: str) -> None:
    """Cases T50 and T51: twice the input costs about twice the time, whatever it is made of."""

    def seconds(size: int) -> float:
        html = SHAPES[shape](size).encode()
        found = scan(html)
        begun = time.process_time()
        at_once(finding_in_html(page(html), found, ACME_READING.watch or WATCH))
        return time.process_time() - begun

    seconds(400)
    small, large = min(seconds(2_000) for _ in range(2)), min(seconds(8_000) for _ in range(2))

    # Four times the input; a quadratic search would take sixteen times as long.
    assert large < 10 * small + 0.05


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(f'<p>x</p><img src="{PIXEL}', id="52 end of file in a value"),
        pytest.param('<p>x</p><img src="', id="52 nothing in the value"),
        pytest.param(f'<!-- <img src="{PIXEL}">', id="52 comment that is never closed"),
        pytest.param('<a href="https://a.example/?a=1&copy=3&amp;b=2&reg=x&section=5">q</a>', id="60"),
        pytest.param("<![if !mso]><p>x</p><![endif]><p CLASS=x  ID='y'\tz>", id="31"),
    ],
)  # fmt: skip
def test_nothing_to_take_out(html: str) -> None:
    """Cases T31, T52 and T60: the same bytes, and the same object, where nothing is found for certain."""
    raw = html_mail(html.encode())

    assert raw is clean(raw).raw


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "reason"),
    [
        pytest.param("text/html; charset=utf-8", "8bit", b"<p>\0</p>", Reason.UNPARSABLE, id="53 NUL"),
        pytest.param("text/html; charset=iso-2022-jp", "7bit", b"<p>x</p>", Reason.UNPARSABLE, id="54 iso-2022-jp"),
        pytest.param("text/html; charset=utf-16", "base64", b"PABwAD4A", Reason.UNPARSABLE, id="54 utf-16"),
        pytest.param("text/html; charset=utf-7", "7bit", b"<p>x</p>", Reason.UNPARSABLE, id="54 utf-7"),
        pytest.param("text/html; charset=utf-8", "base64", b"!!!", Reason.UNPARSABLE, id="53 not base64"),
    ],
)
def test_undecodable_parts(content_type: str, encoding: str, body: bytes, reason: Reason) -> None:
    """Cases T53 and T54: a part that cannot be read for certain is untouched, and the reason is known."""
    raw = html_mail(body + f'<img src="{PIXEL}">'.encode(), content_type.encode(), encoding.encode())

    assert raw is clean(raw).raw
    assert reason is read(raw, READING).facts.problem


def test_invalid_utf_8_loses_nothing() -> None:
    """Case T53: bytes that are not what the charset says stay as they are around an edit."""
    before, after = b"<p>\xe4\xff", b"\x93caf\xe9</p>"

    out = clean(html_mail(before + f'<img src="{PIXEL}">'.encode() + after, encoding=b"8bit")).raw

    assert out.endswith(b"\r\n\r\n" + before + after)


@pytest.mark.parametrize("line_break", [b"\r\n", b"\n"])
def test_no_hit_no_change(line_break: bytes) -> None:
    """Case T55: without a hit the very bytes go on, odd folding, bare line feeds and all."""
    raw = (
        HEAD
        + b"Subject:\r\n  odd\r\n\tfolding\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>x <a href='https://a.example/'>q</a>"
    ).replace(b"\r\n", line_break)

    assert raw is clean(raw).raw


PAGE = (
    f"<html><body><p>gr\u00fcn = caf\u00e9</p>\r\n<p>{'x ' * 60}</p>\r\n"
    + f'<img alt="" src="{PIXEL}">'
    + "<p>end</p>\r\n</body></html>\r\n"
)


def encoded(page: str, encoding: str) -> bytes:
    """Return a page in a transfer encoding, as mail programs write it."""
    octets = page.encode()
    if encoding == "base64":
        return base64.encodebytes(octets).replace(b"\n", b"\r\n")
    if encoding == "quoted-printable":
        return quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return octets


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_only_the_part_changes(encoding: str) -> None:
    """Cases T56 and T57: header, text part and attachment keep every byte; the encoding stays, in lines of 76."""
    said = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    text = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbcn  \r\n"
    attached = (
        b"Content-Type: text/html; charset=utf-8\r\nContent-Disposition: attachment; filename=a.html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + PAGE.encode()
    )
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n" + b"".join(
        b"--b\r\n" + part + b"\r\n" for part in (text, said + encoded(PAGE, encoding), attached)
    ) + b"--b--\r\nepilogue\r\n"  # fmt: skip

    out = clean(raw).raw

    before, after = raw.index(said) + len(said), raw.index(b"--b\r\n" + attached)
    assert raw[:before] == out[:before]
    assert out.endswith(raw[after:])
    (body,) = read(out, READING).bodies
    assert PAGE.replace(f'<img alt="" src="{PIXEL}">', "").rstrip() == body.encoded.decoded.decode().rstrip()
    if encoding != "8bit":
        assert max(map(len, out[before : len(out) - len(raw[after:])].split(b"\r\n"))) <= 76


def test_a_text_part_in_which_nothing_goes_is_left() -> None:
    """A tracker that is only told of in the text part changes no byte of that, however it is encoded (promise 3)."""
    letters = base64.b64encode(f"See {OPAQUE} or call us about the offer that we have made to you.".encode())
    text = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + letters + b"\r\n"
    html = b'Content-Type: text/html; charset=utf-8\r\n\r\n<a href="https://a.example/">go</a>\r\n'
    head = b"From: a@example.org\r\nTo: b@example.com\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    raw = head + b"--b\r\n" + text + b"--b\r\n" + html + b"--b--\r\n"
    removing = replace(EVERYTHING_ON, foreign_tracking=ForeignTracking.REMOVE)

    out = tracked(read(raw, READING), removing, FixedMarks(), Footer("Example"))

    assert "tool mailtrack link B opaque ×1" in reported(out)
    assert len(letters) > 76
    assert text in out.raw


def test_several_html_parts() -> None:
    """Case T58: in a related in an alternative in a mixed, and in a second HTML part, each is cleaned."""
    html = f'Content-Type: text/html; charset=utf-8\r\n\r\n<p>a<img src="{PIXEL}"></p>'.encode()
    related = (
        b'Content-Type: multipart/related; boundary="r"\r\n\r\n--r\r\n'
        + html
        + b"\r\n--r\r\nContent-Type: image/png\r\nContent-ID: <l>\r\n\r\nx\r\n--r--\r\n"
    )
    alternative = (
        b'Content-Type: multipart/alternative; boundary="a"\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\na\r\n--a\r\n'
        + related
        + b"\r\n--a--\r\n"
    )
    raw = (
        HEAD
        + b'Content-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\n'
        + alternative
        + b"\r\n--m\r\n"
        + html
        + b"\r\n--m--\r\n"
    )

    out = clean(raw)

    assert raw.replace(f'<img src="{PIXEL}">'.encode(), b"") == out.raw
    assert ["tool yesware image B removed ×2"] == reported(out)


@pytest.mark.parametrize(
    "header",
    [b"Content-Type: text/html; charset=utf-8\r\nContent-Disposition: attachment", b"Content-Type: text/x-amp-html; charset=utf-8", b"Content-Type: message/rfc822"],
    ids=["59 attached", "AMP", "a forwarded message"],
)  # fmt: skip
def test_other_parts(header: bytes) -> None:
    """Case T59: attachments, AMP parts and forwarded messages are not looked into."""
    part = header + b'\r\n\r\n<img src="' + PIXEL.encode() + b'">'
    raw = (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\n"
        + part
        + b"\r\n--b--\r\n"
    )

    out = clean(raw)

    assert (raw, ()) == (out.raw, out.found)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f'<p>1 <<img src="{PIXEL}">/p>', "<p>1 < /p>"),
        (f'<p>1 <<img src="{PIXEL}">b class=', "<p>1 < b class="),
        (f'<p>AT&<img src="{PIXEL}">amp;T', "<p>AT& amp;T"),
        (f'<p>&#6<img src="{PIXEL}">5;', "<p>&#6 5;"),
        (f'<p>R&D <img src="{PIXEL}">is', "<p>R&D is"),
        (f'<p>R&D<img src="{PIXEL}"></p>', "<p>R&D</p>"),
    ],
    ids=["an end tag", "a tag", "a reference", "a number", "none", "none before a tag"],
)
def test_no_markup_is_made(html: str, expected: str) -> None:
    """What stands in front of a tracker that goes makes no tag, comment or character of what follows it."""
    assert expected == left(html)


@pytest.mark.parametrize("foreign", [True, False], ids=["removed", "reported"])
def test_report_follows_what_was_done(foreign: bool) -> None:
    """What is only reported says so; nothing is claimed to be removed that is still there."""
    raw = html_mail(TRACKED_PAGE)

    out = untracked(read(raw, READING), clean=foreign)

    assert ([] if foreign else [raw]) == ([] if PIXEL.encode() not in out.raw else [out.raw])
    assert (
        ["removed", "unwrapped", "opaque"]
        if foreign
        else ["reported", "reported", "opaque"] == [one.action for one in out.found]
    )


@needs_corpus
def test_corpus_has_no_hit() -> None:
    """With every rule on, no message of the corpus has a tracker but the ones listed; all others keep every byte."""
    hits = {}
    for path in corpus_messages():
        raw = path.read_bytes()
        out = clean(raw)
        if any(one.tier in "ABC" for one in out.found):
            hits[path.stem] = {one.vendor for one in out.found}
        else:
            assert raw is out.raw
    assert KNOWN_HITS == hits


KNOWN_HITS: dict[str, set[str]] = {}
"""Messages of the corpus that do hold a tracker, and whose."""

PIECES = st.sampled_from([
    "<p>", "</p>", "gr\u00fcn ", "a = b ", "\r\n", "<div>", "</div>", '<span id="acme-box">', "</span>", "<blockquote>",
    f'<img src="{AD}">', f"<img alt='' src={AD} srcset='{AD} 1x, b.png 2x'>", "<img src='cid:a'>", f'<td background="{AD}">',
    '<a href="https://go.acme.test/?to=https%3A%2F%2Fa.example%2F%3Fa%3D1%26b">', "</a>", "<a href='https://x.example/'>",
    f'<p style="a:b;c:url({AD});d:e">', f"<style>a{{b:url({AD})}}</style>", f"<!--[if mso]><v:fill src='{AD}'/><![endif]-->", "<!--", "-->",
])  # fmt: skip
HARMLESS = st.sampled_from(
    [
        "<p>",
        "</p>",
        "x = y ",
        "\r\n",
        "<a href='https://x.example/?a=1&copy=2'>",
        "</a>",
        "<img src=cid:a>",
        "<!--",
        "-->",
        "'",
        '"',
    ]
)


@given(st.lists(HARMLESS, max_size=30).map("".join), st.sampled_from(["8bit", "quoted-printable", "base64"]))
def test_without_a_hit_identical(html: str, encoding: str) -> None:
    """Without a hit the message is the very object that came."""
    raw = html_mail(encoded(html, encoding), encoding=encoding.encode())

    assert raw is clean(raw, ACME_READING).raw


@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["8bit", "quoted-printable", "base64"]))
def test_any_page(html: str, encoding: str) -> None:
    """Edits never meet, other parts keep their bytes, and a second pass finds nothing more to take out."""
    part = (
        f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        + encoded(html, encoding).rstrip(b"\r\n")
    )
    raw = (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n" % (b"=_b", b"=_b")
        + part
        + b"\r\n--=_b\r\nContent-Type: text/csv\r\n\r\na,b\r\n--=_b--\r\n"
    )

    out = clean(raw, ACME_READING)
    (body,) = read(raw, ACME_READING).bodies
    edits = apart(edit for one in body.foreign for edit in one.edits)

    assert leaves(raw) == leaves(out.raw)
    assert (
        splice(body.encoded.decoded, edits).rstrip() == read(out.raw, ACME_READING).bodies[0].encoded.decoded.rstrip()
    )
    cleaned = out.raw
    again = clean(cleaned, ACME_READING)
    assert [] == [one for one in again.found if one.action in ("removed", "unwrapped")]
    assert again.raw is cleaned


@pytest.mark.parametrize("name", names())
def test_fixtures_are_left(name: str) -> None:
    """No sample of the other tests has a tracker in it."""
    raw = fixture(f"{name}.in")

    assert untracked(read(raw)).raw == untracked(read(raw, READING), clean=True).raw


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([(5, 6, b"b"), (1, 2, b"a")], [(1, 2, b"a"), (5, 6, b"b")]),
        ([(1, 9, b""), (2, 3, b"x")], [(1, 9, b"")]),
        ([(1, 3, b"first"), (1, 3, b"second")], [(1, 3, b"first")]),
        ([(1, 4, b""), (3, 6, b"")], [(1, 4, b"")]),
        ([(3, 5, b""), (3, 3, b"put in")], [(3, 3, b"put in"), (3, 5, b"")]),
        ([(3, 5, b""), (5, 5, b"put in")], [(3, 5, b""), (5, 5, b"put in")]),
    ],
    ids=["order", "inside", "the same", "in part", "put in before", "put in behind"],
)  # fmt: skip
def test_apart(edits: list[tuple[int, int, bytes]], expected: list[tuple[int, int, bytes]]) -> None:
    """Edits are put in order, and none meets another."""
    assert expected == apart(edits)
