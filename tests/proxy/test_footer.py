"""The footer: who is told what, the link to stop, and the pixel in it."""

import pytest
from bs4 import BeautifulSoup

from policies import Purpose
from proxy.footer import footer_html, footer_text, what_is_told
from tests.proxy.samples import decision

STOP = "https://mail.example.org/stop/x"
PIXEL = "https://mail.example.org/o/x.gif"


@pytest.mark.parametrize(
    ("purposes", "expected"),
    [
        ((Purpose.OPEN,), "when images in this message are loaded"),
        ((Purpose.CLICK,), "which links of this message are followed"),
        (
            (Purpose.OPEN, Purpose.CLICK),
            "when images in this message are loaded and which of its links are followed",
        ),
    ],
    ids=["open", "click", "both"],
)
def test_what_is_told(purposes: tuple[Purpose, ...], expected: str) -> None:
    """The recipient is told exactly what the sender learns."""
    allowed = decision(*purposes)
    block = BeautifulSoup(footer_html("Example GmbH", allowed, STOP, None), "html.parser")

    assert what_is_told(allowed) == expected
    assert " ".join(block.get_text().split()) == f"With your consent, Example GmbH records {expected}. Stop this"


def test_pixel() -> None:
    """The pixel is one point, has no text, and stands inside the block of the footer (case 116)."""
    block = BeautifulSoup(footer_html("X", decision(Purpose.OPEN), STOP, PIXEL), "html.parser")
    (image,) = block.select("div > img")

    assert (image["src"], image["width"], image["height"], image["alt"], image["border"]) == (PIXEL, "1", "1", "", "0")
    assert "tabindex" not in image.attrs
    assert [link["href"] for link in block.select("div > a")] == [STOP]


def test_no_pixel() -> None:
    """Without consent to opens there is no picture at all (case 7)."""
    assert b"<img" not in footer_html("X", decision(Purpose.CLICK), STOP, None)


@pytest.mark.parametrize("name", ["Grüße & Söhne", '<script>"', "例 🙂", "O'Neill"])
def test_name(name: str) -> None:
    """The organisation's name is shown as it is, in ASCII bytes, whatever is in it (cases 39 to 44)."""
    footer = footer_html(name, decision(Purpose.OPEN), STOP, PIXEL)
    block = BeautifulSoup(footer, "html.parser")

    assert footer.isascii()
    assert block.get_text().replace("\r\n", "").startswith(f"With your consent, {name} records ")
    assert {tag.name for tag in block.find_all()} == {"div", "a", "img"}


def test_line_breaks() -> None:
    """The line breaks are those that were asked for."""
    assert footer_html("X", decision(Purpose.OPEN), STOP, PIXEL, "\n").count(b"\r") == 0
    assert footer_html("X", decision(Purpose.OPEN), STOP, PIXEL).count(b"\r\n") == 1


def test_text() -> None:
    """The footer of a text-only message says who records what, in ASCII, with the address to stop."""
    assert footer_text("Größe Café", STOP, "\n").decode() == (
        f"With your consent, Grosse Cafe records which links of this message are followed.\nStop this: {STOP}"
    )
