"""The structure of a message as byte spans."""

import pytest

from policies import Part
from proxy.header import TooLarge, Unparsable
from proxy.structure import MAX_DEPTH, MAX_PARTS, read_structure


def _shape(raw: bytes) -> list[tuple[int, str]]:
    return [(entity.part.depth, entity.part.content_type) for entity in read_structure(raw)]


def _contents(raw: bytes) -> list[bytes]:
    """Return the content of every leaf."""
    parts = [entity.part for entity in read_structure(raw)]
    return [raw[part.body : part.end] for part in parts if not part.content_type.startswith("multipart/")]


def multipart(
    boundary: bytes, *parts: bytes, kind: bytes = b"mixed", preamble: bytes = b"", epilogue: bytes = b""
) -> bytes:
    """Return an entity of several parts; the boundary is put into the header as it is."""
    delimiter = b"--" + boundary.strip(b'"').replace(b'\\"', b'"')
    return (
        b"Content-Type: multipart/" + kind + b"; boundary=" + boundary + b"\r\n\r\n" + preamble
        + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
        + delimiter + b"--\r\n" + epilogue
    )  # fmt: skip


TEXT = b"Content-Type: text/plain\r\n\r\ntext"
HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>html"
UNREADABLE = b"Content-Type: text/plain; charset=a; charset=b\r\n\r\nx"
ATTACHED = b"Content-Disposition: attachment\r\n"
LOOKALIKES = b"x\r\n--bc\r\n --b\r\n- --b"


@pytest.mark.parametrize(
    "boundary",
    [
        pytest.param(b'"===============123=="', id="35"),
        pytest.param(b'"a b=_c d"', id="36: spaces"),
        pytest.param(b'"a\\"b\\"c"', id="36: quotes"),
        pytest.param(b'"' + b"x" * 70 + b'"', id="36: 70 characters"),
        pytest.param(b"----=_Part_1.2", id="without quotes"),
        pytest.param(b'"-"', id="a dash"),
    ],
)
def test_boundary(boundary: bytes) -> None:
    """Whatever the boundary looks like, the parts are found between its lines."""
    assert _contents(multipart(boundary, TEXT, HTML)) == [b"text", b"<p>html"]


@pytest.mark.parametrize(
    ("raw", "contents"),
    [
        pytest.param(multipart(b"b", TEXT, preamble=b"pre\r\n", epilogue=b"epi"), [b"text"], id="59"),
        pytest.param(multipart(b"b", b"\r\nx"), [b"x"], id="part without a header"),
        pytest.param(multipart(b"b", b"\r\n"), [b""], id="part without content"),
        pytest.param(multipart(b"b", b"\r\nx\r\n"), [b"x\r\n"], id="line break of its own"),
        pytest.param(multipart(b"b", b"\r\n" + LOOKALIKES), [LOOKALIKES], id="no delimiters"),
        pytest.param(multipart(b"b", TEXT).replace(b"--b--", b"--b-- \t"), [b"text"], id="padding"),
        pytest.param(multipart(b"b", TEXT).replace(b"\r\n", b"\n"), [b"text"], id="line feeds"),
        pytest.param(multipart(b"b", TEXT).removesuffix(b"\r\n"), [b"text"], id="ends with the delimiter"),
        pytest.param(multipart(b"b", multipart(b"bb", TEXT, HTML), TEXT), [b"text", b"<p>html", b"text"], id="prefix"),
        pytest.param(multipart(b"bb", multipart(b"b", TEXT), HTML), [b"text", b"<p>html"], id="longer outside"),
        pytest.param(multipart(b"b", b"Content-Type: message/rfc822\r\n\r\n" + HTML), [HTML], id="53"),
        pytest.param(multipart(b"b"), [], id="no parts"),
        pytest.param(b"Content-Type: multipart/mixed\r\n\r\nx", None, id="no boundary"),
        pytest.param(multipart(b'"b "', TEXT), None, id="boundary ends with a space"),
        pytest.param(multipart(b'"\xc3\xa4"', TEXT), None, id="boundary not ASCII"),
        pytest.param(multipart(b"b", TEXT).replace(b"--b--", b"--b"), None, id="60: not closed"),
        pytest.param(multipart(b"b", multipart(b"c", TEXT).replace(b"--c--", b"")), None, id="60: inner not closed"),
        pytest.param(multipart(b"b", b"no header"), None, id="60: part with no separator"),
        pytest.param(multipart(b"b", HTML, multipart(b"c x", TEXT, kind=b"signed")), None, id="inner type unreadable"),
        pytest.param(b"Content-Transfer-Encoding: base64\r\n" + multipart(b"b", TEXT), None, id="encoded multipart"),
        pytest.param(b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n", None, id="two types"),
        pytest.param(UNREADABLE, None, id="45: type not to be read"),
        pytest.param(multipart(b"b", UNREADABLE, HTML), [b"x", b"<p>html"], id="45: type of a part not to be read"),
    ],
)  # fmt: skip
def test_contents(raw: bytes, contents: list[bytes] | None) -> None:
    """The content of each leaf is exactly its own bytes; where that would be a guess, nothing is read."""
    if contents is None:
        with pytest.raises(Unparsable):
            read_structure(raw)
    else:
        assert _contents(raw) == contents


def test_shape() -> None:
    """Parts come in the order in which they stand, with their depth (case 54)."""
    related = multipart(b"r", HTML, b"Content-Type: image/png\r\n\r\n\x89PNG", kind=b"related")
    raw = multipart(
        b"m", multipart(b"a", TEXT, related, kind=b"alternative"), b"Content-Type: application/pdf\r\n\r\n%PDF"
    )

    assert _shape(raw) == [
        (0, "multipart/mixed"),
        (1, "multipart/alternative"),
        (2, "text/plain"),
        (2, "multipart/related"),
        (3, "text/html"),
        (3, "image/png"),
        (1, "application/pdf"),
    ]


def test_defaults() -> None:
    """A part that says nothing is plain text, and a message in a digest (RFC 2046 §5.1.5)."""
    raw = multipart(b"b", b"\r\nx", multipart(b"d", b"\r\nA: b\r\n", kind=b"digest"))

    assert _shape(raw) == [(0, "multipart/mixed"), (1, "text/plain"), (1, "multipart/digest"), (2, "message/rfc822")]


def test_eighteen_messages() -> None:
    """Eighteen forwarded messages are eighteen parts, and none of them is looked into (case 55)."""
    inner = b"Content-Type: message/rfc822\r\n\r\n" + HTML

    assert _contents(multipart(b"b", *[inner] * 18)) == [HTML] * 18


def _html_parts(raw: bytes) -> list[bool]:
    parts: list[Part] = [entity.part for entity in read_structure(raw)]
    return [part.in_body for part in parts if part.content_type == "text/html"]


def _html(header: bytes) -> bytes:
    return b"Content-Type: text/html; charset=utf-8" + header + b"\r\n\r\n<p>html"


def _disposed(value: bytes) -> bytes:
    return _html(b"\r\nContent-Disposition: " + value)


@pytest.mark.parametrize(
    ("raw", "in_body"),
    [
        pytest.param(_html(b""), [True], id="alone"),
        pytest.param(_html(b"; name=page.html"), [True], id="alone, with a name"),
        pytest.param(_disposed(b"attachment"), [False], id="alone, attached"),
        pytest.param(multipart(b"b", _disposed(b"inline"), _html(b"")), [True, True], id="56"),
        pytest.param(multipart(b"b", HTML, _disposed(b"attachment; filename=report.html")), [True, False], id="50"),
        pytest.param(multipart(b"b", HTML, _html(b"; name=page.html")), [True, False], id="51"),
        pytest.param(multipart(b"b", _disposed(b"inline; filename*=utf-8''x.html")), [False], id="51: RFC 2231"),
        pytest.param(multipart(b"b", _disposed(b"inline; filename*0=x; filename*1=.html")), [False], id="51: pieces"),
        pytest.param(multipart(b"b", _disposed(b"x-unknown")), [False], id="disposition unknown"),
        pytest.param(multipart(b"b", _disposed(b"inline x")), [False], id="disposition not to be read"),
        pytest.param(multipart(b"b", ATTACHED + multipart(b"c", HTML)), [False], id="in an attachment"),
        pytest.param(multipart(b"b", HTML, HTML, kind=b"related"), [True, False], id="related resource"),
    ],
)  # fmt: skip
def test_in_body(raw: bytes, in_body: list[bool]) -> None:
    """What a mail program shows as the message is told from attachments and resources."""
    assert _html_parts(raw) == in_body


@pytest.mark.parametrize(
    ("start", "in_body"), [(b"<2@x>", [False, True]), (b"2@x", [False, True]), (b"<3@x>", [False, False])]
)
def test_related_root(start: bytes, in_body: list[bool]) -> None:
    """The root of a multipart/related is the part that "start" names (RFC 2387 §3.1)."""
    raw = multipart(b"b", HTML, _html(b"\r\nContent-ID: <2@x>"), kind=b"related")
    raw = raw.replace(b"boundary=b", b'boundary=b; start="' + start + b'"')

    assert _html_parts(raw) == in_body


def _nested(depth: int) -> bytes:
    raw = TEXT
    for level in range(depth):
        raw = multipart(b"b%d." % level, raw)
    return raw


def test_depth() -> None:
    """Parts may be nested a hundred deep, also round a whole letter, but not deeper (M3)."""
    assert len(read_structure(_nested(MAX_DEPTH))) == MAX_DEPTH + 1
    assert len(read_structure(_nested(MAX_DEPTH).replace(TEXT, TEXT + b"letter\r\n" * 500))) == MAX_DEPTH + 1
    for depth in (MAX_DEPTH + 1, 300):
        with pytest.raises(Unparsable):
            read_structure(_nested(depth))


def test_parts() -> None:
    """A message may have a thousand parts, and no more (M4)."""
    assert len(read_structure(multipart(b"b", *[TEXT] * (MAX_PARTS - 1)))) == MAX_PARTS
    for count in (MAX_PARTS, 100_000):
        with pytest.raises(Unparsable):
            read_structure(multipart(b"b", *[b"\r\n"] * count))


@pytest.mark.parametrize(
    "raw",
    [
        multipart(b"b", b"\r\n" + b"--b" * 170_000).replace(b"--b--\r\n", b""),
        multipart(b"b", b"\r\n" + b"\r\n--b " * 80_000 + b"x" * 20_000).replace(b"--b--\r\n", b""),
        _nested(MAX_DEPTH).replace(b"text", b"x" * 500_000, 1) + b"x" * 100_000,
    ],
    ids=["delimiters without a line", "open parts", "deep and large"],
)
def test_hostile(raw: bytes) -> None:
    """A message of 500 kB made to be slow is refused in the end (M4)."""
    with pytest.raises((Unparsable, TooLarge)):
        read_structure(raw)


def test_long_header_of_a_part() -> None:
    """A part whose header is over the limit makes the message too large (M4)."""
    with pytest.raises(TooLarge):
        read_structure(multipart(b"b", b"A: " + b"x" * 103_000 + b"\r\n\r\nx"))
