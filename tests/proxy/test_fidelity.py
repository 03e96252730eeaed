"""Fidelity: whole corpora and made-up messages, untracked and tracked, judged by the library's email package too."""

import base64
import quopri
import re
from email import message_from_bytes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.header import Unparsable
from proxy.message import Message
from proxy.rewrite import tracked, untracked
from tests.proxy.samples import (
    EVERYTHING_ON,
    FOOTER,
    PIXEL,
    FixedMarks,
    corpus_messages,
    fixture,
    leaves,
    names,
    needs_corpus,
    read,
)

PATHS = corpus_messages()
FIXTURES = [fixture(f"{name}.{kind}") for name in names() for kind in ("in", "out")]


def _tracked(message: Message) -> bytes:
    """Return the message with everything on; as it came where it cannot be rewritten, as the relay does it."""
    try:
        return tracked(message, EVERYTHING_ON, FixedMarks(), FOOTER).raw
    except Unparsable:
        return message.raw


def _judged(raw: bytes) -> list[tuple[str, str | None, object]]:
    """Return type, file name and content of every part, as the library sees them; without the content of HTML."""
    parts = list(message_from_bytes(raw).walk())
    return [
        (
            part.get_content_type(),
            part.get_filename(),
            None if part.is_multipart() or part.get_content_type() == "text/html" else part.get_payload(),
        )
        for part in parts
    ]


@needs_corpus
@pytest.mark.parametrize("ends", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_corpus(path: Path, ends: bytes) -> None:
    """Every message of the corpus is untouched when untracked; when tracked, every other leaf is (cases 66 and 67)."""
    raw = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", ends)
    message = read(raw)
    out = _tracked(message)

    assert untracked(message).raw == raw
    assert _judged(out) == _judged(raw)
    assert (out != raw) == bool(message.bodies)
    assert _other_line_breaks(out, ends) == _other_line_breaks(raw, ends)
    if message.bodies:
        assert leaves(out) == leaves(raw)


def _other_line_breaks(raw: bytes, ends: bytes) -> list[bytes]:
    return [found for found in re.findall(rb"\r\n|\r|\n", raw) if found != ends]


@needs_corpus
def test_corpus_is_there() -> None:
    """The corpus has messages, and some of them can be tracked."""
    assert len(PATHS) > 80
    assert sum(bool(read(path.read_bytes()).bodies) for path in PATHS) >= 15


@given(st.data(), st.sampled_from(FIXTURES))
def test_untracked_any(data: st.DataObject, raw: bytes) -> None:
    """A message without our header and tag is the very bytes that came, damaged or not (cases 1, 60 and M8)."""
    raw = (
        raw.replace(b"[track", b"[x").replace(b"-Track", b"-Other").replace(b"-TRACK", b"-X").replace(b"-track", b"-x")
    )
    at = data.draw(st.integers(0, len(raw)))
    raw = raw[:at] + data.draw(st.binary(max_size=6)) + raw[at + data.draw(st.integers(0, 6)) :]

    assert untracked(read(raw)).raw is raw


@given(st.binary(max_size=200))
def test_untracked_any_bytes(raw: bytes) -> None:
    """Bytes that are no message at all go on as they are (case 60)."""
    assert untracked(read(raw)).raw == raw


WORDS = st.sampled_from(
    ["gr\u00fcn ", "<p>", "</p>\r\n", "a = b ", " \r\n", "\t\r\n", "x" * 120, ".\r\n", "From x\r\n", "&nbsp;"]
)
LINK = "<a href='https://x.com/page'>here</a>"
PAGES = st.lists(st.one_of(WORDS, st.just(LINK)), min_size=1, max_size=12).map(lambda pieces: "<p>x" + "".join(pieces))
ENCODINGS = st.sampled_from(
    [("8bit", "utf-8"), ("quoted-printable", "iso-8859-1"), ("base64", "utf-8"), ("8bit", "euc-jp")]
)


def _encoded(text: str, encoding: str, charset: str) -> bytes:
    octets = text.encode(charset, "xmlcharrefreplace")
    if encoding == "base64":
        return base64.encodebytes(octets).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    if encoding == "quoted-printable":
        return quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return octets


@st.composite
def leaf(draw: st.DrawFn) -> bytes:
    """Draw one leaf: an HTML body, an attachment, a text or a forwarded message."""
    kind = draw(st.sampled_from(["html", "html", "text", "attachment", "named", "message", "bytes"]))
    encoding, charset = draw(ENCODINGS)
    header = f"Content-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    page = draw(PAGES)
    if kind == "text":
        header = header.replace("html", "plain")
    if kind == "attachment":
        header += "Content-Disposition: attachment; filename=a.html\r\n"
    if kind == "named":
        header = header.replace("html;", "html; name=a.html;")
    if kind == "message":
        return b"Content-Type: message/rfc822\r\n\r\n" + header.encode() + b"\r\n" + _encoded(page, encoding, charset)
    if kind == "bytes":
        return b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + draw(
            st.binary(max_size=30)
        ).replace(b"--", b"")
    return header.encode() + b"\r\n" + _encoded(page, encoding, charset)


@st.composite
def multipart(draw: st.DrawFn, children: st.SearchStrategy[bytes]) -> bytes:
    """Draw a multipart of parts that were drawn before; its boundary is its own."""
    parts = draw(st.lists(children, min_size=1, max_size=3))
    boundary = f"=_{draw(st.uuids())}".encode()
    kind = draw(st.sampled_from([b"mixed", b"alternative", b"related"]))
    delimiter = b"--" + boundary + b"\r\n"
    return (
        b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n\r\npreamble\r\n'
        + b"".join(delimiter + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\nepilogue\r\n"
    )  # fmt: skip


MESSAGES = st.recursive(leaf(), multipart, max_leaves=6)


@given(MESSAGES)
def test_tracked_any(raw: bytes) -> None:
    """Of a tracked message every leaf but the HTML bodies is the same bytes, and those say what they said (case 67)."""
    message = read(b"To: ada@client.example\r\n" + raw)
    out = _tracked(message)

    assert message.facts.problem is None
    assert leaves(out) == leaves(message.raw)
    assert _judged(out) == _judged(message.raw)
    assert untracked(message).raw is message.raw
    again = read(out)
    assert [body.entity.part.charset for body in again.bodies] == [body.entity.part.charset for body in message.bodies]
    for number, (before, after) in enumerate(zip(message.bodies, again.bodies, strict=True), 1):
        html = after.encoded.decoded
        if number == len(message.bodies):
            at = html.index(b"\r\n<div style=")
            footer = html[at : html.index(b"</div>", at) + 6]
            assert footer.count(PIXEL) == 1
            html = html.replace(footer, b"")
        for link in range(40):
            html = html.replace(b"'https://mail.example.org/l/link%d'" % link, b"'https://x.com/page'")
        assert html == before.encoded.decoded
