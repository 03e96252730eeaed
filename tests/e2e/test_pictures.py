"""The picture is the same: what a browser shows of a message, before and after it is rewritten."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from proxy.rewrite import tracked
from tests.e2e.chromium import running_chromium
from tests.peers import require
from tests.proxy.samples import CORPUS, EVERYTHING_ON, FOOTER, MAIL, FixedMarks, html_mail, read

pytestmark = pytest.mark.peer

TEMPLATES = sorted((CORPUS / "templates").glob("*.html"))
SAMPLES = sorted((MAIL / "pictures").glob("*.eml"))
DESK, PHONE = (800, "light"), (390, "dark")
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_FOOTER = re.compile(rb'\r\n(<div style="[^"]*">\r\n[^\r\n]*/stop/stop[^\r\n]*</div>)(?:\r\n(?=</body))?')


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The recipient's browser."""
    with running_chromium() as browser:
        yield browser


class Viewer:
    """Shows HTML that comes from nowhere: no request leaves, and the pixel is answered here."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._html = b""
        page.route("**/*", self._answer)

    def _answer(self, route: Route) -> None:
        if route.request.resource_type == "document":
            route.fulfill(body=self._html, content_type="text/html; charset=utf-8")
        elif route.request.url.endswith("/o/pixel.gif"):
            route.fulfill(body=GIF, content_type="image/gif")
        else:
            route.abort()

    def shows(self, html: bytes) -> None:
        """Show a document."""
        self._html = html
        self.page.goto("http://mail.test/", wait_until="load")

    def picture(self, height: float | None = None) -> bytes:
        """Return what is shown as PNG: the whole page, or so many points of it from the top."""
        if height is None:
            return self.page.screenshot(full_page=True, animations="disabled")
        width = self.page.evaluate("window.innerWidth")
        return self.page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone at night"])
def viewer(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Viewer]:
    """A viewer of one width and colour scheme, which runs no script."""
    width, scheme = request.param
    size = {"width": width, "height": 600}
    context = browser.new_context(java_script_enabled=False, viewport=size, color_scheme=scheme)
    yield Viewer(context.new_page())
    context.close()


def before_and_after(raw: bytes) -> tuple[bytes, bytes]:
    """Return the HTML of a message as it came and as it leaves with everything on."""
    message = read(raw)
    out = tracked(message, EVERYTHING_ON, FixedMarks(), FOOTER).raw
    assert message.facts.links > 0
    return message.bodies[0].encoded.decoded, read(out).bodies[0].encoded.decoded


def compare(viewer: Viewer, raw: bytes) -> None:
    """Compare the pictures of a message: without the footer all of it, with it what stands above."""
    before, after = before_and_after(raw)
    cut, footers = _FOOTER.subn(b"", after)
    assert footers == 1
    viewer.shows(after)
    top = viewer.page.locator('a[href$="/stop/stop"]').locator("xpath=..").bounding_box()
    assert top is not None
    assert top["height"] > 0
    viewer.shows(before)
    picture = viewer.picture()
    height = min(top["y"], int.from_bytes(picture[20:24]))  # PNG §11.2.2: the height follows the width
    part = viewer.picture(height)
    viewer.shows(after)

    assert part == viewer.picture(height)
    viewer.shows(cut)
    assert picture == viewer.picture()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples(viewer: Viewer, path: Path) -> None:
    """Mail as Outlook and Thunderbird write it looks as it did, to the last pixel."""
    compare(viewer, path.read_bytes())


@pytest.mark.parametrize("viewer", [DESK], ids=["desk"], indirect=True)
@pytest.mark.parametrize("name", [path.stem for path in TEMPLATES] or ["none"])
def test_templates(viewer: Viewer, name: str) -> None:
    """Every template, with links in its placeholders, looks as it did, to the last pixel."""
    if not TEMPLATES:
        require(f"there are no templates at {CORPUS}")
    html = (CORPUS / "templates" / f"{name}.html").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    html = re.sub(rb"\{\{\s*\w*url\s*\}\}", b"https://shop.example/do?a=1&amp;b=2", html)
    compare(viewer, html_mail(html, encoding=b"8bit"))


def test_a_difference_is_seen(viewer: Viewer) -> None:
    """One pixel more, as an image of its own would bring, is a different picture."""
    viewer.shows(b"<p>one</p>")
    picture = viewer.picture()
    viewer.shows(b'<p>one</p><img src="http://x.test/o/pixel.gif" style="background:#000" width=1 height=1>')

    assert picture != viewer.picture()
