"""How many addresses a second are compared with the rules for vendors of trackers."""

from proxy.vendors import load_rules
from tests.bench.samples import best

TIMES = 10_000
ADDRESSES = {
    "nobody's": "https://www.shop.example.com/assets/img/logo.png?x=1",
    "a tracker's": "https://t.yesware.com/t/0a1b2c3d4e5f/60718293a4b5/spacer.gif",
}


def table() -> None:
    """Print the table."""
    rules = load_rules()
    print(f"comparing an address with {len(rules.vendors)} vendors of trackers")
    for whose, url in ADDRESSES.items():

        def work(url: str = url) -> None:
            for _ in range(TIMES):
                rules.resource(url, "image")

        print(f"  {whose:12} {best(work, 5) / TIMES * 1e6:6.2f} µs")
