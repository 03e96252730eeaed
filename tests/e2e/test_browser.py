"""A recipient's own Chromium: it shows the message, follows a link, opens the stop page, and refuses."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.chromium import running_chromium
from tests.e2e.letters import letter, opened
from tests.e2e.serving import BROWSER, Service, fetch
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer

WIDTHS = (390, 1280)
"""A phone and a desk."""


class Site:
    """A web site on loopback: shows the mail that it is given, and is where the links lead."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The paths that were asked for, byte for byte as they were sent."""
        self.mail = b""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/favicon.ico":
                    site.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=iso-8859-1")
                self.end_headers()
                self.wfile.write(site.mail if self.path == "/mail" else b"<h1>Here you are</h1>")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.links = (f"{self.url}/offer?a=1&amp;b=%C3%A4&c=x+y%20z&d=(~)", f"{self.url}/two#part", f"{self.url}/3")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The site, served from a thread."""
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The recipient's browser."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that runs no script."""
    context = browser.new_context(java_script_enabled=False, user_agent=BROWSER)
    yield context.new_page()
    context.close()


def show_mail(page: Page, site: Site, content: bytes) -> None:
    """Show a delivered message's HTML part as a mail program on the web would, with its images."""
    _, _, rest = content.partition(b"Content-Transfer-Encoding: 8bit\r\n\r\n<html")
    html, _, _ = rest.partition(b"\r\n--inner--")
    site.mail = b"<html" + html
    page.goto(f"{site.url}/mail", wait_until="load")


def follow(page: Page, link: str) -> None:
    """Click a link, and wait for where it leads: before that, the browser may have no document at all."""
    with page.expect_navigation():
        page.get_by_role("link", name=link).click()


def press_by_keyboard(page: Page, button: str) -> None:
    """Reach a button with Tab alone, see that the focus shows, and press it with Enter."""
    focused = page.locator("button:focus")
    for _ in range(10):
        page.keyboard.press("Tab")
        if focused.count():
            break
    expect(focused).to_have_text(button)
    expect(focused).to_have_css("outline-style", "solid")
    with page.expect_navigation():
        page.keyboard.press("Enter")


def fits(page: Page) -> bool:
    """Tell whether a page needs no scrolling to the side."""
    width, shown = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return bool(width <= shown)


def test_an_open_and_a_click_are_on_record(service: Service, postfix: Postfix, page: Page, site: Site) -> None:
    """Who agreed, looks at the mail and follows its link leaves one open and one click, and gets where it says."""
    service.grant("reader@customer.test")
    service.send(letter("reader@customer.test", links=site.links), "reader@customer.test")
    arrived = opened(postfix.next_delivered("reader@customer.test"))
    show_mail(page, site, arrived.content)
    assert page.locator("img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [1, 1]
    follow(page, "our offer")

    assert page.url == f"{site.url}/offer?a=1&b=%C3%A4&c=x+y%20z&d=(~)"
    assert site.asked[-1] == "/offer?a=1&b=%C3%A4&c=x+y%20z&d=(~)"
    hits = service.hits(arrived.id)
    seen = {(one["purpose"], one["link"], one["target"], one["count"], one["verdict"]) for one in hits}
    assert seen == {("open", None, None, 1, "unknown"), ("click", 1, "127.0.0.1/offer", 1, "unknown")}


@pytest.mark.parametrize("width", WIDTHS)
def test_promise_6_refusing_reaches_back(
    service: Service, postfix: Postfix, page: Page, site: Site, width: int
) -> None:
    """One press on the stop page, by keyboard and without scripts, ends it for mail to come and mail already there."""
    to = f"refuses-at-{width}@customer.test"
    service.grant(to)
    sent = letter(to, links=site.links)
    service.send(sent, to)
    arrived = opened(postfix.next_delivered(to))
    page.set_viewport_size({"width": width, "height": 800})
    show_mail(page, site, arrived.content)
    assert [one["purpose"] for one in service.hits(arrived.id)] == ["open"]

    follow(page, "Stop this")
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop tracking")
    assert page.url == arrived.stop
    assert fits(page)
    # Looking at the page, however often, changes nothing.
    page.reload()
    assert service.consent(to)["consent"] == {"open": "granted", "click": "granted", "detail": "unknown"}

    press_by_keyboard(page, "Stop tracking")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tracking is stopped")
    assert fits(page)
    assert page.context.cookies() == []

    service.send(sent, to)
    assert sent == opened(postfix.next_delivered(to, 2)).content
    show_mail(page, site, arrived.content)
    follow(page, "our offer")
    assert site.asked[-1] == "/offer?a=1&b=%C3%A4&c=x+y%20z&d=(~)"
    assert fetch(arrived.pixel).headers["content-type"] == "image/gif"
    assert service.hits(arrived.id) == []


def test_the_preference_page_refuses_one_kind(service: Service, postfix: Postfix, page: Page) -> None:
    """From the stop page the page with a choice for each kind is reached, and refuses only what was ticked."""
    service.grant("chooses@customer.test")
    service.send(letter("chooses@customer.test"), "chooses@customer.test")
    arrived = opened(postfix.next_delivered("chooses@customer.test"))
    page.set_viewport_size({"width": WIDTHS[0], "height": 800})
    page.goto(arrived.stop)
    follow(page, "See what is recorded")
    assert fits(page)
    page.locator("input[name=stop][value=click]").focus()
    page.keyboard.press("Space")
    press_by_keyboard(page, "Stop the ones I ticked")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tracking is stopped")
    states = service.consent("chooses@customer.test")["consent"]
    assert states == {"open": "granted", "click": "withdrawn", "detail": "unknown"}


def test_the_message_looks_as_it_did(service: Service, postfix: Postfix, page: Page, site: Site) -> None:
    """Above the footer nothing moves: every element of the message stands where it stood without tracking."""
    service.grant("looks@customer.test")
    sent = letter("looks@customer.test")
    service.send(sent, "looks@customer.test")
    places = []
    for content in (sent, opened(postfix.next_delivered("looks@customer.test")).content):
        show_mail(page, site, content)
        elements = "[...document.querySelectorAll('p, a, b')].slice(0, 6)"
        places.append(page.evaluate(f"{elements}.map(one => JSON.stringify(one.getBoundingClientRect()))"))
    assert len(places[0]) == 6
    assert places[0] == places[1]
