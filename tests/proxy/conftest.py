"""What the tests of the proxy share."""

import pytest

from ledger import patience


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not about the ledger's patience must not fail by it on a busy machine."""
    monkeypatch.setattr(patience, "PATIENCE", 30.0)
