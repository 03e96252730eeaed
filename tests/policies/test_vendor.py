"""The model of a vendor's rules."""

from typing import Any

import pytest
from pydantic import ValidationError

from policies.vendor import VendorModel

MARK: dict[str, Any] = {
    "on": ["link"],
    "host": ["t.vendor.example"],
    "path": "/c/",
    "certainty": "certain",
    "decode": "query u base64",
    "hit": ["https://t.vendor.example/c/?u=aHR0cHM6Ly9hLmV4YW1wbGUv"],
    "miss": ["https://vendor.example/c/"],
    "target": ["https://a.example/"],
}
ELEMENT: dict[str, Any] = {
    "tag": "img",
    "attribute": "class",
    "value": "seen",
    "remove": "element",
    "hit": ['<img class="seen">'],
    "miss": ['<img class="scene">'],
}
VENDOR: dict[str, Any] = {"id": "vendor", "name": "Vendor", "kind": "tool", "source": ["https://vendor.example/"]}


def _vendor(**changes: Any) -> VendorModel:
    return VendorModel.model_validate({**VENDOR, "mark": [{**MARK, **changes}]})


def test_complete() -> None:
    """A vendor with a mark and an element, every key given, is right."""
    vendor = VendorModel.model_validate({**VENDOR, "mark": [MARK], "element": [ELEMENT]})
    assert ("vendor", ["t.vendor.example"], "seen") == (vendor.id, vendor.mark[0].host, vendor.element[0].value)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        pytest.param(("id",), "Vendor", id="id in upper case"),
        pytest.param(("id",), "v", id="id too short"),
        pytest.param(("id",), "vendor\n", id="id with a line end"),
        pytest.param(("kind",), "spy", id="unknown kind"),
        pytest.param(("source",), [], id="no source"),
        pytest.param(("marks",), [], id="unknown key"),
        pytest.param(("mark", 0, "on"), ["header"], id="unknown surface"),
        pytest.param(("mark", 0, "on"), [], id="no surface"),
        pytest.param(("mark", 0, "host"), ["T.vendor.example"], id="host in upper case"),
        pytest.param(("mark", 0, "host"), ["vendor"], id="host of one label"),
        pytest.param(("mark", 0, "host"), ["t.vendor.example."], id="host with a dot behind it"),
        pytest.param(("mark", 0, "host"), ["*.vendor.example"], id="host with a star"),
        pytest.param(("mark", 0, "host"), ["grün.example"], id="host in U-label form"),
        pytest.param(("mark", 0, "host"), ["192.0.2.7"], id="address"),
        pytest.param(("mark", 0, "path"), "c/", id="path without a slash"),
        pytest.param(("mark", 0, "path"), "/(c", id="path that does not compile"),
        pytest.param(("mark", 0, "path"), "/(?:a+)+", id="path that is not linear"),
        pytest.param(("mark", 0, "query"), ["a&b"], id="two query keys in one"),
        pytest.param(("mark", 0, "certainty"), "maybe", id="unknown certainty"),
        pytest.param(("mark", 0, "decode"), "query", id="decode without a key"),
        pytest.param(("mark", 0, "decode"), "query u=1", id="decode with a value"),
        pytest.param(("mark", 0, "decode"), "body u", id="unknown place"),
        pytest.param(("mark", 0, "decode"), "query u rot13", id="unknown step"),
        pytest.param(("mark", 0, "decode"), "query u json", id="json without a key"),
        pytest.param(("mark", 0, "decode"), "opaque base64", id="opaque with a step"),
        pytest.param(("mark", 0, "decode"), "query u  base64", id="two spaces"),
        pytest.param(("mark", 0, "hit"), [], id="no hit"),
        pytest.param(("mark", 0, "miss"), [], id="no miss"),
        pytest.param(("element", 0, "tag"), "IMG", id="tag in upper case"),
        pytest.param(("element", 0, "value"), "seen by", id="two words"),
        pytest.param(("element", 0, "remove"), "page", id="unknown removal"),
        pytest.param(("element", 0, "hit"), [], id="no element that hits"),
    ],
)
def test_errors_name_their_key(where: tuple[Any, ...], value: Any) -> None:
    """What is wrong in one key is said at exactly that key."""
    content: dict[str, Any] = {**VENDOR, "mark": [dict(MARK)], "element": [dict(ELEMENT)]}
    place: Any = content
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    with pytest.raises(ValidationError) as caught:
        VendorModel.model_validate(content)
    assert where == caught.value.errors()[0]["loc"][: len(where)]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"decode": None, "target": []}, id="link without decode"),
        pytest.param({"on": ["image"]}, id="image with decode"),
        pytest.param({"decode": "path"}, id="no group for the target"),
        pytest.param({"path": "/c/(?P<target>.*)"}, id="group that nobody reads"),
        pytest.param({"decode": "rest", "path": None}, id="nothing to go on behind"),
        pytest.param({"host": ["*"], "path": None}, id="any host, any path"),
        pytest.param({"host": ["*", "t.vendor.example"]}, id="any host and one"),
        pytest.param({"host": ["*"], "decode": "opaque", "target": []}, id="any host, opaque"),
        pytest.param({"target": []}, id="no target"),
        pytest.param({"decode": "opaque"}, id="opaque with a target"),
    ],
)
def test_keys_of_a_mark_agree(changes: dict[str, Any]) -> None:
    """Keys of a mark that contradict each other are an error of the mark."""
    with pytest.raises(ValidationError) as caught:
        _vendor(**changes)
    assert ("mark", 0) == caught.value.errors()[0]["loc"]


def test_a_vendor_has_something_to_be_known_by() -> None:
    """A vendor with neither mark nor element is an error."""
    with pytest.raises(ValidationError, match="must have a mark or an element"):
        VendorModel.model_validate(VENDOR)


@pytest.mark.parametrize(
    "decode", ["query u", "query u base64 json p json url", "rest https", "raw-rest proofpoint3", "query u proofpoint2"]
)
def test_decode(decode: str) -> None:
    """A place and any steps behind it are a recipe."""
    assert decode == _vendor(decode=decode).mark[0].decode
