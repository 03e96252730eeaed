"""The message: raw bytes, and the facts found in them. Nothing is parsed into a tree and written back out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.facts import Facts
from policies.words import Protection, Reason, Scope
from proxy.body import (
    Body,
    HtmlBody,
    Reading,
    Trackers,
    html_bodies,
    is_body,
    text_bodies,
    text_of,
    tracked_in,
)
from proxy.encodedword import decode_words
from proxy.header import AddressList, Field, TooLarge, Unparsable, parse_address_list, scan_fields
from proxy.links import unsubscribe_targets
from proxy.protection import own_signatures, protected_header, protected_structure
from proxy.slices import Walk, at_once, each
from proxy.structure import Entity, reading_structure
from proxy.tags import TAGS_PER_STEP
from proxy.transfer import apart, splice
from proxy.visible import finding_empty

_PGP = re.compile(rb"-----BEGIN(?:\s|&nbsp;|&#160;|\xa0|\xc2\xa0)++PGP ")


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
        return decode_words(next(iter(self.values("subject")), ""), "replace")


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
    protection = protected_structure(entities) or protection or protected_header(raw, fields)
    if protection is not None:
        facts = _header_facts(raw, fields, entities, protection)
        seen = yield from tracked_in(raw, entities, reading)
        return Message(raw, facts, fields, untouchable=seen)
    if len(raw) > reading.max_bytes:
        return Message(raw, _header_facts(raw, fields, entities, problem=Reason.TOO_LARGE), fields)
    return (yield from _with_bodies(raw, entities, signatures, reading))


def _with_bodies(
    raw: bytes, entities: Sequence[Entity], signatures: tuple[Field, ...], reading: Reading
) -> Walk[Message]:
    fields = entities[0].fields
    try:
        plain = [entity for entity in entities if is_body(entity.part, "text/plain")]
        texts = []
        for entity in plain:
            texts.append((yield from text_of(raw, entity.part)))
            yield
        unsubscribe = unsubscribe_targets(one.text(raw) for one in fields if one.name == "list-unsubscribe")
        bodies = yield from html_bodies(raw, entities, reading, unsubscribe)
        editable = yield from text_bodies(raw, plain, reading, unsubscribe, text_only=not bodies)
    except (Unparsable, TooLarge) as problem:
        return Message(raw, _header_facts(raw, fields, entities, problem=_reason(problem)), fields)
    everything = (*bodies, *editable)
    pages = [body.encoded.decoded for body in bodies if body.scan.dashes]
    read = [*texts, *pages, *(yield from _without_marks(everything))]
    if any((yield from each(_PGP.search(text) for text in read))):
        seen = tuple(Trackers(body.own, body.foreign) for body in everything)
        facts = _header_facts(raw, fields, entities, Protection.ENCRYPTED)
        return Message(raw, facts, fields, untouchable=seen)
    has_text = any((yield from each(text.strip() for text in texts)))
    empty = yield from _is_empty(bodies, has_text=has_text)
    trackers = yield from _trackers(everything)
    facts = _header_facts(
        raw,
        fields,
        entities,
        has_html=bool(bodies),
        has_text=has_text,
        empty=empty,
        # Whether trackers are taken out first is not decided yet.
        links=min(sum(len(body.links) for body in everything), sum(len(body.unwrapped_links) for body in everything)),
        trackers=trackers,
    )
    return Message(raw, facts, fields, bodies, editable, signatures, _delimiters(entities))


def _without_marks(bodies: Iterable[Body]) -> Walk[list[bytes]]:
    """Walk to the parts as they would be without what tracks: that could leave what looks like inline PGP behind."""
    found = []
    for body in bodies:
        data, own = body.encoded.decoded, body.own.edits
        if own:
            found.append(splice(data, own))
            yield
        foreign = [edit for one in body.foreign for edit in one.edits]
        if foreign:
            yield
            edits = apart([*own, *foreign])
            yield
            found.append(splice(data, edits))
    return found


def _trackers(bodies: Iterable[Body]) -> Walk[int]:
    """Walk to how many foreign trackers are known to track and come with a tool."""
    count = 0
    for body in bodies:
        for number, one in enumerate(body.foreign, 1):
            count += one.certain and one.scope is Scope.TOOL
            if not number % TAGS_PER_STEP:
                yield
    return count


def _delimiters(entities: Iterable[Entity]) -> frozenset[bytes]:
    types = [one.media_type for one in entities if one.media_type and one.part.content_type.startswith("multipart/")]
    return frozenset(b"--" + one.parameters["boundary"].encode("ascii") for one in types)


def _is_empty(bodies: Iterable[HtmlBody], *, has_text: bool) -> Walk[bool]:
    """Tell whether nobody would see anything in the HTML parts; where there are none, in the text."""
    for body in bodies:
        data, start = body.encoded.decoded, body.scan.body_start
        # Most that there is to see follows the body's tag; the head is looked at where nothing does.
        if start is not None and not (yield from finding_empty(data, start)):
            return False
        if not (yield from finding_empty(data)):
            return False
        has_text = False
    return not has_text


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
    # An empty Cc, as web applications write it, names nobody more; an empty To says that names are kept back.
    copies = filter(None, by_name.get("cc", ()))
    lists = [parse_address_list(value) for value in (*by_name.get("to", ()), *copies)]
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


__all__ = ["Message", "Reading", "read_message", "reading_message"]
