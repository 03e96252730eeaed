"""Header fields, media types and address lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.header import (
    MAX_FIELDS,
    MAX_HEADER_BYTES,
    MAX_PARAMETERS,
    TooLarge,
    Unparsable,
    parse_address_list,
    parse_disposition,
    parse_media_type,
    scan_fields,
    strip_comments,
)


def _scan(raw: bytes) -> tuple[list[tuple[str, str]], bytes]:
    fields, body = scan_fields(raw, 0, len(raw))
    return [(field.name, field.text(raw)) for field in fields], raw[body:]


@pytest.mark.parametrize(
    ("raw", "fields", "body"),
    [
        pytest.param(b"", [], b"", id="nothing"),
        pytest.param(b"\r\nbody", [], b"body", id="no field"),
        pytest.param(b"A: b\r\n\r\nbody", [("a", "b")], b"body", id="CRLF"),
        pytest.param(b"A: b\n\nbody\r\n\r\n", [("a", "b")], b"body\r\n\r\n", id="LF"),
        pytest.param(b"A: b\r\n\nbody", [("a", "b")], b"body", id="mixed"),
        pytest.param(b"A:\r\nB : c\r\n\r\n", [("a", ""), ("b", "c")], b"", id="empty value, space before colon"),
        pytest.param(b"A: b\r\n\tc\r\n d\r\n\r\n", [("a", "b\tc d")], b"", id="folded"),
        pytest.param(b"A: b\r\n \r\n c\r\n\r\nx", [("a", "b  c")], b"x", id="folded line of white space"),
        pytest.param(b"A: b", [("a", "b")], b"", id="no line break"),
        pytest.param(b"A: b\r\n", [("a", "b")], b"", id="header only"),
        pytest.param(b"A: \xc3\xa9\r\nB: \xe9\r\n\r\n", [("a", "é"), ("b", "\udce9")], b"", id="62: raw 8-bit"),
        pytest.param(b"A: 1\r\na: 2\r\nA: 3\r\n\r\n", [("a", "1"), ("a", "2"), ("a", "3")], b"", id="62: duplicates"),
    ],
)
def test_fields(raw: bytes, fields: list[tuple[str, str]], body: bytes) -> None:
    """Fields come back unfolded and in order, and the body begins behind the first blank line."""
    assert _scan(raw) == (fields, body)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"From: a\r\nHello, this is the body\r\n", id="60: no separator"),
        pytest.param(b"From a@b.c Mon Jan 1\r\nA: b\r\n\r\n", id="mbox"),
        pytest.param(b" A: b\r\n\r\n", id="begins with a continuation"),
        pytest.param(b"A: b\rC: d\r\n\r\n", id="63: bare CR"),
        pytest.param(b"\xe9: b\r\n\r\n", id="8-bit name"),
        pytest.param(b": b\r\n\r\n", id="no name"),
        pytest.param(b"A: b\r\n" * (MAX_FIELDS + 1) + b"\r\n", id="M4: too many"),
    ],
)
def test_not_fields(raw: bytes) -> None:
    """What is neither a field nor its continuation is not guessed at."""
    with pytest.raises(Unparsable):
        _scan(raw)


def test_long_header() -> None:
    """A header block over Postfix's limit is too large, one below it is read (cases 61 and M4)."""
    folded = b"To: a@b.c" + b",\r\n a@b.c" * 9_000 + b"\r\n\r\n"

    assert len(parse_address_list(_scan(folded)[0][0][1]).addresses) == 9_001
    with pytest.raises(TooLarge):
        _scan(b"To: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n")


def test_spans() -> None:
    """The spans of the fields cover the header block without a gap, whatever is in it (case 62)."""
    raw = b"A: b\r\nB:\t c\r\n  d\r\nSubject: =?utf-8?q?x?=\r\n\r\nbody"
    fields, body = scan_fields(raw, 0, len(raw))

    assert b"".join(raw[field.start : field.end] for field in fields) + b"\r\n" == raw[:body]


@pytest.mark.parametrize(
    ("value", "name", "parameters"),
    [
        ("text/html", "text/html", {}),
        (" Text/HTML ; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        ('text/html; charset="utf-8"; format=flowed;', "text/html", {"charset": "utf-8", "format": "flowed"}),
        ("text/html;;charset=utf-8", "text/html", {"charset": "utf-8"}),
        ("text/html; charset=", None, None),
        ("text/html (a (nested) comment); charset=utf-8 (why not)", "text/html", {"charset": "utf-8"}),
        ("text/html; charset=utf-8 (never closed", None, None),
        ('multipart/mixed; boundary="===============123=="', "multipart/mixed", {"boundary": "===============123=="}),
        ("multipart/mixed; boundary=----=_Part_1.2", "multipart/mixed", {"boundary": "----=_Part_1.2"}),
        (r'multipart/mixed; boundary="a \"b\" (c); d"', "multipart/mixed", {"boundary": 'a "b" (c); d'}),
        ("multipart/mixed; boundary=a(b)c", None, None),
        ('text/html; charset="utf-8', None, None),
        ("text/html; charset=utf-8; charset=latin-1", None, None),
        ("text/html charset=utf-8", None, None),
        ("text", None, None),
        ("text/", None, None),
        ("", None, None),
        (
            "text/plain; filename*0*=utf-8''a; filename*1=b",
            "text/plain",
            {"filename*0*": "utf-8''a", "filename*1": "b"},
        ),
    ],
)
def test_media_type(value: str, name: str | None, parameters: dict[str, str] | None) -> None:
    """A media type is read as RFC 2045 says, and one that can be read in two ways is none (cases 35, 36 and 45)."""
    found = parse_media_type(value)

    assert (found.name if found else None, found.parameters if found else None) == (name, parameters)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("inline", "inline"),
        (" Attachment; filename=a", "attachment"),
        ("attachment filename=a", None),
        ("", None),
        ("(x) inline (y)", "inline"),
    ],
)
def test_disposition(value: str, name: str | None) -> None:
    """A disposition is a word with parameters, or nothing (RFC 2183)."""
    found = parse_disposition(value)

    assert (found.name if found else None) == name


def test_too_many_parameters() -> None:
    """A media type with thousands of parameters is none (M4)."""
    assert parse_media_type("text/html" + "".join(f"; p{at}=x" for at in range(MAX_PARAMETERS * 5))) is None


@pytest.mark.parametrize(
    ("value", "addresses", "group"),
    [
        ("ada@client.example", ["ada@client.example"], False),
        ("Ada <ada@client.example>", ["ada@client.example"], False),
        ("ada@client.example <ada@client.example>", ["ada@client.example"], False),
        ('"Lovelace, Ada (x)" <ada@client.example>', ["ada@client.example"], False),
        ("Ada (Countess, of <x@y.z>) <ada@client.example>", ["ada@client.example"], False),
        ("a@b.c, D <d@e.f>,, g@h.i;", ["a@b.c", "d@e.f", "g@h.i"], False),
        ("a@b.c; d@e.f", ["a@b.c", "d@e.f"], False),
        ("friends: a@b.c, D <d@e.f>;, g@h.i", ["a@b.c", "d@e.f", "g@h.i"], True),
        ("undisclosed-recipients:;", [], True),
        ("<@relay.example,@b.example:ada@client.example>", ["ada@client.example"], False),
        ('"odd, one"@b.c', ['"odd, one"@b.c'], False),
        ('<"odd, one"@b.c>', ['"odd, one"@b.c'], False),
        ("< ada@client.example >", ["ada@client.example"], False),
        ("", [], False),
        (",,", [], False),
    ],
)
def test_address_list(value: str, addresses: list[str], group: bool) -> None:
    """Addresses come without names and comments, in order, and group syntax is noticed (case 13)."""
    found = parse_address_list(value)

    assert (found.addresses, found.group_syntax) == (addresses, group)


@pytest.mark.parametrize(
    "value",
    [
        'ada@client.example, "Bob <bob@other.example>',
        "ada@client.example, <bob@other.example",
        "ada@client.example (, bob@other.example",
        "<ada@client.example> <bob@other.example>",
        "<ada@client.example> bob@other.example",
        "<bob@other.example <ada@client.example>",
        "ada@client.example bob@other.example",
        'ada@client.example, "Bob\\',
    ],
)
def test_nobody_is_overlooked(value: str) -> None:
    """Where a list is malformed, what could be one more recipient counts as one (M12)."""
    assert parse_address_list(value).addresses not in (["ada@client.example"], ["bob@other.example"])


@pytest.mark.parametrize(
    "value",
    ["(" * 900, "(" * 500_000, "<" + "a " * 250_000, "<" * 500_000, '"' * 500_001, "\\" * 500_001, "a:" * 250_000],
    ids=["M5", "comments", "angle", "angles", "quotes", "backslashes", "groups"],
)
def test_hostile_addresses(value: str) -> None:
    """A list of 500 kB made to be slow, or to recurse, is read to its end (M4 and M5)."""
    assert len(parse_address_list(value).addresses) <= 1


@pytest.mark.parametrize(
    "value",
    [
        "a/" + "\xa0" * 500_000 + '"',
        "\xa0" * 500_000 + '"',
        "a/b;" + " " * 500_000 + '"',
        "a/b;c=" + "\\" * 500_000 + '"',
        "a/b" + "(" * 500_000,
    ],
    ids=["token", "no token", "spaces", "backslashes", "comments"],
)
def test_hostile_media_type(value: str) -> None:
    """A media type of 500 kB made to be slow is refused in the end (M4)."""
    assert (parse_media_type(value), parse_disposition(value)) == (None, None)


STRUCTURED = st.text(alphabet=st.sampled_from(' \t"\\(),:;<>@=/a*\r\n\xa0é'), max_size=40)


@given(st.one_of(STRUCTURED, st.text(max_size=40)))
def test_any_value(value: str) -> None:
    """No field value is an error: it is read, or it is none, or it is kept as it stands."""
    media_type, disposition = parse_media_type(value), parse_disposition(value)

    assert media_type is None or "/" in media_type.name
    assert disposition is None or disposition.name
    assert all(address.strip() for address in parse_address_list(value).addresses)
    assert "(" in value or strip_comments(value) == value


@given(
    st.one_of(st.binary(max_size=80), st.lists(st.sampled_from([b"A", b":", b" ", b"\r", b"\n", b"x"])).map(b"".join))
)
def test_any_header(raw: bytes) -> None:
    """Any bytes give fields without a gap between them, or one of the two exceptions."""
    try:
        fields, body = scan_fields(raw, 0, len(raw))
    except (Unparsable, TooLarge):
        return
    header = b"".join(raw[field.start : field.end] for field in fields)

    assert raw[:body].startswith(header)
    assert raw[len(header) : body] in (b"", b"\n", b"\r\n")
