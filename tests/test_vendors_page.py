"""docs/vendors.md lists every vendor, and its example works."""

import re
import tomllib
from collections import Counter
from pathlib import Path

from policies.vendor import SOURCES, STEPS, VendorModel
from proxy.vendorcheck import problems
from proxy.vendors import compile_rules, shipped_vendors

PAGE = (Path(__file__).parent.parent / "docs/vendors.md").read_text("utf-8")


def row(vendor: VendorModel) -> str:
    """Return the vendor's row in the page's table."""
    counts = Counter(surface for mark in vendor.mark for surface in mark.on)
    marks = [f"{count} {surface}" for surface, count in counts.items()]
    marks += [f"{len(vendor.element)} element"] if vendor.element else []
    decodes = sum(mark.decode not in (None, "opaque") for mark in vendor.mark)
    links = f", {decodes} read" if decodes else ""
    return (
        f"| `{vendor.id}` | {vendor.name} | {vendor.kind} | {', '.join(marks)}{links} | {' '.join(vendor.source)} |\n"
    )


def table() -> str:
    """Return the page's table: one row for each vendor that comes with the program."""
    head = "| id | name | kind | marks | source |\n|---|---|---|---|---|\n"
    return head + "".join(map(row, sorted(shipped_vendors(), key=lambda vendor: vendor.id)))


def test_every_vendor_has_its_row() -> None:
    """The table is what the rules amount to, row for row."""
    _, heading, listed = PAGE.partition("## The vendors\n\n")
    assert heading
    assert table().splitlines() == listed.splitlines()


def test_example() -> None:
    """The vendor in the example passes every check and does what the page says."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    policy = tomllib.loads(example)["policy"]
    vendor = VendorModel.model_validate(policy["vendor"][0])
    assert [] == problems([vendor], policy["vendors_off"])
    assert "https://www.example.org/" == compile_rules([vendor]).target(vendor.mark[1].hit[0])


def test_every_word_of_a_recipe_is_described() -> None:
    """Every place and every step that a rule may name stands on the page."""
    assert [] == sorted(word for word in SOURCES | STEPS if f"`{word}`" not in PAGE)
