"""Surfaces: every place in an HTML part from which mail programs fetch something, and what must go so that they do not.

Tags inside Outlook's conditional comments count like all others. Only what is fetched by http or https counts: never
``cid:``, ``data:``, ``mid:`` and the like.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from urllib.parse import urljoin

from policies.words import Surface
from proxy.css import fetches
from proxy.entities import decode_attribute, decode_with_offsets
from proxy.slices import STEP_BYTES, Walk
from proxy.tags import Attribute, Tag, removal, tag_skipper
from proxy.transfer import Edit

_IMAGE = (("src", Surface.IMAGE), ("srcset", Surface.SRCSET), ("lowsrc", Surface.IMAGE), ("dynsrc", Surface.IMAGE))
_DRAWN = (("href", Surface.IMAGE), ("xlink:href", Surface.IMAGE))
_SHAPE = (("src", Surface.IMAGE), ("o:href", Surface.IMAGE))
_BACKGROUND = (("background", Surface.BACKGROUND),)
_ATTRIBUTES: Mapping[str, Sequence[tuple[str, Surface]]] = {
    "img": _IMAGE,
    "image": (*_IMAGE, *_DRAWN),
    "input": (("src", Surface.IMAGE),),
    "source": (("src", Surface.MEDIA), ("srcset", Surface.SRCSET)),
    "video": (("poster", Surface.MEDIA), ("src", Surface.MEDIA)),
    "audio": (("src", Surface.MEDIA),),
    "track": (("src", Surface.MEDIA),),
    "bgsound": (("src", Surface.MEDIA),),
    "embed": (("src", Surface.FRAME),),
    "object": (("data", Surface.FRAME),),
    "iframe": (("src", Surface.FRAME),),
    "frame": (("src", Surface.FRAME),),
    "script": (("src", Surface.FRAME),),
    "link": (("href", Surface.SHEET),),
    "meta": (("content", Surface.REFRESH),),
    "use": _DRAWN,
    "feimage": _DRAWN,
    **dict.fromkeys(("body", "table", "thead", "tbody", "tfoot", "tr", "td", "th"), _BACKGROUND),
}
_WHOLE = frozenset({"img", "image", "input", "source", "track", "bgsound", "embed", "link", "meta"})
"""Empty elements that are for nothing but what they fetch; of all others only the attribute goes."""
_FETCHING_RELATIONS = frozenset({
    "stylesheet", "prefetch", "preload", "dns-prefetch", "preconnect", "prerender", "modulepreload", "icon",
    "apple-touch-icon", "manifest",
})  # fmt: skip
FETCHING_TAGS = tag_skipper(b"base|v:[^\\t\\n\\f\\r />]*+|" + b"|".join(name.encode() for name in _ATTRIBUTES))
"""For ``some_tags``: the tags that may fetch something by an attribute of their own."""

_NAME = re.compile(rb"<([a-z][^\t\n\f\r />]*+)")
_BY_SOURCE = frozenset({
    b"img", b"image", b"input", b"source", b"video", b"audio", b"track", b"bgsound", b"embed", b"iframe", b"frame",
    b"script",
})  # fmt: skip
_BY_OTHERS = frozenset({b"base", b"link", b"object", b"use", b"feimage", b"video", b"image"})
# What an address fetched from elsewhere begins with: h of http, a slash, or anything that is not what it looks like.
_REMOTE = rb"[\t\n\f\r ]*+=[\t\n\f\r ]*+[\"']?+[\0- ]*+[h/&\\]"
_REMOTE_SOURCE, _REMOTE_BACKGROUND = re.compile(rb"src(?:set)?" + _REMOTE), re.compile(rb"background" + _REMOTE)
# WHATWG HTML §4.2.5.3: behind the time an address may stand by itself. Possessive, for white space may go on and on.
_REFRESH = re.compile(
    r"[\s\d.]*+(?:[;,]\s*+)?+(?:url\s*+=\s*+)?+(?:\"([^\"]*)|'([^']*)|(.*))", re.IGNORECASE | re.DOTALL
)
_MAX_CANDIDATES = 100
"""Of one ``srcset``; pictures for all sizes of screens are a dozen."""
_MAX_REFERRING = 65_536
"""Characters of a ``style`` with character references, each of which takes a look of its own."""

_EDGES = "".join(map(chr, range(0x21)))
_DROPPED = str.maketrans("", "", "\t\n\r")
_ABSOLUTE = re.compile(r"(?:https?:)?[/\\]{2}", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Fetched:
    """One address that is fetched when the message is shown."""

    url: str
    """Absolute, or ``//host/…``; characters above ASCII are latin-1 readings of their bytes."""
    surface: Surface
    start: int
    end: int
    """The span of what would have to go, where that is neither the attribute nor the tag."""
    attribute: str = ""


_STYLE_FUNCTION = re.compile(rb"\((?:(?<=url\()|(?<=image-set\())")
"""Begins with the one letter that both have, so that the engine skips to it."""


def finding_tag_names(lowered: bytes) -> Walk[set[bytes]]:
    """Walk to the names of all tags in a document in lower case, and of what only looks like one. Costs little."""
    names: set[bytes] = set()
    start = 0
    while start < len(lowered):
        # A name may hold anything but what ends one: cut where another may begin.
        cut = lowered.find(b"<", start + STEP_BYTES)
        end = cut if cut != -1 else len(lowered)
        names.update(_NAME.findall(lowered, start, end))
        start = end
        yield
    return names


def may_fetch(lowered: bytes, names: Set[bytes]) -> bool:
    """Tell whether there may be anything to find by ``fetched_by``. Costs little."""
    if not names.isdisjoint(_BY_OTHERS) or any(name.startswith(b"v:") for name in names):
        return True
    if not names.isdisjoint(_BY_SOURCE) and _REMOTE_SOURCE.search(lowered) is not None:
        return True
    return (b"meta" in names and b"refresh" in lowered) or _REMOTE_BACKGROUND.search(lowered) is not None


def finding_styles(lowered: bytes, names: Set[bytes]) -> Walk[bool]:
    """Walk to whether a style may fetch anything. Costs little."""
    if b"(" in lowered:
        for start in range(0, len(lowered), STEP_BYTES):
            if _STYLE_FUNCTION.search(lowered, start, start + STEP_BYTES) is not None:
                return True
            yield
    return b"style" in names and b"@" in lowered and b"@import" in lowered


def absolute(url: str, base: str = "") -> str | None:
    """Return an address as mail programs resolve it; None where nothing is fetched by http or https.

    WHATWG URL §4.4: white space around it and line breaks in it do not count, backslashes are slashes.
    """
    if url.isprintable() and _ABSOLUTE.match(url) and not url.endswith(" "):
        return url
    url = url.strip(_EDGES).translate(_DROPPED)
    if _ABSOLUTE.match(url):
        return url
    if not base or _SCHEME.match(url) or not url or url.startswith("#"):
        return None
    try:
        resolved = urljoin(base, url)
    except ValueError:
        return None
    return resolved if _ABSOLUTE.match(resolved) else None


def fetched_by(data: bytes, tag: Tag, attributes: Mapping[str, Attribute], base: str) -> Iterator[Fetched]:
    """Yield what a start tag fetches by its attributes, ``style`` apart; of a ``srcset`` every candidate."""
    if not _is_fetching(data, tag, attributes):
        return
    for name, surface in _SHAPE if tag.name.startswith("v:") else _ATTRIBUTES.get(tag.name, ()):
        attribute = attributes.get(name)
        if attribute is None:
            continue
        if surface is Surface.SRCSET:
            yield from _candidates(data, attribute, base)
            continue
        value = attribute.text(data)
        if surface is Surface.REFRESH:
            match = _REFRESH.match(value)
            value = next((one for one in match.groups() if one is not None), "") if match is not None else ""
        url = absolute(value, base)
        if url is not None:
            yield Fetched(url, surface, attribute.start, attribute.end, name)


def _is_fetching(data: bytes, tag: Tag, attributes: Mapping[str, Attribute]) -> bool:
    """Tell whether a tag fetches anything: of some elements only certain types do."""
    if tag.name == "input":
        return "type" in attributes and attributes["type"].text(data).strip().lower() == "image"
    if tag.name == "link":
        relations = attributes["rel"].text(data).lower().split() if "rel" in attributes else []
        return not _FETCHING_RELATIONS.isdisjoint(relations)
    if tag.name == "meta":
        return "http-equiv" in attributes and attributes["http-equiv"].text(data).strip().lower() == "refresh"
    return True


# WHATWG HTML §4.8.4.2.1: an address runs up to white space; a comma at its end belongs to the list, as does one behind
# its descriptor, outside brackets.
_CANDIDATE = re.compile(rb"[\t\n\f\r ,]*+([^\t\n\f\r ]++)((?:\([^)]*+\)?|[^,()])*+)")


def _split(data: bytes, attribute: Attribute) -> Iterator[tuple[int, int, str]]:
    """Yield the span of every candidate of a ``srcset``, without the comma behind it, and its address."""
    at = attribute.start
    for _ in range(_MAX_CANDIDATES):
        match = _CANDIDATE.match(data, at, attribute.end)
        if match is None:
            return
        raw, start, at = match[1], match.start(1), match.end()
        if raw.endswith(b","):
            raw = raw.rstrip(b",")
            at = match.end(1)
            end = start + len(raw)
        else:
            end = start + len(match[0].rstrip(b"\t\n\f\r ")) - (start - match.start())
        if raw:
            yield start, end, decode_attribute(raw.decode("latin-1"))


def _candidates(data: bytes, attribute: Attribute, base: str) -> Iterator[Fetched]:
    for start, end, address in _split(data, attribute):
        url = absolute(address, base)
        if url is not None:
            yield Fetched(url, Surface.SRCSET, start, end, attribute.name)


def styled(data: bytes, attribute: Attribute, base: str) -> Iterator[Fetched | None]:
    """Yield what a ``style`` attribute fetches, each with the span of its declaration, and None now and then.

    One with references that is longer than any program writes is not looked at.
    """
    raw = data[attribute.start : attribute.end].decode("latin-1")
    if "&" in raw and len(raw) > _MAX_REFERRING:
        return
    text, offsets = decode_with_offsets(raw)
    for fetch in fetches(text):
        url = absolute(fetch.url, base) if fetch is not None else None
        if fetch is None or url is None:
            yield None
            continue
        start, end = attribute.start + offsets[fetch.start], attribute.start + offsets[fetch.end]
        yield Fetched(url, Surface.CSS, start, end)


def sheet(data: bytes, start: int, end: int, base: str) -> Iterator[Fetched | None]:
    """Yield what a style sheet fetches, each with the span of its declaration or ``@import``, and None now and then."""
    for fetch in fetches(data[start:end].decode("latin-1")):
        url = absolute(fetch.url, base) if fetch is not None else None
        if fetch is None or url is None:
            yield None
            continue
        yield Fetched(url, Surface.CSS, start + fetch.start, start + fetch.end)


def taken_out(data: bytes, tag: Tag, found: Sequence[Fetched], hits: Sequence[Fetched]) -> list[Edit]:
    """Return the edits after which a tag fetches the rest of what it fetches, and none of the hits.

    An element that is there for nothing else goes as a whole: an empty address would be read as the page's own.
    """
    attributes = tag.attributes(data)
    names, going = {one.attribute for one in hits}, set(hits)
    rest = [one for one in found if one not in going and one.surface in (Surface.IMAGE, Surface.SRCSET, Surface.MEDIA)]
    if tag.name in _WHOLE and not rest and ("src" in names or "src" not in attributes):
        return [removal(data, tag.start, tag.end)]
    edits: list[Edit] = []
    for name in names:
        candidates = list(_split(data, attributes[name])) if name == "srcset" else []
        gone = {one.start for one in hits if one.attribute == name}
        if len(candidates) > len(gone):
            edits += _without(candidates, gone)
        else:
            edits += [(start, end, b"") for start, end in tag.spans(data, name)]
    return sorted(edits)


def _without(candidates: Sequence[tuple[int, int, str]], gone: Container[int]) -> Iterator[Edit]:
    """Yield the edits that take some candidates out of a ``srcset``, each with one of the commas beside it."""
    kept_before = False
    for at, (start, end, _) in enumerate(candidates):
        if start not in gone:
            kept_before = True
        elif kept_before:
            yield candidates[at - 1][1], end, b""
        else:
            yield start, candidates[at + 1][0], b""
