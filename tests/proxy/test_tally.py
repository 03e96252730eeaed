"""The tally: everything that is counted reaches Prometheus, a little later."""

from prometheus_client import CollectorRegistry, Counter

from proxy.tally import Tally


async def test_counts_are_handed_over() -> None:
    """What was counted is handed over once, label by label, and counting goes on."""
    registry = CollectorRegistry()
    tally = Tally(Counter("replies", "Replies.", ["code"], registry=registry))

    def counted(code: int) -> float | None:
        return registry.get_sample_value("replies_total", {"code": str(code)})

    for code in (250, 250, 550):
        tally.count(code)
    assert (None, None) == (counted(250), counted(550))
    tally.hand_over()
    tally.hand_over()
    assert (2, 1) == (counted(250), counted(550))
    tally.count(250)
    tally.hand_over()
    assert 3 == counted(250)
