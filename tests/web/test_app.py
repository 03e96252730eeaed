"""The web application against a real ledger: pixels, links, refusals, pages; what is recorded and what never is."""

import re
from pathlib import Path
from typing import Any

import pytest

from ledger.consent import Person
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.tokens import Marks, new_message_id, sender_url, stop_url
from policies import PolicyModel, Purpose, Reason, compile_policy
from tests.web.sites import BROWSER, PUBLIC, TARGET, Setting, record_message
from web.app import ROUTES
from web.hits import GIF
from web.pages import SECURITY_HEADERS


async def test_pixel_and_link_are_recorded(site: Setting) -> None:
    """120, 124: the pixel is a GIF, the link leads to its exact destination; both are in the ledger afterwards."""
    pixel = await site.get(site.marks.pixel())
    link = await site.get(site.marks.link(3, TARGET))
    assert (200, "image/gif", GIF) == (pixel.status_code, pixel.headers["content-type"], pixel.content)
    assert (302, TARGET) == (link.status_code, link.headers["location"])
    click, opened = await site.ledger.hits()
    assert ("click", 3, "shop.example/a%2Fb", "unknown") == (
        click["purpose"], click["link"], click["target"], click["verdict"],
    )  # fmt: skip
    assert ("open", 1) == (opened["purpose"], opened["count"])


async def test_repeats_raise_the_count(site: Setting) -> None:
    """W15: a pixel fetched many times in a minute is one hit with a count."""
    for _ in range(5):
        await site.get(site.marks.pixel())
    assert [5] == [hit["count"] for hit in await site.ledger.hits()]


GARBAGE = ["garbage.gif", "x.gif?src=http://169.254.169.254/", "%27.gif", "a/b/c.gif", "", ".gif", "é.gif"]


@pytest.mark.parametrize("token", GARBAGE)
async def test_garbage_pixel_answers_like_a_good_one(site: Setting, token: str) -> None:
    """121, 122, W21: whatever the token, the picture and the headers are the same."""
    good, bad = await site.get(site.marks.pixel()), await site.get(f"/o/{token}")
    assert (good.status_code, good.content, dict(good.headers)) == (bad.status_code, bad.content, dict(bad.headers))


async def test_tampered_pixel_records_nothing(site: Setting) -> None:
    """108: a token with something appended, or of another kind, gets its picture and leaves no trace."""
    url = site.marks.pixel()
    for bad in (
        url + "'",
        url + "%27",
        url.replace(".gif", "x.gif"),
        site.marks.stop().replace("/stop/", "/o/") + ".gif",
    ):
        assert GIF == (await site.get(bad)).content
    assert [] == await site.ledger.hits()


@pytest.mark.parametrize(
    "headers",
    [
        {"dnt": "1"},
        {"sec-gpc": "1"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"x-moz": "prefetch"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_asked_not_to_record(site: Setting, headers: dict[str, str]) -> None:
    """106, 109, 145, 148: DNT, Sec-GPC and prefetching are answered and not recorded."""
    assert 200 == (await site.get(site.marks.pixel(), **headers)).status_code
    assert 302 == (await site.get(site.marks.link(1, TARGET), **headers)).status_code
    assert [] == await site.ledger.hits()


async def test_head_is_not_recorded(site: Setting) -> None:
    """123: HEAD on pixel and link answers like GET, without a body and without a record."""
    pixel = await site.client.head(site.marks.pixel(), headers=BROWSER)
    link = await site.client.head(site.marks.link(1, TARGET), headers=BROWSER)
    assert (200, b"", "43") == (pixel.status_code, pixel.content, pixel.headers["content-length"])
    assert (302, TARGET) == (link.status_code, link.headers["location"])
    assert [] == await site.ledger.hits()


async def test_promise_5_links_outlive_everything(site: Setting) -> None:
    """9, 132, 133: with consent withdrawn, the key rotated, the message unknown or the ledger gone, links lead on."""
    link, other = site.marks.link(1, TARGET), Marks(site.ledger.keyring, PUBLIC, new_message_id(), "x@y.test")
    await site.client.post(site.marks.stop())
    assert TARGET == (await site.get(link)).headers["location"]
    assert TARGET == (await site.get(other.link(1, TARGET))).headers["location"]
    rotated = Keyring(site.ledger.keyring.file.rotated().rotated())
    site.ledger.keyring = rotated
    assert TARGET == (await site.get(link)).headers["location"]
    site.lose_the_ledger()
    assert TARGET == (await site.get(link)).headers["location"]
    assert GIF == (await site.get(site.marks.pixel())).content


@pytest.mark.parametrize("path", ["/l/forged", "/l/AAAA", "/l/%00", "/stop/forged", "/you/forged", "/mail/forged"])
async def test_forged_token_is_a_page(site: Setting, path: str) -> None:
    """125, 126, W1, W3: a token that does not open is an honest 404 page, never a redirect."""
    answer = await site.get(path + "?url=https://evil.example")
    assert 404 == answer.status_code
    assert "location" not in answer.headers
    assert "<h1>" in answer.text


NOWHERE = ["javascript:alert(1)", "//evil.example/", "data:text/html,x", "http:///x", "https://a\r\nx:y"]


@pytest.mark.parametrize("target", [*NOWHERE, "https://a/\x1f", "https://a/ x", "https://a/\x7f"])
async def test_bad_destination_is_refused_at_the_redirect_too(site: Setting, target: str) -> None:
    """128, W2: a destination that is no web address is never led to, even with a token that opens."""
    answer = await site.get(site.marks.link(1, target))
    assert 400 == answer.status_code
    assert "location" not in answer.headers


async def test_query_is_not_copied(site: Setting) -> None:
    """129: what is appended to our address does not reach the destination."""
    assert TARGET == (await site.get(site.marks.link(1, TARGET) + "?utm=1")).headers["location"]


URLENCODED = b"List-Unsubscribe=One-Click"
PARTS = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "method"),
    [
        ("application/x-www-form-urlencoded", URLENCODED, "one_click_post"),
        ("Application/X-WWW-Form-URLencoded; charset=UTF-8", URLENCODED, "one_click_post"),
        ("multipart/form-data; boundary=x", PARTS, "one_click_post"),
        ('Multipart/Form-Data; boundary="x"', PARTS, "one_click_post"),
        ("multipart/form-data; boundary=other", PARTS, "footer_link"),
        ("multipart/form-data", PARTS, "footer_link"),
        ("multipart/form-data; boundary=x", b"--x\r\n\xff\x00: \xfe\r\n\r\n--x--", "footer_link"),
        ("multipart/form-data; boundary=x", PARTS.replace(b"name=", b"name*0=a; name*="), "footer_link"),
        ("multipart/form-data; boundary*0=x; boundary*=y", PARTS, "footer_link"),
        ("text/plain", URLENCODED, "footer_link"),
        ("", b"", "footer_link"),
    ],
    ids=[
        "form",
        "in capitals",
        "parts",
        "parts in capitals",
        "other boundary",
        "none",
        "bytes",
        "name twice",
        "boundary twice",
        "text",
        "empty",
    ],
)
async def test_151_every_form_of_one_click(site: Setting, content_type: str, body: bytes, method: str) -> None:
    """151, RFC 8058: whatever a POST to the stop page carries, it refuses; one click is on record as that."""
    answer = await site.client.post(site.marks.stop(), content=body, headers={"content-type": content_type})
    assert 200 == answer.status_code
    events = await site.ledger.history(Person(site.ledger.keyring.folded("bob@customer.test")))
    assert [method] * 3 == [event["method"] for event in events[-3:]]


async def test_who_hangs_up_in_a_form_changes_nothing(site: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    """A form that does not come whole does nothing, and is no mistake of ours to be logged."""
    calls = iter([{"type": "http.request", "body": b"keep=", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(calls)

    async def send(message: Any) -> None:
        assert message["status" if message["type"].endswith("start") else "body"] in (400, b"")

    path = site.marks.stop().removeprefix(PUBLIC)
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("track.test", 80), "client": None, "root_path": "",
    }  # fmt: skip
    await site.client._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    assert ["granted", "granted"] == [
        event["state"] for event in await site.ledger.history(Person(site.ledger.keyring.folded("bob@customer.test")))
    ]
    assert "request_failed" not in "".join(capsys.readouterr())


async def test_promise_6_refusing_is_easy_and_reaches_back(site: Setting) -> None:
    """Cases 8 and 9, row 49: one POST without login; no hit is left of mail already sent, and none is added."""
    await site.get(site.marks.pixel())
    answer = await site.client.post(site.marks.stop())
    assert 200 == answer.status_code
    assert "Tracking is stopped" in answer.text
    assert "Tracking is stopped already" in (await site.get(site.marks.stop())).text
    assert GIF == (await site.get(site.marks.pixel())).content
    assert TARGET == (await site.get(site.marks.link(1, TARGET))).headers["location"]
    assert [] == await site.ledger.hits()


async def test_refusing_can_keep_what_was_recorded(site: Setting) -> None:
    """Recorded hits are kept where the person ticks that."""
    await site.get(site.marks.pixel())
    answer = await site.client.post(site.marks.stop(), data={"keep": "yes"})
    assert "is kept, as you asked" in answer.text
    assert 1 == len(await site.ledger.hits())


MULTIPART = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"List-Unsubscribe=One-Click"),
        ("multipart/form-data; boundary=b", MULTIPART),
        ("text/plain", b""),
        ("application/x-www-form-urlencoded", b"\xff\xfe=%%%"),
    ],
)  # fmt: skip
async def test_one_click_post(site: Setting, content_type: str, body: bytes) -> None:
    """151: a POST with RFC 8058's body, in either form, or none at all, is a refusal; it needs no cookie."""
    answer = await site.client.post(site.marks.stop(), content=body, headers={"content-type": content_type})
    assert 200 == answer.status_code
    history = await site.ledger.history(_person(site))
    assert {"withdrawn", "refused"} == {event["state"] for event in history if event["state"] != "granted"}


def _person(site: Setting) -> Any:
    from ledger.consent import Person

    return Person.of(site.ledger.keyring, "bob@customer.test")


async def test_refusing_twice_is_the_same(site: Setting) -> None:
    """152: a second POST gives the same page and adds no event."""
    url = site.marks.stop()
    first = await site.client.post(url)
    events = len(await site.ledger.history(_person(site)))
    second = await site.client.post(url)
    assert (first.status_code, first.text) == (second.status_code, second.text)
    assert events == len(await site.ledger.history(_person(site)))


AGENTS = ["Barracuda/5.0", "python-requests/2.32", "Mozilla/5.0 (compatible; bingbot/2.0)", ""]


@pytest.mark.parametrize("agent", AGENTS)
async def test_promise_6_get_and_head_change_nothing(site: Setting, agent: str) -> None:
    """150, W6: scanners that fetch stop and preference pages 1 000 times, by any method but POST, change nothing."""
    for page in ("stop", "you"):
        url = site.marks.stop().replace("/stop/", f"/{page}/")
        for method in ("OPTIONS", "PUT", "DELETE", *("GET", "HEAD") * (500 // len(AGENTS))):
            answer = await site.client.request(method, url, headers={"user-agent": agent})
            assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)
    assert {"granted"} == {event["state"] for event in await site.ledger.history(_person(site))}


async def test_stop_without_the_ledger_says_so(site: Setting) -> None:
    """With the ledger away a refusal is not recorded, and the page says that, with 503."""
    site.lose_the_ledger()
    shown, refused = await site.get(site.marks.stop()), await site.client.post(site.marks.stop())
    assert (200, 503) == (shown.status_code, refused.status_code)
    assert "Nothing was changed" in refused.text


async def test_stop_works_for_somebody_nothing_is_known_of(site: Setting) -> None:
    """154: a refusal by somebody who was never tracked is recorded all the same."""
    answer = await site.client.post(stop_url(site.ledger.keyring, PUBLIC, "new@customer.test"))
    assert 200 == answer.status_code
    standing = (await site.ledger.look_up("NEW@customer.test", "alice@example.org")).consent
    assert {"refused"} == {standing.on(purpose).state for purpose in Purpose}


async def test_form_that_is_too_large(site: Setting) -> None:
    """W20: a body no form of ours could have is 413, and changes nothing."""
    answer = await site.client.post(site.marks.stop(), content=b"x" * 10_000)
    assert 413 == answer.status_code
    assert {"granted"} == {event["state"] for event in await site.ledger.history(_person(site))}


async def test_preference_page_shows_and_reduces(site: Setting) -> None:
    """The preference page shows what stands, the address in part only, and stops just what is ticked."""
    await site.get(site.marks.pixel())
    url = site.marks.stop().replace("/stop/", "/you/")
    page = await site.get(url)
    assert "b•••@customer.test" in page.text
    assert "bob@" not in page.text
    assert "1 message to you with 1 recorded event" in " ".join(page.text.split())
    assert 200 == (await site.client.post(url, data={"stop": "click"})).status_code
    standing = (await site.ledger.look_up("bob@customer.test", "alice@example.org")).consent
    assert ("granted", "withdrawn") == (standing.on(Purpose.OPEN).state, standing.on(Purpose.CLICK).state)


async def test_promise_7_senders_see_their_own(site: Setting) -> None:
    """A sender sees their own messages and hits, nobody else's, and never whether a person refused."""
    await site.get(site.marks.pixel())
    await record_message(site.ledger, "carol@example.org", "secret@customer.test")
    for reason in (Reason.REFUSED, Reason.NO_CONSENT, Reason.WITHDRAWN):
        await record_message(site.ledger, "alice@example.org", "other@customer.test", reason)
    page = (await site.get(sender_url(site.ledger.keyring, PUBLIC, "Alice@example.org", 60))).text
    assert "bob@customer.test" in page
    assert "Image: loaded" in page
    assert "Our &lt;b&gt;offer&lt;/b&gt;" in page
    assert not any(word in page for word in ("secret@", "carol@", "other@", "efused", "ithdr"))
    assert 3 == page.count("No agreement to be tracked is on record for this person.")


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        ("all", {"bob", "eve", "off"}),
        ("tracked", {"bob", "eve"}),
        ("untracked", {"off"}),
        ("loaded", {"bob"}),
        ("followed", set()),
        ("refused", {"bob", "eve", "off"}),
    ],
)
async def test_a_sender_narrows_the_list_down(site: Setting, show: str, expected: set[str]) -> None:
    """Row 34: to what is tracked or not, and to what was loaded or followed; who refused is no filter (promise 7)."""
    await site.get(site.marks.pixel())
    await record_message(site.ledger, "alice@example.org", "eve@customer.test")
    await record_message(site.ledger, "alice@example.org", "max@customer.test", Reason.REFUSED)
    page = (await site.get(f"{sender_url(site.ledger.keyring, PUBLIC, 'alice@example.org', 60)}?show={show}")).text
    marks = {"bob": "to bob@customer.test", "eve": "to eve@customer.test", "off": "<strong>not tracked</strong>"}
    assert expected == {name for name, mark in marks.items() if mark in page}


async def test_sender_link_ends(site: Setting) -> None:
    """A sender's link that is over opens nothing."""
    assert 404 == (await site.get(sender_url(site.ledger.keyring, PUBLIC, "alice@example.org", -1))).status_code


PAGES = ["/how", "/health", "/nothing", "/stop/x", "/l/x", "/o/x.gif", "/static/style.css", "/static/none.css"]


@pytest.mark.parametrize("path", PAGES)
async def test_every_answer_is_private(site: Setting, path: str) -> None:
    """No cookie, nothing from elsewhere, no referrer, no cache, no index, no framing."""
    answer = await site.get(path)
    assert "set-cookie" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "no-referrer" == answer.headers["referrer-policy"]
    assert "no-store" in answer.headers["cache-control"]
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "<script" not in answer.text
    assert [] == re.findall(r"(?:src|href)=\"(?:https?:)?//(?!example\.org/privacy)", answer.text)


async def test_health(site: Setting) -> None:
    """The health page says how the ledger is and which policy is in force; the process is well without a ledger."""
    policy = {"version": compile_policy(PolicyModel(), ["example.org"]).version, "stale": False}
    assert {"status": "ok", "ledger": "ok", "policy": policy} == (await site.get("/health")).json()
    site.lose_the_ledger()
    answer = await site.get("/health")
    assert 200 == answer.status_code
    assert {"status": "degraded", "ledger": "unavailable", "policy": policy} == answer.json()


async def test_an_error_says_nothing_of_its_cause(site: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in a page is an honest page without internals."""

    async def fail(*_: Any) -> None:
        raise RuntimeError("secret /etc/path")

    monkeypatch.setattr(Ledger, "answers", fail)
    answer = await site.get("/health")
    assert 500 == answer.status_code
    assert "Something went wrong here" in answer.text
    assert "secret" not in answer.text
    assert SECURITY_HEADERS == {name: answer.headers.get(name) for name in SECURITY_HEADERS}


def test_every_route_is_described() -> None:
    """docs/operations.md names every route."""
    text = (Path(__file__).parent.parent.parent / "docs/operations.md").read_text("utf-8")
    assert [] == [
        route.path for route in ROUTES if f"`{route.path.replace('{token:path}', '{token}.gif')}`" not in text
    ]


async def test_a_form_with_too_many_fields_is_a_refusal_all_the_same(site: Setting) -> None:
    """The POST is the refusal: what its body says cannot stop it."""
    body = b"&".join(b"a=1" for _ in range(100))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert 200 == (await site.client.post(site.marks.stop(), content=body, headers=headers)).status_code
    standing = (await site.ledger.look_up("bob@customer.test", "alice@example.org")).consent
    assert {"granted"}.isdisjoint({str(standing.on(purpose).state) for purpose in Purpose})


@pytest.mark.parametrize("path", ["/how/", "/stop/x/", "/static", "/l/x/"])
async def test_the_host_header_leads_nowhere(site: Setting, path: str) -> None:
    """W17: no address of ours redirects to the host that a request names."""
    answer = await site.client.get(path, headers={"host": "evil.example"})
    assert (404, False) == (answer.status_code, "location" in answer.headers)
