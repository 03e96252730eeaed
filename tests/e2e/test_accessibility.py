"""Every page for recipients, judged by axe: WCAG 2.2, levels A and AA, on a phone and at a desk, in every language."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route

from ledger.links import LinkKind
from policies.footer import Language
from tests.e2e.chromium import running_chromium
from tests.web.mailing import BOB, Mailing, carried, mailing_site
from web.client import PER_CLIENT
from web.site import Point

pytestmark = pytest.mark.peer

STYLE = Path(__file__).parents[2] / "web" / "static" / "style.css"
OPTIONS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}
PHONE, DESK = 390, 1280
ENLARGED = DESK // 4
TELLING = ("how", "join", "stop", "choices", "asked", "confirm", "undo", "a visit")
"""The pages with the most on them. In other languages only their words differ."""
AXE = Axe()
POINT = Point("Newsletter", "Tell us whether we may see what you open.")
Pages = dict[str, str]


async def _collected(folder: Path, language: Language) -> Pages:
    """Return every page that a recipient can come upon, by a name for it."""
    async with mailing_site(folder, points={"form": POINT}, language=language) as site:
        site.client.headers["accept-language"] = language.value
        return {**await _public(site), **await _with_links(site), **await _visited(site), **await _amiss(site, folder)}


async def _public(site: Mailing) -> Pages:
    get, post, token = site.client.get, site.client.post, site.marks.stop()
    you = token.replace("/stop/", "/you/")
    return {
        "how": (await get("/how")).text,
        "stop anybody": (await get("/stop")).text,
        "stop nobody": (await post("/stop", data={"address": "x"})).text,
        "link sent": (await post("/stop", data={"address": BOB})).text,
        "join": (await get("/join/form")).text,
        "join wrongly": (await post("/join/form", data={"address": "x"})).text,
        "join sent": (await post("/join/form", data={"address": BOB, "agree": "open"})).text,
        "stop": (await get(token)).text,
        "choices": (await get(you)).text,
        "nothing ticked": (await post(you)).text,
        "one stopped": (await post(you, data={"stop": "click"})).text,
        "not there": (await get("/nothing")).text,
        "no token": (await get("/stop/x")).text,
        "no link": (await get("/l/x")).text,
        "too large": (await post(token, data={"x": "x" * 10_000})).text,
    }


async def _with_links(site: Mailing) -> Pages:
    get, post = site.client.get, site.client.post
    asked = f"/join/{await site.mailed('ann@customer.test', LinkKind.ASK)}"
    form = f"/join/{await site.mailed('ann@customer.test', LinkKind.JOIN, purposes=['open'], point='form')}"
    undo = f"/you/{await site.mailed(BOB, LinkKind.UNDO, purposes=['open'])}"
    found = {
        "asked": (await get(asked)).text,
        "asked, nothing ticked": (await post(asked, data={"do": "agree"})).text,
        "confirm": (await get(form)).text,
        "confirmed": (await post(form, data={"do": "agree"})).text,
        "over": (await get(form)).text,
        "undo": (await get(undo)).text,
        "undone": (await post(undo)).text,
        "continue": (await get(f"/you/{await site.mailed()}")).text,
    }
    return {**found, "refused": (await post(asked, data={"do": "refuse"})).text}


async def _visited(site: Mailing) -> Pages:
    url, visit = await site.visit()
    found = {}
    for name, form in {
        "a visit": {"do": "complain", "text": "Why?"},
        "a visit, no contact": {"do": "do_not_write"},
        "a visit, never agreed": {"do": "never"},
        "a visit, wordless": {"do": "correct"},
        "erased": {"do": "erase", "sure": "yes"},
    }.items():
        found[name] = (await site.client.post(url, data={"visit": visit, **form})).text
        visit = carried(found[name]) if name != "erased" else visit
    return found


async def _amiss(site: Mailing, folder: Path) -> Pages:
    form = {"address": BOB}
    answers = [await site.client.post("/stop", data=form) for _ in range(PER_CLIENT + 1)]
    for file in folder.glob("ledger.db*"):
        file.unlink()
    return {"too often": answers[-1].text, "try again": (await site.client.post(site.marks.stop())).text}


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[Language, Pages]:
    """Every page in every language, fetched before the browser starts."""
    return {one: asyncio.run(_collected(tmp_path_factory.mktemp("site"), one)) for one in Language}


@pytest.fixture(scope="module")
def page(collected: dict[Language, Pages]) -> Iterator[Page]:
    """A page of a browser that shows what it is given, with our style sheet."""
    with running_chromium() as browser:
        page = browser.new_page()
        page.route("**/style.css", lambda route: _styled(route))
        yield page
        page.close()


def _styled(route: Route) -> None:
    route.fulfill(body=STYLE.read_bytes(), content_type="text/css")


def _is_too_wide(page: Page, html: str, width: int) -> bool:
    """Show a page, and tell whether it needs scrolling to the side."""
    page.set_viewport_size({"width": width, "height": 800})
    page.route("http://page.test/", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    page.goto("http://page.test/")
    page.unroute("http://page.test/")
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return bool(wide > shown)


def _violations(page: Page, name: str, html: str, width: int) -> list[str]:
    sideways = [f"{name}: wider than {width}"] if _is_too_wide(page, html, width) else []
    found = AXE.run(page, options=OPTIONS).response["violations"]
    return sideways + [f"{name}: {one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(
    ("language", "width"),
    [(Language.ENGLISH, DESK), *((language, PHONE) for language in Language)],
    ids=lambda value: str(value),
)
def test_every_page_can_be_used_by_everybody(
    page: Page, collected: dict[Language, Pages], language: Language, width: int
) -> None:
    """No page breaks a rule of WCAG that a program can judge, or needs scrolling to the side."""
    pages = collected[language]
    assert len(set(pages.values())) > 25
    if language is not Language.ENGLISH:
        pages = {name: pages[name] for name in TELLING}
    assert [] == [one for name, html in pages.items() for one in _violations(page, name, html, width)]


@pytest.mark.parametrize("language", list(Language))
def test_four_times_as_large(page: Page, collected: dict[Language, Pages], language: Language) -> None:
    """WCAG 1.4.10: at 400 % nothing needs scrolling to the side, also with long words that others wrote."""
    address = f"{'somebody.of.a.long.name.' * 2}x@{'customer-without-any-space.' * 4}test"
    pages = {name: collected[language][name] for name in TELLING}
    pages["long words"] = pages["a visit"].replace("form 12, signed", "x" * 120).replace(BOB, address)
    assert pages["long words"].count("x" * 120) >= 1 <= pages["long words"].count(address)
    assert [] == [name for name, html in pages.items() if _is_too_wide(page, html, ENLARGED)]


@pytest.mark.parametrize("language", list(Language))
def test_text_twice_as_large_on_a_phone(page: Page, collected: dict[Language, Pages], language: Language) -> None:
    """WCAG 1.4.4: with text of 200 % the first column of a table has room for words, nothing runs off the side."""
    shown = {}
    for name in ("choices", "a visit"):
        assert not _is_too_wide(page, collected[language][name], PHONE)
        shown[name] = page.evaluate(
            """() => {
                document.documentElement.style.setProperty('font-size', '200%');
                const cells = [...document.querySelectorAll('tbody tr > :first-child')];
                const narrow = cells.filter(cell => cell.getBoundingClientRect().width < innerWidth / 2).length;
                return [cells.length > 0, narrow, document.documentElement.scrollWidth > innerWidth];
            }"""
        )
    assert {"choices": [True, 0, False], "a visit": [True, 0, False]} == shown


def test_buttons_are_seen_in_forced_colours(page: Page, collected: dict[Language, Pages]) -> None:
    """Where the reader's own colours replace ours, a border tells that a button is one."""
    page.emulate_media(forced_colors="active")
    try:
        _is_too_wide(page, collected[Language.ENGLISH]["stop"], PHONE)
        script = "one => [getComputedStyle(one).borderStyle, getComputedStyle(one).borderWidth]"
        assert [["solid", "2px"]] == [button.evaluate(script) for button in page.query_selector_all("main button")]
    finally:
        page.emulate_media(forced_colors="none")


def test_axe_sees_what_is_wrong(page: Page) -> None:
    """A page without a language, with an unnamed field and pale words has all three held against it."""
    html = '<title>x</title><input><p style="color:#ccc;background:#fff">pale</p>'
    found = {one.split(": ")[1] for one in _violations(page, "bad", html, PHONE)}
    assert {"html-has-lang", "label", "color-contrast"} <= found
