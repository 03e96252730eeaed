"""The vendors' rules: the index, the shipped samples, the destinations of links."""

import pytest

from policies.vendor import VendorModel
from proxy.vendors import load_rules, shipped_vendors

RULES = load_rules()


@pytest.mark.parametrize("vendor", shipped_vendors(), ids=lambda vendor: vendor.id)
def test_shipped_samples(vendor: VendorModel) -> None:
    """Every hit is matched and decoded by its own mark, and no miss by any mark of its vendor."""
    alone = load_rules(off={other.id for other in shipped_vendors()} - {vendor.id})
    for mark in vendor.mark:
        for surface in mark.on:
            for url in mark.hit:
                found = alone.link(url) if surface == "link" else alone.resource(url, surface)
                assert found is not None, url
                assert (mark.certainty, mark.decode) == (found.certainty, found.decode)
        if "link" in mark.on:
            assert mark.target == [target for url in mark.hit if (target := alone.target(url)) is not None]
        for url in mark.miss:
            assert (None, None, None) == (alone.link(url), alone.resource(url, "image"), alone.resource(url, "css"))
