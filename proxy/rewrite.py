"""Rewriting: spans become edits, edits are spliced into the bytes. Everything that no edit names stays as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from policies.decide import Decision
from policies.words import Purpose
from proxy.footer import footer_html
from proxy.header import Unparsable
from proxy.message import HtmlBody, Message
from proxy.transfer import MAX_LINE, Base64, Edit, Identity, line_break, splice, to_quoted_printable
from proxy.wish import removals, removals_unread

MAX_URL = 2_000
"""Characters of a wrapped URL; a link that would become longer is left alone."""


class Marks(Protocol):
    """Makes the addresses that go into one message. They name nobody and nothing that can be counted up."""

    def pixel(self) -> str:
        """Return the address of the pixel."""

    def link(self, number: int, target: str) -> str:
        """Return the address that leads to ``target``; ``number`` tells the message's links apart."""

    def stop(self) -> str:
        """Return the address of the page where the recipient refuses."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done to a message, in words for ``explain``."""

    what: str
    count: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent on, and what was changed in it."""

    raw: bytes
    changes: tuple[Change, ...] = ()


def untracked(message: Message) -> Outgoing:
    """Return the message as it came, without our control header and subject tag (DESIGN.md §1, promise 2)."""
    # A signature of our own that stays covers the subject as any other does.
    signed = message.facts.protection is not None or bool(message.signatures)
    if message.fields:
        edits = removals(message.raw, message.fields, keep_subject=signed)
    else:
        edits = removals_unread(message.raw)
    if not edits:
        return Outgoing(message.raw)
    return Outgoing(splice(message.raw, edits), (Change("control", len(edits)),))


def tracked(
    message: Message, decision: Decision, marks: Marks, organisation: str, *, eight_bit: bool = True
) -> Outgoing:
    """Return the message with what the decision allows: wrapped links, the pixel, the footer (promise 3).

    ``eight_bit`` says that the upstream takes 8-bit bytes (RFC 6152); where it does not, an edited part that has some
    is sent as quoted-printable. Raises Unparsable where an edit would need a guess.
    """
    control = removals(message.raw, message.fields, keep_subject=False)
    signatures = [(one.start, one.end, b"") for one in message.signatures]
    eol = line_break(message.raw)
    numbered = _numbered(message.bodies)
    edits = sorted([*control, *signatures])
    wrapped = 0
    for body, first in numbered:
        html_edits: list[Edit] = []
        if decision.allows(Purpose.CLICK):
            html_edits = list(_link_edits(body, first, marks))
            wrapped += len(html_edits)
        if body is message.bodies[-1]:
            html_edits.append(_footer_edit(body, decision, marks, organisation, eol))
        if html_edits:
            edits += _part_edits(message, body, html_edits, eol, eight_bit)
    changes = [Change("control", len(control)), Change("signature", len(signatures)), Change("link", wrapped),
               Change("pixel", int(bool(message.bodies) and decision.allows(Purpose.OPEN))),
               Change("footer", int(bool(message.bodies)))]  # fmt: skip
    return Outgoing(splice(message.raw, sorted(edits)), tuple(change for change in changes if change.count))


def _numbered(bodies: Sequence[HtmlBody]) -> Iterator[tuple[HtmlBody, int]]:
    number = 1
    for body in bodies:
        yield body, number
        number += len(body.links)


def _link_edits(body: HtmlBody, first: int, marks: Marks) -> Iterator[Edit]:
    for number, link in enumerate(body.links, first):
        url = marks.link(number, link.target)
        if len(url) <= MAX_URL:
            yield link.start, link.end, url.encode("ascii")


def _footer_edit(body: HtmlBody, decision: Decision, marks: Marks, organisation: str, eol: bytes) -> Edit:
    """Return the insertion of the footer: before the last ``</body>``, else at the end of the part."""
    data = body.encoded.decoded
    at = body.scan.body_end
    if at is None:
        if not body.scan.complete:
            raise Unparsable("the HTML ends inside a tag, a comment or raw text")
        at = len(data.rstrip(b"\r\n"))
    if isinstance(body.encoded, Base64):
        # Only there may the text have line breaks of its own; elsewhere they are the message's (RFC 2045 §6.7 rule 4).
        eol = line_break(data)
    pixel = marks.pixel() if decision.allows(Purpose.OPEN) else None
    footer = footer_html(organisation, decision, marks.stop(), pixel, eol.decode("ascii"))
    return at, at, eol + footer + eol if body.scan.body_end is not None else eol + footer


def _part_edits(message: Message, body: HtmlBody, edits: Sequence[Edit], eol: bytes, eight_bit: bool) -> list[Edit]:
    """Return the edits of the raw message that put the edits of one decoded part into it."""
    part = body.entity.part
    content = body.encoded.with_edits(sorted(edits), eol)
    if not isinstance(body.encoded, Identity):
        return [(part.body, part.end, content)]
    if _fits(content) and (eight_bit or content.isascii()):
        # Only the edits themselves: what is between them need not be copied.
        return [(part.body + start, part.body + end, new) for start, end, new in sorted(edits)]
    return [*_encoding_edits(body, eol), (part.body, part.end, to_quoted_printable(content, eol))]


def _fits(content: bytes) -> bool:
    lines = content.split(b"\n")
    # The CR does not count, but only a line near the limit is worth looking at twice.
    return max(map(len, lines)) <= MAX_LINE or max(len(line.removesuffix(b"\r")) for line in lines) <= MAX_LINE


def _encoding_edits(body: HtmlBody, eol: bytes) -> list[Edit]:
    """Return the edits that make a part's header say quoted-printable (RFC 2045 §6)."""
    said = b"Content-Transfer-Encoding: quoted-printable" + eol
    for one in body.entity.fields:
        if one.name == "content-transfer-encoding":
            return [(one.start, one.end, said)]
    after = body.entity.fields[-1].end
    return [(after, after, said)]
