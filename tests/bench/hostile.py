"""Input made to be slow: each shape at four sizes, and how much longer each doubling takes.

Linear is 2; above 3 something is not. A shape that is refused early takes the same time at every size.
"""

from collections.abc import Callable
from gc import collect
from itertools import pairwise
from time import process_time

from proxy.html import scan
from proxy.message import read_message
from proxy.rewrite import untracked
from proxy.slices import at_once
from proxy.visible import finding_empty
from tests.bench.messages import CONDUCT
from tests.bench.samples import FROM_TO

Shape = Callable[[int], bytes]
"""Makes an input of about so many bytes."""


def repeated(unit: bytes, before: bytes = b"", behind: bytes = b"") -> Shape:
    """Return a shape that is one thing again and again."""
    return lambda size: before + unit * max(1, size // len(unit)) + behind


PAGES: dict[str, Shape] = {
    "comments that begin": repeated(b"<!--"),
    "links that begin": repeated(b"<a href="),
    "quotes left open": repeated(b'<a b="', behind=b"'"),
    "less-than signs": repeated(b"<"),
    "conditions": repeated(b"<!--[if mso]>"),
    "closed conditions": repeated(b"<!--[if mso]><a href=u>x</a><![endif]-->"),
    "nested elements": lambda size: b"<div>" * (size // 11) + b"</div>" * (size // 11),
    "elements with a style": repeated(b'<p style="margin:0">', before=b"text"),
    "one line": lambda size: b"<p>" + b"x" * size,
    "one tag": lambda size: b"<p " + b"x=y " * (size // 4) + b">",
    "quotes": repeated(b"<div class=gmail_quote>"),
    "near quotes": repeated(b"<div class=my_gmail_quote_x>"),
    "quotes without a tag": repeated(b"gmail_quote "),
    "quotes in one tag": lambda size: b'<div title="' + b"<p gmail_quote " * (size // 15) + b'">',
    "dashes": repeated(b"----- "),
    "links": repeated(b"<a href=https://e.test/>x</a>"),
    "links with pictures left open": repeated(b"<a href=https://e.test/>" + b"<img " * 800),
    "links with long punctuation": repeated(b"<a href=https://e.test/>" + b"." * 4_000 + b"x</a>"),
    "one long address": lambda size: b"<a href=https://e.test/" + b"a/" * (size // 2) + b">x</a>",
    "references": repeated(b"&#x2f;"),
    "half references": repeated(b"&amp", before=b"<a href=", behind=b">x</a>"),
    "shapes": repeated(b"<v:rect href=https://e.test/>"),
    "scripts": repeated(b"<script><!--<script>"),
}

HEAD = FROM_TO + b"Content-Type: text/html; charset=utf-8\r\n"
MULTIPART = FROM_TO + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
TOKEN = b"https://t.example/l/" + b"A" * 60


def nested(size: int) -> bytes:
    """Return multiparts in each other, as deep as may be, around a text."""
    raw = b"Content-Type: text/plain\r\n\r\n" + b"x" * size
    for level in range(60):
        boundary = b"b%d." % level
        head = b"Content-Type: multipart/mixed; boundary=" + boundary
        raw = head + b"\r\n\r\n--" + boundary + b"\r\n" + raw + b"\r\n--" + boundary + b"--\r\n"
    return FROM_TO + raw


MESSAGES: dict[str, Shape] = {
    "one line of HTML": lambda size: HEAD + b"\r\n<p>" + b"x" * size,
    "quoted-printable signs": repeated(b"=3D", HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"),
    "soft line breaks": repeated(b"=\r\n", HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>"),
    "padding": repeated(b" \r\n", HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>"),
    "base64 in short lines": repeated(b"QUFB\r\n", HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n"),
    "parts": repeated(b"--b\r\n\r\nx\r\n", MULTIPART, b"--b--\r\n"),
    "parts that are none": repeated(b"--b--b", MULTIPART),
    "lines like boundaries": repeated(b"\r\n--bb", MULTIPART, b"\r\n--b--\r\n"),
    "nested multiparts": nested,
    "nested messages": repeated(b"Content-Type: message/rfc822\r\n\r\n", FROM_TO),
    "recipients": repeated(b"someone@customer.test, ", b"To: ", b"x@customer.test\r\n" + FROM_TO + b"\r\n"),
    "comments in From": repeated(b"(", b"From: ", b"\r\nTo: a@customer.test\r\n\r\nx"),
    "comments that close": lambda size: b"From: " + b"(" * (size // 2) + b")" * (size // 2) + b" a@b.test\r\n\r\nx",
    "quotation marks in To": repeated(b'"', b"To: ", b"\r\n\r\nx"),
    "angle brackets in To": repeated(b"<", b"To: ", b"\r\n\r\nx"),
    "header fields": repeated(b"A: b\r\n", FROM_TO, b"\r\nx"),
    "folded lines": repeated(b"\r\n b", b"Subject: a", b"\r\n\r\nx"),
    "encoded words": repeated(b"=?utf-8?q?a?= ", b"Subject: ", b"\r\n\r\nx"),
    "half encoded words": repeated(b"=?utf-8?q?", b"Subject: ", b"\r\n\r\nx"),
    "parameters": lambda size: FROM_TO + b"Content-Type: text/plain" + b"".join(b";a%d=b" % n for n in range(size // 8))
    + b"\r\n\r\nx",
    "no blank line": repeated(b"x\r\n"),
    "old links": repeated(b"<a href=" + TOKEN + b">x</a>", HEAD + b"\r\n"),
    "old links in nested blocks": lambda size: HEAD + b"\r\n" + (b"<div><a href=" + TOKEN + b">x</a>") * (size // 101),
    "old links in text": repeated(TOKEN + b" ", FROM_TO + b"\r\n"),
    "addresses in text": repeated(b"http://a.test/x-", FROM_TO + b"\r\n"),
    "PGP": repeated(b"-----BEGIN ", FROM_TO + b"\r\n"),
}  # fmt: skip

HEADER_SHAPES = frozenset({"recipients", "comments in From", "comments that close", "quotation marks in To",
                           "angle brackets in To", "header fields", "folded lines", "encoded words",
                           "half encoded words", "parameters"})  # fmt: skip
"""These stand in a header, which is refused over 100 kB: measured below that, and once far above."""


def look_at(page: bytes) -> None:
    """Scan a page for all that is asked of one."""
    scan(page)
    at_once(finding_empty(page))


def examine(raw: bytes) -> None:
    """Read a message and write it out again as it is."""
    untracked(read_message(raw, CONDUCT.reading)).behind(b"Received: x\r\n")


def timed(work: Callable[[bytes], None], data: bytes) -> float:
    """Return the least of three times, in seconds of the processor, for the machine may have other work."""
    collect()
    least = float("inf")
    for _ in range(3):
        start = process_time()
        work(data)
        least = min(least, process_time() - start)
    return least


def row(name: str, work: Callable[[bytes], None], shape: Shape, sizes: list[int]) -> None:
    """Print one shape's times in milliseconds and what each doubling costs."""
    inputs = [shape(size) for size in sizes]
    for _ in range(3):
        times = [timed(work, data) for data in inputs]
        ratios = [after / before for before, after in pairwise(times)]
        # Below half a millisecond the stopwatch says little; above, a busy machine may mislead it, but not thrice.
        slow = any(ratio > 3 for ratio, after in zip(ratios, times[1:], strict=True) if after > 0.000_5)
        if not slow:
            break
    said = "".join(f"{time * 1e3:9.2f}" for time in times) + "   " + "".join(f"{ratio:6.2f}" for ratio in ratios)
    print(f"  {name:32}{said}{'   NOT LINEAR' if slow else ''}")


def table() -> None:
    """Print all shapes."""
    sizes = [250_000, 500_000, 1_000_000, 2_000_000]
    print("Hostile pages, scanner: ms at 0.25, 0.5, 1 and 2 MB, and the ratio of each doubling")
    for name, shape in PAGES.items():
        row(name, look_at, shape, sizes)
    print("Hostile messages, facts and untracked: ms at 0.25, 0.5, 1 and 2 MB (in a header 12 to 100 kB)")
    for name, shape in MESSAGES.items():
        row(name, examine, shape, [12_000, 24_000, 48_000, 96_000] if name in HEADER_SHAPES else sizes)
    print("Far over a limit, ms")
    for name, raw in over_the_limits().items():
        print(f"  {name:32}{timed(examine, raw) * 1e3:9.2f}")


def over_the_limits() -> dict[str, bytes]:
    """Return what cases/messages.md M3 to M6 name, by name."""
    return {
        "M3: depth 300": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
                                  for n in range(300)),
        "M4: 200 000 parts": MULTIPART + b"--b\r\n\r\nx\r\n" * 200_000 + b"--b--\r\n",
        "M4: subject of 280 kB": b"Subject: " + b"=?utf-8?q?a?= " * 20_000 + b"\r\n\r\nx",
        "M4: 5 000 recipients": b"To: " + b"a@b.test, " * 5_000 + b"a@b.test\r\n\r\nx",
        "M4: 5 000 parameters": MESSAGES["parameters"](50_000),
        "M5: 900 comments in From": b"From: " + b"(" * 900 + b"\r\n\r\nx",
        "M6: 10 MB of <a href=": HEAD + b"\r\n" + b"<a href=" * 1_250_000,
        "M6: one line of 10 MB": HEAD + b"\r\n<p>" + b"x" * 10_000_000,
        "a header of 25 MB": b"A: " + b"x" * 25_000_000,
        "25 MB of header lines": b"A: b\r\n" * 4_000_000,
    }  # fmt: skip
