"""The judge: what must hold of every message that goes through the engine.

It reads what came out with the library's email package and with code of its own, never with the engine's.
"""

import re
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, replace
from email.message import Message as Parsed
from typing import Any

from aboveboard.explain import assumed_consent
from ledger.reader import Known
from ledger.tokens import Marks, OwnTokens, new_message_id, open_click
from policies import Envelope, PolicyModel, Purpose, Reason, compile_policy
from policies.words import ForeignTracking
from proxy.footer import Footer
from proxy.links import link_rules, own_place
from proxy.message import Message, Reading, read_message
from proxy.relay import Conduct, Examination, examine, rewrite
from proxy.rewrite import untracked
from proxy.structure import read_structure
from proxy.trackers import Watch
from proxy.vendors import load_rules
from tests.fuzz.mutate import KEYRING, OURS, PUBLIC_URL
from tests.fuzz.reading import (
    Fault,
    decoded,
    decoded_attribute,
    encoding,
    expect,
    fields,
    parts,
    payload,
    shape,
    unread,
)
from tests.fuzz.watching import check_cleaned
from tests.proxy.samples import decision

ENVELOPE = Envelope("max@example.org", ("ada@client.example",))
EDGES = "".join(map(chr, range(0x21)))
_CONTROL = re.compile(rb"(?im)^x-aboveboard-track[ \t]*:.*\r?\n(?:[ \t].*\r?\n)*")


def conduct(*, plain_text_links: bool, watching: bool) -> Conduct:
    """Return the conduct of an installation that knows the fuzzer's keys, and perhaps other people's trackers."""
    tokens = OwnTokens(KEYRING)
    watch = Watch(load_rules(), own_hosts=frozenset({own_place(PUBLIC_URL)}), tokens=tokens) if watching else None
    return Conduct(
        policy=compile_policy(PolicyModel(plain_text_links=plain_text_links), ["example.org"]),
        reading=Reading(
            links=link_rules(False, [], [PUBLIC_URL]), plain_text_links=plain_text_links, tokens=tokens, watch=watch
        ),
        footer=Footer("Beispiel & Söhne"),
        public_url=PUBLIC_URL,
        hostname="relay.test",
    )


CONDUCTS = {
    (wrapped, watching): conduct(plain_text_links=wrapped, watching=watching)
    for wrapped in (False, True)
    for watching in (False, True)
}


@dataclass
class RememberingMarks:
    """Marks with the fuzzer's keys that know which addresses they made."""

    marks: Marks = field(default_factory=lambda: Marks(KEYRING, PUBLIC_URL, new_message_id(), ENVELOPE.rcpt_to[0]))
    pixels: list[bytes] = field(default_factory=list)
    stops: list[bytes] = field(default_factory=list)

    def pixel(self) -> str:
        """Return the address of the pixel."""
        self.pixels.append(self.marks.pixel().encode())
        return self.pixels[-1].decode()

    def link(self, number: int, target: str) -> str:
        """Return the address that leads to a target."""
        return self.marks.link(number, target)

    def stop(self) -> str:
        """Return the address of the page where the recipient refuses."""
        self.stops.append(self.marks.stop().encode())
        return self.stops[-1].decode()


def _at_once(coroutine: Coroutine[Any, Any, Examination]) -> Examination:
    """Return what a coroutine returns that waits for nothing but its next turn."""
    while True:
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        if waits_for is not None:
            raise Fault("examining waits for something")


async def _everybody_agreed(*_: str) -> Known:
    return Known(assumed_consent(frozenset(Purpose)))


def judge(raw: bytes, *, eight_bit: bool = True, plain_text_links: bool = False, watching: bool = False) -> str:
    """Return in a word what became of a message. Raises Fault, or whatever the engine raises, where it is wrong.

    ``watching`` says that other people's trackers are taken out.
    """
    here = CONDUCTS[plain_text_links, watching]
    examined = _at_once(examine(here, raw, ENVELOPE, _everybody_agreed))
    plain = untracked(examined.message).raw
    _check_untracked(raw, plain, examined.message, here.reading)
    if watching:
        cleaned = untracked(examined.message, clean=True).raw
        check_cleaned(plain, cleaned, examined.message, here.reading)
        plain = cleaned
    facts = examined.message.facts
    if facts.problem is not None or facts.protection is not None:
        return str(facts.problem or facts.protection)
    if not examined.decision.tracked:
        # Whatever else the policy has against this message: the engine must be able to rewrite it.
        foreign = ForeignTracking.REMOVE if watching else ForeignTracking.REPORT
        examined = replace(examined, decision=replace(decision(*Purpose), foreign_tracking=foreign))
    marks = RememberingMarks()
    after, outgoing = rewrite(here, examined, marks, eight_bit=eight_bit)  # type: ignore[arg-type]
    if not after.decision.tracked:
        plain = untracked(examined.message, clean=after.decision.removes_trackers).raw
        expect(outgoing.raw == plain, "not possible to track, and not untouched")
        return "nothing to track" if after.decision.reason is Reason.TOO_LARGE else "no place"
    expect(_leaves(outgoing.raw, eight_bit) == _leaves(plain, eight_bit), "another leaf changed")
    _check_again(outgoing.raw, marks, here.reading)
    if any(map(unread, parts(plain))) or re.search(rb"\r(?!\n)", plain):
        # The library takes a CR alone for a line break; no such message comes by SMTP.
        return "tracked, unread"
    _Tracked(plain, outgoing.raw, marks, eight_bit).check()
    return "tracked"


def _check_untracked(raw: bytes, plain: bytes, message: Message, reading: Reading) -> None:
    if not OURS.search(raw) and not any(body.own.edits for body in (*message.bodies, *message.texts)):
        encoded_tag = len(plain) < len(raw) and b"=?" in raw
        expect(plain == raw or encoded_tag, "untracked is not untouched")
    if plain == raw:
        return
    # RFC 5322 §2.1: the first empty line ends the header, also where it is the message's first line.
    header = plain[: re.search(rb"^\r?\n|\Z", plain, re.MULTILINE).start()]  # type: ignore[union-attr]
    if message.facts.problem is None:
        expect(not _CONTROL.search(header), "the control header stayed")
        expect(shape(plain) == shape(raw) or any(map(unread, parts(raw))), "the tree has another shape")
    again = untracked(read_message(plain, reading)).raw
    expect(again == plain, "a second pass takes out more")


def _leaves(raw: bytes, eight_bit: bool) -> list[tuple[int, bytes]]:
    """Return depth and bytes of every part by our own spans, without the bodies that may be rewritten or encoded."""
    parts = [entity.part for entity in read_structure(raw)]
    html = eight_bit and any(one.in_body and one.content_type == "text/html" for one in parts)
    rewritten = ("text/html",) if html else ("text/html", "text/plain")
    return [
        (part.depth, raw[part.start : part.end])
        for part in parts
        if not part.content_type.startswith("multipart/") and not (part.in_body and part.content_type in rewritten)
    ]


@dataclass
class _Tracked:
    """A tracked message beside the same message untracked."""

    before: bytes
    after: bytes
    marks: RememberingMarks
    eight_bit: bool
    pixels: int = 0

    def check(self) -> None:
        """Raise Fault for the first thing that does not hold."""
        before, after = parts(self.before), parts(self.after)
        expect(shape(self.before) == shape(self.after), "the tree has another shape")
        expect(_longest(self.after) <= max(998, _longest(self.before)), "a line has become too long")
        changed = 0
        for old, new in zip(before, after, strict=True):
            if self._same_header(old, new):
                continue
            if old.is_multipart():
                expect((old.preamble, old.epilogue) == (new.preamble, new.epilogue), "preamble or epilogue changed")
            elif payload(old) != payload(new) or encoding(old) != encoding(new):
                changed += 1
                self._check_part(old, new)
        expect(changed > 0, "nothing changed")
        expect(self.pixels == len(self.marks.pixels) <= 1, f"{self.pixels} pixels")

    def _same_header(self, old: Parsed, new: Parsed) -> bool:
        """Check the header; tell whether the part is a message that was forwarded, whose parts come by themselves."""
        expect(fields(old) == fields(new) or self._is_ours(old, new), "a header field changed")
        return old.get_content_maintype() == "message" and old.is_multipart()

    def _is_ours(self, old: Parsed, new: Parsed) -> bool:
        """Tell whether header fields differ in a DKIM signature alone, which a rewritten message goes without."""
        return [one for one in fields(old) if one[0].lower() != "dkim-signature"] == fields(new)

    def _check_part(self, old: Parsed, new: Parsed) -> None:
        kind = old.get_content_type().partition(" (")[0]  # the library leaves comments in
        html = kind == "text/html"
        expect(kind in ("text/html", "text/plain"), f"a part of type {kind} changed")
        expect(old.get_content_disposition() != "attachment", "an attachment changed")
        if not self.eight_bit:
            expect(payload(new).isascii(), "8-bit bytes for a 7-bit upstream")
        if encoding(new) in ("quoted-printable", "base64"):
            limit = max(76, _longest(payload(old))) if encoding(old) == encoding(new) else 76
            expect(_longest(payload(new)) <= limit, f"{encoding(new)} with a long line")
            valid = (
                rb"(?:[A-Za-z0-9+/]*=?=?[ \t]*\r?\n?)*"
                if encoding(new) == "base64"
                else rb"(?:[\t\r\n -<>-~]|=[0-9A-Fa-f]{2}|=[ \t]*(?:\r?\n|\Z))*"
            )
            expect(re.fullmatch(valid, payload(new)) is not None, f"not valid {encoding(new)}")
        text = self._without_footer(decoded(new), html=html)
        expect(any(_unwraps(decoded(old), one, html=html) for one in text), "more than links changed")

    def _without_footer(self, data: bytes, *, html: bool) -> Iterator[bytes]:
        """Yield the part without our footer, if it has it: with and without the line break behind."""
        self.pixels += sum(map(data.count, self.marks.pixels))
        stop = data.find(self.marks.stops[0]) if self.marks.stops else -1
        if stop == -1:
            yield data
            return
        # In text it is two lines, of which the address stands on the second.
        start = data.rfind(b"<div", 0, stop) if html else data.rfind(b"\n", 0, data.rfind(b"\n", 0, stop)) + 1
        end = data.find(b"</div>", stop) + 6 if html else stop + len(self.marks.stops[0])
        for breaks in (1, 2):
            # One line break of either kind in front, two in text; perhaps one behind.
            first = data[: start - (1 if html else 2) * breaks]
            yield first + data[end:]
            yield first + data[end:].removeprefix(b"\r").removeprefix(b"\n")


_WRAPPED = re.compile(re.escape(PUBLIC_URL).encode() + rb"/l/([A-Za-z0-9_-]+)")


def _unwraps(before: bytes, after: bytes, *, html: bool) -> bool:
    """Tell whether the wrapped links are all that differs, and each leads exactly to where it led."""
    at = read = 0
    for match in _WRAPPED.finditer(after):
        same = after[read : match.start()]
        if not before.startswith(same, at):
            return False
        at += len(same)
        if before.startswith(match[0], at):
            # Stood there before us, in a piece of another message.
            at, read = at + len(match[0]), match.end()
            continue
        click = open_click(KEYRING, match[1].decode())
        if click is None or (html and not re.search(rb"href[\t\n\f\r ]*=[\t\n\f\r ]*[\"']?\Z", same, re.IGNORECASE)):
            return False
        value = _value(before, at, html=html, target=click.target)
        said = decoded_attribute(value.decode("latin-1")).strip(EDGES) if html else value.decode("latin-1")
        expect(said == click.target, f"a link led to {said!r} and leads to {click.target!r}")
        at, read = at + len(value), match.end()
    return before[at:] == after[read:]


def _value(before: bytes, at: int, *, html: bool, target: str) -> bytes:
    """Return the attribute value that stands at an offset, or the text where a link stands in text."""
    if not html:
        return before[at : at + len(target)]
    end = {b'"': rb'"', b"'": rb"'"}.get(before[at - 1 : at], rb"[\t\n\f\r >]")
    found = re.compile(end).search(before, at)
    return before[at : found.start() if found else len(before)]


def _longest(content: bytes) -> int:
    return max(len(line.removesuffix(b"\r")) for line in content.split(b"\n"))


def _check_again(out: bytes, marks: RememberingMarks, reading: Reading) -> None:
    """Check that the engine reads what it wrote, and takes its own marks out again (case 21)."""
    message = read_message(out, reading)
    expect(message.facts.problem is None and message.facts.protection is None, "what went out cannot be read again")
    cleaned = read_message(untracked(message).raw, reading)
    for body in cleaned.bodies:
        html = body.encoded.decoded
        expect(not any(mark in html for mark in (*marks.pixels, *marks.stops)), "our own marks stay on a second pass")
