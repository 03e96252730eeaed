"""What the tests of the proxy share."""

import pytest

from tests.time_enough import give_time


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not about how long something may take must not fail by it on a busy machine."""
    give_time(monkeypatch)
