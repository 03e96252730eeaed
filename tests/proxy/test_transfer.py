"""Transfer encodings: decoding, and edits put back into the encoded bytes."""

import binascii
import quopri
import re
from base64 import b64decode, b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.header import Unparsable
from proxy.slices import STEP_BYTES, at_once
from proxy.transfer import MAX_LINE, Edit, QuotedPrintable, decode, fits, line_break, quoting, splice, splicing

EOL = b"\r\n"
REPLACEMENTS = st.lists(
    st.sampled_from([b"a", b"<x>", b"=", b" ", b"\t", EOL, b"https://mail.example.org/l/link1", b"y" * 200]), max_size=4
).map(b"".join)


@st.composite
def edits_of(draw: st.DrawFn, decoded: bytes) -> list[Edit]:
    """Draw edits of the decoded bytes: in order, apart, and never inside a line break."""
    places = [at for at in range(len(decoded) + 1) if decoded[at - 1 : at + 1] != EOL or at == 0]
    chosen = sorted(draw(st.lists(st.sampled_from(places), max_size=6)))
    pairs = zip(chosen[::2], chosen[1::2], strict=False)
    return [(start, end, draw(REPLACEMENTS)) for start, end in pairs]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param([], b"abcdef", id="none"),
        pytest.param([(0, 0, b"x")], b"xabcdef", id="before"),
        pytest.param([(6, 6, b"x")], b"abcdefx", id="behind"),
        pytest.param([(1, 2, b""), (2, 2, b"y"), (2, 4, b"z")], b"ayzef", id="side by side"),
        pytest.param([(0, 6, b"")], b"", id="all"),
    ],
)
def test_splice(edits: list[Edit], expected: bytes) -> None:
    """The edits are in the result, and everything else is where it was."""
    assert splice(b"abcdef", edits) == expected == at_once(splicing(b"abcdef", edits))


def test_splice_overlap() -> None:
    """Edits that overlap are a mistake, and nothing is made of them."""
    with pytest.raises(ValueError, match="overlap"):
        splice(b"abcdef", [(0, 3, b""), (2, 4, b"")])
    with pytest.raises(ValueError, match="overlap"):
        at_once(splicing(b"abcdef", [(0, 3, b""), (2, 4, b"")]))


@given(st.data(), st.binary(max_size=60))
def test_splice_any(data: st.DataObject, raw: bytes) -> None:
    """Splicing is the same as replacing slices from the end."""
    edits = data.draw(edits_of(raw))
    expected = raw
    for start, end, replacement in reversed(edits):
        expected = expected[:start] + replacement + expected[end:]

    assert splice(raw, edits) == expected == at_once(splicing(raw, edits))


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", b"\r\n"), (b"a", b"\r\n"), (b"a\nb\r\n", b"\n"), (b"\n", b"\n"), (b"a\r\nb\n", b"\r\n"), (b"\r\n", b"\r\n")],
)
def test_line_break(content: bytes, expected: bytes) -> None:
    """The first line break is the one that counts."""
    assert line_break(content) == expected


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        (b"plain\r\n", "7bit", b"plain\r\n"),
        (b"gr\xfc\xdfe", "8bit", b"gr\xfc\xdfe"),
        (b"=C3=BC=3d =20\t=09 \r\nx =\r\n y=\n", "quoted-printable", b"\xc3\xbc=  \t\t\r\nx  y"),
        (b"soft= \t\r\nly", "quoted-printable", b"softly"),
        (b"", "quoted-printable", b""),
        (b"PGI+\r\naGk8\r\nL2I+\r\n", "base64", b"<b>hi</b>"),
        (b" P G I + ", "base64", b"<b>"),
        (b"PGI=\r\n", "base64", b"<b"),
        (b"", "base64", b""),
    ],
)
def test_decode(content: bytes, encoding: str, expected: bytes) -> None:
    """A part is decoded as RFC 2045 §6 says."""
    assert decode(content, encoding).decoded == expected


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param(b"gr\xfc\xdfe", "7bit", id="48"),
        *(
            pytest.param(b"x", encoding, id=f"49: {encoding}")
            for encoding in ("8bit;", '"7bit"', "7-bit", "amazonses.com")
        ),
        pytest.param(b"x", "", id="empty"),
        pytest.param(b"x", "binary", id="binary"),
        pytest.param(b"x", "x-uuencode", id="uuencode"),
        pytest.param(b"50 =% off", "quoted-printable", id="QP: no octet"),
        pytest.param(b"a=\rb", "quoted-printable", id="QP: bare CR"),
        pytest.param(b"a=4", "quoted-printable", id="QP: half an octet"),
        pytest.param(b"\xfc", "quoted-printable", id="QP: 8-bit"),
        pytest.param(b"PGI", "base64", id="base64: cut off"),
        pytest.param(b"PGI=PGI=", "base64", id="base64: padding inside"),
        pytest.param(b"PGI+\r\n-- \r\nfooter", "base64", id="base64: text behind"),
        pytest.param(b"P===", "base64", id="base64: too much padding"),
    ],
)
def test_not_decoded(content: bytes, encoding: str) -> None:
    """A part that is not what it says is not guessed at."""
    with pytest.raises(Unparsable):
        decode(content, encoding)


QP_LINES = st.lists(
    st.sampled_from(
        [
            b"a",
            b"xyz",
            b"=3D",
            b"=C3=BC",
            b" ",
            b"\t",
            b"=20",
            b"=\r\n",
            b"\r\n",
            b"= \r\n",
            b" \r\n",
            b"=0A",
            b"=0D=0A",
            b"z" * 70,
        ]
    ),
    max_size=14,
).map(b"".join)


def _legal(content: bytes) -> bytes:
    """Return quoted-printable content with no line over 76 characters."""
    return b"\r\n".join(
        line if len(line) <= 76 else b"=\r\n".join(re.findall(rb"(?:=[0-9A-F]{2}|[^=]){1,24}", line.rstrip(b" \t=")))
        for line in content.split(b"\r\n")
    )


@given(st.data(), QP_LINES.map(_legal))
def test_quoted_printable_edits(data: st.DataObject, content: bytes) -> None:
    """The edited part decodes to the edited text, in legal lines, and lines without an edit are the same (case 37)."""
    encoded = decode(content, "quoted-printable")
    edits = data.draw(edits_of(encoded.decoded))

    result = encoded.with_edits(edits, EOL)

    assert decode(result, "quoted-printable").decoded == splice(encoded.decoded, edits)
    assert max(map(len, result.split(EOL))) <= 76
    assert b"\n" not in result.replace(EOL, b"")


@given(QP_LINES.map(_legal))
def test_quoted_printable_judge(content: bytes) -> None:
    """Quoted-printable is decoded as the library decodes it, line by line."""
    lines = [re.sub(rb"[ \t]+(?=\r\n\Z|\Z)", b"", line) for line in content.splitlines(keepends=True)]

    assert decode(content, "quoted-printable").decoded == b"".join(map(quopri.decodestring, lines))


ATOMS = [
    b"a",
    b" ",
    b"\t",
    b"\r\n",
    b"=\r\n",
    b"=3D",
    b"=20",
    b"=0A",
    b"=0d",
    b"=",
    b"\r",
    b"\n",
    b"=\n",
    b"3",
    b"D",
    b"\x07",
]


@given(st.lists(st.sampled_from(ATOMS), max_size=12).map(b"".join))
def test_quoted_printable_in_few_looks(content: bytes) -> None:
    """What goes the short way, as most content does, is what every look at it says that it is."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(QuotedPrintable, "_UNUSUAL", re.compile(b""))
        expected = _decoded(content)

    assert expected == _decoded(content)


def _decoded(content: bytes) -> tuple[bytes, bytes] | None:
    """Return content decoded, and with an edit; None where it is not quoted-printable."""
    try:
        encoded = decode(content, "quoted-printable")
        return encoded.decoded, encoded.with_edits([(0, 0, b"x")], b"\r\n")
    except Unparsable:
        return None


@given(st.data(), st.lists(st.sampled_from([b"abc", b"d=20e", b"=3D", b"f =", b"", b"g\t"]), min_size=1, max_size=12))
def test_quoted_printable_lines_without_an_edit(data: st.DataObject, lines: list[bytes]) -> None:
    """Lines before and behind an edited one are the same bytes, padding at their ends included."""
    line = data.draw(st.integers(0, len(lines) - 1))
    before, behind = [b"%s \r\n" % one for one in lines[:line]], [b"%s\t\r\n" % one for one in lines[line + 1 :]]
    content = b"".join([*before, b"x=3Dy\r\n", *behind])
    at = len(decode(b"".join(before), "quoted-printable").decoded)

    result = decode(content, "quoted-printable").with_edits([(at + 1, at + 2, b"<edit>")], EOL)

    assert result == b"".join([*before, b"x<edit>y\r\n", *behind])


@pytest.mark.parametrize(
    ("content", "edit", "expected"),
    [
        pytest.param(b'href=3D"http://x.c=\r\nom/a">b', (6, 20, b"U"), b'href=3D"U">b', id="37: over a soft break"),
        pytest.param(b"ab=\r\ncd\r\nef", (1, 3, b"="), b"a=3Dd\r\nef", id="an equals sign"),
        pytest.param(b"ab \r\ncd", (2, 2, b"X"), b"abX\r\ncd", id="padding goes with the line"),
        pytest.param(b"ab cd\r\nef", (3, 5, b""), b"ab=20\r\nef", id="space left at the end"),
        pytest.param(b"ab cd", (3, 5, b""), b"ab=20", id="space left at the very end"),
        pytest.param(b"ab cd", (3, 3, b"\r\n"), b"ab=20\r\ncd", id="space before a new line break"),
        pytest.param(b"ab\r\ncd", (2, 4, b""), b"abcd", id="a line break gone"),
        pytest.param(b"ab=", (2, 2, b"X"), b"abX=", id="before a last soft break"),
        pytest.param(b"ab=\r\n", (2, 2, b"X"), b"ab=\r\nX", id="behind a last soft break"),
        pytest.param(b"ab\r\n", (4, 4, b"X"), b"ab\r\nX", id="behind the last line"),
        pytest.param(b"", (0, 0, b"X \r\nY"), b"X=20\r\nY", id="into nothing"),
        pytest.param(b"a" * 76 + b"\r\nb", (76, 76, b"X"), b"a" * 75 + b"=\r\naX\r\nb", id="a full line"),
        pytest.param(b"=C3=BC" * 12, (24, 24, b"X"), b"=C3=BC" * 12 + b"X", id="octets"),
        pytest.param(b"=C3=BC" * 12, (0, 0, b"1234"), b"1234" + b"=C3=BC" * 11 + b"=C3=\r\n=BC", id="no octet is cut"),
    ],
)
def test_quoted_printable_edit(content: bytes, edit: Edit, expected: bytes) -> None:
    """An edit is put where it belongs, and its line is broken where it has become too long."""
    assert decode(content, "quoted-printable").with_edits([edit], EOL) == expected


@pytest.mark.parametrize("edit", [(3, 3, b"X"), (1, 3, b""), (3, 4, b"")], ids=["into", "up to", "from"])
def test_quoted_printable_inside_a_line_break(edit: Edit) -> None:
    """An edit between CR and LF cannot be put anywhere, and nothing is made of it."""
    with pytest.raises(Unparsable):
        decode(b"ab\r\ncd", "quoted-printable").with_edits([edit], EOL)


@given(
    st.data(), st.binary(max_size=200), st.sampled_from([4, 60, 72, 76]), st.sampled_from([b"", b"\r\n", b"\r\n\r\n"])
)
def test_base64_edits(data: st.DataObject, decoded: bytes, width: int, ending: bytes) -> None:
    """The edited part decodes to the edited bytes, in lines as long as they were, and ends as it did (case 38)."""
    letters = b64encode(decoded)
    content = EOL.join(letters[at : at + width] for at in range(0, len(letters), width)) + ending
    encoded = decode(content, "base64")
    edits = data.draw(edits_of(decoded))

    result = encoded.with_edits(edits, EOL)

    assert b64decode(result) == splice(decoded, edits)
    assert max(map(len, result.split(EOL))) <= 76
    if EOL in content.removesuffix(ending):
        assert {len(line) for line in result.removesuffix(ending).split(EOL)[:-1]} <= {width}
    assert len(result) - len(result.rstrip(EOL)) == len(ending)


LINES = st.tuples(
    st.one_of(st.integers(0, 3), st.integers(990, 1_003), st.integers(0, 2_100)),
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\r\r\n", b""]),
)


@given(st.lists(LINES, max_size=8))
def test_lines_that_fit(lines: list[tuple[int, bytes]]) -> None:
    """A content fits where none of its lines is longer than 998 octets without its line break, be that CRLF or LF."""
    content = b"".join(b"x" * length + end for length, end in lines)

    assert all(len(line.removesuffix(b"\r")) <= MAX_LINE for line in content.split(b"\n")) == fits(content)


@pytest.mark.parametrize("width", [77, 100, 998], ids=str)
def test_base64_lines_too_long(width: int) -> None:
    """Lines that were too long do not stay so (case 38)."""
    letters = b64encode(b"x" * 3_000)
    content = EOL.join(letters[at : at + width] for at in range(0, len(letters), width))

    assert max(map(len, decode(content, "base64").with_edits([(0, 0, b"y")], EOL).split(EOL))) == 76


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
def test_line_feeds(encoding: str) -> None:
    """What is written anew uses the message's own line breaks."""
    content = b"abc\ndef\n" if encoding == "quoted-printable" else b"YWJj\nZGVm\n"

    result = decode(content, encoding).with_edits([(1, 1, b"x" * 200)], b"\n")

    assert b"\r" not in result
    assert result.count(b"\n") > 2


@given(
    st.lists(
        st.sampled_from([b"<p>", b" ", b"=", b".", b"\xfc", b"x" * 76, b"x" * 90, b"\t", b"From ", b"\r", b"\n"]),
        max_size=20,
    ),
    st.booleans(),
)
@example([b"x" * 76, b"\n"], False)
@example([b"=" * 52, b"x" * STEP_BYTES], False)
def test_quoting(pieces: list[bytes], breaks: bool) -> None:
    """Text as quoted-printable decodes to itself, in legal lines and with the message's line breaks (case 64).

    A CR or LF that is not one of these stays an octet: made a line break, or left as it is, it would be another text.
    """
    decoded = (EOL if breaks else b"").join(pieces)
    for eol in (b"\r\n", b"\n"):
        result = at_once(quoting(decoded, eol))

        assert binascii.a2b_qp(result) == decoded
        assert max(map(len, result.split(eol))) <= 76
        assert result.isascii()
        assert set(re.findall(rb"\r?\n|\r", result)) <= {eol}


@given(st.binary(max_size=60), st.sampled_from(["7bit", "8bit", "quoted-printable", "base64", "binary", "x"]))
def test_any_content(content: bytes, encoding: str) -> None:
    """Any bytes are decoded, or refused as Unparsable; with no edit they come back the same."""
    try:
        encoded = decode(content, encoding)
    except Unparsable:
        return

    assert decode(encoded.with_edits([], EOL), encoding).decoded == encoded.decoded
    assert encoding == "base64" or encoded.with_edits([], EOL) == content


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"=" * 500_000, "quoted-printable"),
        (b"= " * 250_000, "quoted-printable"),
        (b"=" + b" " * 500_000 + b"x", "quoted-printable"),
        (b"=" * 500_000, "base64"),
        (b"A" * 499_999, "base64"),
    ],
    ids=["signs", "padding", "spaces", "base64 padding", "base64 cut off"],
)
def test_hostile(content: bytes, encoding: str) -> None:
    """Content of 500 kB made to be slow is refused in the end (M6)."""
    with pytest.raises(Unparsable):
        decode(content, encoding)


def test_many_edits_of_a_long_line() -> None:
    """Thousands of edits in one part of 500 kB are all put in (M6)."""
    content = b"=\r\n".join([b"abcdefgh=3D" * 5] * 9_000)
    encoded = decode(content, "quoted-printable")
    edits = [(at, at + 1, b"X") for at in range(0, len(encoded.decoded), 90)]

    assert decode(encoded.with_edits(edits, EOL), "quoted-printable").decoded == splice(encoded.decoded, edits)


@pytest.mark.parametrize("width", [60, 76])
def test_an_edit_of_a_long_base64_part(width: int) -> None:
    """A part of several steps decodes to what was edited, in lines as long as they were, the last one excepted."""
    decoded = bytes(range(251)) * (3 * STEP_BYTES // 251)
    letters = b64encode(decoded)
    content = EOL.join(letters[at : at + width] for at in range(0, len(letters), width)) + EOL

    edited = at_once(decode(content, "base64").editing([(5, 6, b"some more")], EOL))

    assert decoded[:5] + b"some more" + decoded[6:] == b64decode(edited)
    assert {width} == {len(line) for line in edited.split(EOL)[:-2]}


def test_padding_in_a_long_quoted_printable_part() -> None:
    """A part of several steps is decoded once and whole, without the padding of its lines, which an edit leaves."""
    line, lines = b"a line=20 \t\r\n", STEP_BYTES // 5
    part = decode(line * lines, "quoted-printable")

    assert b"a line \r\n" * lines == part.decoded
    assert b"A line=20\r\n" + line * (lines - 1) == at_once(part.editing([(0, 1, b"A")], EOL))
