"""What tests of the web may ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.mailing import Mailing, mailing_site


@pytest.fixture
async def mailing(tmp_path: Path) -> AsyncIterator[Mailing]:
    """A site that can mail."""
    async with mailing_site(tmp_path) as mailing:
        yield mailing
