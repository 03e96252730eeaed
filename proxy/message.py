"""The message: raw bytes, and the facts found in them. Nothing is parsed into a tree and written back out."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from policies.address import canonical_domain
from policies.facts import Facts, Part
from policies.words import Protection, Reason
from proxy.charset import contains_ascii
from proxy.encodedword import decode_words
from proxy.header import AddressList, Field, TooLarge, Unparsable, parse_address_list, scan_fields
from proxy.html import Scan, is_empty, scan
from proxy.links import MAX_LINKS, LinkRules, target, unsubscribe_targets
from proxy.own import OpensTokens, OwnMarks, find_in_html, find_in_text
from proxy.structure import Entity, read_structure
from proxy.transfer import Encoded, decode
from proxy.wish import CONTROL_HEADER

MAX_HTML_BYTES = 2_097_152
"""Decoded size of one HTML part that is rewritten; a larger one goes as it is."""
_MAX_TEXT_BYTES = 4_194_304
"""How much of a text part is looked at for inline PGP and for being blank."""

# What ends a sentence, or closes what was opened before the address, is no part of it.
_TEXT_URL = re.compile(rb"\bhttps?://[!-;=?-~]*[A-Za-z0-9/#&=_~+%-]", re.IGNORECASE)
_GOES_ON = re.compile(rb"[!-;=?-~]*+[\x80-\xff]")
"""An address that goes on beyond ASCII, as programs read it: left alone, for half of it is another address."""
_PGP = re.compile(rb"-----BEGIN(?:\s|&nbsp;|&#160;|\xa0|\xc2\xa0)++PGP ")
_SIGNED_TYPES = frozenset({"multipart/signed", "application/pgp-signature", "application/pkcs7-signature",
                           "application/x-pkcs7-signature"})  # fmt: skip
_ENCRYPTED_TYPES = frozenset({"multipart/encrypted", "application/pgp-encrypted",
                              "application/x-microsoft-rpmsg-message"})  # fmt: skip
_PKCS7_TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_CALENDAR_TYPES = frozenset({"text/calendar", "application/ics"})
_REPORT_TYPES = frozenset({"multipart/report", "message/disposition-notification", "message/delivery-status",
                           "message/global-delivery-status", "message/global-disposition-notification"})  # fmt: skip
_TNEF_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})


@dataclass(frozen=True, slots=True)
class Link:
    """One link that may be wrapped: the span of its href value in the decoded part, and where it leads."""

    start: int
    end: int
    target: str


@dataclass(frozen=True, slots=True)
class Body:
    """One part that mail programs show as the message, decoded, and what of our own old marks it quotes."""

    entity: Entity
    encoded: Encoded
    own: OwnMarks
    links: tuple[Link, ...]


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


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came: its bytes, its header fields, its facts, and its HTML bodies where it may be tracked."""

    raw: bytes
    facts: Facts
    fields: tuple[Field, ...] = ()
    bodies: tuple[HtmlBody, ...] = ()
    texts: tuple[Body, ...] = ()
    """The text parts that are edited: they quote our own old marks, or are a text-only message with links to wrap."""
    signatures: tuple[Field, ...] = ()
    """DKIM signatures of our own domains, which a rewritten message goes without."""
    delimiters: frozenset[bytes] = frozenset()
    """What the lines between the parts begin with (RFC 2046 §5.1.1): no edit may make one more of them."""

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
    try:
        entities = read_structure(raw)
    except (Unparsable, TooLarge) as problem:
        fields = _fields_only(raw)
        signatures, protection = _signatures(raw, fields, reading.removable_signatures)
        facts = _header_facts(raw, fields, protection=protection, problem=_reason(problem))
        return Message(raw, facts, fields, signatures=signatures)
    fields = entities[0].fields
    signatures, protection = _signatures(raw, fields, reading.removable_signatures)
    protection = _protected_structure(entities) or protection
    if protection is not None:
        return Message(raw, _header_facts(raw, fields, entities, protection), fields)
    if len(raw) > reading.max_bytes:
        return Message(raw, _header_facts(raw, fields, entities, problem=Reason.TOO_LARGE), fields)
    return _with_bodies(raw, entities, signatures, reading)


def _with_bodies(raw: bytes, entities: Sequence[Entity], signatures: tuple[Field, ...], reading: Reading) -> Message:
    fields = entities[0].fields
    try:
        plain = [entity for entity in entities if _is_body(entity.part, "text/plain")]
        texts = [_text_of(raw, entity.part) for entity in plain]
        bodies = _html_bodies(raw, entities, reading)
        editable = tuple(_text_bodies(raw, plain, reading, text_only=not bodies))
    except (Unparsable, TooLarge) as problem:
        return Message(raw, _header_facts(raw, fields, entities, problem=_reason(problem)), fields)
    if any(_PGP.search(text) for text in [*texts, *(body.encoded.decoded for body in bodies)]):
        return Message(raw, _header_facts(raw, fields, entities, Protection.ENCRYPTED), fields)
    has_text = any(text.strip() for text in texts)
    facts = _header_facts(
        raw,
        fields,
        entities,
        has_html=bool(bodies),
        has_text=has_text,
        empty=all(is_empty(body.encoded.decoded) for body in bodies) and (bool(bodies) or not has_text),
        links=sum(len(body.links) for body in (*bodies, *editable)),
    )
    return Message(raw, facts, fields, bodies, editable, signatures, _delimiters(entities))


def _delimiters(entities: Iterable[Entity]) -> frozenset[bytes]:
    types = [one.media_type for one in entities if one.media_type and one.part.content_type.startswith("multipart/")]
    return frozenset(b"--" + one.parameters["boundary"].encode("ascii") for one in types)


def _text_bodies(raw: bytes, plain: Iterable[Entity], reading: Reading, *, text_only: bool) -> Iterator[Body]:
    """Yield the text parts that there is something to edit in, and that can be edited; all others stay as they are."""
    wrapping = text_only and reading.plain_text_links
    if reading.tokens is None and not wrapping:
        return
    for entity in plain:
        part = entity.part
        if part.end - part.body > _MAX_TEXT_BYTES or not contains_ascii(part.charset or "us-ascii"):
            continue
        try:
            encoded = decode(raw[part.body : part.end], part.encoding)
        except Unparsable:
            continue
        own = find_in_text(encoded.decoded, reading.tokens) if reading.tokens is not None else OwnMarks()
        found = _text_links(encoded.decoded, reading.links, _joined(entity)) if wrapping else ()
        links = tuple(link for link in found if not own.covers(link.start))
        if own.edits or links:
            yield Body(entity, encoded, own, links[:MAX_LINKS])


def _joined(entity: Entity) -> bool:
    """Tell whether a space at a line's end goes, and the next line goes on in its place (RFC 3676 §4.1)."""
    said = entity.media_type.parameters if entity.media_type else {}
    return said.get("format", "").lower() == "flowed" and said.get("delsp", "").lower() == "yes"


def _text_links(data: bytes, rules: LinkRules, joined: bool) -> Iterator[Link]:
    """Yield the addresses in a text that may be wrapped: none in quoted lines (RFC 3676 §4.5), none that goes on."""
    for match in _TEXT_URL.finditer(data):
        line_start = data.rfind(b"\n", 0, match.start()) + 1
        if joined and data.startswith((b" \r\n", b" \n"), match.end()):
            continue
        if data.startswith(b">", line_start) or _GOES_ON.match(data, match.end()):
            continue
        url = match[0].decode("ascii")
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
) -> Facts:
    by_name: dict[str, list[str]] = {}
    for one in fields:
        by_name.setdefault(one.name, []).append(one.text(raw))
    lists = [parse_address_list(value) for name in ("to", "cc") for value in by_name.get(name, ())]
    authors = [parse_address_list(value) for value in by_name.get("from", ())]
    return Facts(
        size=len(raw),
        fields={name: tuple(values) for name, values in by_name.items()},
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
    )


def _names_nobody(found: AddressList) -> bool:
    return found.group_syntax or not found.addresses


def _signatures(
    raw: bytes, fields: Iterable[Field], removable: frozenset[str]
) -> tuple[tuple[Field, ...], Protection | None]:
    """Return the DKIM signatures that may be taken off, and a protection where one may not (RFC 6376, RFC 8617)."""
    ours: list[Field] = []
    for one in fields:
        if one.name in ("arc-seal", "arc-message-signature"):
            return (), Protection.DKIM
        if one.name == "dkim-signature":
            domain = re.search(r"(?:^|;)\s*d\s*=\s*([^\s;]+)", one.text(raw))
            if domain is None or canonical_domain(domain[1]) not in removable:
                return (), Protection.DKIM
            ours.append(one)
    return tuple(ours), None


def _protected_structure(entities: Sequence[Entity]) -> Protection | None:
    """Return what makes the structure one that must not be touched, anywhere in it."""
    found = [_protected_part(entity) for entity in entities]
    return next((protection for protection in Protection if protection in found), None)


def _protected_part(entity: Entity) -> Protection | None:
    name = entity.part.content_type
    if name in _SIGNED_TYPES:
        return Protection.SIGNED
    if name in _ENCRYPTED_TYPES:
        return Protection.ENCRYPTED
    if name in _PKCS7_TYPES:
        smime_type = entity.media_type.parameters.get("smime-type", "").lower() if entity.media_type else ""
        return Protection.SIGNED if smime_type == "signed-data" else Protection.ENCRYPTED
    if name in _REPORT_TYPES:
        return Protection.REPORT
    if name in _CALENDAR_TYPES:
        return Protection.CALENDAR
    if name in _TNEF_TYPES:
        return Protection.TNEF
    return None


def _is_body(part: Part, content_type: str) -> bool:
    return part.in_body and part.content_type == content_type


def _text_of(raw: bytes, part: Part) -> bytes:
    """Return a text part decoded; one that is not what it says is looked at as it stands: it is never edited."""
    content = raw[part.body : min(part.end, part.body + _MAX_TEXT_BYTES)]
    try:
        return decode(content, part.encoding).decoded
    except Unparsable:
        return content


def _html_bodies(raw: bytes, entities: Sequence[Entity], reading: Reading) -> tuple[HtmlBody, ...]:
    unsubscribe = unsubscribe_targets(one.text(raw) for one in entities[0].fields if one.name == "list-unsubscribe")
    bodies = []
    room = MAX_LINKS
    for entity in entities:
        if _is_body(entity.part, "text/html"):
            body = _html_body(raw, entity, reading, unsubscribe, room)
            room -= len(body.links)
            bodies.append(body)
    return tuple(bodies)


def _html_body(raw: bytes, entity: Entity, reading: Reading, unsubscribe: frozenset[str], room: int) -> HtmlBody:
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
    found = scan(encoded.decoded)
    own = find_in_html(encoded.decoded, reading.tokens) if reading.tokens is not None else OwnMarks()
    return HtmlBody(entity, encoded, own, _links(found, own, reading.links, unsubscribe, room), found)


def _links(found: Scan, own: OwnMarks, rules: LinkRules, unsubscribe: frozenset[str], room: int) -> tuple[Link, ...]:
    """Return the links that may be wrapped: none in quoted history, and no more than there is room for."""
    links: list[Link] = []
    for anchor in found.anchors:
        if found.quote_at is not None and anchor.start > found.quote_at:
            break
        url = target(anchor.href, anchor.text, anchor.attributes, rules, unsubscribe, anchor.labels)
        # Not one that is an old mark of ours, or stands in one: it leads where it led before, or goes.
        if url is not None and len(links) < room and not own.covers(anchor.start):
            links.append(Link(anchor.start, anchor.end, url))
    return tuple(links)


__all__ = ["CONTROL_HEADER", "HtmlBody", "Link", "Message", "Reading", "read_message"]
