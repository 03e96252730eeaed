"""What is measured: pages and messages like those that mail programs write, and a stopwatch."""

import os
import time
from base64 import encodebytes
from collections.abc import Callable
from pathlib import Path

BENCH = Path(os.environ.get("ABOVEBOARD_BENCH", Path(__file__).parents[3] / "shared" / "bench"))

PARAGRAPH = (
    b"<p class=MsoNormal style='margin-bottom:12.0pt;line-height:115%'><span lang=EN-US style='font-size:10.0pt;"
    b'font-family:"Arial",sans-serif\'>team share the pricing would like including to and support would quarter revised'
    b" would like plan plan like offer like including plan would support to offer pricing<o:p></o:p></span></p>\r\n"
)
LINK = b'<p><a href="https://www.example.com/offer/%d?a=1&amp;b=2" style="color:#0563C1">our offer</a></p>\r\n'
FROM_TO = b"From: alice@example.org\r\nTo: reader@customer.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
ATTACHMENT_BYTES = 25_000_000


def best(work: Callable[[], object], seconds: float = 0.5) -> float:
    """Return the least time, in seconds, that one call took: what others do on the machine only adds to it."""
    work()
    least, until = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        work()
        least = min(least, time.perf_counter() - start)
    return least


def page(kilobytes: int, links: int, before_links: bytes = b"") -> bytes:
    """Return an Outlook-like HTML page of about so many kilobytes with so many links spread over it."""
    body = []
    for number in range(links):
        body += [PARAGRAPH] * (kilobytes * 1024 // links // len(PARAGRAPH)), [before_links, LINK % number]
    return b"<html><head><style><!-- p {} --></style></head><body>" + b"".join(map(b"".join, body)) + b"</body></html>"


def reply(kilobytes: int, links: int) -> bytes:
    """Return a page like that of a reply: a few words, and what Outlook writes above the history that follows."""
    history = b'<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm">'
    return page(1, 1).replace(b"</body></html>", history) + page(kilobytes, links).partition(b"<body>")[2]


def newsletter(kilobytes: int, links: int) -> bytes:
    """Return a page of nested tables with a style on every cell."""
    row = (
        b'<table role="presentation" width="100%%" cellpadding="0"><tr><td style="border-top: 1px solid '
        b'#dddddd; padding: 12px 24px; font-family: Helvetica, Arial, sans-serif"><a class="button_1" '
        b'href="https://shop.example/p/%d?utm_source=news&amp;utm_medium=mail" target="_blank" '
        b'style="color: #ffffff; text-decoration: none"><span>Have a look</span></a></td></tr></table>\r\n'
    )
    filler = (
        b'<tr><td align="left" valign="top" style="padding: 4px 24px; font-family: Helvetica, Arial, sans-serif; '
        b'font-size: 16px; line-height: 24px; color: #333333"><p style="margin: 0 0 16px">Something that is told at '
        b"some length here, over a line or two, as newsletters do when there is something to tell.</p></td></tr>\r\n"
    )
    each = kilobytes * 1024 // links // len(filler)
    return b"<html><body>" + b"".join(row % number + filler * each for number in range(links)) + b"</body></html>"


def bench_message() -> bytes:
    """Return the benchmark message, as SMTP has it; one like it where the file is not there."""
    file = BENCH / "html50k.eml"
    raw = file.read_bytes() if file.is_file() else FROM_TO + _html(page(50, 20))
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")


def _html(html: bytes) -> bytes:
    return b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + html


def large_messages() -> dict[str, bytes]:
    """Return messages with an attachment of 25 MB, by what they are."""
    html = _html(page(20, 10))
    letters = encodebytes(os.urandom(ATTACHMENT_BYTES * 3 // 4)).replace(b"\n", b"\r\n")
    pdf = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + letters
    line = b"Content-Type: text/x-log\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + b"x" * ATTACHMENT_BYTES
    text = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + b"x-" * (ATTACHMENT_BYTES // 2)
    return {
        "HTML first, base64 attachment": _mixed(html, pdf),
        "HTML last": _mixed(pdf, html),
        "HTML in the middle of two": _mixed(pdf[: len(pdf) // 2], html, pdf[: len(pdf) // 2]),
        "one line of 25 MB": _mixed(html, line),
        "text of one line of 25 MB": _mixed(text, html),
    }


def _mixed(*parts: bytes) -> bytes:
    boundary = b"----=_NextPart_000_0042_01DB3C7E.5D1A2B30"
    head = FROM_TO + b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n'
    return head + b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
