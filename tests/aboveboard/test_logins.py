"""Logins in a worker: what they go by follows the file."""

import tomllib
from pathlib import Path

import pytest

from aboveboard.config import parse
from aboveboard.logins import Logins
from aboveboard.settings import Config
from proxy import passthrough
from proxy.pool import Upstreams
from proxy.route import parse_route
from tests.aboveboard.calling import CONFIG
from tests.proxy.sending import until
from tests.relaying import open_ledger
from tests.upstream import FakeUpstream


def _config(folder: Path, domain: str) -> Config:
    content = tomllib.loads(CONFIG)
    content["organisation"]["domains"] = [domain]
    content["relay"]["alias"] = [{"login": ["*@ad.test"], "addresses": [f"{{local}}@{domain}"]}]
    return parse(content, folder)


async def test_logins_are_offered_once_the_upstream_takes_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that took no logins when it was asked is asked again: nobody could log in to find out otherwise."""
    monkeypatch.setattr(passthrough, "LEARN_AGAIN_SECONDS", 0.01)
    content = tomllib.loads(CONFIG)
    content["relay"]["listener"][0]["auth"] = "pass-through"
    config = parse(content, tmp_path)
    async with FakeUpstream() as upstream, open_ledger(tmp_path) as ledger:
        upstreams = Upstreams([parse_route(f"smtp://127.0.0.1:{upstream.port}", ["*"], "relay.test")])
        await upstreams.learn()
        logins = Logins(config, ledger, upstreams)
        assert () == logins.verifiers["pass-through"].mechanisms
        async with logins.running():
            upstream.extensions = ("AUTH PLAIN",)
            await until(lambda: logins.verifiers["pass-through"].mechanisms)
        assert ("PLAIN",) == logins.verifiers["pass-through"].mechanisms


async def test_domains_are_taken_up_while_running(tmp_path: Path) -> None:
    """Another organisation.domains counts at once, for bare logins and for authors; aliases need a restart."""
    async with open_ledger(tmp_path) as ledger:
        logins = Logins(_config(tmp_path, "example.org"), ledger, Upstreams([]))
        assert {"pass-through", "accounts"} == set(logins.verifiers)
        ownership = logins._ownership
        assert ("alice@example.org", True) == (
            ownership.address_of("alice"),
            ownership.owns("bob@ad.test", "bob@example.org"),
        )
        logins.adopt(_config(tmp_path, "example.com"))
        assert ("alice@example.com", True, False) == (
            ownership.address_of("alice"),
            ownership.owns("bob@ad.test", "bob@example.org"),
            ownership.owns("bob@ad.test", "bob@example.com"),
        )
