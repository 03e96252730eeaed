"""The check of vendors' rules by their own samples: what a mark says it hits it must hit, and nothing that it misses.

The organisation's rules are checked when the configuration is, the shipped ones by a test.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence

from policies.vendor import ElementModel, MarkModel, VendorModel
from proxy.tags import all_tags
from proxy.vendors import VendorRules, compile_rules, shipped_vendors


def problems(extra: Sequence[VendorModel], off: Collection[str]) -> list[str]:
    """Return what is wrong in the organisation's own rules, one sentence each that begins with its key path.

    The paths begin at ``vendor`` and ``vendors_off``, the keys of the two in the ``[policy]`` section.
    """
    shipped = {vendor.id for vendor in shipped_vendors()}
    return [*_id_problems(extra, shipped), *_off_problems(off, shipped), *_sample_problems(extra)]


def sample_problems(vendor: VendorModel) -> Iterator[str]:
    """Yield what the vendor's marks and elements do otherwise than their samples say, each with its key path."""
    rules = compile_rules([vendor])
    for at, mark in enumerate(vendor.mark):
        alone = compile_rules([vendor.model_copy(update={"mark": [mark], "element": []})])
        yield from (f"mark[{at}].{sentence}" for sentence in _mark_problems(mark, alone, rules))
    for at, element in enumerate(vendor.element):
        yield from (f"element[{at}].{sentence}" for sentence in _element_problems(element, rules))


def _id_problems(extra: Sequence[VendorModel], shipped: Collection[str]) -> Iterator[str]:
    seen: set[str] = set()
    for at, vendor in enumerate(extra):
        if vendor.id in shipped:
            yield f"vendor[{at}].id: must not be that of a vendor that comes with aboveboard, not {vendor.id!r}."
        elif vendor.id in seen:
            yield f"vendor[{at}].id: must be the id of one vendor only, not {vendor.id!r}."
        seen.add(vendor.id)


def _off_problems(off: Collection[str], shipped: Collection[str]) -> Iterator[str]:
    for at, name in enumerate(off):
        if name not in shipped:
            near = difflib.get_close_matches(name, shipped, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            yield f"vendors_off[{at}]: must be the id of a vendor that comes with aboveboard, not {name!r}{hint}."


def _sample_problems(extra: Sequence[VendorModel]) -> Iterator[str]:
    for at, vendor in enumerate(extra):
        yield from (f"vendor[{at}].{sentence}" for sentence in sample_problems(vendor))


def _mark_problems(mark: MarkModel, alone: VendorRules, vendor: VendorRules) -> Iterator[str]:
    for at, url in enumerate(mark.hit):
        if not all(_known(alone, url, surface) for surface in mark.on):
            yield f"hit[{at}]: must be matched by its mark, not {url!r}."
        elif mark.target and alone.target(url) != mark.target[at]:
            yield f"target[{at}]: must be where its hit leads, {alone.target(url)!r}, not {mark.target[at]!r}."
    for at, url in enumerate(mark.miss):
        if any(_known(vendor, url, surface) for surface in ("image", "css", "link")):
            yield f"miss[{at}]: must be matched by no mark of the vendor, not {url!r}."


def _known(rules: VendorRules, url: str, surface: str) -> bool:
    if surface == "link":
        return rules.link(url) is not None
    return rules.resource(url, "css" if surface == "css" else "image") is not None


def _element_problems(element: ElementModel, vendor: VendorRules) -> Iterator[str]:
    alone = compile_rules([vendor.vendors[0].model_copy(update={"mark": [], "element": [element]})])
    for at, text in enumerate(element.hit):
        tag = _start_tag(text)
        if tag is None or alone.element(*tag) is None:
            yield f"hit[{at}]: must be a start tag that the element matches, not {text!r}."
    for at, text in enumerate(element.miss):
        tag = _start_tag(text)
        if tag is None or vendor.element(*tag) is not None:
            yield f"miss[{at}]: must be a start tag that no element of the vendor matches, not {text!r}."


def _start_tag(text: str) -> tuple[str, Mapping[str, str]] | None:
    """Return name and attributes of the first start tag in a sample; None where there is none."""
    data = text.encode("latin-1", "replace")
    for tag in all_tags(data):
        if not tag.closing:
            return tag.name, {name: attribute.text(data) for name, attribute in tag.attributes(data).items()}
    return None
