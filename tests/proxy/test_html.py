"""What is found in an HTML body: anchors and their text, the end of the body, quoted history, anything to see."""

from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from proxy.hidden import finding_covered
from proxy.html import _SKIP, scan
from proxy.slices import STEP_BYTES, at_once
from proxy.tags import MAX_VALUE, RAW_TEXT, all_tags, some_tags
from proxy.visible import finding_empty, visible_text
from tests.proxy.samples import CORPUS, needs_corpus


def _values(data: bytes) -> list[bytes]:
    """Return the bytes of each href value that was found."""
    return [data[anchor.start : anchor.end] for anchor in scan(data).anchors]


@pytest.mark.parametrize(
    ("data", "values"),
    [
        pytest.param(b'<a\r\n class="x"\r\n href="u">', [b"u"], id="84"),
        pytest.param(b"<A HREF='u'><a href=v><a href = \"w\">", [b"u", b"v", b"w"], id="85"),
        pytest.param(b'<map><area shape="rect" href="u"></map>', [b"u"], id="87"),
        pytest.param(b'<link href="u"><base href="u"><form action="u"><img src="u"><td background="u">', [], id="88"),
        pytest.param(b'<!--[if mso]><a href="u">x</a><![endif]-->', [b"u"], id="90: comment"),
        pytest.param(b'<!--[if mso]><v:rect href="u"><w:anchorlock/></v:rect><![endif]-->', [b"u"], id="90: VML"),
        pytest.param(b"<!--[if (gte mso 9)|(IE)]><a href=u><![endif]-->", [b"u"], id="90: condition"),
        pytest.param(b"<!--[if !mso]><!--><a href=u><!--<![endif]-->", [b"u"], id="91: revealed"),
        pytest.param(b"<![if !mso]><a href=u><![endif]>", [b"u"], id="91: downlevel"),
        pytest.param(b"<!--[if mso]><!--><a href=u>", [b"u"], id="90: empty condition"),
        pytest.param(b"<!--[if mso]><a href=u>", [], id="90: never closed"),
        pytest.param(b"<!--[if mso]>", [], id="90: ends at once"),
        pytest.param(b"<!--[if mso]><!--[if gte mso 9]><a href=u>x</a><![endif]-->", [], id="90: one in another"),
        pytest.param(b"<!--[if mso]><style><a href=u></style><a href=v><![endif]-->", [b"v"], id="90: style"),
        pytest.param(b"<!--[if mso]><p title=\"<![endif]--><a href=u>", [b"u"], id="90: broken inside"),
        pytest.param(b"<!-- <a href=u> -->", [], id="comment"),
        pytest.param(b"<o:p></o:p><table><a href=u><table><tr></a>", [b"u"], id="92"),
        pytest.param(b"<style><a href=u></style><script>'<a href=u>'</script><title><a href=u></title>", [], id="93"),
        pytest.param(b"<textarea><a href=u></textarea><xmp><a href=u></xmp><a href=v>", [b"v"], id="93: then one"),
        pytest.param(b'<p title="<a href=u>"><img alt=\'> <a href=u>\'>', [], id="94"),
        pytest.param(b"https://x.com www.x.com", [], id="109"),
        pytest.param(b"<plaintext><a href=u>", [], id="plaintext"),
        pytest.param(b"<a name=u><a href><a>", [b""], id="no value"),
        pytest.param(b"<abbr href=u><av href=u><area-x href=u><a:b href=u>", [], id="other elements"),
        pytest.param(b'<a href="u" href="v">', [b"u"], id="twice"),
        pytest.param(b"<a href=u", [], id="never closed"),
    ],
)  # fmt: skip
def test_anchors(data: bytes, values: list[bytes]) -> None:
    """The href values of links are found, and of nothing that only looks like one."""
    assert _values(data) == values


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"<a href=u>Read <b>more</b>\r\n now</a> x", ["Read more now"]),
        (b"<a href=u>one<a href=v>two</a>three</a>", ["one", "two"]),
        (b"<a href=u>x.com&#47;page&amp;y</a>", ["x.com/page&y"]),
        (b"<a href=u><img src=x alt=y></a>", [""]),
        (b"<a href=u><!-- hidden --><!--[if mso]><i>outlook</i><![endif]-->all</a>", ["all"]),
        (b"<a href=u>never closed", ["never closed"]),
        (b"<a href=u>gr\xc3\xbcn</a>", ["gr\xc3\xbcn"]),
        (b"<a href=u>%s</a>" % (b"x" * 5_000), ["x" * 4_096]),
    ],
)
def test_anchor_text(data: bytes, texts: list[str]) -> None:
    """A link's text is what stands between its tags, as people read it."""
    assert [anchor.text for anchor in scan(data).anchors] == texts


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<p>x</p>", "x"),
        (b"a <br> b", "a b"),
        (b"a&nbsp;b", "a b"),
        (b"<!-- a -->b<!-- never closed", "b"),
        (b"", ""),
    ],
)
def test_visible_text(data: bytes, expected: str) -> None:
    """Tags and comments are left out, and white space is folded."""
    assert visible_text(data) == expected


@pytest.mark.parametrize(
    ("data", "at"),
    [
        pytest.param(b"<p>x</body></html>", 4, id="113"),
        pytest.param(b"<p>x</BODY>", 4, id="113: upper case"),
        pytest.param(b"<p>x</body >", 4, id="113: space"),
        pytest.param(b"<p>x</body\r\n>", 4, id="113: line break"),
        pytest.param(b"<p>x</body><p>y</body>", 15, id="115: the last"),
        pytest.param(b"<p>x</body><!-- </body> -->", 4, id="not in a comment"),
        pytest.param(b"<p>x</body><!--[if mso]></body><![endif]-->", 4, id="not in a conditional comment"),
        pytest.param(b"<title></body></title>x</body>", 23, id="not in raw text"),
        pytest.param(b'<p title="</body>">', None, id="not in a value"),
        pytest.param(b"<body><p>x</bodyx>", None, id="114"),
    ],
)
def test_body_end(data: bytes, at: int | None) -> None:
    """The last end tag of the body is found."""
    assert scan(data).body_end == at


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (b"<p>x", True),
        (b"x <", True),
        (b"<p title=\"x>", False),
        (b"<paragraph title='x>", False),
        (b"<a ", False),
        (b"</a ", False),
        (b"<!-- x", False),
        (b"<!--[if mso]> x", False),
        (b"<! x", False),
        (b"<style>x", False),
        (b"<script><!-- <script></script>", False),
        (b"<textarea>x", False),
        (b"<plaintext>", False),
        (b"<!--[if mso]><style><![endif]-->", True),
    ],
)  # fmt: skip
def test_complete(data: bytes, complete: bool) -> None:
    """A document that ends inside something is told from one that a footer can be appended to (case 114)."""
    assert scan(data).complete is complete


@pytest.mark.parametrize(
    "quote",
    [
        pytest.param(b"<blockquote type=cite>", id="Apple Mail"),
        pytest.param(b'<div class="gmail_quote gmail_quote_container">', id="Gmail"),
        pytest.param(b'<div dir="ltr" class="gmail_extra">', id="old Gmail"),
        pytest.param(b'<div id="divRplyFwdMsg" dir="ltr">', id="Outlook on the web"),
        pytest.param(b'<div id="x_divRplyFwdMsg">', id="Outlook on the web, quoted"),
        pytest.param(b"<div id=appendonsend></div>", id="Outlook mobile"),
        pytest.param(b'<hr size=2 width="100%" align=center tabindex=-1>', id="Outlook 2003"),
        pytest.param(b'<HR TABINDEX="-1"><div id="divRpF512" style="direction:ltr">', id="Outlook Web App 2010"),
        pytest.param(b"<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm'>", id="Outlook"),
        pytest.param(b'<div class="moz-cite-prefix">', id="Thunderbird"),
        pytest.param(b'<div class="moz-forward-container">', id="Thunderbird forward"),
        pytest.param(b'<div id="ydp1yahoo_quoted_1" class="yahoo_quoted">', id="Yahoo"),
        pytest.param(b'<div class="protonmail_quote">', id="Proton"),
    ],
)  # fmt: skip
def test_quote(quote: bytes) -> None:
    """Quoted history begins where a mail program says so (case 110)."""
    assert scan(b"<div>new</div>" + quote + b"old").quote_at == 14


@pytest.mark.parametrize(
    "data",
    [
        b"<div class=quote>",
        b"<div class=my-gmail_quote-like>gmail_quote",
        b"</blockquote>",
        b"<blockquoted>",
        b'<div style="border-top:solid #ff0000 2px">',
    ],
)
def test_no_quote(data: bytes) -> None:
    """What only looks like a quote does not end the wrapping of links."""
    assert scan(data).quote_at is None


@pytest.mark.parametrize(
    ("data", "language"),
    [
        (b"<HTML LANG=' de-AT'>", "de-at"),
        (b"<html><html lang=fr>", "fr"),
        (b"<html xmlns:o=x><body lang=DE link=blue>", "de"),
        (b"<html lang=it><body lang=DE>", "it"),
        (b"<p lang=es>", ""),
    ],
    ids=["html", "the second", "body", "both", "a paragraph's"],
)
def test_language(data: bytes, language: str) -> None:
    """The document's language is what its html element says, else its body: that is where Outlook writes it."""
    assert scan(data).language == language


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="119"),
        pytest.param(b"<html><head><title>x</title></head><body><p>&nbsp;<br>\r\n</p></body>", id="blank"),
        pytest.param(b"<p>\xe2\x80\x8b&zwnj;&#8203;\xc2\xa0&#xFEFF;</p>", id="invisible characters"),
        pytest.param(b"<!-- x --><!DOCTYPE y><![if !mso]><![endif]><?z?>", id="comments"),
        pytest.param(b"<script>x</script>", id="script"),
        pytest.param(b"<head>never closed", id="head only"),
        pytest.param(b"<head><link><xml><w:View>Normal</w:View></xml>", id="settings in the head"),
        pytest.param(b"<!", id="beginning of a declaration"),
    ],
)  # fmt: skip
def test_empty(data: bytes) -> None:
    """A body in which nobody would see anything is empty (case 119)."""
    assert at_once(finding_empty(data)) is True


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"<p>&amp;</p>",
        b"<head><title>x</title></head>y", b"<head><title>x</title><p>y</p>",
        b"<img src=x>",
        b"<!--[if mso]><v:shape><![endif]-->",
        b"<p>\xff</p>",
        b"<textarea>x</textarea>",
        b"<script>x</script>y",
        b"<p>&#" + b"9" * 5_000 + b";</p>",
    ],
    ids=["text", "reference", "title", "open head", "picture", "shape", "8-bit", "textarea", "script", "long number"],
)  # fmt: skip
def test_not_empty(data: bytes) -> None:
    """Text or a picture that somebody would see makes a body not empty."""
    assert at_once(finding_empty(data)) is False


HOSTILE = {
    "M6: a href": b"<a href=" * 65_000,
    "open quotes": b'<a b="' * 80_000 + b"'",
    "less-than": b"<" * 500_000,
    "declarations": b"<!" * 250_000,
    "comments": b"<!--" * 125_000,
    "conditions": b"<!--[if mso]" * 42_000,
    "nested conditions": b"<!--[if a]>" * 45_000,
    "end tags": b"</" * 250_000,
    "raw text": b"<style>" * 70_000,
    "scripts": b"<script><!--<script>" * 25_000,
    "attributes": b"<a " + b"b " * 250_000,
    "equals signs": b"<a " + b"b = " * 125_000,
    "spaces": b"<a" + b" " * 500_000,
    "one line": b"<p " + b"x" * 500_000,
    "ampersands": b"<p>" + b"&" * 500_000,
    "references": b"<a href=u>" + b"&#" * 250_000,
    "anchors": b"<a href=u>" * 50_000,
    "long words": (b"<a href=u>" + b"x" * 4_086) * 120,
    "bodies": b"</body>" * 70_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile(data: bytes) -> None:
    """A document of 500 kB made to be slow is scanned to its end (M6)."""
    found = scan(data)

    assert all(0 <= anchor.start <= anchor.end <= len(data) for anchor in found.anchors)
    assert isinstance(at_once(finding_empty(data)), bool)


MARKUP = st.lists(
    st.sampled_from(
        [b"<a href=", b'"', b"'", b">", b"<", b"/", b"=", b" ", b"!--", b"-->", b"<![endif]-->", b"<!--[if mso]>",
         b"script", b"<style>", b"</style>", b"</body>", b"<v:x href=u", b"x", b"&amp;", b"\xc3\xa9", b"</a>", b"--!>"]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(st.one_of(MARKUP, st.binary(max_size=60)))
def test_any_document(data: bytes) -> None:
    """Any bytes are scanned; the spans are apart, in order, and end at their quote mark."""
    found = scan(data)
    spans = [(anchor.start, anchor.end) for anchor in found.anchors]
    quoted = [data[start:end] for start, end in spans if data[start - 1 : start] == b'"']

    assert spans == sorted(spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert [value for value in quoted if b'"' in value] == []
    assert isinstance(at_once(finding_empty(data)), bool)


@needs_corpus
@pytest.mark.parametrize("path", sorted((CORPUS / "templates").glob("*.html")), ids=lambda path: path.stem)
def test_templates(path: Path) -> None:
    """In real mail, links and their text are those that Beautiful Soup finds."""
    data = path.read_bytes()
    links = BeautifulSoup(data, "html.parser").select("a[href]")
    judged = [(link["href"], " ".join(link.get_text().split())) for link in links]

    assert [(anchor.href, anchor.text.encode("latin-1").decode()) for anchor in scan(data).anchors] == judged


@pytest.mark.parametrize(
    "marker",
    [
        b'<div style="border:none; border-top:solid #E1E1E1 1.0pt; padding:3.0pt">',
        b'<div style="border:none;border-top:solid windowtext 1.0pt">',
        b'<div id="ms-outlook-mobile-reference-message">',
        b'<div class="ydp123yahoo_quoted">',
        b'<div class="zmail_extra">',
        b'<div name="quote">',
        b'<p class="gmail_quote">',
        b'<hr id="zwchr" data-marker="__DIVIDER__">',
        b'<SPAN ID="OLK_SRC_BODY_SECTION">',
        b'<div name="messageReplySection">',
        b"<div>-------- Original-Nachricht --------</div>",
        b"<div>-------- Weitergeleitete Nachricht --------</div>",
        "<div>----- Ursprüngliche Mail -----</div>".encode(),
        b"<p>-----Original Message-----</p>",
        b"<p>-------- Forwarded Message --------</p>",
        b"<p>Begin forwarded message:</p>",
        "<p>-----Ursprüngliche Nachricht-----</p>".encode(),
        b"<p>-------- Mensaje reenviado --------</p>",
        b"<p>-------- Messaggio Inoltrato --------</p>",
    ],
)
def test_more_ways_that_history_begins(marker: bytes) -> None:
    """Quoted history is known by the marks of many programs, and by the line some write above it."""
    found = scan(b'<a href="https://a.test/">new</a>' + marker + b'<a href="https://b.test/">old</a>')
    assert found.quote_at is not None
    assert [anchor.start < found.quote_at for anchor in found.anchors] == [True, False]


@pytest.mark.parametrize("text", [b"a < b ", b"a <3 ", b"<", b"</ >"])
def test_text_of_a_long_page(text: bytes) -> None:
    """In a page that is scanned in several steps a "<" is text, wherever a step ends, and hides nothing behind it."""
    data = b"<body>" + text * (3 * STEP_BYTES // len(text)) + b' <a href="u">x</a></body>'
    found = scan(data)

    assert ([b"u"], len(data) - len(b"</body>"), True) == (_values(data), found.body_end, found.complete)


def test_covered_in_a_long_page() -> None:
    """In a page that is walked through in several steps, end tags of elements around a template do not end it."""
    data = b"<div>" * STEP_BYTES + b"<template>" + b"</div>" * STEP_BYTES

    assert at_once(finding_covered(data, len(data), scan(data).covers)) is True


@pytest.mark.parametrize("piece", [b"<!---->", b"<!x>", b"<!--[if mso]>x<![endif]-->", b"a < b "])
def test_turns_without_tags(piece: bytes) -> None:
    """Where nothing but comments and text stands for long, an end tag without a name gives others their turn."""
    names = [tag.name for tag in all_tags(b"<p>" + piece * (2 * STEP_BYTES // len(piece)) + b"<b>")]

    assert {"p", "b", ""} == set(names)
    assert len(names) > 10


@pytest.mark.parametrize(
    ("data", "quote_at"),
    [
        pytest.param(b"gmail_quote <p>x<div class=gmail_quote>", 16, id="in text first"),
        pytest.param(b"a < b gmail_quote<div class=gmail_quote>", 17, id="behind a less-than sign"),
        pytest.param(b'<div title="<x" class="gmail_quote">', 0, id="behind one in a value"),
        pytest.param(b'<p title="<p class=gmail_quote"><div class=gmail_quote>', 32, id="in a value first"),
        pytest.param(b'<p title="<p gmail_quote <p gmail_quote">x', None, id="in a value only"),
        pytest.param(b"<style>.gmail_quote {}</style><div class=gmail_quote>", 30, id="in a style first"),
        pytest.param(b"<!-- gmail_quote --><div class=gmail_quote>", 20, id="in a comment first"),
        pytest.param(b"<!--[if mso]><div class=gmail_quote><![endif]-->", 13, id="in a condition"),
        pytest.param(b"<!--[if mso]>x<![endif]--><div class=gmail_quote>", 26, id="behind a condition"),
        pytest.param(b"<div class=my_gmail_quote_x><div class=gmail_quote>", 28, id="behind a near one"),
        pytest.param(b"</div class=gmail_quote><div class=gmail_quote>", 24, id="behind an end tag"),
        pytest.param(b'<div class="GMAIL_QUOTE">', 0, id="in capitals"),
        pytest.param(b"<div class=gmail_quote", None, id="never closed"),
        pytest.param(b"<p>x</p>begin forwarded message: -----original message-----", 8, id="the first of two lines"),
    ],
)
def test_where_a_quote_begins(data: bytes, quote_at: int | None) -> None:
    """The first tag that says that history follows counts, and what only stands in text or a value does not."""
    assert quote_at == scan(data).quote_at


def test_values_of_no_use() -> None:
    """A link with an address of many kilobytes is none, and of other values that long only the beginning is read."""
    address = b"https://a.test/" + b"x" * MAX_VALUE
    (anchor,) = scan(b'<a href="%s">x</a><a href=u title="%s">' % (address, b"&amp;" * MAX_VALUE)).anchors

    assert (b"u".decode(), MAX_VALUE // 5 + 1) == (anchor.href, anchor.labels.count("&"))


def test_labels_of_a_link() -> None:
    """Titles and alternative texts are told from the text; a shape's text stands inside it."""
    (image,) = scan(b'<a href="https://a.test/" title="Go"><img alt="Unsubscribe"></a>').anchors
    (shape,) = scan(b'<v:roundrect href="https://a.test/"><center>Unsubscribe</center></v:roundrect>').anchors
    assert ("", "Go Unsubscribe", "Unsubscribe") == (image.text, image.labels, shape.text)


NAMES = ("a", "area", "body", "blockquote", "html", "v:rect", *(name.decode() for name in RAW_TEXT), "plaintext")
LIKE_THEM = (
    "abbr",
    "b",
    "bodyx",
    "hr",
    "p",
    "pl",
    "pla",
    "s",
    "sc",
    "small",
    "t",
    "te",
    "ti",
    "td",
    "i",
    "n",
    "x",
    "A",
    "P",
)
TAGS = st.builds(
    "<{}{}{}>".format,
    st.sampled_from(["", "/"]),
    st.one_of(st.sampled_from([*NAMES, *LIKE_THEM]), st.sampled_from(NAMES).map(str.upper)),
    st.sampled_from(["", " ", "/", " x=y", ' x="<a>"', " x='>'", "\n=x"]),
)


@given(st.lists(st.one_of(TAGS, st.sampled_from(["text", "<", "<1", "<!-- x -->", "<!x>"])), max_size=9).map("".join))
def test_no_tag_is_skipped_that_matters(html: str) -> None:
    """The pattern that skips what nobody asked for stops at exactly the tags that are asked for."""
    data = html.encode()
    ends = ("a", "area", "body")
    tags = ((tag, ends if tag.closing else NAMES) for tag in all_tags(data))
    wanted = [tag for tag, names in tags if tag.name in names or tag.name.startswith("v:")]

    assert wanted == list(some_tags(data, _SKIP))
