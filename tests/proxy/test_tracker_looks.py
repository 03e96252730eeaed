# ruff: noqa: E501  # a case reads best on one line
"""Images that only look like trackers: never taken out, reported where the looks are strong (cases T36 to T49)."""

import time

import pytest

from proxy.hidden import has_token, hides, is_tiny, names_recipient
from tests.proxy.tracking import CLICK, ID40, PIXEL, left, told

TOKEN = ID40
D, E = "tool - image D reported ×1", "tool - image E reported ×1"
REMOTE = f"https://x.example/p/{TOKEN}"


@pytest.mark.parametrize(
    ("html", "report"),
    [
        pytest.param('<img src="cid:image001.gif" width="0" height="0" style="display:none">', [], id="36"),
        pytest.param('<img src="https://www.brand.example/spacer.gif" width="620" height="1">', [], id="37"),
        pytest.param('<img src="https://www.brand.example/spacer.gif" width="1" height="1" alt="used for alignment">', [], id="38 as everybody gets it"),
        pytest.param(f'<img src="https://www.brand.example/spacer.gif?i={TOKEN}" width="1" height="1" alt="used for alignment">', [D], id="38 as one person gets it"),
        pytest.param(f'<img src="https://www.brand.example/{TOKEN}/gradient.png" width="1" height="100">', [], id="39"),
        pytest.param('<img src="https://www.brand.example/logo.png" width="44" height="157"><img src="https://www.brand.example/logo2.png" width="1" height="1" style="display:none;width:0;max-height:0">', [], id="40"),
        pytest.param('<img src="https://www.brand.example/a.png" width="32" height="16" style="border:1px solid"><img src="https://www.brand.example/b.png" style="border-width:1px 1px" width="1000">', [], id="41"),
        pytest.param('<img data-comments-opened="1" src="https://p.example/1.jpg" srcset="https://p.example/1.jpg 1x, https://p.example/2.jpg 2x">', [], id="42"),
        pytest.param(f'<img src="{REMOTE}" width=1 height=1>' * 6, [], id="43"),
        pytest.param('<img src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7" width=1 height=1>', [], id="44"),
        pytest.param(f'<img src="https://www.example.org/logo.png?v={TOKEN}" width=1><img src="https://img.example.org/logo.png?u={TOKEN}" width=120>', [], id="46"),
        pytest.param(f'<img src="https://news.example/hero.jpg?u={TOKEN}" width="600">', [E], id="47"),
        pytest.param('<img src="https://news.example/hero.jpg?email=ada%40client.example" width="600">', [E], id="47 by address"),
        pytest.param(f"<p>We saw {PIXEL} and {CLICK}https%3A%2F%2Fa.example in it</p>", [], id="48"),
        pytest.param(f'<img src="https://attachments.office.net/owa/ada%40client.example/service.svc/s/GetAttachmentThumbnail?id={TOKEN}" width=1>', [], id="49"),
        pytest.param(f'<img src="{REMOTE}" width=1 height=1>', [D], id="a pixel"),
        pytest.param(f'<div style="display:none"><p><img src="{REMOTE}"></p></div>', [D], id="a hidden ancestor"),
        pytest.param(f'<div style="display:none"></div><img src="{REMOTE}">', [], id="beside a hidden element"),
        pytest.param(f'<div class="gmail_quote"><img src="{REMOTE}" hidden></div>', ["quoted - image D reported ×1"], id="a quoted pixel"),
    ],
)  # fmt: skip
def test_looks(html: str, report: list[str]) -> None:
    """Cases T36 to T49: nothing is taken out for its looks; a tiny or hidden unique image with a token is tier D."""
    assert html == left(html)
    assert report == told(html)


def test_large_inline_image() -> None:
    """Case T45: an image of 2 MB that stands in the HTML itself is kept, in less than a second of work."""
    html = '<img src="data:image/png;base64,' + "A" * 2_000_000 + '" width=1 height=1>'
    begun = time.process_time()

    assert html == left(html)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"width": "1", "height": "1"}, True),
        ({"width": "0"}, True),
        ({"width": "2px", "height": " 2 "}, True),
        ({"style": "width:1px;height:1px"}, True),
        ({"width": "600", "style": "WIDTH: 0px; height: 0 !important"}, True),
        ({"width": "1", "style": "width:600px"}, False),
        ({"width": "1", "height": "100"}, False),
        ({"width": "1%"}, False),
        ({"style": "border-width:1px;max-width:1px;line-height:1"}, False),
        ({"width": ""}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_is_tiny(attributes: dict[str, str], expected: bool) -> None:
    """An image is tiny where every dimension that is said is at most two pixels; borders are no dimensions."""
    assert expected == is_tiny(attributes)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("display: none", True),
        ("color:red;DISPLAY:none!important", True),
        ("visibility:hidden", True),
        ("opacity:0", True),
        ("opacity:.0;", True),
        ("opacity:0.5", False),
        ("font-size:0px", True),
        ("font-size:0.9em", False),
        ("line-height:0;", True),
        ("max-height:1px;overflow:hidden", True),
        ("max-width:100px", False),
        ("position:absolute;left:-9999px", True),
        ("mso-hide:all", True),
        ("clip:rect(0 0 0 0)", True),
        ("backface-visibility:hidden", False),
        ("", False),
    ],
)  # fmt: skip
def test_hides(style: str, expected: bool) -> None:
    """An element is hidden by what its own style says."""
    assert expected == hides({"style": style})


@pytest.mark.parametrize(
    ("url", "token", "recipient"),
    [
        (f"https://a.example/{TOKEN}.gif", True, False),
        (f"https://a.example/x?k={TOKEN}", True, True),
        ("https://a.example/x?u=12345", False, True),
        ("https://a.example/x?u=1", False, False),
        ("https://a.example/x?width=600", False, False),
        ("https://a.example/4f1d2c3b-0a1b-4c2d-8e3f-a1b2c3d4e5f6", True, False),
        ("https://a.example/0123456789", True, False),
        ("https://a.example/header-background-image-large-2.png", False, False),
        ("https://0a1b2c3d4e5f60718293a4b5c6d7e8f9.a.example/x.png", False, False),
        (f"https://a.example/x#{TOKEN}", False, False),
        ("https://a.example/x?to=ada@client.example", True, True),
        ("https://a.example/p/ada%40client.example.gif", True, True),
        ("https://a.example/logo@2x.png", False, False),
        ("https://[", False, False),
    ],
)  # fmt: skip
def test_addresses_that_tell_recipients_apart(url: str, token: bool, recipient: bool) -> None:
    """A long mix of letters and digits is a token; a usual key, a token or an address in the query names somebody."""
    assert (token, recipient) == (has_token(url), names_recipient(url))
