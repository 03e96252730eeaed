"""The message: raw bytes, and the facts found in them. Nothing is parsed into a tree and written back out."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from policies.facts import Facts, Part
from policies.words import Protection, Reason, Scope
from proxy.charset import contains_ascii
from proxy.encodedword import decode_words
from proxy.header import AddressList, Field, TooLarge, Unparsable, parse_address_list, scan_fields
from proxy.html import TAGS_PER_STEP, Scan, finding_empty, scanning
from proxy.html_trackers import finding_in_html as trackers_in_html
from proxy.links import MAX_LINKS, LinkRules, addresses_in_text, target, unsubscribe_targets
from proxy.own import OpensTokens, OwnMarks, finding_in_html
from proxy.own import find_in_text as own_in_text
from proxy.protection import own_signatures, protected_label, protected_structure
from proxy.slices import Walk, at_once, each
from proxy.structure import Entity, reading_structure
from proxy.text_trackers import find_in_text
from proxy.trackers import Finding, Watch
from proxy.transfer import Encoded, decode, splice
from proxy.wish import CONTROL_HEADER

MAX_HTML_BYTES = 2_097_152
"""Decoded size of one HTML part that is rewritten; a larger one goes as it is."""
_MAX_TEXT_BYTES = 4_194_304
"""How much of a text part is looked at for inline PGP and for being blank."""

_IN_NEXT_LINE = re.compile(rb"[!-;=?-~]*+ \r?\n")
_PGP = re.compile(rb"-----BEGIN(?:\s|&nbsp;|&#160;|\xa0|\xc2\xa0)++PGP ")


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


@dataclass(frozen=True, slots=True)
class Trackers:
    """What tracks in one part that is not to be changed."""

    own: OwnMarks
    foreign: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came: its bytes, its header fields, its facts, and its HTML bodies where it may be tracked."""

    raw: bytes
    facts: Facts
    fields: tuple[Field, ...] = ()
    bodies: tuple[HtmlBody, ...] = ()
    texts: tuple[Body, ...] = ()
    """The text parts that there may be something to edit in: old marks, trackers, in text-only mail links to wrap."""
    signatures: tuple[Field, ...] = ()
    """DKIM signatures of our own domains, which a rewritten message goes without."""
    delimiters: frozenset[bytes] = frozenset()
    """What the lines between the parts begin with (RFC 2046 §5.1.1): no edit may make one more of them."""
    untouchable: tuple[Trackers, ...] = ()
    """What tracks in the parts of a protected message, which stay as they are."""

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of a header field, by lower-case name, in order."""
        return self.facts.values(name)

    @property
    def subject(self) -> str:
        """The subject as people read it; empty where there is none."""
        return decode_words(next(iter(self.values("subject")), ""))


def read_message(raw: bytes, reading: Reading) -> Message:
    """Return the message with everything known of it. Never raises for what the message contains.

    A message that cannot be taken apart has ``facts.problem`` set, and as many header fields as could be read.
    """
    return at_once(reading_message(raw, reading))


def reading_message(raw: bytes, reading: Reading) -> Walk[Message]:
    """Walk through a message as ``read_message`` does, in steps."""
    try:
        entities = yield from reading_structure(raw)
    except (Unparsable, TooLarge) as problem:
        fields = _fields_only(raw)
        signatures, protection = own_signatures(raw, fields, reading.removable_signatures)
        facts = _header_facts(raw, fields, protection=protection, problem=_reason(problem))
        return Message(raw, facts, fields, signatures=signatures)
    fields = entities[0].fields
    signatures, protection = own_signatures(raw, fields, reading.removable_signatures)
    protection = protected_structure(entities) or protection or protected_label(raw, fields)
    if protection is not None:
        facts = _header_facts(raw, fields, entities, protection)
        seen = yield from _seen(raw, entities, reading)
        return Message(raw, facts, fields, untouchable=seen)
    if len(raw) > reading.max_bytes:
        return Message(raw, _header_facts(raw, fields, entities, problem=Reason.TOO_LARGE), fields)
    return (yield from _with_bodies(raw, entities, signatures, reading))


def _with_bodies(
    raw: bytes, entities: Sequence[Entity], signatures: tuple[Field, ...], reading: Reading
) -> Walk[Message]:
    fields = entities[0].fields
    try:
        plain = [entity for entity in entities if _is_body(entity.part, "text/plain")]
        texts = yield from each(_text_of(raw, entity.part) for entity in plain)
        unsubscribe = unsubscribe_targets(one.text(raw) for one in fields if one.name == "list-unsubscribe")
        bodies = yield from _html_bodies(raw, entities, reading, unsubscribe)
        editable = tuple((yield from each(_text_bodies(raw, plain, reading, unsubscribe, text_only=not bodies))))
    except (Unparsable, TooLarge) as problem:
        return Message(raw, _header_facts(raw, fields, entities, problem=_reason(problem)), fields)
    read = [*texts, *(body.encoded.decoded for body in bodies), *_without_marks((*bodies, *editable))]
    if any((yield from each(_PGP.search(text) for text in read))):
        seen = tuple(Trackers(body.own, body.foreign) for body in (*bodies, *editable))
        facts = _header_facts(raw, fields, entities, Protection.ENCRYPTED)
        return Message(raw, facts, fields, untouchable=seen)
    everything = (*bodies, *editable)
    has_text = any((yield from each(text.strip() for text in texts)))
    empty = yield from _is_empty(bodies, has_text=has_text)
    facts = _header_facts(
        raw,
        fields,
        entities,
        has_html=bool(bodies),
        has_text=has_text,
        empty=empty,
        # Whether trackers are taken out first is not decided yet.
        links=min(sum(len(body.links) for body in everything), sum(len(body.unwrapped_links) for body in everything)),
        trackers=sum(one.certain and one.scope is Scope.TOOL for body in everything for one in body.foreign),
    )
    return Message(raw, facts, fields, bodies, editable, signatures, _delimiters(entities))


def _without_marks(bodies: Iterable[Body]) -> Iterator[bytes]:
    """Yield the parts in which taking a mark of ours out could leave what looks like inline PGP behind."""
    for body in bodies:
        if body.own.edits and b"-----BEGIN" in body.encoded.decoded:
            yield splice(body.encoded.decoded, body.own.edits)


def _delimiters(entities: Iterable[Entity]) -> frozenset[bytes]:
    types = [one.media_type for one in entities if one.media_type and one.part.content_type.startswith("multipart/")]
    return frozenset(b"--" + one.parameters["boundary"].encode("ascii") for one in types)


def _is_empty(bodies: Iterable[HtmlBody], *, has_text: bool) -> Walk[bool]:
    """Tell whether nobody would see anything in the HTML parts; where there are none, in the text."""
    for body in bodies:
        if not (yield from finding_empty(body.encoded.decoded)):
            return False
        has_text = False
    return not has_text


def _seen(raw: bytes, entities: Sequence[Entity], reading: Reading) -> Walk[tuple[Trackers, ...]]:
    """Walk to what tracks in the parts of a protected message, as far as they can be read. Never raises."""
    seen: list[Trackers] = []
    for entity in entities:
        part = entity.part
        is_html = _is_body(part, "text/html")
        if not is_html and not _is_body(part, "text/plain"):
            continue
        if part.end - part.body > _MAX_TEXT_BYTES or not contains_ascii(part.charset or "us-ascii"):
            continue
        try:
            data = decode(raw[part.body : part.end], part.encoding).decoded
        except Unparsable:
            continue
        yield
        seen.append((yield from (_seen_in_html(data, reading) if is_html else _seen_in_text(data, part, reading))))
    return tuple(seen)


def _seen_in_html(data: bytes, reading: Reading) -> Walk[Trackers]:
    own = OwnMarks() if reading.tokens is None else (yield from finding_in_html(data, reading.tokens))
    if reading.watch is None:
        return Trackers(own, ())
    found = yield from scanning(data)
    return Trackers(own, (yield from trackers_in_html(data, found, reading.watch)))


def _seen_in_text(data: bytes, part: Part, reading: Reading) -> Walk[Trackers]:
    own = OwnMarks() if reading.tokens is None else own_in_text(data, reading.tokens)
    yield
    return Trackers(own, () if reading.watch is None else find_in_text(data, part.charset, reading.watch))


def _text_bodies(
    raw: bytes, plain: Iterable[Entity], reading: Reading, unsubscribe: frozenset[str], *, text_only: bool
) -> Iterator[Body]:
    """Yield the text parts that there is something to edit in, and that can be edited; all others stay as they are."""
    wrapping = text_only and reading.plain_text_links
    if reading.tokens is None and reading.watch is None and not wrapping:
        return
    for entity in plain:
        part = entity.part
        if part.end - part.body > _MAX_TEXT_BYTES or not contains_ascii(part.charset or "us-ascii"):
            continue
        try:
            encoded = decode(raw[part.body : part.end], part.encoding)
        except Unparsable:
            continue
        data = encoded.decoded
        own = OwnMarks() if reading.tokens is None else own_in_text(data, reading.tokens)
        joined = _joined(entity)
        foreign: tuple[Finding, ...] = ()
        if reading.watch is not None:
            foreign = find_in_text(data, part.charset, reading.watch, unsubscribe, joined=joined)
        links = tuple(_text_links(data, own, reading.links, {}, joined=joined)) if wrapping else ()
        destinations = _destinations(foreign)
        unwrapped = links
        if wrapping and destinations:
            unwrapped = tuple(_text_links(data, own, reading.links, destinations, joined=joined))
        if own.edits or foreign or links:
            yield Body(entity, encoded, own, foreign, links[:MAX_LINKS], unwrapped[:MAX_LINKS])


def _destinations(foreign: Iterable[Finding]) -> dict[int, str]:
    """Return where links lead once trackers are taken out of them, by where their address stands."""
    return {one.start: one.destination for one in foreign if one.destination is not None}


def _joined(entity: Entity) -> bool:
    """Tell whether a space at a line's end goes, and the next line goes on in its place (RFC 3676 §4.1)."""
    said = entity.media_type.parameters if entity.media_type else {}
    return said.get("format", "").lower() == "flowed" and said.get("delsp", "").lower() == "yes"


def _text_links(
    data: bytes, own: OwnMarks, rules: LinkRules, destinations: Mapping[int, str], *, joined: bool
) -> Iterator[Link]:
    """Yield the addresses in a text that may be wrapped: none in quoted lines (RFC 3676 §4.5), none that goes on."""
    for match in addresses_in_text(data):
        line_start = data.rfind(b"\n", 0, match.start()) + 1
        if joined and _IN_NEXT_LINE.match(data, match.end()):
            continue
        if data.startswith(b">", line_start) or own.covers(match.start()):
            continue
        url = destinations.get(match.start(), match[0].decode("ascii"))
        # The address is its own text here; that it is one is what plain_text_links agrees to.
        if target(url, "", {}, rules, frozenset()) == url:
            yield Link(match.start(), match.end(), url)


def _reason(problem: Exception) -> Reason:
    return Reason.TOO_LARGE if isinstance(problem, TooLarge) else Reason.UNPARSABLE


def _fields_only(raw: bytes) -> tuple[Field, ...]:
    """Return the message's own header fields where the structure below could not be read; none where they cannot."""
    try:
        return tuple(scan_fields(raw, 0, len(raw))[0])
    except (Unparsable, TooLarge):
        return ()


def _header_facts(
    raw: bytes,
    fields: Iterable[Field],
    entities: Sequence[Entity] = (),
    protection: Protection | None = None,
    *,
    problem: Reason | None = None,
    has_html: bool = False,
    has_text: bool = False,
    empty: bool = False,
    links: int = 0,
    trackers: int = 0,
) -> Facts:
    by_name: dict[str, list[str]] = {}
    for one in fields:
        by_name.setdefault(one.name, []).append(one.text(raw))
    decoded = {name: tuple(map(decode_words, values)) for name, values in by_name.items() if "=?" in "".join(values)}
    lists = [parse_address_list(value) for name in ("to", "cc") for value in by_name.get(name, ())]
    authors = [parse_address_list(value) for value in by_name.get("from", ())]
    return Facts(
        size=len(raw),
        fields={name: tuple(values) for name, values in by_name.items()},
        decoded=decoded,
        addressed=tuple(address for found in lists for address in found.addresses),
        authors=tuple(address for found in authors for address in found.addresses),
        undisclosed=any(_names_nobody(found) for found in lists),
        parts=tuple(entity.part for entity in entities),
        protection=protection,
        problem=problem,
        has_html=has_html,
        has_text=has_text,
        empty=empty,
        links=links,
        trackers=trackers,
    )


def _names_nobody(found: AddressList) -> bool:
    return found.group_syntax or not found.addresses


def _is_body(part: Part, content_type: str) -> bool:
    return part.in_body and part.content_type == content_type


def _text_of(raw: bytes, part: Part) -> bytes:
    """Return a text part decoded; one that is not what it says is looked at as it stands: it is never edited."""
    content = raw[part.body : min(part.end, part.body + _MAX_TEXT_BYTES)]
    try:
        return decode(content, part.encoding).decoded
    except Unparsable:
        return content


def _html_bodies(
    raw: bytes, entities: Sequence[Entity], reading: Reading, unsubscribe: frozenset[str]
) -> Walk[tuple[HtmlBody, ...]]:
    bodies = []
    room = MAX_LINKS
    for entity in entities:
        if _is_body(entity.part, "text/html"):
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
    encoded = decode(raw[part.body : part.end], part.encoding)
    if len(encoded.decoded) > MAX_HTML_BYTES:
        raise TooLarge("HTML part")
    if b"\0" in encoded.decoded:
        raise Unparsable("NUL in HTML")
    yield
    found = yield from scanning(encoded.decoded)
    yield
    own = (yield from finding_in_html(encoded.decoded, reading.tokens)) if reading.tokens is not None else OwnMarks()
    yield
    foreign: tuple[Finding, ...] = ()
    if reading.watch is not None:
        foreign = yield from trackers_in_html(encoded.decoded, found, reading.watch, unsubscribe)
    destinations = _destinations(foreign)
    links = yield from _links(found, own, reading.links, unsubscribe, room, {})
    unwrapped = links
    if destinations:
        unwrapped = yield from _links(found, own, reading.links, unsubscribe, room, destinations)
    return HtmlBody(entity, encoded, own, foreign, links, unwrapped, found)


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


__all__ = ["CONTROL_HEADER", "HtmlBody", "Link", "Message", "Reading", "read_message", "reading_message"]
