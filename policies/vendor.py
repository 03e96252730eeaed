"""A vendor of mail tracking: by which hosts, paths and attributes its marks are known, and how its links are read.

The shipped rules and the organisation's own (``[[policy.vendor]]``) have this one shape.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema, model_validator

from policies.address import canonical_domain
from policies.linear import check_linear
from policies.setting import Section

Surface = Literal["image", "css", "link"]
VendorKind = Literal["tool", "platform", "gateway"]
Certainty = Literal["certain", "likely"]
Removal = Literal["element"]

SHIPPED: dict[str, bool] = {"shipped": True}
"""Validation context of the shipped file, whose patterns its tests have checked: starting does not check them again."""

_LABEL = r"[a-z0-9_#](?:[a-z0-9_#-]{0,61}[a-z0-9_#])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})")
_FIRST_SEGMENT = re.compile(r"/((?:[A-Za-z0-9_~-]|\\\.)+)(?:/|\$\Z)")
_QUERY = re.compile(r"[^&=#\s]+(?:=[^&#\s]*)?")
_WORD = re.compile(r"[^\s\"'<>]+")
_ID = re.compile(r"[a-z0-9-]{2,40}")
_LOWER = re.compile(r"[a-z][a-z0-9:-]*")
KEYED_SOURCES = frozenset({"query", "tail"})
"""Where a destination is, by query key: its value, or everything behind its ``=`` as it stands."""
SOURCES = frozenset({"path", "raw-path", "rest", "raw-rest"})
"""Where a destination is, by path: in its group, or behind it; the raw ones are not percent-decoded."""
STEPS = frozenset({"base32", "base64", "http", "https", "percent", "proofpoint2", "proofpoint3", "zlib"})
"""Decoding steps without an argument; ``json KEY`` is the one with."""


def first_segment(path: str | None) -> str | None:
    """Return the segment that every path which a pattern matches begins with, if the pattern spells one out."""
    match = _FIRST_SEGMENT.match(path or "")
    return None if match is None else match[1].replace("\\", "")


def _host(value: str) -> str:
    if value == "*" or (len(value) <= 253 and _HOST.fullmatch(value) and canonical_domain(value) == value):
        return value
    raise ValueError(
        'must be a host name in lower case and A-label form, like "t.example.com", # in it for any number, or "*"'
    )


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError('must be an id of 2 to 40 small letters, digits and hyphens, like "mailtrack"')
    return value


def _lower(value: str) -> str:
    if not _LOWER.fullmatch(value):
        raise ValueError('must be a name in small letters, like "data-id"')
    return value


def _path(value: str, info: ValidationInfo) -> str:
    if not value.startswith(("/", "(", ".", "[")):
        raise ValueError('must begin with "/", "(", "." or "["')
    if info.context != SHIPPED:
        check_linear(value)
    return value


def _query(value: str) -> str:
    if not _QUERY.fullmatch(value):
        raise ValueError('must be a query key, like "upn", or a key with its value, like "l=open"')
    return value


def _decode(value: str) -> str:
    source, *steps = value.split(" ")
    if source == "opaque" and not steps:
        return value
    if source in KEYED_SOURCES and steps and _QUERY.fullmatch(steps[0]) and "=" not in steps[0]:
        steps = steps[1:]
    elif source not in SOURCES:
        raise ValueError(f'must begin with "opaque", "query KEY", "tail KEY" or one of {", ".join(sorted(SOURCES))}')
    while steps:
        if steps[0] == "json" and len(steps) > 1 and steps[1]:
            steps = steps[2:]
        elif steps[0] in STEPS:
            steps = steps[1:]
        else:
            raise ValueError(f'must go on with "json KEY" or one of {", ".join(sorted(STEPS))}')
    return value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("must be one word, without white space, quotes and angle brackets")
    return value


def _pattern(pattern: str) -> WithJsonSchema:
    # For editors, in the regular expressions of ECMA-262, which JSON Schema has.
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


VendorId = Annotated[str, AfterValidator(_id), _pattern(_ID.pattern)]
Host = Annotated[str, AfterValidator(_host)]
Path = Annotated[
    str,
    StringConstraints(min_length=1, max_length=400),
    AfterValidator(_path),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 400, "pattern": r"^[/(.\[]"}),
]
Sample = Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
Lower = Annotated[str, AfterValidator(_lower), _pattern(_LOWER.pattern)]


class MarkModel(Section):
    """One kind of URL by which the vendor is known: where it may stand, its host, its path and its query keys."""

    on: list[Surface] = Field(min_length=1, description="Where the URL stands: fetched resource, style sheet or link.")
    host: list[Host] = Field(min_length=1, description='Host suffixes, or "*" for any host.')
    path: Path | None = Field(default=None, description="Regular expression that the raw path begins with.")
    query: list[Annotated[str, AfterValidator(_query)]] = Field(
        default=[], description="Query keys that must be there."
    )
    certainty: Certainty = Field(description="Certain marks are removed where policy says so, likely ones reported.")
    decode: Annotated[str, AfterValidator(_decode)] | None = Field(
        default=None, description="Links only: where the destination is, or that it cannot be read."
    )
    hit: list[Sample] = Field(min_length=1, description="URLs that the mark matches.")
    miss: list[Sample] = Field(min_length=1, description="URLs that no mark of the vendor matches.")
    target: list[Sample] = Field(default=[], description="Destination of each hit, in order.")

    @model_validator(mode="after")
    def _agrees(self) -> "MarkModel":
        for broken, sentence in (
            (("link" in self.on) != (self.decode is not None), 'must say decode if, and only if, on holds "link"'),
            (
                self._names_target() != self._source().endswith("path"),
                'must name a group "target" in path if, and only if, decode is of the path',
            ),
            (self._source().endswith("rest") and self.path is None, "must have a path for decode to go on behind"),
            # By this segment the few marks of any host are looked up for every URL there is.
            (
                "*" in self.host and first_segment(self.path) is None,
                'must have a path that begins with a segment without special characters for host = ["*"]',
            ),
            ("*" in self.host and len(self.host) > 1, 'must have "*" as its only host'),
            # A link of any host proves itself by the destination in it; nothing else tells it from the host's own.
            ("*" in self.host and self._source() == "opaque", 'must have hosts for decode = "opaque"'),
            (
                len(self.target) != (len(self.hit) if self._decodes() else 0),
                "must have one target for each hit it decodes",
            ),
        ):
            if broken:
                raise ValueError(sentence)
        return self

    def _source(self) -> str:
        return (self.decode or "").partition(" ")[0]

    def _decodes(self) -> bool:
        return self._source() not in ("", "opaque")

    def _names_target(self) -> bool:
        return "(?P<target>" in (self.path or "")


class ElementModel(Section):
    """A structural mark: an element that the vendor's program writes, known by a word in one of its attributes."""

    tag: Lower = Field(description="The element's name.")
    attribute: Lower = Field(description="The attribute that tells.")
    value: Annotated[str, AfterValidator(_word)] = Field(description="One of the words of the attribute, in any case.")
    remove: Removal = Field(description="What goes: the element, with its content.")
    hit: list[Sample] = Field(min_length=1, description="Start tags that match.")
    miss: list[Sample] = Field(min_length=1, description="Start tags that no element of the vendor matches.")


class VendorModel(Section):
    """One vendor: a name for reports and the marks by which it is known."""

    id: VendorId = Field(description="Stands in reports and the ledger, and in `policy.vendors_off`.")
    name: str = Field(min_length=1, max_length=80, description="Shown to people.")
    kind: VendorKind = Field(description="An employee's add-on, a sending service, or link protection.")
    source: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1, description="Where the facts can be read."
    )
    mark: list[MarkModel] = Field(default=[], description="URLs by which the vendor is known.")
    element: list[ElementModel] = Field(default=[], description="Elements by which the vendor is known.")

    @model_validator(mode="before")
    @classmethod
    def _has_a_mark(cls, content: Any) -> Any:
        if isinstance(content, dict) and not content.get("mark") and not content.get("element"):
            raise ValueError("must have a mark or an element")
        return content
