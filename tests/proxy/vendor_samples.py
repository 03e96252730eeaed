"""A vendor of an organisation's own, for tests."""

from urllib.parse import quote

from policies.vendor import SHIPPED, VendorModel

TARGET = "https://a.example/b?c=1"
ENCODED = quote(TARGET, safe="")


def own_vendor(**changes: object) -> VendorModel:
    """Return a vendor with one mark, a link's, whose keys the changes replace; nobody checks its samples."""
    mark = {
        "on": ["link"], "host": ["t.vendor.example"], "path": "/c/", "certainty": "certain", "decode": "query u",
        "hit": [f"https://t.vendor.example/c/?u={ENCODED}"], "miss": ["https://vendor.example/"], "target": [TARGET],
        **changes,
    }  # fmt: skip
    vendor = {"id": "own", "name": "Own", "kind": "tool", "source": ["x"], "mark": [mark]}
    return VendorModel.model_validate(vendor, context=SHIPPED)
