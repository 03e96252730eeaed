"""Logins in a worker: what they go by follows the file."""

import tomllib
from pathlib import Path

from aboveboard.config import parse
from aboveboard.logins import Logins
from aboveboard.settings import Config
from proxy.pool import Upstreams
from tests.aboveboard.calling import CONFIG
from tests.relaying import open_ledger


def _config(folder: Path, domain: str) -> Config:
    content = tomllib.loads(CONFIG)
    content["organisation"]["domains"] = [domain]
    content["relay"]["alias"] = [{"login": ["*@ad.test"], "addresses": [f"{{local}}@{domain}"]}]
    return parse(content, folder)


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
