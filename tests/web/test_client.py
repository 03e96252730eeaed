"""Which address a request comes from, and how often one of them may have mail sent."""

import ipaddress
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request

from tests.web.mailing import BOB, Mailing, mailing_site
from web.client import HOUR_SECONDS, PER_CLIENT, PER_PROCESS, Pace, TooOften, client_of
from web.site import Site

PROXIES = [ipaddress.ip_network(one) for one in ("10.0.0.0/8", "2001:db8::/32")]


def seen(peer: str | None, *forwarded: str) -> str:
    """Return who a request is from, by its peer and its X-Forwarded-For fields."""
    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in forwarded]
    client = (peer, 4711) if peer is not None else None
    return client_of(Request({"type": "http", "headers": headers, "client": client}), PROXIES)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param("192.0.2.7", [], "192.0.2.7", id="no proxy"),
        pytest.param("192.0.2.7", ["1.2.3.4"], "192.0.2.7", id="said by nobody we trust"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", ["1.2.3.4, 192.0.2.7"], "192.0.2.7", id="the client lies, the proxy does not"),
        pytest.param("10.0.0.1", ["1.2.3.4", "192.0.2.7"], "192.0.2.7", id="in two fields"),
        pytest.param("10.0.0.1", ["192.0.2.7, 10.9.9.9"], "192.0.2.7", id="two proxies"),
        pytest.param("10.0.0.1", ["10.1.1.1, 10.9.9.9"], "10.1.1.1", id="proxies all the way"),
        pytest.param("10.0.0.1", ["192.0.2.7, <script>"], "10.0.0.1", id="garbage"),
        pytest.param("10.0.0.1", ["192.0.2.7, unknown, 10.9.9.9"], "10.9.9.9", id="garbage behind a proxy"),
        pytest.param("10.0.0.1", ["192.0.2.7:5555"], "192.0.2.7", id="with a port"),
        pytest.param("10.0.0.1", ["[2001:db9::7]:5555"], "2001:db9::7", id="IPv6 with a port"),
        pytest.param("::ffff:10.0.0.1", ["::ffff:192.0.2.7"], "192.0.2.7", id="IPv4 written as IPv6"),
        pytest.param("2001:db8::1", ["2001:db9::7"], "2001:db9::7", id="IPv6 proxy"),
        pytest.param(None, ["192.0.2.7"], "", id="no peer"),
    ],
)
def test_whose_request_it_is(peer: str | None, forwarded: list[str], expected: str) -> None:
    """W16, case 131: what is forwarded counts as far as trusted proxies added it, from the right."""
    assert expected == seen(peer, *forwarded)


def test_a_client_has_so_many_mails_an_hour() -> None:
    """W19: after that it is refused, until an hour has gone by; another one is not."""
    time = [0.0]
    pace = Pace(clock=lambda: time[0])
    for _ in range(PER_CLIENT):
        pace.step("192.0.2.7")
    with pytest.raises(TooOften):
        pace.step("192.0.2.7")
    pace.step("192.0.2.8")
    time[0] = HOUR_SECONDS + 1
    pace.step("192.0.2.7")


def test_addresses_of_one_household_are_one_client() -> None:
    """W19: the last 64 bits of an IPv6 address can be anything."""
    pace = Pace()
    for number in range(PER_CLIENT):
        pace.step(f"2001:db9::{number:x}")
    with pytest.raises(TooOften):
        pace.step("2001:db9::ffff")
    pace.step("2001:db9:0:1::1")


def test_all_clients_together_have_so_many() -> None:
    """W19: many clients do not make a mail bomb either."""
    pace = Pace()
    for number in range(PER_PROCESS):
        pace.step(str(ipaddress.ip_address(number)))
    with pytest.raises(TooOften):
        pace.step("192.0.2.7")


async def test_the_forms_say_so(mailing: Mailing) -> None:
    """W19: every form that has mail sent is counted, whatever is typed, and the page says when to come again."""
    token = mailing.marks.stop().replace("/stop/", "/you/")
    forms = [("/stop", {"address": BOB}), ("/stop", {"address": "nobody@elsewhere.test"}), (token, {"do": "link"})]
    statuses = []
    for at in range(PER_CLIENT + 3):
        url, form = forms[at % 3]
        statuses.append((await mailing.client.post(url, data=form)).status_code)

    assert [200] * PER_CLIENT + [429] * 3 == statuses
    answer = await mailing.client.post("/stop", data={"address": BOB})
    assert ("3600", True) == (answer.headers["retry-after"], "Please try again later" in answer.text)


async def test_behind_a_proxy_clients_are_told_apart(tmp_path: Path) -> None:
    """W16: behind a trusted proxy one client's asking does not shut out the next one."""
    proxies = (ipaddress.ip_network("127.0.0.1/32"),)
    async with mailing_site(tmp_path, trusted_proxies=proxies) as site:

        async def post(client: str) -> httpx2.Response:
            return await site.client.post("/stop", data={"address": BOB}, headers={"x-forwarded-for": client})

        codes = [(await post("192.0.2.7")).status_code for _ in range(PER_CLIENT + 1)]
        assert (200, 429) == (codes[0], codes[-1])
        assert 200 == (await post("192.0.2.8")).status_code


def test_nobody_is_trusted_unless_it_is_said() -> None:
    """W16: as shipped, no proxy's word counts."""
    assert () == Site.__dataclass_fields__["trusted_proxies"].default
