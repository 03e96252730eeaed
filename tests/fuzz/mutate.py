# ruff: noqa: E501  # a shape reads best on one line
"""The mutator: damages real messages in the ways mail is damaged, and some that only an enemy thinks of.

Everything comes from one random generator, so a seed and a number name one mutation for ever (as long as the seeds in
tests/mail and the corpus stay as they are).
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from ledger.keys import KeyFile, Keyring
from ledger.tokens import Marks
from tests.proxy.samples import CORPUS, MAIL, corpus_messages

KEYRING = Keyring(KeyFile(b"l" * 32, {1: b"t" * 32}, 1))
"""Fixed keys: what is written to a file as a reproduction means the same in another process."""
PUBLIC_URL = "https://track.example.org"
OLD = Marks(KEYRING, "https://old.example.org/mail", "0" * 32, "carol@customer.example")
OLD_PIXEL, OLD_STOP = OLD.pixel(), OLD.stop()
OLD_LINK = OLD.link(1, "https://shop.example/a?b=1&c=2")
OURS = re.compile(rb"aboveboard-track|track[ \]_]|old\.example\.org", re.IGNORECASE)
"""What may make the engine take something out of a message that is not tracked."""
MAX_BYTES = 60_000

HEAD = b"From: Max <max@example.org>\r\nTo: Ada <ada@client.example>\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n"
ENCODINGS = (
    b"7bit",
    b"8bit",
    b"quoted-printable",
    b"base64",
    b"binary",
    b"8BIT",
    b"x-uuencode",
    b'"7bit"',
    b"7-bit",
    b"",
)
CHARSETS = (
    b"utf-8", b"us-ascii", b"iso-8859-1", b"windows-1252", b"iso-8859-2", b"euc-jp", b"shift_jis", b"gb18030", b"big5",
    b"koi8-r", b"iso-2022-jp", b"utf-16", b"utf-7", b"x-foo", b'""', b'"utf-8"', b"unknown-8bit",
)  # fmt: skip
TYPES = (
    b"text/html", b"text/plain", b"text/HTML", b"multipart/mixed", b"multipart/alternative", b"multipart/related",
    b"multipart/signed", b"multipart/report", b"multipart/digest", b"message/rfc822", b"message/partial", b"text/calendar",
    b"application/pkcs7-mime", b"application/ms-tnef", b"application/octet-stream", b"text/x-amp-html", b"text", b"/", b"",
)  # fmt: skip
BOUNDARIES = (
    b'"===============123=="', b'"a b c"', b'"=_%s"', b"----=_Part_1.2", b'"' + b"x" * 70 + b'"', b'"a\\"b"', b"b", b'"-"',
    b'"--"', b"'b'", b'"b "', b'""', b'"x(y)z"', b'"a/b:c?d=e+f,g.h_i\'j"', b"x" * 90, b'"b";boundary="c"', b'"\xc3\xa4"',
)  # fmt: skip
HEADERS = (
    b"X-Aboveboard-Track: open, click", b"x-aboveboard-track : off", b"X-Aboveboard-Track:\r\n open,\r\n\tclick",
    b"Subject: [track] Hi", b"Subject: =?utf-8?q?[notrack]_gr=C3=BCn?=", b"Subject: =?utf-8?b?W3RyYWNrXSBIaQ==?=",
    b"Subject: =?utf-8?q?[tra?= =?utf-8?q?ck]_x?=", b"Content-Disposition: attachment; filename=a.html",
    b"Content-Disposition: inline", b"Content-Disposition: attachment;\r\n filename*=utf-8''a%20b.html", b"Content-Type:",
    b"Content-MD5: Q2hlY2s=", b"Content-ID: <1@x>", b"Content-Type: text/html; name=a.html; charset=utf-8",
    b"List-Id: <x.y>", b"Auto-Submitted: auto-replied", b"DKIM-Signature: v=1; d=example.org; b=x", b"Precedence: bulk",
    b"From: (((((", b"To: a@b.c, d@e.f", b"Cc: undisclosed-recipients:;", b"X-Raw: gr\xfc\xdfe", b"X-Empty:", b"no field here",
    b" folded", b"Content-Type: text/html; charset=utf-8; charset=latin-1", b"Content-Type: text/html; x=\"\\\"; charset=utf-8",
    b"Content-Type: text/html (comment; charset=x); charset=utf-8", b"Content-Transfer-Encoding: base64 (x)", b"X: \r",
    b"Sensitivity: private", b"Content-Type: multipart/mixed; boundary=b", b"Received: by x.example; now",
)  # fmt: skip
SHAPES = tuple(
    shape.encode("utf-8", "surrogateescape")
    for shape in (
        '<a href="https://x.example/p?a=1&amp;b=2">go</a>', "<a href='https://x.example/?a&copy=1&sect=3&lt'>go</a>",
        "<a href=https://x.example/a?b=c>go</a>", "<A\r\n  HREF = https://x.example/  CLASS=c\r\n>go</A>",
        '<a href="&#104;ttps://x.example/&#x2f;&#0;&#xD800;">go</a>', '<a href="https://x.example/?&amp;amp;=&ampx=&NotEqualTilde;">go</a>',
        '<a href="\r\n https://x.example/trim \t">go</a>', '<a title="<a href=https://y.example/>" href="https://x.example/">go</a>',
        '<a href="https://x.example/1" href="https://x.example/2">go</a>', "<a href=https://x.example/`\"'>go</a>",
        '<area href="https://x.example/area">', '<v:roundrect href="https://x.example/vml" arcsize="8%">go</v:roundrect>',
        '<!--[if mso]><a href="https://x.example/mso">go</a><![endif]-->', '<![if !mso]><a href="https://x.example/">go</a><![endif]>',
        "<!--[if !mso]><!--><a href=https://x.example/>go</a><!--<![endif]-->", '<!-- <a href="https://x.example/">go</a> -->',
        "<!--", "-->", "<!-->", "<!--->", "--!>", "<!x>", "<?php >", "</>", "<", ">", "<a", '<a href="', "<a href='", "<a href=", '"', "'",
        "<script><!--<script></script>", "</script>", "<style>", "</style>", "<title>", "<textarea>", "</textarea>", "<xmp>",
        "<plaintext>", "<noscript>", "<iframe>", "<svg><a href='https://x.example/svg'>go</a></svg>", "<body>", "</body>", "</BODY >",
        "</body\n>", "</html>", "<html lang=de>", "<blockquote>", "<div class=gmail_quote>", "-----Original Message-----",
        '<div style="border:none;border-top:solid #E1E1E1 1.0pt">', "<base href=https://x.example/>", "=", "=\r\n", "=3D", "=20\r\n",
        " \r\n", "\t\r\n", ".\r\n", "..\r\n", "From x\r\n", "--\r\n", "--b\r\n", "--b--\r\n", "\r\n\r\n", "\x00", "\x1b$B", "\xad",
        "gr\u00fcn \u4e2d\u6587 \U0001f600", "\udcff\udcfe", "&", "&amp", "&#", "&#x", "&#99999999999;", "x" * 1_200, "<p>" * 40, "</p>" * 9,
        "<td " + "a=b " * 30 + ">", '<a href="https://x.example/' + "p" * 1_990 + '">go</a>', '<a href="mailto:a@b.c">go</a>',
        '<a href="//x.example/">go</a>', '<a href="https://x.example/unsubscribe">go</a>', '<a href="https://x.example/{{x}}">go</a>',
        '<a href="https://x.example/" data-track="false">go</a>', "<a href=https://x.example/>https://x.example/</a>",
        "https://x.example/plain ", "<https://x.example/angle>.", "-----BEGIN PGP MESSAGE-----",
    )
)  # fmt: skip
OLD_SHAPES = tuple(
    shape.encode()
    for shape in (
        f'<img src="{OLD_PIXEL}" width="1">', f"<img src={OLD_PIXEL}>", f'<a href="{OLD_LINK}">go</a>', f"<a href={OLD_LINK}>go</a>",
        f"<a href='{OLD_LINK}?x#y'>go</a>", f'<img src="https://ci3.googleusercontent.com/meips/A=s0-d#{OLD_PIXEL}">', f"> {OLD_LINK}\r\n",
        f'<div>With your consent. <a href="{OLD_STOP}">Stop this</a><img src="{OLD_PIXEL}"></div>', f'<p><a href="{OLD_STOP}">Stop</a>',
        f'<td><a href="{OLD_STOP}">s</a><a href="{OLD_LINK}">go</a></td>', OLD_LINK, OLD_PIXEL, f'<v:rect href="{OLD_LINK}">',
    )
)  # fmt: skip


def seeds() -> list[bytes]:
    """Return the messages that mutations start from: our own, and the corpus where it is there."""
    own = [path.read_bytes() for path in sorted(MAIL.rglob("*.in.eml"))]
    corpus = [path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in corpus_messages()]
    return [raw for raw in (*own, *corpus) if len(raw) <= MAX_BYTES]


def pages() -> list[bytes]:
    """Return HTML documents to make messages of: the templates with links in them, and a short one."""
    found = [b'<html><body><p>Hello <a href="https://x.example/">go</a></p></body></html>\r\n']
    for path in sorted((CORPUS / "templates").glob("*.html")):
        text = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        found.append(re.sub(rb"\{\{\s*\w*url\s*\}\}", b"https://x.example/do?a=1&amp;b=2", text))
    return found


def encoded(text: bytes, encoding: bytes, width: int = 76) -> bytes:
    """Return text in a transfer encoding, with CRLF."""
    if encoding == b"base64":
        letters = base64.b64encode(text)
        return b"\r\n".join(letters[at : at + width] for at in range(0, len(letters), width)) + b"\r\n"
    if encoding == b"quoted-printable":
        text = binascii.b2a_qp(text.replace(b"\r\n", b"\n"), istext=True)
        return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return text


@dataclass
class Mutator:
    """Makes messages: ``make`` draws a seed or a page, and some mutations of it."""

    random: Random
    messages: Sequence[bytes]
    documents: Sequence[bytes]
    foreign: Sequence[bytes] = ()
    """Other people's trackers, if any are to be put in."""
    trail: list[str] = field(default_factory=list)
    """What was done, for the report."""

    def make(self) -> bytes:
        """Return one mutated message."""
        raw = self._page() if self.random.random() < 0.7 else self.random.choice(self.messages)
        for _ in range(self.random.choice((0, 0, 1, 1, 1, 2, 3, 5))):
            mutate = self.random.choice(_MUTATIONS)
            self.trail.append(mutate.__name__.strip("_"))
            raw = mutate(self, raw)[: 2 * MAX_BYTES]
        if self.random.random() < 0.1:
            raw = raw.replace(b"\r\n", b"\n")
        return raw

    def _shape(self) -> bytes:
        if self.foreign and self.random.random() < 0.5:
            return self.random.choice(self.foreign)
        return self.random.choice(OLD_SHAPES if self.random.random() < 0.08 else SHAPES)

    def _document(self) -> bytes:
        """Return a page, whole or a piece of one, with shapes spliced in."""
        page = self.random.choice(self.documents)
        if self.random.random() < 0.9 and len(page) > 2_000:
            at = self.random.randrange(len(page))
            page = page[at : at + self.random.randrange(2_000)]
        for _ in range(self.random.choice((0, 1, 2, 3, 8))):
            at = self.random.randrange(len(page) + 1)
            page = page[:at] + self._shape() + page[at:]
        return page if self.random.random() < 0.1 else page.replace(b"\0", b"")

    def _leaf(self) -> bytes:
        """Return header and content of a part."""
        kind = self.random.choice((b"text/html",) * 8 + (b"text/plain", b"application/pdf", b"message/rfc822"))
        charset = self.random.choice(CHARSETS[: 9 if self.random.random() < 0.95 else None])
        encoding = self.random.choice((b"quoted-printable", b"base64", b"8bit", b"8bit", b"7bit"))
        document = self._document()
        if encoding == b"7bit" and self.random.random() < 0.9:
            document = re.sub(rb"[\x80-\xff]", b"", document)
        header = b"Content-Type: " + kind + b"; charset=" + charset + b"\r\n"
        if self.random.random() < 0.9:
            header += b"Content-Transfer-Encoding: " + encoding + b"\r\n"
        for _ in range(self.random.choice((0, 0, 0, 1))):
            header += self.random.choice(HEADERS) + b"\r\n"
        return header + b"\r\n" + encoded(document, encoding, self.random.choice((76, 76, 76, 60, 4, 100, 900)))

    def _page(self) -> bytes:
        body = self._leaf()
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 3))):
            body = self._multipart(body)
        return HEAD + body

    def _multipart(self, part: bytes) -> bytes:
        """Return a multipart around a part, with other leaves beside it."""
        parts = [self._leaf() for _ in range(self.random.choice((0, 1, 1, 2)))]
        parts.insert(self.random.randrange(len(parts) + 1), part)
        value = self.random.choice(BOUNDARIES[: 8 if self.random.random() < 0.9 else None])
        if b"%s" in value:
            value = value % self.random.randbytes(4).hex().encode()
        boundary = re.sub(rb"\\(.)", rb"\1", value.strip(b'"'))
        kind = self.random.choice((b"mixed", b"alternative", b"related"))
        preamble, epilogue = self.random.choices(
            (b"", b"This is a multi-part message.\r\n", b"\r\n", self._shape()), k=2
        )
        return (
            b"Content-Type: multipart/" + kind + b"; boundary=" + value + b"\r\n\r\n" + preamble
            + b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts)
            + b"--" + boundary + b"--\r\n" + epilogue
        )  # fmt: skip

    def _flip(self, raw: bytes) -> bytes:
        """Change a few bytes."""
        changed = bytearray(raw)
        for _ in range(self.random.choice((1, 1, 2, 5))):
            if changed:
                changed[self.random.randrange(len(changed))] = self.random.choice(
                    (0, 10, 13, 34, 38, 45, 60, 61, 62, 128, 255)
                )
        return bytes(changed)

    def _cut(self, raw: bytes) -> bytes:
        """Take a span out, or everything behind a place."""
        start = self.random.randrange(len(raw) + 1)
        return raw[:start] + (raw[start + self.random.randrange(80) :] if self.random.random() < 0.8 else b"")

    def _insert(self, raw: bytes) -> bytes:
        at = self.random.randrange(len(raw) + 1)
        return raw[:at] + self._shape() + raw[at:]

    def _lines(self, raw: bytes) -> bytes:
        """Take out, double, swap or join lines."""
        lines = raw.splitlines(keepends=True) or [b""]
        at = self.random.randrange(len(lines))
        match self.random.randrange(4):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[self.random.randrange(len(lines))])
            case 2:
                lines[at], lines[at - 1] = lines[at - 1], lines[at]
            case _:
                lines[at] = lines[at].rstrip(b"\r\n")
        return b"".join(lines)

    def _boundary(self, raw: bytes) -> bytes:
        """Rename a boundary everywhere or in one place, drop or add a delimiter."""
        found = re.findall(rb"boundary=\"?([^\"\r\n;]+)", raw, re.IGNORECASE)
        if not found:
            return raw
        old = self.random.choice(found)
        new = re.sub(rb"\\(.)", rb"\1", self.random.choice(BOUNDARIES).replace(b"%s", b"1").strip(b'"'))
        match self.random.randrange(6):
            case 0:
                return raw.replace(old, new)
            case 1:
                return raw.replace(old, new, 1)
            case 2:
                return raw.replace(b"--" + old + b"--", b"")
            case 3:
                at = self.random.randrange(len(raw) + 1)
                return (
                    raw[:at]
                    + b"\r\n--"
                    + old
                    + self.random.choice((b"", b"--", b" ", b"x", b"\t\t"))
                    + b"\r\n"
                    + raw[at:]
                )
            case 4:
                return raw.replace(b"--" + old, self.random.choice((b"-- " + old, b" --" + old, b"--" + old + b" ")), 1)
            case _:
                return raw.replace(self.random.choice(found), self.random.choice(found))

    def _header(self, raw: bytes) -> bytes:
        """Add a field to the message's or a part's header, or change what one says."""
        match self.random.randrange(5):
            case 0:
                return self.random.choice(HEADERS) + b"\r\n" + raw
            case 1:
                return self._one(rb"(?<=\n)(?=Content-)", raw, self.random.choice(HEADERS) + b"\r\n")
            case 2:
                return self._one(rb"(?i)(?<=charset=)[^\s;]*", raw, self.random.choice(CHARSETS))
            case 3:
                return self._one(rb"(?i)(?<=transfer-encoding: )[^\r\n]*", raw, self.random.choice(ENCODINGS))
            case _:
                return self._one(rb"(?i)(?<=content-type: )[^\s;]*", raw, self.random.choice(TYPES))

    def _one(self, pattern: bytes, raw: bytes, replacement: bytes) -> bytes:
        """Replace one of the places that a pattern matches."""
        places = [match.span() for match in re.finditer(pattern, raw)]
        if not places:
            return raw
        start, end = self.random.choice(places)
        return raw[:start] + replacement + raw[end:]

    def _nest(self, raw: bytes) -> bytes:
        """Make the message a part of another: beside other parts, or forwarded whole."""
        if self.random.random() < 0.3:
            return HEAD + self._multipart(b"Content-Type: message/rfc822\r\n\r\n" + raw)
        start = re.search(rb"(?im)^content-type:", raw)
        return HEAD + self._multipart(raw[start.start() :] if start else b"\r\n" + raw)

    def _cross(self, raw: bytes) -> bytes:
        """Put a piece of another message in, or its body behind this one's header."""
        other = self.random.choice(self.messages)
        if self.random.random() < 0.5:
            return raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + other.partition(b"\r\n\r\n")[2]
        start, at = self.random.randrange(len(other) + 1), self.random.randrange(len(raw) + 1)
        return raw[:at] + other[start : start + self.random.randrange(400)] + raw[at:]

    def _page_instead(self, raw: bytes) -> bytes:
        """Put another body behind the message's own header, in its place."""
        head, _, _ = raw.partition(b"\r\n\r\n")
        kept = re.sub(rb"(?im)^content-[a-z-]+:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n", b"", head + b"\r\n")
        return kept + self._leaf()


_MUTATIONS: tuple[Callable[[Mutator, bytes], bytes], ...] = (
    Mutator._flip,
    Mutator._cut,
    Mutator._insert,
    Mutator._insert,
    Mutator._lines,
    Mutator._boundary,
    Mutator._header,
    Mutator._header,
    Mutator._nest,
    Mutator._cross,
    Mutator._page_instead,
)
