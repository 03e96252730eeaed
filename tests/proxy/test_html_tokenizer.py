"""The HTML scanner judged by the html5lib tokenizer tests: start tags, attribute names, decoded attribute values."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from itertools import product
from typing import Any

import pytest

from proxy.entities import decode_attribute
from proxy.html import scan
from proxy.tags import all_tags
from tests.proxy.samples import CORPUS, needs_corpus

StartTag = tuple[str, dict[str, str]]

NUL = "a NUL becomes U+FFFD (§13.2.5.8 and 33); HTML that has one is refused before it is scanned"
EXCEPTIONS = {
    rf"test3.test: {description}": NUL
    for description in (
        r"<a\u0000>",
        r"<a \u0000>",
        r"<a a\u0000>",
        r"<a a \u0000>",
        r"<a a=\u0000>",
        r'<a a="\u0000">',
        r"<a a='\u0000'>",
        r"<a a=''\u0000>",
        r"<a a=a\u0000>",
        r"<a/\u0000>",
    )
}


@dataclass(frozen=True)
class Case:
    """One tokenizer test: what goes in, and the start tags that come out."""

    name: str
    text: str
    expected: list[StartTag]


def _unescaped(value: Any) -> Any:
    """Undo the second round of escapes that some tests have."""
    if isinstance(value, str):
        return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), value)
    if isinstance(value, list):
        return [_unescaped(one) for one in value]
    if isinstance(value, dict):
        return {_unescaped(name): _unescaped(one) for name, one in value.items()}
    return value


def _cases() -> Iterator[Case]:
    for path in sorted((CORPUS / "html5lib-tokenizer").glob("*.test")):
        for test in json.loads(path.read_text(encoding="utf-8")).get("tests", ()):
            if "Data state" in test.get("initialStates", ("Data state",)):
                plain = _unescaped(test) if test.get("doubleEscaped") else test
                tags = [(token[1], token[2]) for token in plain["output"] if token[0] == "StartTag"]
                yield Case(f"{path.name}: {test['description']}", plain["input"], tags)


def _decoded(latin: str) -> str:
    return latin.encode("latin-1").decode("utf-8", "surrogatepass")


def start_tags(text: str) -> list[StartTag]:
    """Return the start tags that the scanner finds, with values as the tokenizer would give them."""
    data = text.encode("utf-8", "surrogatepass")
    found = []
    for tag in all_tags(data):
        if not tag.closing:
            values = {}
            for name, attribute in tag.attributes(data).items():
                value = data[attribute.start : attribute.end].decode("utf-8", "surrogatepass")
                # The input stream is normalised before the tokenizer sees it (§13.2.3.5).
                values[_decoded(name)] = decode_attribute(re.sub("\r\n?", "\n", value))
            found.append((_decoded(tag.name), values))
    return found


@needs_corpus
def test_tokenizer() -> None:
    """The scanner agrees with the tokenizer tests but for the exceptions named, and on 99 of 100 at least."""
    cases = list(_cases())
    wrong = [case.name for case in cases if start_tags(case.text) != case.expected]

    assert sorted(wrong) == sorted(EXCEPTIONS)
    assert len(wrong) <= len(cases) / 100


@needs_corpus
def test_tokenizer_with_tags() -> None:
    """Of the tokenizer tests that have a start tag, too, the scanner agrees on 97 of 100 at least."""
    cases = [case for case in _cases() if case.expected]
    wrong = [case.name for case in cases if start_tags(case.text) != case.expected]

    assert len(cases) > 300
    assert len(wrong) <= len(cases) * 3 / 100


@pytest.mark.parametrize(
    ("follower", "character_stands"),
    [("=", False), ("x", False), ("9", False), (";", True), (" ", True), ("", True), ("&", True), ("-", True)],
    ids=["equals", "letter", "digit", "semicolon", "space", "end", "ampersand", "dash"],
)
@pytest.mark.parametrize("quote", ['"', "'"], ids=["double", "single"])
def test_named_references(follower: str, character_stands: bool, quote: str) -> None:
    """In a value, every name that needs no semicolon is a character except before =, letter or digit (case 70)."""
    bare = [name for name in html5 if not name.endswith(";") and f"{name}{follower}" not in html5]
    if follower == ";":
        bare = [name for name in html5 if f"{name};" in html5]
    shown = "" if follower == ";" else follower
    tags = "".join(f"<a b={quote}&{name}{follower}{quote}>" for name in bare)
    expected = [html5[name] + shown if character_stands else f"&{name}{follower}" for name in bare]

    assert [values["b"] for _, values in start_tags(tags)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('<A HREF="x" hReF="y">', [("a", {"href": "x"})], id="86: the first of two"),
        pytest.param("<a\r\n\thref\f=\n'x'\r>", [("a", {"href": "x"})], id="84: over several lines"),
        pytest.param("<a href = x y=z/>", [("a", {"href": "x", "y": "z/"})], id="85: no quotes"),
        pytest.param('<a href="x"y="z">', [("a", {"href": "x", "y": "z"})], id="no space between"),
        pytest.param('<a title="> <a href=y>" href=x>', [("a", {"title": "> <a href=y>", "href": "x"})], id="94"),
        pytest.param("<a =b=c>", [("a", {"=b": "c"})], id="name begins with ="),
        pytest.param("<a b==c>", [("a", {"b": "=c"})], id="value begins with ="),
        pytest.param("<a b= >", [("a", {"b": ""})], id="value missing"),
        pytest.param("<a b/c>", [("a", {"b": "", "c": ""})], id="slash between"),
        pytest.param("<a b\"c='d>", [], id="quote never closed"),
        pytest.param("<a <b>", [("a", {"<b": ""})], id="less-than in a tag"),
        pytest.param('<p title="> <a href=x>', [], id="short tag never closed"),
        pytest.param("< a><1><é><>", [], id="no tags"),
        pytest.param("</ a><b></><c>", [("b", {}), ("c", {})], id="bogus comments"),
        pytest.param("<?php <a>?><b>", [("b", {})], id="processing instruction"),
        pytest.param('<!DOCTYPE html "<a>"><b>', [("b", {})], id="declaration"),
        pytest.param("<![CDATA[<a>]]><b>", [("b", {})], id="CDATA"),
        pytest.param("<!--<a>--><b><!--><c><!---><d><!-- --!><e>", [(name, {}) for name in "bcde"], id="comments"),
        pytest.param("<!-- <a>", [], id="comment never closed"),
    ],
)
def test_tags(text: str, expected: list[StartTag]) -> None:
    """Tags and attributes are found where the tokenizer finds them."""
    assert start_tags(text) == expected


@pytest.mark.parametrize("name", ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"])
def test_raw_text(name: str) -> None:
    """What looks like a tag inside a raw-text element is text (case 93)."""
    text = f"<{name} x><a href=y></{name}x><b></ {name}></{name.upper()} ><i>"

    assert start_tags(text) == [(name, {"x": ""}), ("i", {})]


@pytest.mark.parametrize(
    ("script", "ends"),
    [
        ("<!-- </script>", True),
        ("<!-- <script> </script>", False),
        ("<!-- <script> </script> </script>", True),
        ("<!-- <script> --> </script>", True),
        ("<!--> <script> </script>", True),
        ("<!-- <!--> <script> </script>", True),
        ("<!-- <script> <!---> <script> </script>", True),
        ("<!-- <scripty> </script>", True),
        ("<script> </script>", True),
    ],
)
def test_script(script: str, ends: bool) -> None:
    """A script ends where browsers see it end, comments and scripts in its text considered (§13.2.5.15 to 31)."""
    expected = ["script", "i"] if ends else ["script"]

    assert [name for name, _ in start_tags(f"<script>{script}<i>")] == expected


def end_of_tag(text: str, at: int) -> int | None:
    """Return where the tag whose name ends at ``at`` ends, by the tokenizer's states one by one (§13.2.5.32 to 40)."""
    state = "before name"
    for place in range(at, len(text)):
        letter = text[place]
        blank = letter in "\t\n\f\r "
        if state in ("double", "single"):
            if letter == {"double": '"', "single": "'"}[state]:
                state = "before name"
        elif letter == ">":
            return place + 1
        elif state == "before value":
            if not blank:
                state = {'"': "double", "'": "single"}.get(letter, "unquoted")
        elif state == "unquoted":
            state = "before name" if blank else state
        elif letter == "/":
            state = "before name"
        elif letter == "=" and state in ("name", "after name"):
            state = "before value"
        elif blank:
            state = "after name" if state in ("name", "after name") else "before name"
        else:
            state = "name"
    return None


@pytest.mark.parametrize("first", ["", " ", " b", " b=", ' b="', "/"], ids=repr)
def test_every_short_tag(first: str) -> None:
    """Whatever stands in a tag, it ends where the tokenizer's states end it, skipped or not."""
    for length in range(5):
        for letters in product("a =\"'/>", repeat=length):
            inside = first + "".join(letters)
            text = f"<p{inside}><a href=u>"
            at = next(place for place in range(2, len(text)) if text[place] in " />")
            end = end_of_tag(text, at)
            data = text.encode()
            tags = [(tag.start, tag.end) for tag in all_tags(data)]
            found = [anchor.start for anchor in scan(data).anchors]

            assert ([end] if end is not None else []) == [end for _, end in tags[:1]], text
            if end is not None and text.startswith("<a href=u>", end):
                assert [end + len("<a href=")] == found, text
            elif end is None or "<a" not in text[end:]:
                assert [] == found, text
