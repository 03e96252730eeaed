"""Bodies: the parts that mail programs show as the message, decoded, with their links and what tracks in them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from policies.facts import Part
from proxy.charset import contains_ascii
from proxy.header import TooLarge, Unparsable
from proxy.history import finding_history_in_text
from proxy.html import Scan, scanning
from proxy.html_trackers import finding_in_html as trackers_in_html
from proxy.links import MAX_LINKS, LinkRules, addresses_in_text, ends_in_doubt, target
from proxy.own import OpensTokens, OwnMarks, Unwrap, finding_in_html, no_gateways
from proxy.own import finding_in_text as own_in_text
from proxy.page import Page, reading_page
from proxy.slices import Walk
from proxy.structure import Entity
from proxy.tags import TAGS_PER_STEP
from proxy.text_trackers import finding_in_text as trackers_in_text
from proxy.trackers import Finding, Watch
from proxy.transfer import Encoded, decoding

MAX_HTML_BYTES = 2_097_152
"""Decoded size of one HTML part that is rewritten; a larger one goes as it is."""
_MAX_TEXT_BYTES = 4_194_304
"""How much of a text part is looked at for inline PGP and for being blank."""

_LONGEST_SAID = 300
"""Bytes in front of an address in a text that may say what it is."""

_IN_NEXT_LINE = re.compile(rb"[!-;=?-~]*+ \r?\n")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a message is to be read: the settings that facts depend on."""

    links: LinkRules = field(default_factory=LinkRules)
    max_bytes: int = 36_700_160
    removable_signatures: frozenset[str] = frozenset()
    """Domains whose DKIM signature may be taken off before tracking (``dkim_signed = "remove-own"``)."""
    plain_text_links: bool = False
    """Links of text-only messages may be wrapped."""
    tokens: OpensTokens | None = None
    """Knows our own old marks; without it none is."""
    watch: Watch | None = None
    """Knows other people's trackers; without it none is."""


class Link(NamedTuple):
    """One link that may be wrapped: the span of its href value in the decoded part, and where it leads."""

    start: int
    end: int
    target: str


@dataclass(frozen=True, slots=True)
class Body:
    """One part that mail programs show as the message, decoded, and what of our own and of others tracks in it."""

    entity: Entity
    encoded: Encoded
    own: OwnMarks
    foreign: tuple[Finding, ...]
    links: tuple[Link, ...]
    """The links that may be wrapped, as they stand there."""
    unwrapped_links: tuple[Link, ...]
    """The links that may be wrapped where other people's trackers are taken out first."""


@dataclass(frozen=True, slots=True)
class HtmlBody(Body):
    """An HTML part, scanned."""

    scan: Scan


@dataclass(frozen=True, slots=True)
class Trackers:
    """What tracks in one part that is not to be changed."""

    own: OwnMarks
    foreign: tuple[Finding, ...]


def is_body(part: Part, content_type: str) -> bool:
    """Tell whether a part is shown as the message and of a type."""
    return part.in_body and part.content_type == content_type


def html_bodies(
    raw: bytes, entities: Sequence[Entity], reading: Reading, unsubscribe: frozenset[str]
) -> Walk[tuple[HtmlBody, ...]]:
    """Walk to the HTML parts that are shown as the message. ``unsubscribe`` are the targets of List-Unsubscribe.

    Raises Unparsable or TooLarge where one of them could not be edited without a guess.
    """
    bodies = []
    room = MAX_LINKS
    for entity in entities:
        if is_body(entity.part, "text/html"):
            body = yield from _html_body(raw, entity, reading, unsubscribe, room)
            room -= len(body.links)
            bodies.append(body)
    return tuple(bodies)


def _html_body(raw: bytes, entity: Entity, reading: Reading, unsubscribe: frozenset[str], room: int) -> Walk[HtmlBody]:
    part = entity.part
    if part.end - part.body > 4 * MAX_HTML_BYTES:
        raise TooLarge("HTML part")
    if not contains_ascii(part.charset):
        raise Unparsable("the charset is missing, unknown, or does not contain ASCII")
    if any(one.name in ("content-md5", "content-length") for one in entity.fields):
        raise Unparsable("the part states a digest or a length of its own")
    if not raw.endswith((b"\n\n", b"\n\r\n"), part.start, part.body):
        # RFC 2046 §5.1.1: a part may end with its header, but then what is put behind it would become a header.
        raise Unparsable("no blank line between header and body")
    encoded = yield from decoding(raw[part.body : part.end], part.encoding)
    if len(encoded.decoded) > MAX_HTML_BYTES:
        raise TooLarge("HTML part")
    if b"\0" in encoded.decoded:
        raise Unparsable("NUL in HTML")
    yield
    document = yield from reading_page(encoded.decoded)
    yield
    found = yield from scanning(document)
    yield
    own = yield from _own_in_html(document, reading)
    yield
    foreign: tuple[Finding, ...] = ()
    if reading.watch is not None:
        foreign = yield from trackers_in_html(document, found, reading.watch, unsubscribe)
        yield
    destinations = _destinations(foreign)
    links = yield from _links(found, own, reading.links, unsubscribe, room, {})
    unwrapped = links
    if destinations:
        unwrapped = yield from _links(found, own, reading.links, unsubscribe, room, destinations)
    return HtmlBody(entity, encoded, own, foreign, links, unwrapped, found)


def _own_in_html(document: Page, reading: Reading) -> Walk[OwnMarks]:
    if reading.tokens is None:
        return OwnMarks()
    return (yield from finding_in_html(document, reading.tokens, _gateways(reading)))


def _own_in_text(data: bytes, reading: Reading) -> Walk[OwnMarks]:
    if reading.tokens is None:
        return OwnMarks()
    return (yield from own_in_text(data, reading.tokens, _gateways(reading)))


def _gateways(reading: Reading) -> Unwrap:
    """Return how to read what a recipient's mail gateway has put around a link."""
    return no_gateways if reading.watch is None else reading.watch.rules.target


def _links(
    found: Scan,
    own: OwnMarks,
    rules: LinkRules,
    unsubscribe: frozenset[str],
    room: int,
    destinations: Mapping[int, str],
) -> Walk[tuple[Link, ...]]:
    """Return the links that may be wrapped: none in quoted history, and no more than there is room for.

    ``destinations`` are where links lead that are to be unwrapped first, by where their address stands.
    """
    links: list[Link] = []
    for number, anchor in enumerate(found.anchors, 1):
        if found.quote_at is not None and anchor.start > found.quote_at:
            break
        href = destinations.get(anchor.start, anchor.href)
        url = target(href, anchor.text, anchor.attributes, rules, unsubscribe, anchor.labels)
        # Not one that is an old mark of ours, or stands in one: it leads where it led before, or goes.
        if url is not None and len(links) < room and not own.covers(anchor.start):
            links.append(Link(anchor.start, anchor.end, url))
        if not number % TAGS_PER_STEP:
            yield
    return tuple(links)


def text_bodies(
    raw: bytes, plain: Iterable[Entity], reading: Reading, unsubscribe: frozenset[str], *, text_only: bool
) -> Walk[tuple[Body, ...]]:
    """Walk to the text parts there is something to edit in, and that can be edited; all others stay as they are."""
    wrapping = text_only and reading.plain_text_links
    if reading.tokens is None and reading.watch is None and not wrapping:
        return ()
    bodies = []
    for entity in plain:
        part = entity.part
        if part.end - part.body > _MAX_TEXT_BYTES or not contains_ascii(part.charset or "us-ascii"):
            continue
        try:
            encoded = yield from decoding(raw[part.body : part.end], part.encoding)
        except Unparsable:
            continue
        body = yield from _text_body(entity, encoded, reading, unsubscribe, wrapping=wrapping)
        if body.own.edits or body.foreign or body.links:
            bodies.append(body)
    return tuple(bodies)


def _text_body(
    entity: Entity, encoded: Encoded, reading: Reading, unsubscribe: frozenset[str], *, wrapping: bool
) -> Walk[Body]:
    data, joined = encoded.decoded, _joined(entity)
    own = yield from _own_in_text(data, reading)
    foreign: tuple[Finding, ...] = ()
    if reading.watch is not None:
        foreign = yield from trackers_in_text(data, entity.part.charset, reading.watch, unsubscribe, joined=joined)
    links = (yield from _text_links(data, own, reading.links, {}, joined=joined)) if wrapping else ()
    destinations = _destinations(foreign)
    unwrapped = links
    if wrapping and destinations:
        unwrapped = yield from _text_links(data, own, reading.links, destinations, joined=joined)
    return Body(entity, encoded, own, foreign, links, unwrapped)


def _destinations(foreign: Iterable[Finding]) -> dict[int, str]:
    """Return where links lead once trackers are taken out of them, by where their address stands."""
    return {one.start: one.destination for one in foreign if one.destination is not None}


def _joined(entity: Entity) -> bool:
    """Tell whether a space at a line's end goes, and the next line goes on in its place (RFC 3676 §4.1)."""
    said = entity.media_type.parameters if entity.media_type else {}
    return said.get("format", "").lower() == "flowed" and said.get("delsp", "").lower() == "yes"


def _text_links(
    data: bytes, own: OwnMarks, rules: LinkRules, destinations: Mapping[int, str], *, joined: bool
) -> Walk[tuple[Link, ...]]:
    """Walk to the addresses in a text that may be wrapped: none in quoted lines (RFC 3676 §4.5), none that goes on."""
    history = yield from finding_history_in_text(data)
    links: list[Link] = []
    for match in addresses_in_text(data):
        yield
        if match is None:
            continue
        if match.start() >= history or len(links) == MAX_LINKS:
            break
        line_start = data.rfind(b"\n", 0, match.start()) + 1
        if ends_in_doubt(data, match) or (joined and _IN_NEXT_LINE.match(data, match.end())):
            continue
        if data.startswith(b">", line_start) or own.touches(match.start(), match.end()):
            continue
        url = destinations.get(match.start(), match[0].decode("ascii"))
        # The address is its own text here; that it is one is what plain_text_links agrees to.
        if target(url, "", {}, rules, frozenset(), _said_before(data, match.start())) == url:
            links.append(Link(match.start(), match.end(), url))
    return tuple(links)


def _said_before(data: bytes, at: int) -> str:
    """Return what a text says of the address that follows: the words in front of it, or the line above it."""
    before = data[max(0, at - _LONGEST_SAID) : at].rstrip(b" \t\r\n<([")
    return before[before.rfind(b"\n") + 1 :].decode("latin-1")


def tracked_in(raw: bytes, entities: Sequence[Entity], reading: Reading) -> Walk[tuple[Trackers, ...]]:
    """Walk to what tracks in the parts of a protected message, as far as they can be read. Never raises."""
    seen: list[Trackers] = []
    for entity in entities:
        part = entity.part
        is_html = is_body(part, "text/html")
        if not is_html and not is_body(part, "text/plain"):
            continue
        if part.end - part.body > _MAX_TEXT_BYTES or not contains_ascii(part.charset or "us-ascii"):
            continue
        try:
            data = (yield from decoding(raw[part.body : part.end], part.encoding)).decoded
        except Unparsable:
            continue
        yield
        seen.append((yield from (_seen_in_html(data, reading) if is_html else _seen_in_text(data, part, reading))))
    return tuple(seen)


def _seen_in_html(data: bytes, reading: Reading) -> Walk[Trackers]:
    document = yield from reading_page(data)
    yield
    own = yield from _own_in_html(document, reading)
    if reading.watch is None:
        return Trackers(own, ())
    found = yield from scanning(document)
    return Trackers(own, (yield from trackers_in_html(document, found, reading.watch)))


def _seen_in_text(data: bytes, part: Part, reading: Reading) -> Walk[Trackers]:
    own = yield from _own_in_text(data, reading)
    if reading.watch is None:
        return Trackers(own, ())
    return Trackers(own, (yield from trackers_in_text(data, part.charset, reading.watch)))


def text_of(raw: bytes, part: Part) -> Walk[bytes]:
    """Walk to a text part decoded; one that is not what it says is looked at as it stands: it is never edited."""
    content = raw[part.body : min(part.end, part.body + _MAX_TEXT_BYTES)]
    try:
        return (yield from decoding(content, part.encoding)).decoded
    except Unparsable:
        return content
