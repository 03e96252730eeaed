"""Style sheets: what they fetch, and the span of the declaration or statement it stands in."""

import pytest

from proxy.css import fetches
from proxy.entities import decode_with_offsets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a{color:red;b:url(x);c:d}", [("x", "b:url(x);")]),
        ("b:url( 'x y' )", [("x y", "b:url( 'x y' )")]),
        ('a:b; c:url("x")', [("x", ' c:url("x")')]),
        ("a{b:url(x),url(y)}", [("x", "b:url(x),url(y)"), ("y", "b:url(x),url(y)")]),
        ("a{b:URL(\\68 ttp:x)}", [("http:x", "b:URL(\\68 ttp:x)")]),
        ("@media print{a{b:url(x)}}c{d:url(y)}", [("x", "b:url(x)"), ("y", "d:url(y)")]),
        ('@import "x" screen;a{}', [("x", '@import "x" screen;')]),
        ("@import url(x);", [("x", "@import url(x);")]),
        ("<!-- @import url(x);-->", [("x", "@import url(x);")]),
        ("b:image-set('x' 1x,'y' 2x)", [("x", "b:image-set('x' 1x,'y' 2x)"), ("y", "b:image-set('x' 1x,'y' 2x)")]),
        ("a{b:c\\9;d:url(x);e:f\\}}g{h:url(y)}", [("x", "d:url(x);"), ("y", "h:url(y)")]),
        ("a[href='x']{b:c}", []),
        ("a{b:'url(x)'}", []),
        ("/* url(x) */", []),
        ("a{b:my-url(x)}", []),
        ("a{b:'open", []),
        ("a{b:url(x", []),
        ("a{b:url(x) /*", []),
        ("a{b:c(url(x)}", [("x", "b:c(url(x)")]),
        ("", []),
    ],
)  # fmt: skip
def test_fetches(text: str, expected: list[tuple[str, str]]) -> None:
    """Every address comes with its whole declaration; what is open at the end is left alone."""
    assert expected == [(one.url, text[one.start : one.end]) for one in fetches(text) if one is not None]


def test_offsets_of_a_decoded_value() -> None:
    """Every character of a decoded value leads back to where it, or the reference it came from, begins."""
    raw = "a&quot;b&amp;c&copy"

    text, offsets = decode_with_offsets(raw)

    assert 'a"b&c\u00a9' == text
    assert ["a", "&quot;b", "b", "&amp;", "c", "&copy", ""] == [
        raw[at : at + max(1, len(piece))] if piece else raw[at:]
        for at, piece in zip(offsets, ["a", "&quot;b", "b", "&amp;", "c", "&copy", ""], strict=True)
    ]
