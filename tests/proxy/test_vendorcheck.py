"""The check of an organisation's own rules."""

from typing import Any

import pytest

from policies.vendor import VendorModel
from proxy.vendorcheck import problems

MARK: dict[str, Any] = {
    "on": ["image"], "host": ["t.vendor.example"], "path": "/o/", "certainty": "certain",
    "hit": ["https://t.vendor.example/o/1.gif"], "miss": ["https://vendor.example/o/1.gif"],
}  # fmt: skip
LINK: dict[str, Any] = {
    **MARK, "on": ["link"], "path": "/c/", "decode": "query u",
    "hit": ["https://t.vendor.example/c/?u=https%3A%2F%2Fa.example%2F"], "target": ["https://a.example/"],
}  # fmt: skip
ELEMENT: dict[str, Any] = {
    "tag": "img", "attribute": "class", "value": "seen", "remove": "element",
    "hit": ['<img class="seen">'], "miss": ['<img class="scene">'],
}  # fmt: skip


def _vendor(name: str = "own", **changes: Any) -> VendorModel:
    content = {"id": name, "name": "Own", "kind": "tool", "source": ["x"], "mark": [MARK, LINK], "element": [ELEMENT]}
    return VendorModel.model_validate({**content, **changes})


def test_right() -> None:
    """Rules that do what their samples say, and known vendors switched off, are right."""
    assert [] == problems([_vendor(), _vendor("other")], ["yesware", "streak"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param(
            {"mark": [MARK, {**MARK, "hit": ["https://t.vendor.example/p/1.gif"]}]},
            "vendor[0].mark[1].hit[0]: must be matched by its mark, not 'https://t.vendor.example/p/1.gif'.",
            id="hit",
        ),
        pytest.param(
            {
                "mark": [
                    {**MARK, "on": ["image", "css"]},
                    {**MARK, "on": ["css"], "miss": ["https://t.vendor.example/o/"]},
                ]
            },
            "vendor[0].mark[1].miss[0]: must be matched by no mark of the vendor, not 'https://t.vendor.example/o/'.",
            id="miss",
        ),
        pytest.param(
            {"mark": [{**LINK, "target": ["https://b.example/"]}]},
            "vendor[0].mark[0].target[0]: must be where its hit leads, 'https://a.example/', not 'https://b.example/'.",
            id="target",
        ),
        pytest.param(
            {"element": [{**ELEMENT, "hit": ["<img>"]}]},
            "vendor[0].element[0].hit[0]: must be a start tag that the element matches, not '<img>'.",
            id="element's hit",
        ),
        pytest.param(
            {"element": [{**ELEMENT, "miss": ["img"]}]},
            "vendor[0].element[0].miss[0]: must be a start tag that no element of the vendor matches, not 'img'.",
            id="element's miss",
        ),
        pytest.param(
            {"id": "yesware"},
            "vendor[0].id: must not be that of a vendor that comes with aboveboard, not 'yesware'.",
            id="id taken",
        ),
    ],
)
def test_wrong(changes: dict[str, Any], sentence: str) -> None:
    """What a rule does otherwise than its samples say is one sentence with the key path."""
    assert [sentence] == problems([_vendor(**changes)], [])


def test_same_id_twice() -> None:
    """Two own vendors have two ids."""
    assert ["vendor[1].id: must be the id of one vendor only, not 'own'."] == problems([_vendor(), _vendor()], [])


@pytest.mark.parametrize(("name", "hint"), [("yeswear", ' (did you mean "yesware"?)'), ("0000", "")])
def test_unknown_vendor_switched_off(name: str, hint: str) -> None:
    """Only a vendor that comes with the program can be switched off."""
    expected = f"vendors_off[1]: must be the id of a vendor that comes with aboveboard, not {name!r}{hint}."
    assert [expected] == problems([], ["streak", name])
