# ruff: noqa: E501  # a case reads best on one line
"""Trackers on every surface: what goes, and that nothing beside it does (cases/trackers.md 1 to 35)."""

import re
from dataclasses import replace

import pytest

from ledger.keys import Keyring
from ledger.tokens import Marks, OwnTokens, new_message_id
from policies.glob import pattern
from proxy.message import Reading
from proxy.rewrite import untracked
from proxy.trackers import Watch
from proxy.vendors import load_rules
from tests.proxy.samples import html_mail, read
from tests.proxy.tracking import ACME_READING, AD, ID40, PIXEL, READING, cleaned, left, reported, told

KEYRING = Keyring.throwaway()
OWN = Marks(KEYRING, "http://track.test:8080", new_message_id(), "carol@customer.test")
OWN_READING = Reading(
    tokens=OwnTokens(KEYRING),
    watch=Watch(load_rules(), own_hosts=frozenset({"track.test:8080"}), tokens=OwnTokens(KEYRING)),
)
FORGED = OWN.pixel()[:-9] + ("AAAAA.gif" if OWN.pixel()[-9:] != "AAAAA.gif" else "BBBBB.gif")
B, C = "tool yesware image B removed ×1", "tool mailtrack element C removed ×1"
STREAK = (
    '<div hspace="streak-pt-mark" style="max-height:1px"><img alt="" style="width:0px;max-height:0px;overflow:hidden" '
    'src="https://mailfoogae.appspot.com/t?sender=aZm9vQGV4YW1wbGUub3Jn&amp;type=zerocontent&amp;guid=4f1d2c3b-0a1b-4c2d-8e3f-a1b2c3d4e5f6">'
    '<font color="#ffffff" size="1">\u1427</font></div>'
)
EOA = "https://x.eoapxl.com/0a1b2c3d/print"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        pytest.param(f'<p>a<img src="{OWN.pixel()}">b</p>', "own aboveboard image A removed ×1", id="1"),
        pytest.param(
            f'<p>a</p><div class="gmail_quote"><blockquote><img src="{OWN.pixel()}"></blockquote></div>',
            "own aboveboard image A removed ×1",
            id="2",
        ),
        pytest.param(f'<p>a<img src="{FORGED}">b</p>', "own own_unverified image B removed ×1", id="3"),
        pytest.param(
            f'<img src="https://ci3.googleusercontent.com/meips/X#{FORGED}">',
            "own own_unverified image B removed ×1",
            id="3 behind Gmail's proxy",
        ),
    ],
)
def test_own_pixels(html: str, expected: str) -> None:
    """Cases T1 to T3: our own pixel goes wherever it stands, and so does one on our host that nobody can vouch for."""
    assert re.sub("<img[^>]*>", "", html) == left(html, OWN_READING)
    assert [expected] == told(html, OWN_READING)


@pytest.mark.parametrize(
    ("html", "expected", "report"),
    [
        pytest.param(
            f'<p>a<img width="0" height="0" class="mailtrack-img" alt="" style="display:flex" src="https://mailtrack.io/trace/mail/{ID40}.png?u=1">b</p>',
            "<p>ab</p>",
            ["tool mailtrack image B removed ×1"],
            id="4",
        ),
        pytest.param(
            '<p>a<img class="mailtrack-img" src="https://unknown.example/x.png">b</p>', "<p>ab</p>", [C], id="5"
        ),
        pytest.param(
            '<p>a</p><div><img class="mailtrack-img" src="https://unknown.example/x.png"></div>',
            "<p>a</p>",
            [C],
            id="5 in an element of its own",
        ),
        pytest.param(
            '<p>a</p><div style="display:none"> <img class="mailtrack-img" src="https://unknown.example/x.png"></div>',
            "<p>a</p>",
            [C],
            id="5 in a hidden element of its own",
        ),
        pytest.param(
            '<td><img class="mailtrack-img" src="https://unknown.example/x.png"></td>',
            "<td></td>",
            [C],
            id="5 in a cell",
        ),
        pytest.param(
            '<div style="height:9px"><img class="mailtrack-img" src="https://unknown.example/x.png"></div>',
            '<div style="height:9px"></div>',
            [C],
            id="5 in an element that takes room",
        ),
        pytest.param(f"<p>a</p>{STREAK}<p>b</p>", "<p>a</p><p>b</p>", ["tool streak element C removed ×1"], id="6"),
        pytest.param(
            STREAK.replace("<img", "<!-- -->" * 40 + "<img"), "", ["tool streak element C removed ×1"], id="6: comments"
        ),
        pytest.param(f'<img src="{PIXEL.replace("t.yesware.com", "T.YESWARE.COM")}">', "", [B], id="8"),
        pytest.param(f'<img src="{PIXEL.replace("t.yesware.com", "t.yesware.com.")}">', "", [B], id="9"),
        pytest.param(f'<img src="{PIXEL.removeprefix("https:")}">', "", [B], id="10"),
        pytest.param(f'<img src="{PIXEL.replace("t.yes", "t&#46;yes")}">', "", [B], id="11"),
        pytest.param(f"<img src='{PIXEL}'>", "", [B], id="12 single quotes"),
        pytest.param(f"a<img src={PIXEL}>b", "ab", [B], id="12 no quotes"),
        pytest.param(f'<IMG SRC = "{PIXEL}" >', "", [B], id="12 white space"),
        pytest.param(f'<img\r\n alt=""\r\n src="{PIXEL}"\r\n/>', "", [B], id="12 line breaks"),
        pytest.param(f'<img src=" {PIXEL[:20]}\r\n{PIXEL[20:]} ">', "", [B], id="12 a line break in the address"),
        pytest.param(f'<img src="https://ci3.googleusercontent.com/meips/X#{PIXEL}">', "", [B], id="17"),
        pytest.param(
            '<img src="https://email.news.example/o/eJwAAAAAAAAAAAAAAAAAAAAAAAAA" width=1 height=1>',
            "",
            ["tool mailgun image B removed ×1"],
            id="18",
        ),
        pytest.param(
            f'<img src="{PIXEL}">a<img src="https://mailtrack.io/trace/mail/{ID40}.png?u=1">',
            "a",
            [B, "tool mailtrack image B removed ×1"],
            id="20 two vendors",
        ),
        pytest.param(
            f'<img src="{PIXEL}">a<img src="{PIXEL}?2">', "a", ["tool yesware image B removed ×2"], id="20 twice"
        ),
    ],
)
def test_pixels(html: str, expected: str, report: list[str]) -> None:
    """Cases T4 to T21: a vendor's pixel goes as a whole tag, whatever way its address is written."""
    assert expected == left(html)
    assert report == told(html)


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(
            '<img src="https://fooopen.tracker.example/x"><img src="https://xt.yesware.com.example/t/a/b.gif">', id="13"
        ),
        pytest.param('<img src="https://t.yesware.com.evil.example/t/x.gif">', id="14"),
        pytest.param('<img src="https://shop.example/a.png?ref=t.yesware.com">', id="15"),
        pytest.param('<a href="https://mailtrack.io/en/">Mailtrack</a>', id="16"),
        pytest.param('<a href="https://email.news.example/o/eJwAAAAAAAAAAAAAAAAAAAAAAAAA">read</a>', id="19"),
        pytest.param("<p>/open.aspx?x=1</p>", id="21 in text"),
    ],
)
def test_not_the_vendors(html: str) -> None:
    """Cases T13 to T21: what only resembles a vendor's address, or stands where that is no tracker, stays."""
    assert html == left(html)
    assert [] == told(html)


def test_split_by_soft_breaks() -> None:
    """Case T7: an address over soft line breaks is found; what is left is quoted-printable in lines of at most 76."""
    body = b'<p>caf=C3=A9</p><img alt=3D"" src=3D"https://mailfoogae=\r\n.appspot.com/t?sender=3DaZm9v&amp;type=3Dzerocontent&amp;guid=3D1" width=3D0>=\r\n<p>b</p>\r\n'
    out = untracked(read(html_mail(body, encoding=b"quoted-printable"), READING), clean=True)

    assert ["tool streak image B removed ×1"] == reported(out)
    content = out.raw.partition(b"\r\n\r\n")[2]
    assert b"<p>caf=C3=A9</p>" in content
    assert b"appspot" not in content.replace(b"=\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 76


@pytest.mark.parametrize(
    ("html", "expected", "report"),
    [
        pytest.param(
            f"<style>@media print{{#_eoa_div{{background-image:url('{EOA}')}}}}</style>",
            "<style>@media print{#_eoa_div{}}</style>",
            ["css ×1"],
            id="22",
        ),
        pytest.param(
            f"<style>div.OutlookMessageHeader,table.moz-email-headers-table,blockquote #_two50{{background-image:url({EOA})}}@media print{{#_two50{{color:red;background-image:url('{EOA}2')}}}}</style><img src=\"{EOA}3\">",
            "<style>div.OutlookMessageHeader,table.moz-email-headers-table,blockquote #_two50{}@media print{#_two50{color:red;}}</style>",
            ["css ×2", "image ×1"],
            id="23",
        ),
    ],
)
def test_style_sheets_of_vendors(html: str, expected: str, report: list[str]) -> None:
    """Cases T22 and T23: the declaration goes, its rule and the sheet stay."""
    assert expected == left(html)
    assert report == [re.sub(r"tool \S+ (\S+) B removed", r"\1", one) for one in told(html)]


@pytest.mark.parametrize(
    ("html", "expected", "surface"),
    [
        pytest.param(f'<link rel="stylesheet" href="{AD}"><p>', "<p>", "sheet", id="24"),
        *(
            pytest.param(f'<link href="{AD}" rel="{rel}">', "", "sheet", id=f"25 {rel}")
            for rel in ("prefetch", "preload", "dns-prefetch", "PRECONNECT", "shortcut icon")
        ),
        pytest.param(
            f'<table width=5 background="{AD}" border=0><tr>', "<table width=5 border=0><tr>", "background", id="26"
        ),
        pytest.param(f"<td background={AD}>x", "<td>x", "background", id="26 no quotes"),
        pytest.param(f'<td background="{AD}"width=5>x', "<td width=5>x", "background", id="26 nothing between"),
        pytest.param(
            f'<body background="{AD}" BACKGROUND="{AD}2">x',
            "<body>x",
            "background",
            id="26 a second one does not take its place",
        ),
        pytest.param(
            f'<img src="https://cdn.example/l.png" srcset="{AD} 1x, https://cdn.example/l@2x.png 2x">',
            '<img src="https://cdn.example/l.png" srcset="https://cdn.example/l@2x.png 2x">',
            "srcset",
            id="27",
        ),
        pytest.param(
            f'<img src="https://cdn.example/l.png" srcset="https://cdn.example/l@2x.png 2x,{AD} 1x">',
            '<img src="https://cdn.example/l.png" srcset="https://cdn.example/l@2x.png 2x">',
            "srcset",
            id="27 last",
        ),
        pytest.param(
            f'<img src="https://cdn.example/l.png" srcset="a.png, {AD}, b.png 3x">',
            '<img src="https://cdn.example/l.png" srcset="a.png, b.png 3x">',
            "srcset",
            id="27 between",
        ),
        pytest.param(f'<img alt=x src="cid:a" srcset="{AD} 1x">', '<img alt=x src="cid:a">', "srcset", id="27 alone"),
        pytest.param(
            f'<img src="{AD}" srcset="https://cdn.example/l@2x.png 2x">',
            '<img srcset="https://cdn.example/l@2x.png 2x">',
            "image",
            id="27 the other way round",
        ),
        pytest.param(
            f'<picture><source srcset="{AD}"><img src=logo.png></picture>',
            "<picture><img src=logo.png></picture>",
            "srcset",
            id="28",
        ),
        pytest.param(f'<bgsound src="{AD}">x', "x", "media", id="29 bgsound"),
        pytest.param(f'<audio src="{AD}" autoplay></audio>', "<audio autoplay></audio>", "media", id="29 audio"),
        pytest.param(
            f'<video poster="{AD}" src="https://v.example/a.mp4">',
            '<video src="https://v.example/a.mp4">',
            "media",
            id="29 video",
        ),
        pytest.param(
            f'<!--[if mso]><v:fill src="{AD}" type="tile"/><![endif]-->',
            '<!--[if mso]><v:fill type="tile"/><![endif]-->',
            "image",
            id="30",
        ),
        pytest.param(
            f"<!--[if gte mso 9]><img src=\"{AD}\"><v:imagedata o:href='{AD}'/><![endif]--><![if !mso]><p><![endif]>",
            "<!--[if gte mso 9]><v:imagedata/><![endif]--><![if !mso]><p><![endif]>",
            "image",
            id="31",
        ),
        pytest.param(f'<svg><image href="{AD}" width=1 height=1 /></svg>', "<svg></svg>", "image", id="33"),
        pytest.param(
            f'<svg><use xlink:href="{AD}#a"/><filter><feImage href="{AD}"/></filter></svg>',
            "<svg><use/><filter><feImage/></filter></svg>",
            "image",
            id="33 use and feImage",
        ),
        pytest.param(
            '<base href="https://px.acme.test/"><img src="o.gif">',
            '<base href="https://px.acme.test/">',
            "image",
            id="34",
        ),
        pytest.param(f'<input type="image" src="{AD}" width=1 height=1>', "", "image", id="35"),
        pytest.param(f'<object data="{AD}">x</object>', "<object>x</object>", "frame", id="object"),
        pytest.param(f'<iframe src="{AD}"></iframe>', "<iframe></iframe>", "frame", id="iframe"),
        pytest.param(f'<embed src="{AD}">', "", "frame", id="embed"),
        pytest.param(
            f'<img lowsrc="{AD}" src="https://cdn.example/l.png">',
            '<img src="https://cdn.example/l.png">',
            "image",
            id="lowsrc",
        ),
        pytest.param(f'<meta http-equiv="refresh" content="0; url={AD}">', "", "refresh", id="refresh"),
        pytest.param(f'<meta http-equiv="refresh" content="0;{AD}">', "", "refresh", id="refresh by the address alone"),
        pytest.param(
            f'<p style="color:red;background:url({AD});margin:0">', '<p style="color:red;margin:0">', "css", id="style"
        ),
        pytest.param(
            f'<p style="color:red; background:url(&quot;{AD}&quot;)">',
            '<p style="color:red;">',
            "css",
            id="style with references",
        ),
        pytest.param(
            f"<p style='background:#fff url(\"{AD}\") no-repeat'>", "<p style=''>", "css", id="style with quotes"
        ),
        pytest.param(
            f"<style>@import url({AD}) screen; a{{color:red}}</style>",
            "<style> a{color:red}</style>",
            "css",
            id="import",
        ),
        pytest.param(
            f"<style>/* url({AD}) */ a{{b:url({AD})}}</style>",
            f"<style>/* url({AD}) */ a{{}}</style>",
            "css",
            id="not in a comment",
        ),
        pytest.param(
            f"<style>@font-face{{font-family:x;src:url({AD})}}</style>",
            "<style>@font-face{font-family:x;}</style>",
            "css",
            id="font",
        ),
        pytest.param(f'<p style="background:image-set(&quot;{AD}&quot; 1x)">', '<p style="">', "css", id="image-set"),
    ],
)
def test_surfaces(html: str, expected: str, surface: str) -> None:
    """Cases T24 to T35: on every surface the tracker goes and its surroundings stay."""
    assert expected == left(html, ACME_READING)
    assert {surface} == {one.surface for one in cleaned(html, ACME_READING).found}
    assert {("acme", "B", "removed")} == {
        (one.vendor, one.tier, one.action) for one in cleaned(html, ACME_READING).found
    }


@pytest.mark.parametrize(
    "html",
    [
        pytest.param('<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Lato">', id="24 a font"),
        pytest.param(f'<link rel="canonical" href="{AD}"><input type="text" src="{AD}"><meta name="x" content="url={AD}">', id="25 nothing that is fetched"),
        pytest.param("<style>@import url(https://fonts.googleapis.com/css2?family=Lato);</style>", id="32"),
        pytest.param(f'<p title="{AD}" data-src="{AD}">{AD}</p><!-- <img src="{AD}"> --><textarea><img src="{AD}"></textarea>', id="not in a tag"),
        pytest.param(f"<style>a{{content:'{AD}'}}b{{background:my-url({AD})}}c{{d:'\n{AD}", id="no address in a style"),
        pytest.param('<img src="/o.gif"><img src="o.gif"><img src="">', id="34 without a base"),
    ],
)  # fmt: skip
def test_nothing_is_fetched(html: str) -> None:
    """Cases T24 to T34: what is not listed, or not fetched, stays."""
    assert html == left(html, ACME_READING)
    assert [] == told(html, ACME_READING)


def test_likely_is_reported() -> None:
    """A mark that others may have too is tier D: reported, with its vendor, and left."""
    html = '<img src="https://maybe.acme.test/o.gif">'

    assert html == left(html, ACME_READING)
    assert ["tool acme image D reported ×1"] == told(html, ACME_READING)


@pytest.mark.parametrize(
    ("inside", "goes"),
    [
        pytest.param(f'<img src="{AD}">', True, id="a pixel"),
        pytest.param('<img src="https://x.example/a.gif" width=1 height=1> ', True, id="a tiny image"),
        pytest.param(f'<img src="{AD}"> Best regards', False, id="text"),
        pytest.param(f'<img src="{AD}"><img src="cid:logo">', False, id="a picture of the message"),
        pytest.param('<img src="https://x.example/logo.png" width=200>', False, id="a picture to look at"),
        pytest.param(f'<b><img src="{AD}"></span></b>', False, id="nested wrongly"),
        pytest.param("<svg></svg>", False, id="a drawing"),
    ],
)
def test_elements_with_something_to_see_stay(inside: str, goes: bool) -> None:
    """§4.3: a vendor's element goes with its content, but never with visible text or a picture of the message."""
    html = f'<p>a</p><span id="Acme-BOX">{inside}</span><p>b</p>'

    assert ("<p>a</p><p>b</p>" if goes else html.replace(f'<img src="{AD}">', "")) == left(html, ACME_READING)


def test_an_element_is_one_tracker() -> None:
    """An image that an element gives away is not reported once more for its looks."""
    html = f'<img class="mailtrack-img" src="https://unknown.example/{ID40}" width=1 height=1>'

    assert ["tool mailtrack element C removed ×1"] == told(html)


def test_scopes() -> None:
    """What stands behind the first sign of quoted history is somebody else's."""
    html = f'<img src="{AD}"><div class="gmail_quote"><img src="{AD}"><p style="background:url({AD})">'

    assert '<div class="gmail_quote"><p style="">' == left(html, ACME_READING)
    assert [
        "tool acme image B removed ×1", "quoted acme image B removed ×1", "quoted acme css B removed ×1",
    ] == told(html, ACME_READING)  # fmt: skip


def test_allowed_addresses_are_no_trackers() -> None:
    """What the organisation allows by a glob is neither removed nor reported."""
    watch = ACME_READING.watch
    assert watch is not None
    html = f'<img src="{AD}"><img src="https://px.acme.test/other">'

    allowing = Reading(watch=replace(watch, allowed=pattern(["https://px.acme.test/o.gif*"])))

    assert f'<img src="{AD}">' == left(html, allowing)
