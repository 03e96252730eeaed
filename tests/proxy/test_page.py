"""The markup of a page holds every tag that the scanner sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import page as module
from proxy.html import scanning
from proxy.page import page
from proxy.slices import at_once
from proxy.tags import all_tags
from tests.bench.samples import newsletter
from tests.fuzz.mutate import OLD_SHAPES, SHAPES

PIECES = [
    *SHAPES, *OLD_SHAPES, b'<div title="a>b" class=gmail_quote>', b"<div title='>", b'<p a="<b>" c>', b"a < b ",
    b'<p x"y=\'>', b"<![x", b"<!-- ", b"<!--[if mso]>", b'<p title="', b'">', b"</ ", b"</p a='>'>", b"<=", b"<p/",
    b"<P>", b"\xc3\xa4",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_no_tag_is_missing(data: bytes) -> None:
    """What is searched for in the markup alone is overlooked in no tag, wherever quotes and comments begin and end."""
    markup = page(data).markup

    assert [] == [tag for tag in all_tags(data) if data[tag.start : tag.end - 1].lower() not in markup]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join), st.integers(1, 40))
def test_however_it_is_cut(data: bytes, step: int) -> None:
    """A long document, which is read in steps, has the markup that it has when it is read at once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "STEP_BYTES", step)
        stepped = page(data).markup

    assert set(page(data).markup.split(b"\n")) == set(stepped.split(b"\n"))


PLAIN_PIECES = [
    *(one for one in (*SHAPES, *OLD_SHAPES) if page(one).plain), b"<A HREF='https://x.example/'>go</A >", b"</a>",
    b"<p>text</p>", b"<span class=z-cite>", b"<hr style='border-top: solid'>", b"<div class=gmail_quote a=b>", b"<xmp>",
    b"<!--[if mso]>", b"<![endif]-->", b"<!-->>", b"<!-- >", b"-->", b"<style>", b"</style>", b"<script>", b"<s>",
    b"<!-- ><script>", b"</script>", b"<TITLE>", b"</Title x>", b"<bodyguard>", b"</BODY\n>", b"<body lang=de>", b"</>",
    b"<v:rect href=x>", b"</v:rect>", b"<abbr>a</abbr>", b"<?x>", b"</1>", b"<textarea/>", b"<plaintexts>", b"<a\x0bb>",
]  # fmt: skip


@given(st.lists(st.sampled_from(PLAIN_PIECES), max_size=12).map(b"".join))
def test_a_plain_page_is_scanned_like_any_other(data: bytes) -> None:
    """Where only what matters is looked for, the same is found as where every tag is looked at."""
    found = page(data)

    assert found.plain
    assert at_once(scanning(found._replace(plain=False))) == at_once(scanning(found))


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_a_page_that_is_taken_for_a_plain_one(data: bytes) -> None:
    """Whatever a document is made of: where it counts as plain, the same is found in it."""
    found = page(data)

    assert at_once(scanning(found._replace(plain=False))) == at_once(scanning(found))


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (newsletter(100, 20), True),
        (b"", True),
        (b"text", True),
        (b"<p title='<b>'>", False),
        (b'<p title="a>b">', False),
        (b"3 < 4", False),
        (b"<p", False),
        (b"<p><!--", False),
    ],
    ids=["newsletter", "nothing", "text", "a tag in a value", "an end in a value", "a sign in text", "open", "comment"],
)
def test_plain(data: bytes, plain: bool) -> None:
    """A page is plain where no sign of markup can mean anything but what it seems to."""
    assert plain is page(data).plain


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (newsletter(100, 20), False),
        (b'<p title="a>b">' + newsletter(100, 20), True),
        (b"3 < 4" + newsletter(100, 20), True),
        (b"".join(b"<p id=%d>" % number for number in range(2_000)), True),
        (newsletter(2_000, 20), False),
        (b"<p>" + b"gmail_quote " * 100_000, False),
    ],
    ids=["newsletter", "a value with a sign", "a sign in text", "many different tags", "large", "text"],
)
def test_markup_is_short(data: bytes, whole: bool) -> None:
    """Of what programs write it is a small part; the whole document where a tag's end is not certain at a glance."""
    found = page(data)

    assert whole is (found.markup == found.lowered)
    assert whole or len(found.markup) < len(data) / 10
