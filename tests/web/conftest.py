"""What tests of the pages may ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from ledger.notice import Teller
from ledger.tokens import Marks
from policies import PolicyModel, Purpose, compile_policy
from tests.relaying import PAPER, open_ledger
from tests.web.sites import PUBLIC, Setting, record_message
from web.app import build
from web.site import Site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Setting]:
    """A running site."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.grant("bob@customer.test", [Purpose.OPEN, Purpose.CLICK], PAPER)
        message_id = await record_message(ledger, "alice@example.org", "bob@customer.test")
        teller = Teller("Example GmbH", "privacy@example.org", "https://example.org/privacy")
        policy = compile_policy(PolicyModel(), ["example.org"])
        app = build(
            Site(ledger, "Example GmbH", "privacy@example.org", "https://example.org/privacy", PUBLIC, teller, policy)
        )
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            yield Setting(client, ledger, tmp_path, Marks(ledger.keyring, PUBLIC, message_id, "bob@customer.test"))
