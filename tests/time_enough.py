"""Time enough: what is not about how long something may take must not fail by it on a busy machine."""

import pytest

from ledger import patience
from proxy import pool


def give_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a relay wait for its ledger, and when it starts for what its upstream can do."""
    monkeypatch.setattr(patience, "PATIENCE", 30.0)
    monkeypatch.setattr(pool, "LEARN_SECONDS", 30.0)
