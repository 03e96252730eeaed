"""Letters: messages as people's mail programs write them, and what can be read from a delivered one."""

import base64
import quopri
import re
from dataclasses import dataclass
from html import unescape

LINKS = (
    "https://customer.test/offer?a=1&amp;b=%C3%A4&c=x+y",
    "https://customer.test/two#part",
    "HTTPS://customer.test/3",
)
"""The values of the links that can be wrapped, in order, as they are written in HTML."""

HTML = """\
<html xmlns:v="urn:schemas-microsoft-com:vml"><head><meta charset=iso-8859-1><title>Angebot</title>\r
<!--[if gte mso 9]><xml><o:OfficeDocumentSettings/></xml><![endif]--></head>\r
<BODY  bgcolor=white><p>Guten Tag, sch\xf6ne Gr\xfc\xdfe!   \r
<a class=x HREF="LINK0">our offer</a> &nbsp; <a\r
 href='LINK1'>two</a> <a href=mailto:alice@example.org>write</a>\r
<!--[if mso]><v:rect href="LINK2" style='x'></v:rect><![endif]-->\r
.a line that begins with a dot\r
<p>unclosed <b>markup\t \r
</BODY></html>\r
"""

LETTER = """\
Received: from laptop.example.org ([192.0.2.7])\r
\tby first.example.org; Mon,  2 Nov 2026 10:00:00 +0100\r
From: "Alice \xd6.  Example"\r
  <alice@example.org>\r
tO:{to}\r
Subject: {subject}\r
\tfolded =?iso-8859-1?q?=FC?=  twice\r
Message-ID: <{subject}@example.org>\r
Date: Mon, 02 Nov 2026 10:00:01 +0100\r
X-Strange:\r
 odd ; header\r
MIME-Version: 1.0 (really)\r
Content-Type: multipart/mixed;\r
 boundary="=_b 1"\r
\r
A preamble that nobody reads.\r
--=_b 1\r
Content-Type: multipart/alternative; boundary=inner\r
\r
--inner\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: 8bit\r
\r
Sch\xf6ne Gr\xfc\xdfe: https://customer.test/offer?a=1   \r
..two dots\r
--inner\r
Content-Type: text/html; charset="iso-8859-1"\r
Content-Transfer-Encoding: {encoding}\r
\r
{html}\r
--inner--\r
\r
--=_b 1\r
Content-Type: application/octet-stream; name="a.bin"\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment\r
\r
AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\r
GBkaGxwdHh8=\r
--=_b 1--\r
An epilogue.\r
"""


def html_body(links: tuple[str, ...] = LINKS) -> bytes:
    """Return the HTML part, decoded, with links of one's own."""
    html = HTML
    for number, link in enumerate(links):
        html = html.replace(f"LINK{number}", link)
    return html.encode("iso-8859-1")


def letter(to: str, subject: str = "angebot", encoding: str = "8bit", links: tuple[str, ...] = LINKS) -> bytes:
    """Return a message with a text part, an HTML part and an attachment, and every oddity that programs get wrong."""
    html = encoded(html_body(links), encoding).decode("iso-8859-1")
    # Mail programs that write 8-bit headers do so in UTF-8 (RFC 6532); most addresses are ASCII.
    before, _, after = LETTER.format(to=to, subject=subject, encoding=encoding, html="\0").partition("\0")
    header, _, middle = before.partition("\r\n\r\n")
    return header.encode("utf-8") + ("\r\n\r\n" + middle + html + after).encode("iso-8859-1")


def encoded(content: bytes, encoding: str) -> bytes:
    """Return a part's content in a transfer encoding."""
    if encoding == "base64":
        return base64.encodebytes(content).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    if encoding == "quoted-printable":
        lines = quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        return lines.replace(b"\r\n.", b"\r\n=2E")
    return content


def decoded(content: bytes, encoding: str) -> bytes:
    """Return a part's content without its transfer encoding."""
    if encoding == "base64":
        return base64.b64decode(content)
    return quopri.decodestring(content) if encoding == "quoted-printable" else content


def plain(to: str, subject: str = "hallo", body: str = "Guten Tag!\r\n") -> bytes:
    """Return a small message of text only."""
    header = f"From: alice@example.org\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.org>\r\n"
    date = "Date: Mon, 02 Nov 2026 10:00:00 +0100\r\n"
    return f"{header}{date}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}".encode()


OUR_TRACE = re.compile(rb"^Received: by \[127\.0\.0\.1\] with [A-Z0-9]+ id ([0-9a-f]{32}); [^\n]+\n", re.M)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message from the mailbox: our id for it, and what followed our trace line, with CRLF again."""

    id: str
    content: bytes

    @property
    def wrapped(self) -> list[str]:
        """The wrapped links, in order."""
        return re.findall(r"http://127\.0\.0\.1:\d+/l/[\w-]+", self.content.decode("latin-1"))

    @property
    def pixel(self) -> str:
        """The one pixel's address."""
        (found,) = re.findall(r"http://127\.0\.0\.1:\d+/o/[\w-]+\.gif", self.content.decode("latin-1"))
        return str(found)

    @property
    def stop(self) -> str:
        """The address of the one stop page."""
        (found,) = re.findall(r"http://127\.0\.0\.1:\d+/stop/[\w-]+", self.content.decode("latin-1"))
        return str(found)


def opened(delivered: bytes) -> Delivered:
    """Return what is behind the lines that Postfix put on top and our own one; there is exactly one of ours."""
    on_top, content = behind_trace(delivered)
    # Return-Path, X-Original-To, Delivered-To and Received are Postfix's; the sender's own trace comes after ours.
    assert re.findall(rb"^([A-Za-z-]+):", on_top, re.M) == [
        b"Return-Path",
        b"X-Original-To",
        b"Delivered-To",
        b"Received",
    ]
    return content


def behind_trace(delivered: bytes) -> tuple[bytes, Delivered]:
    """Return what a mail server put on top, and what is behind our one trace line."""
    (ours,) = OUR_TRACE.finditer(delivered)
    return delivered[: ours.start()], Delivered(ours[1].decode(), delivered[ours.end() :].replace(b"\n", b"\r\n"))


def links_undone(content: bytes, links: tuple[str, ...] = LINKS) -> bytes:
    """Return HTML with its wrapped links put back to what they were, in order."""
    former = iter(links)
    return re.sub(rb"http://127\.0\.0\.1:\d+/l/[\w-]+", lambda _: next(former).encode(), content)


def the_insertion(before: bytes, after: bytes) -> bytes:
    """Return the one run of bytes that ``after`` has and ``before`` has not; fail where anything else differs."""
    start = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    end = len(after) - (len(before) - start)
    assert before == after[:start] + after[end:]
    return after[start:end]


def footer_in(arrived: bytes, sent: bytes, html: bytes, encoding: str = "8bit") -> bytes:
    """Return the footer of a tracked message, decoded; fail where anything but its links differs from what was sent.

    ``html`` is the HTML part as it was sent, in its transfer encoding.
    """
    before, after = sent.split(html)
    assert before == arrived[: len(before)]
    assert after == arrived[len(arrived) - len(after) :]
    edited = decoded(arrived[len(before) : len(arrived) - len(after)], encoding)
    return the_insertion(decoded(html, encoding), links_undone(edited))


def destinations(links: tuple[str, ...] = LINKS) -> list[str]:
    """Return where links lead, exactly, by the values they have in HTML."""
    return [unescape(link) for link in links]
