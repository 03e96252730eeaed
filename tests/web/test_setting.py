"""The sender's setting on their page: what is saved, what is shown, and who may change it."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.senders import Saved, Setting
from ledger.tokens import sender_url, stop_url
from policies import EVERYTHING, NOTHING, PolicyModel, Purpose, compile_policy
from tests.web.sites import PUBLIC
from tests.web.sites import Setting as Site
from web.setting import shown

ALICE = "alice@example.org"
BOTH = {"open": "on", "click": "on", "remember": "on", "save": "yes"}


def page(site: Site, sender: str = ALICE) -> str:
    """Return the address of a sender's page."""
    return sender_url(site.ledger.keyring, PUBLIC, sender, 60)


async def saved(site: Site, sender: str = ALICE) -> Saved | None:
    """Return what the relay would hear that a sender saved."""
    return (await site.ledger.look_up("bob@customer.test", sender)).saved


def ticked(html: str) -> list[str]:
    """Return the names of the boxes of a page that are ticked."""
    return re.findall(r'<input type="checkbox" name="(\w+)" value="on" checked>', html)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (BOTH, EVERYTHING),
        ({"open": "on", "remember": "on", "save": "yes"}, {Purpose.OPEN, Purpose.DETAIL}),
        ({"click": "on", "remember": "on", "save": "yes"}, {Purpose.CLICK, Purpose.DETAIL}),
        ({"remember": "on", "save": "yes"}, NOTHING),
        ({"open": "yes", "detail": "on", "remember": "on", "save": "yes"}, NOTHING),
        ({"open": "on", "click": "on", "save": "yes"}, None),
        ({"open": "on", "click": "on", "remember": "on"}, None),
        ({}, None),
    ],
    ids=["both", "open", "click", "none", "unknown words", "not remembered", "not our button", "empty"],
)
async def test_what_is_chosen_is_saved(site: Site, form: dict[str, str], expected: Saved | None) -> None:
    """A POST saves what is ticked; without "remember", or where the button was not ours, nothing is saved."""
    answer = await site.client.post(page(site), data=form)

    assert 200 == answer.status_code
    assert expected == await saved(site)


@pytest.mark.parametrize(("form", "denied"), [(BOTH, False), ({}, True)], ids=["saved", "nothing"])
async def test_what_is_saved_is_not_denied(
    site: Site, monkeypatch: pytest.MonkeyPatch, form: dict[str, str], denied: bool
) -> None:
    """Where the ledger goes away after a choice is saved, the page says that it is; else that nothing was changed."""

    async def away(*_: Any, **__: Any) -> Any:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(Ledger, "messages", away)
    answer = await site.client.post(page(site), data=form)
    assert (503, denied) == (answer.status_code, "Nothing was changed." in answer.text)
    assert (not denied) == ("What you asked for is done." in answer.text)


async def test_the_last_choice_is_remembered_and_shown(site: Site) -> None:
    """The page shows what was chosen last, until it is changed or forgotten there."""
    assert ["open", "click", "remember"] == ticked((await site.get(page(site))).text)
    answer = await site.client.post(page(site), data={"click": "on", "remember": "on", "save": "yes"})
    assert "<strong>Saved.</strong>" in answer.text
    shown_again = (await site.get(page(site))).text
    assert ["click", "remember"] == ticked(shown_again)
    assert "Your next messages: followed links" in shown_again
    assert f"saved <time>{datetime.now(UTC):%Y-%m-%d}</time>" in shown_again
    answer = await site.client.post(page(site), data={"save": "yes"})
    assert "Nothing is saved any more" in answer.text
    assert ["open", "click", "remember"] == ticked(answer.text)


async def test_a_form_that_is_not_ours_forgets_nothing(site: Site) -> None:
    """An empty POST, or one of another type, leaves what was saved as it was."""
    await site.client.post(page(site), data={"remember": "on", "save": "yes"})
    for content_type in ("text/plain", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded"):
        answer = await site.client.post(page(site), content=b"a=1", headers={"content-type": content_type})
        assert 200 == answer.status_code
        assert NOTHING == await saved(site)


async def test_everybody_changes_their_own(site: Site) -> None:
    """A sender's link changes that sender's setting, and no other link changes any."""
    await site.client.post(page(site), data={"remember": "on", "save": "yes"})
    stop = stop_url(site.ledger.keyring, PUBLIC, ALICE).replace("/stop/", "/mail/")
    for url in (stop, page(site, "carol@example.org"), f"{PUBLIC}/mail/forged"):
        await site.client.post(url, data=BOTH)

    assert NOTHING == await saved(site)
    assert EVERYTHING == await saved(site, "carol@example.org")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_promise_6_only_a_post_changes_anything(site: Site, method: str) -> None:
    """Whatever a GET or HEAD carries, and by every other method, nothing is saved."""
    url = f"{page(site)}?open=on&click=on&remember=on&save=yes"
    answer = await site.client.request(method, url, headers={"content-type": "application/x-www-form-urlencoded"})

    assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)
    assert await saved(site) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": PUBLIC}, 403),
        ({"origin": PUBLIC}, 200),
        ({"origin": f"{PUBLIC}:8080"}, 403),
        ({"origin": "https://track.test"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 200),
    ],
    ids=lambda value: " ".join(value.values()) or "neither" if isinstance(value, dict) else str(value),
)
async def test_w11_another_page_cannot_send_the_form(site: Site, headers: dict[str, str], expected: int) -> None:
    """W11: a form that somebody else's page sends is refused with 403 and changes nothing."""
    answer = await site.client.post(page(site), data=BOTH, headers=headers)

    assert expected == answer.status_code
    assert (EVERYTHING if expected == 200 else None) == await saved(site)


async def test_w20_a_form_that_is_too_large_changes_nothing(site: Site) -> None:
    """W20: a body no form of ours could have is 413."""
    answer = await site.client.post(page(site), data={**BOTH, "more": "x" * 10_000})

    assert 413 == answer.status_code
    assert await saved(site) is None


async def test_without_the_ledger_the_page_says_so(site: Site) -> None:
    """With the ledger away nothing is saved, and the page says that, with 503."""
    url = page(site)
    site.lose_the_ledger()
    answer = await site.client.post(url, data=BOTH)

    assert 503 == answer.status_code
    assert "Nothing was changed" in answer.text


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (PolicyModel(), "loaded images and followed links"),
        (PolicyModel(open="never"), "followed links"),
        (PolicyModel(click="never"), "loaded images"),
        (PolicyModel(open="never", click="never"), ""),
    ],
    ids=["both", "click", "open", "none"],
)
def test_what_policy_allows_at_most(model: PolicyModel, expected: str) -> None:
    """The page says what the ceiling leaves, whatever was saved."""
    setting = Setting(EVERYTHING, datetime(2026, 3, 1, tzinfo=UTC))

    assert expected == shown(compile_policy(model, ["example.org"]), setting)["allowed"]


@pytest.mark.parametrize(("default", "expected"), [("on", "loaded images and followed links"), ("off", "")])
def test_what_counts_where_nothing_is_saved(default: str, expected: str) -> None:
    """For a sender who saved nothing the page shows the organisation's default."""
    policy = compile_policy(PolicyModel.model_validate({"sender_default": default}), ["example.org"])

    assert (expected, None) == tuple(shown(policy, None)[key] for key in ("counts", "since"))
