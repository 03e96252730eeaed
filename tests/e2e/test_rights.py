"""A person's way through all pages, in a Chromium without scripts: agree, be tracked, look, refuse, copy, erase."""

import email
import email.policy
import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.chromium import running_chromium
from tests.e2e.letters import letter, opened
from tests.e2e.serving import BROWSER, Service, fetch, running_service
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer

MORE = """
[system_mail]
from = "box@example.org"
url = "{upstream}"

[[consent.point]]
id = "web-form"
title = "Newsletter"
where = "on our web site"
wording = "Tell us whether we may see what you open."
proof = "the record itself"
public = true
"""


@pytest.fixture(scope="module")
def mailing(postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that sends mail of its own."""
    with running_service(tmp_path_factory.mktemp("mailing"), postfix.port, more=MORE) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The person's browser."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(params=[390, 1280], ids=["phone", "desk"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that runs no script."""
    size = {"width": request.param, "height": 800}
    context = browser.new_context(java_script_enabled=False, user_agent=BROWSER, locale="en", viewport=size)
    yield context.new_page()
    assert context.cookies() == []
    context.close()


def link_in(content: bytes, path: str) -> str:
    """Return the first link to a page of ours in a letter of ours."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    assert body is not None
    found, *_ = re.findall(rf"http://127\.0\.0\.1:\d+/{path}/[\w-]+", body.get_content())
    return str(found)


def press(page: Page, button: str) -> None:
    """Press a button, and wait for the answer: the next page may have the same heading."""
    with page.expect_navigation():
        page.get_by_role("button", name=button).click()


def looks_right(page: Page, heading: str) -> None:
    """See that a page says what it is, needs no scrolling to the side, and has a name for every control."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    width, shown = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= shown
    unnamed = "[...document.querySelectorAll('input:not([type=hidden]), textarea')].filter(one => !one.labels.length)"
    assert page.evaluate(f"{unnamed}.filter(one => !one.ariaLabel).length") == 0


def test_from_agreeing_to_being_erased(mailing: Service, postfix: Postfix, page: Page) -> None:
    """W7, W8, W10, W12: every step counts when its button is pressed, and not before; in the end nothing is left."""
    width = page.evaluate("window.innerWidth")
    to = f"walks-at-{width}@customer.test"
    page.goto(f"{mailing.url}/join/web-form")
    looks_right(page, "Newsletter")
    page.get_by_role("checkbox").first.check()
    page.get_by_label("Your mail address").fill(to)
    press(page, "Send me the link")
    looks_right(page, "Look into your mailbox")

    page.goto(link_in(postfix.next_delivered(to, 1), "join"))
    looks_right(page, "Please confirm")
    page.reload()
    assert set(mailing.consent(to)["consent"].values()) == {"unknown"}
    press(page, "I agree to this")
    looks_right(page, "Thank you")
    assert mailing.consent(to)["consent"] == {"open": "granted", "click": "unknown", "detail": "unknown"}
    link_in(postfix.next_delivered(to, 2), "stop")

    sent = letter(to)
    mailing.send(sent, to)
    arrived = opened(postfix.next_delivered(to, 3))
    fetch(arrived.pixel)
    assert [one["purpose"] for one in mailing.hits(arrived.id)] == ["open"]

    page.goto(arrived.stop)
    looks_right(page, "Stop tracking")
    page.reload()
    assert mailing.consent(to)["consent"]["open"] == "granted"
    page.get_by_role("checkbox").check()
    press(page, "Stop tracking")
    assert mailing.consent(to)["consent"] == {"open": "withdrawn", "click": "refused", "detail": "refused"}
    fetch(arrived.pixel)
    assert [(one["purpose"], one["count"]) for one in mailing.hits(arrived.id)] == [("open", 1)]
    link_in(postfix.next_delivered(to, 4), "you")

    page.goto(f"{mailing.url}/stop")
    looks_right(page, "Stop tracking")
    page.get_by_label("Your mail address").fill(to)
    press(page, "Send me the link")
    page.goto(link_in(postfix.next_delivered(to, 5), "you"))
    looks_right(page, "Your choices")
    press(page, "Continue")
    looks_right(page, "Your choices")
    expect(page.get_by_text("1 message to you with 1 recorded event.")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Copy as JSON").click()
    copy = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert [one["purpose"] for one in copy["hits"]] == ["open"]

    page.get_by_label("Yes, delete everything about me").check()
    press(page, "Erase everything")
    looks_right(page, "Everything is erased")
    fetch(arrived.pixel)
    assert mailing.hits(arrived.id) == []
    mailing.send(sent, to)
    assert opened(postfix.next_delivered(to, 6)).content == sent
