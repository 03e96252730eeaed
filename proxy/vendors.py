"""The vendors of mail tracking: their rules, loaded, checked and compiled into an index by host.

The index finds the marks of a host by its labels, from the whole name to its last one, so that a URL of no vendor
costs a few dictionary look-ups however many vendors there are. Nothing here raises for any text of a URL, and nothing
is ever fetched.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from policies.address import canonical_domain
from policies.vendor import (
    KEYED_SOURCES,
    SHIPPED,
    Certainty,
    ElementModel,
    MarkModel,
    Removal,
    Surface,
    VendorKind,
    VendorModel,
    first_segment,
)
from proxy.unwrap import MAX_TARGET, Step, destination, run, steps, unquoted

MAX_LAYERS = 3
"""Trackers inside trackers that are unwrapped; a deeper chain is left as it is (cases/trackers.md §5.1)."""
_MAX_HOST = 1_000

# WHATWG URL §4.4: a backslash is a slash, the last "@" ends the user information, tabs and line ends are dropped.
# The groups are the host and the first segment of the path.
_START = re.compile(
    r"[\0- ]*+(?:[Hh][Tt][Tt][Pp][Ss]?:)?[/\\]{2}(?:[^/?#\\@]*+@)*+([^/?#\\@:\[\]]++)"
    r"(?::[0-9]*+)?(?:[/\\]([^/?#\\]*+)|(?=[?#])|\Z)"
)
_BEHIND_HOST = re.compile(
    r"(?::[0-9]*+)?(?P<path>[/\\][^?#]*+)?(?:\?(?P<query>[^#]*+))?(?:#(?P<fragment>.*+))?", re.DOTALL
)
_DROPPED = re.compile(r"[\t\n\r]++")
_DIGIT, _DIGITS = re.compile(r"[0-9]"), re.compile(r"[0-9]++")
_ANY_HOST = "*"
_RAW_TAILS = frozenset({"tail", "raw-rest"})
_RAW_SOURCES = _RAW_TAILS | {"raw-path"}
# Gmail shows images through a proxy whose address carries the original one in its fragment.
_PROXIED = re.compile(r"(?:https:)?//[a-z0-9-]+\.googleusercontent\.com/[^#]*+#(?=https?://)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Match:
    """What a URL is known as."""

    vendor: str
    """The vendor's id."""
    name: str
    kind: VendorKind
    certainty: Certainty
    decode: str | None
    """How the destination is read, for links: ``opaque``, or a recipe."""


@dataclass(frozen=True, slots=True)
class ElementMatch:
    """What an element is known as, and what goes with it."""

    vendor: str
    name: str
    remove: Removal


class _Place(NamedTuple):
    """The parts of a URL behind its host, as they stand."""

    path: str
    query: str
    fragment: str

    @property
    def hash(self) -> str:
        """The fragment with its sign, or nothing."""
        return f"#{self.fragment}" if self.fragment else ""


@dataclass(slots=True)
class _Mark:
    """One mark in compiled form; its pattern is compiled when a URL of its host is first seen."""

    match: Match
    model: MarkModel
    pattern: re.Pattern[str] | None = field(default=None, init=False)
    recipe: tuple[Step, ...] = field(default=(), init=False)

    @property
    def any_host(self) -> bool:
        """Whether it is known by its path alone."""
        return _ANY_HOST in self.model.host

    def found(self, place: _Place) -> bool:
        """Tell whether the place is the mark's. Its host is known to be."""
        if self.model.path is not None and self._path(place) is None:
            return False
        return not self.model.query or self._has_query(place.query)

    def target(self, place: _Place) -> str | None:
        """Return the destination that the place, which is the mark's, carries; None where it cannot be read."""
        source, *words = (self.model.decode or "opaque").split(" ")
        raw = self._raw_target(source, words, place)
        value = raw if raw is None or source in _RAW_SOURCES else unquoted(raw)
        self.recipe = self.recipe or steps(words[1:] if source in KEYED_SOURCES else words)
        decoded = None if value is None else run(value, self.recipe)
        found = None if decoded is None else destination(decoded)
        # RFC 9110 §10.2.2: a redirect to a URL without a fragment keeps that of the link.
        if found is not None and place.fragment and source not in _RAW_TAILS and "#" not in found:
            found = destination(_bytes(f"{found}#{place.fragment}"))
        return found

    def _raw_target(self, source: str, words: list[str], place: _Place) -> bytes | None:
        if source == "query":
            return next((value for key, value in _pairs(place.query) if key == words[0]), None)
        if source == "tail":
            _, equals, tail = f"&{place.query}".partition(f"&{words[0]}=")
            return _bytes(tail + place.hash) if equals else None
        path = self._path(place) if source != "opaque" else None
        if path is None:
            return None
        if source.endswith("path"):
            return _bytes(path["target"] or "")
        query = f"?{place.query}" if place.query else ""
        return _bytes(place.path[path.end() :] + query + (place.hash if source == "raw-rest" else ""))

    def _path(self, place: _Place) -> re.Match[str] | None:
        if self.pattern is None:
            self.pattern = re.compile(self.model.path or "")
        return self.pattern.match(place.path)

    def _has_query(self, query: str) -> bool:
        pairs = query.split("&")
        keys = {pair.partition("=")[0] for pair in pairs}
        return all(wanted in (pairs if "=" in wanted else keys) for wanted in self.model.query)


_NO_MARKS: tuple[_Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class _Index:
    """The marks of one surface by host suffix, those of any host apart."""

    hosts: Mapping[str, tuple[_Mark, ...]]
    anywhere: Mapping[str, tuple[_Mark, ...]]
    """The marks of any host by the first segment of their path."""

    def marks(self, host: str, segment: str | None) -> tuple[_Mark, ...]:
        """Return the marks that a URL may be of, those of the longest host suffix first, those of any host last."""
        found = self.anywhere.get(segment, _NO_MARKS) if segment else _NO_MARKS
        if _DIGIT.search(host):
            found = self._numbered(_DIGITS.sub("#", host)) + found
        hosts, named, rest = self.hosts, _NO_MARKS, host
        while rest:
            if rest in hosts:
                named += hosts[rest]
            _, _, rest = rest.partition(".")
        return named + found

    def _numbered(self, host: str) -> tuple[_Mark, ...]:
        found = _NO_MARKS
        while "#" in host:
            found += self.hosts.get(host, ())
            _, _, host = host.partition(".")
        return found


@dataclass(frozen=True)
class VendorRules:
    """The rules in force, as an index by surface and host."""

    vendors: tuple[VendorModel, ...]
    _index: Mapping[Surface, _Index]
    _elements: Mapping[str, Sequence[tuple[ElementModel, ElementMatch]]]

    def resource(self, url: str, surface: Literal["image", "css"]) -> Match | None:
        """Return what a fetched URL is known as. It is entity-decoded, and absolute or ``//host/…``."""
        proxied = _PROXIED.match(url) if "#" in url else None
        found = self._mark(url if proxied is None else url[proxied.end() :], surface)
        return None if found is None else found[0].match

    def link(self, url: str) -> Match | None:
        """Return what a link's URL is known as. It is entity-decoded, and absolute or ``//host/…``."""
        found = self._mark(url, "link")
        return None if found is None else found[0].match

    def target(self, url: str) -> str | None:
        """Return where a tracked link leads, through at most three trackers; None where that cannot be read.

        A chain ends before a gateway's link, which protects whoever follows it, unless it began with one.
        """
        seen, current = {url}, url
        began: VendorKind | None = None
        for _ in range(MAX_LAYERS + 1):
            found = self._mark(current, "link") if len(current) <= MAX_TARGET else None
            if found is None or found[0].match.decode == "opaque":
                return current if began else None
            mark, place = found
            if began not in (None, "gateway") and mark.match.kind == "gateway":
                return current
            began = began or mark.match.kind
            target = mark.target(place)
            if target is None or target in seen:
                return None
            seen.add(target)
            current = target
        return None

    def element(self, tag: str, attributes: Mapping[str, str]) -> ElementMatch | None:
        """Return what an element is known as; tag and attribute names are in lower case, values decoded."""
        for model, match in self._elements.get(tag, ()):
            if model.value.lower() in attributes.get(model.attribute, "").lower().split():
                return match
        return None

    def _mark(self, url: str, surface: Surface) -> tuple[_Mark, _Place] | None:
        """Return the mark that a URL is known by: a certain one if there is one, of the longest host suffix."""
        if not url.isprintable():
            url = _DROPPED.sub("", url)
        start = _START.match(url)
        if start is None or len(start[1]) > _MAX_HOST:
            return None
        host = start[1] if "%" not in start[1] else _bytes_text(unquoted(_bytes(start[1])))
        marks = self._index[surface].marks(_canonical(host), start[2])
        if not marks:
            return None
        place = _place(url, start.end(1))
        likely: _Mark | None = None
        for mark in marks:
            if not mark.found(place):
                continue
            # On any host, only the destination in a link tells a tracker from a page of the host's own.
            if surface == "link" and mark.any_host and mark.target(place) is None:
                continue
            if mark.match.certainty == "certain":
                return mark, place
            likely = likely or mark
        return None if likely is None else (likely, place)


def load_rules(extra: Sequence[VendorModel] = (), off: Collection[str] = ()) -> VendorRules:
    """Return the shipped rules and the organisation's own ones, without the vendors that are switched off."""
    return compile_rules([vendor for vendor in (*shipped_vendors(), *extra) if vendor.id not in off])


def compile_rules(vendors: Sequence[VendorModel]) -> VendorRules:
    """Return the index over these vendors and no others."""
    marks = [
        _Mark(Match(vendor.id, vendor.name, vendor.kind, model.certainty, model.decode), model)
        for vendor in vendors
        for model in vendor.mark
    ]
    elements: dict[str, list[tuple[ElementModel, ElementMatch]]] = {}
    for vendor in vendors:
        for element in vendor.element:
            match = ElementMatch(vendor.id, vendor.name, element.remove)
            elements.setdefault(element.tag, []).append((element, match))
    surfaces: tuple[Surface, ...] = ("image", "css", "link")
    return VendorRules(tuple(vendors), {surface: _index(marks, surface) for surface in surfaces}, elements)


def _index(marks: Sequence[_Mark], surface: Surface) -> _Index:
    hosts: dict[str, tuple[_Mark, ...]] = {}
    anywhere: dict[str, tuple[_Mark, ...]] = {}
    for mark in marks:
        if surface in mark.model.on:
            for host in mark.model.host:
                place, key = (anywhere, first_segment(mark.model.path) or "") if mark.any_host else (hosts, host)
                place[key] = (*place.get(key, ()), mark)
    return _Index(hosts, anywhere)


@cache
def shipped_vendors() -> tuple[VendorModel, ...]:
    """Return the vendors of the file that comes with the program. Raises pydantic's ValidationError if it is broken."""
    content = tomllib.loads((resources.files("proxy") / "vendors.toml").read_text("utf-8"))
    return TypeAdapter(tuple[VendorModel, ...]).validate_python(content["vendor"], context=SHIPPED)


def _place(url: str, end: int) -> _Place:
    """Return the parts of the URL behind its host, which ends at ``end``."""
    match = _BEHIND_HOST.match(url, end)
    if match is None:
        return _Place("/", "", "")
    return _Place((match["path"] or "/").replace("\\", "/"), match["query"] or "", match["fragment"] or "")


def _canonical(host: str) -> str:
    name = canonical_domain(host)
    # App Engine writes the dots in front of an application's name so, to stay within its wildcard certificate.
    return name.replace("-dot-", ".") if name.endswith(".appspot.com") else name


def _pairs(query: str) -> Iterator[tuple[str, bytes]]:
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        yield key, _bytes(value)


def _bytes_text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
