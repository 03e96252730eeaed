"""Rewriting: spans become edits, edits are spliced into the bytes. Everything that no edit names stays as it is."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeVar

from policies.decide import Decision
from policies.footer import Language
from policies.tracker import OWN_VENDOR, FoundTracker
from policies.words import Purpose, Surface, TrackerAction
from proxy.body import Body, HtmlBody
from proxy.footer import LONG_HTML, Footer
from proxy.header import Unparsable
from proxy.hidden import finding_covered
from proxy.message import Message
from proxy.report import found_in, found_untouched, summing_up
from proxy.slices import Walk, at_once
from proxy.transfer import Base64, Edit, Identity, apart, fits, line_break, quoting, splice, splicing
from proxy.wish import removals, removals_unread

MAX_URL = 2_000
"""Characters of a wrapped URL; a link that would become longer is left alone."""


AnyBody = TypeVar("AnyBody", bound=Body)


class Marks(Protocol):
    """Makes the addresses that go into one message. They name nobody and nothing that can be counted up."""

    def pixel(self) -> str:
        """Return the address of the pixel."""

    def link(self, number: int, target: str) -> str:
        """Return the address that leads to ``target``; ``number`` tells the message's links apart."""

    def stop(self) -> str:
        """Return the address of the page where the recipient refuses."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What asks the recipient of an untracked message for their agreement."""

    decision: Decision
    footer: Footer
    url: str
    """Where they say yes or no."""
    eight_bit: bool = True
    """The upstream takes 8-bit bytes (RFC 6152)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done to a message, in words for ``explain``."""

    what: str
    count: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent on, and what was changed in it: the edits only, for each copy of a large message counts."""

    original: bytes
    edits: tuple[Edit, ...] = ()
    changes: tuple[Change, ...] = ()
    found: tuple[FoundTracker, ...] = ()
    """The trackers that were found, and what was done about them."""

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.original) + sum(len(new) - (end - start) for start, end, new in self.edits)

    @property
    def raw(self) -> bytes:
        """The message as it is sent on; the original itself where nothing was changed."""
        return self.behind(b"")

    def behind(self, field: bytes) -> bytes:
        """Return the message as it is sent on, behind one more header field; one copy is made, if any."""
        edits = self._behind(field)
        return splice(self.original, edits) if edits else self.original

    def putting_behind(self, field: bytes) -> Walk[bytes]:
        """Walk to what ``behind`` returns, in steps."""
        edits = self._behind(field)
        return (yield from splicing(self.original, edits)) if edits else self.original

    def _behind(self, field: bytes) -> Sequence[Edit]:
        return [(0, 0, field), *self.edits] if field else self.edits


def untracked(message: Message, *, clean: bool = False, invitation: Invitation | None = None) -> Outgoing:
    """Return the message as it came, less our control header, subject tag and old marks (DESIGN.md §1, promise 2).

    ``clean`` says that other people's trackers go too. With an invitation that stands below the message; then it raises
    Unparsable or ValueError where putting it in would need a guess.
    """
    return at_once(untracking(message, clean=clean, invitation=invitation))


def untracking(message: Message, *, clean: bool = False, invitation: Invitation | None = None) -> Walk[Outgoing]:
    """Walk through a message as ``untracked`` does, in steps."""
    eol = line_break(message.raw)
    inviting = next(reversed((*message.texts, *message.bodies)), None)
    if invitation is not None and inviting is None:
        raise Unparsable("there is no part for an invitation to stand below")
    cleaned: list[tuple[Body, list[Edit]]] = []
    for body in (*message.bodies, *message.texts):
        if invitation is not None and body is inviting:
            made = yield from _inviting(message, body, invitation, eol, clean=clean)
        else:
            made = yield from _cleaned(message, body, eol, clean=clean)
        cleaned.append((body, made))
    parts = [edit for _, edits in cleaned for edit in edits]
    # A signature of our own that stays covers the subject as any other does; one that our edits break goes.
    signatures = [(one.start, one.end, b"") for one in message.signatures] if parts else []
    signed = message.facts.protection is not None or len(message.signatures) > len(signatures)
    if message.fields:
        control = removals(message.raw, message.fields, keep_subject=signed)
    else:
        control = removals_unread(message.raw)
    edits = tuple(sorted([*control, *signatures, *parts]))
    done = (one for body, made in cleaned for one in found_in(body, bool(made), clean=clean))
    found = yield from summing_up(chain(done, found_untouched(message)))
    changes = [Change("control", len(control)), Change("signature", len(signatures))] if edits else []
    trackers = _tracker_changes(found) if edits else []
    asked = Change("invitation", int(invitation is not None))
    return Outgoing(message.raw, edits, _made([*changes, *trackers, asked]), found)


def _inviting(message: Message, body: Body, invitation: Invitation, eol: bytes, *, clean: bool) -> Walk[list[Edit]]:
    """Walk to the edits of the raw message that put an invitation below a part, and take trackers out of it."""
    footer, decision, edits = invitation.footer, invitation.decision, _clean_edits(body, clean=clean)
    if isinstance(body, HtmlBody):
        language = _language(body, message, footer, body.scan.language)
        own_eol = _own_eol(body, eol)
        block = footer.invitation_html(
            decision, language, invitation.url, document_language=body.scan.language, eol=own_eol.decode("ascii")
        )
        edits.append((yield from _shown(body, _placed(body, footer, block, own_eol))))
    else:
        text_eol = line_break(body.encoded.decoded)
        language = _language(body, message, footer)
        said = footer.invitation_text(decision, language, invitation.url, text_eol.decode("ascii"))
        edits.append(_below_text(body, said))
    return (yield from _part_edits(message, body, sorted(edits), eol, eight_bit=invitation.eight_bit, grows=True))


def _cleaned(message: Message, body: Body, eol: bytes, *, clean: bool) -> Walk[list[Edit]]:
    """Walk to the edits of the raw message that take trackers out of a part; none where that would need a guess."""
    edits = _clean_edits(body, clean=clean)
    if not edits:
        return []
    try:
        return (yield from _part_edits(message, body, edits, eol, eight_bit=True, grows=_grow(edits)))
    except (Unparsable, ValueError):
        # Taking out trackers is never worth a message that does not leave.
        return []


def _grow(edits: Sequence[Edit]) -> bool:
    return any(len(new) > end - start for start, end, new in edits)


def _clean_edits(body: Body, *, clean: bool) -> list[Edit]:
    """Return the edits of a decoded part that take our own old marks out, and where asked other people's trackers."""
    if not clean:
        return list(body.own.edits)
    return apart([*body.own.edits, *(edit for one in body.foreign for edit in one.edits)])


_OWN_CHANGES = {Surface.IMAGE: "own_pixel", Surface.LINK: "own_link", Surface.ELEMENT: "own_footer"}


def _tracker_changes(found: Sequence[FoundTracker]) -> list[Change]:
    """Return what was taken out, by what it was."""
    counts: Counter[str] = Counter()
    for one in found:
        if one.action in (TrackerAction.REMOVED, TrackerAction.UNWRAPPED):
            foreign = "foreign_pixel" if one.surface is Surface.IMAGE else f"foreign_{one.surface}"
            counts[_OWN_CHANGES[one.surface] if one.vendor == OWN_VENDOR else foreign] += one.count
    return [Change(what, count) for what, count in counts.items()]


def _made(changes: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.count)


def tracked(message: Message, decision: Decision, marks: Marks, footer: Footer, *, eight_bit: bool = True) -> Outgoing:
    """Return the message with what the decision allows: wrapped links, the pixel, the footer (promise 3).

    ``eight_bit`` says that the upstream takes 8-bit bytes (RFC 6152); where it does not, an edited part that has some
    is sent as quoted-printable. Raises Unparsable where an edit would need a guess.
    """
    return at_once(tracking(message, decision, marks, footer, eight_bit=eight_bit))


def tracking(
    message: Message, decision: Decision, marks: Marks, footer: Footer, *, eight_bit: bool = True
) -> Walk[Outgoing]:
    """Walk through a message as ``tracked`` does, in steps."""
    control = removals(message.raw, message.fields, keep_subject=False)
    signatures = [(one.start, one.end, b"") for one in message.signatures]
    eol, clean = line_break(message.raw), decision.removes_trackers
    edits = [*control, *signatures]
    wrapped = 0
    texts = []
    for text, first in _numbered(message.texts, clean=clean):
        texts.append((text, (yield from _link_edits(text, first, marks, clean=clean))))
    told = next((text for text, links in reversed(texts) if links), None)
    for text, links in texts:
        text_edits = apart([*links, *_clean_edits(text, clean=clean)])
        if text is told:
            text_edits.append(_text_footer_edit(text, decision, marks, footer, message))
        wrapped += len(links)
        if text_edits:
            edits += yield from _part_edits(
                message, text, sorted(text_edits), eol, eight_bit=eight_bit, grows=_grow(text_edits)
            )
    for body, first in _numbered(message.bodies, clean=clean):
        html_edits = _clean_edits(body, clean=clean)
        if decision.allows(Purpose.CLICK):
            links = yield from _link_edits(body, first, marks, clean=clean)
            wrapped += len(links)
            html_edits = apart([*links, *html_edits])
        if body is message.bodies[-1]:
            html_edits.append((yield from _shown(body, _footer_edit(body, decision, marks, footer, message, eol))))
        if html_edits:
            edits += yield from _part_edits(message, body, sorted(html_edits), eol, eight_bit=eight_bit, grows=True)
    shown = bool(message.bodies) or wrapped > 0
    done = (one for body in (*message.bodies, *message.texts) for one in found_in(body, True, clean=clean))
    found = yield from summing_up(done)
    changes = [
        Change("control", len(control)),
        Change("signature", len(signatures)),
        *_tracker_changes(found),
        Change("link", wrapped),
        Change("pixel", int(bool(message.bodies) and decision.allows(Purpose.OPEN))),
        Change("footer", int(shown)),
    ]
    return Outgoing(message.raw, tuple(sorted(edits)), _made(changes), found)


def _numbered(bodies: Sequence[AnyBody], *, clean: bool) -> Iterator[tuple[AnyBody, int]]:
    number = 1
    for body in bodies:
        yield body, number
        number += len(body.unwrapped_links if clean else body.links)


def _link_edits(body: Body, first: int, marks: Marks, *, clean: bool) -> Walk[list[Edit]]:
    """Return the edits that wrap the links; not of one that stands in what goes."""
    edits = []
    gone = apart(edit for one in body.foreign for edit in one.edits if one.destination is None) if clean else []
    for number, link in enumerate(body.unwrapped_links if clean else body.links, first):
        url = marks.link(number, link.target)
        place = bisect_right(gone, link.start, key=lambda edit: edit[0])
        inside = place > 0 and link.start < gone[place - 1][1]
        if len(url) <= MAX_URL and not inside:
            edits.append((link.start, link.end, url.encode("ascii")))
        yield
    return edits


def _language(body: Body, message: Message, footer: Footer, html_language: str = "") -> Language:
    """Return the language of the footer: the one that the part says it is in, or the message, else our own."""
    said = [one.text(message.raw) for one in body.entity.fields if one.name == "content-language"]
    # Several languages in one field (RFC 3282) name readers, not what the text is written in.
    tags = [html_language, *said, *message.values("content-language")]
    return footer.language_of(tag for tag in tags if "," not in tag)


def _text_footer_edit(body: Body, decision: Decision, marks: Marks, footer: Footer, message: Message) -> Edit:
    """Return the insertion of the text footer at the end of a text part."""
    eol = line_break(body.encoded.decoded).decode("ascii")
    return _below_text(body, footer.text(decision, _language(body, message, footer), marks.stop(), eol))


def _below_text(body: Body, said: bytes) -> Edit:
    """Return the insertion of a paragraph at the end of a text part."""
    data = body.encoded.decoded
    # Behind white space at the end of its last line: that is the line's own, and the signature's mark has some.
    at, eol = len(data.rstrip(b"\r\n")), line_break(data)
    return at, at, eol + eol + said


def _footer_edit(
    body: HtmlBody, decision: Decision, marks: Marks, footer: Footer, message: Message, eol: bytes
) -> Edit:
    """Return the insertion of the footer."""
    found, eol = body.scan, _own_eol(body, eol)
    pixel = marks.pixel() if decision.allows(Purpose.OPEN) else None
    language = _language(body, message, footer, found.language)
    block = footer.html(
        decision, language, marks.stop(), pixel, document_language=found.language, eol=eol.decode("ascii")
    )
    return _placed(body, footer, block, eol)


def _own_eol(body: Body, eol: bytes) -> bytes:
    """Return the line break of a part: the message's, but in base64 its own (RFC 2045 §6.7 rule 4)."""
    return line_break(body.encoded.decoded) if isinstance(body.encoded, Base64) else eol


def _placed(body: HtmlBody, footer: Footer, block: bytes, eol: bytes) -> Edit:
    """Return the insertion of a block: before the last ``</body>``, else at the end of the part.

    At the top of long HTML, where that is asked for.
    """
    data, found = body.encoded.decoded, body.scan
    if footer.top_if_long and len(data) > LONG_HTML and found.body_start is not None:
        at = _kept(body, found.body_start)
        return at, at, eol + block
    if found.body_end is not None:
        at = _kept(body, found.body_end)
        return at, at, eol + block + eol
    if not found.complete:
        raise Unparsable("the HTML ends inside a tag, a comment or raw text")
    at = _kept(body, len(data.rstrip(b"\r\n")))
    return at, at, eol + block


def _shown(body: HtmlBody, edit: Edit) -> Walk[Edit]:
    """Walk to the insertion of a block. Raises Unparsable where nobody would see it: who is tracked must be told."""
    covers = body.scan.covers
    if covers and (yield from finding_covered(body.encoded.decoded, edit[0], covers)):
        raise Unparsable("an element that covers its content is left open")
    return edit


def _kept(body: Body, at: int) -> int:
    """Return an offset of the part; the end of an old footer of ours that goes where it stands inside one."""
    return next((end for start, end, _ in body.own.edits if start < at < end), at)


def _part_edits(
    message: Message, body: Body, edits: Sequence[Edit], eol: bytes, *, eight_bit: bool, grows: bool
) -> Walk[list[Edit]]:
    """Walk to the edits of the raw message that put the edits of one decoded part, which are in order, into it.

    Edits that only take something out (``grows`` is false) make no line too long that was not so before. Raises
    Unparsable where the part would fall in two.
    """
    part = body.entity.part
    content = yield from body.encoded.editing(edits, eol)
    found = [(part.body, part.end, content)]
    if isinstance(body.encoded, Identity):
        stays = not grows or fits(content)
        yield
        if stays and (eight_bit or content.isascii()):
            # Only the edits themselves: what is between them need not be copied.
            found = [(part.body + start, part.body + end, new) for start, end, new in edits]
        else:
            content = yield from quoting(content, eol)
            found = [*_encoding_edits(body, eol), (part.body, part.end, content)]
    yield
    made = _delimiters_in(content, message)
    if made and made > _delimiters_in(message.raw[part.body : part.end], message):
        raise Unparsable("an edit would make a line that ends the part")
    return found


_FEW = 32
"""So many searches cost less than a look at every line."""


def _delimiters_in(content: bytes, message: Message) -> int:
    """Return how many lines of a part would be read as the line between two parts (RFC 2046 §5.1.1).

    There are some where an inner part quotes them; taking a mark out, or breaking a line anew, could make another.
    """
    few = len(message.delimiters) <= _FEW
    if few and not any(content.startswith(one) or b"\n" + one in content for one in message.delimiters):
        return 0
    rests = (b"\n" + content).split(b"\n--")[1:]
    lines = [b"--" + rest.partition(b"\n")[0].rstrip(b" \t\r") for rest in rests]
    return sum(line in message.delimiters or line.removesuffix(b"--") in message.delimiters for line in lines)


def _encoding_edits(body: Body, eol: bytes) -> list[Edit]:
    """Return the edits that make a part's header say quoted-printable (RFC 2045 §6)."""
    said = b"Content-Transfer-Encoding: quoted-printable" + eol
    for one in body.entity.fields:
        if one.name == "content-transfer-encoding":
            return [(one.start, one.end, said)]
    # A part may have no header at all, only the blank line.
    after = body.entity.fields[-1].end if body.entity.fields else body.entity.part.start
    return [(after, after, said)]
