"""The tally: everything that is counted reaches Prometheus, a little later, and nothing else waits or fails for it."""

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter

from ledger.tally import Tally


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return what the counts are read from."""
    return CollectorRegistry()


@pytest.fixture
def tally(registry: CollectorRegistry) -> Tally:
    """Return a tally of replies."""
    return Tally(Counter("replies", "Replies.", ["code"], registry=registry))


async def test_counts_are_handed_over(registry: CollectorRegistry, tally: Tally) -> None:
    """What was counted is handed over once, label by label, and counting goes on."""

    def counted(code: int) -> float | None:
        return registry.get_sample_value("replies_total", {"code": str(code)})

    for code in (250, 250, 550):
        tally.count(code)
    assert (None, None) == (counted(250), counted(550))
    tally.hand_over()
    tally.hand_over()
    assert (2, 1) == (counted(250), counted(550))
    tally.count(250, amount=3)
    tally.hand_over()
    assert 5 == counted(250)


async def test_a_file_that_cannot_be_written(
    registry: CollectorRegistry, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Prometheus cannot take a count, whoever counts hears nothing; it is said once, and the count is kept."""

    def full(*_: object) -> None:
        raise OSError(27, "File too large")

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        patch.setattr(Counter, "labels", full)
        for _ in range(3):
            tally.count(250)
            tally.hand_over()
    assert ["metrics.kept_back"] == [one["event"] for one in logged]
    tally.count(250)
    tally.hand_over()
    assert 4 == registry.get_sample_value("replies_total", {"code": "250"})
