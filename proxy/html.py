"""HTML parts: their links, where a footer may stand and where quoted history begins, as byte spans.

Nothing is parsed into a tree and written back out.
"""

import re
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from proxy.hidden import finding_covers
from proxy.history import DASHES, PAUSE_BYTES, begins_quote, finding_quote_line, finding_stops
from proxy.links import OPT_OUTS
from proxy.page import Page, page
from proxy.slices import Walk, at_once
from proxy.tags import MAX_VALUE, TAGS_PER_STEP, Attribute, Scanner, Tag, seeker, skipper
from proxy.visible import said

# Names by their first letters: every alternative is tried at every tag.
_RAW_TEXT = b"s(?:cript|tyle)|t(?:extarea|itle)|xmp|iframe|no(?:embed|frames)|plaintext"
_QUICK = rb"[c-gj-moqruwyzC-GJ-MOQRUWYZ]|[pP](?![lL])|[sS](?![cCtT])|[tT](?![eEiI])"
_NAMES, _CLOSING = b"a(?:rea)?|b(?:ody|lockquote)|html|" + _RAW_TEXT, b"a(?:rea)?|body"
_SKIP, _SEEK = (make(_NAMES, _CLOSING, quick=_QUICK) for make in (skipper, seeker))


class Anchor(NamedTuple):
    """One element that leads somewhere: where its href value stands, and what it says."""

    start: int
    end: int
    href: str
    """Decoded; characters above ASCII are latin-1 readings of their bytes."""
    attributes: dict[str, str]
    """Those that anybody asks for: the address, labels, and what may say that the link is to be left alone."""
    text: str
    labels: str = ""
    """What is said of it without being its text: title, alternative texts of it and of images in it."""


@dataclass(slots=True)
class Scan:
    """What the rewriter needs to know of one HTML part."""

    anchors: list[Anchor] = field(default_factory=list)
    body_start: int | None = None
    """Where the content of the first ``<body>`` begins."""
    body_end: int | None = None
    """Where the last ``</body>`` begins."""
    complete: bool = True
    """False where the document ends inside a tag, a comment or raw text: nothing can be appended to it."""
    quote_at: int | None = None
    """Where quoted history begins."""
    dashes: bool = True
    """Four dashes stand side by side somewhere; without them there is no inline PGP either."""
    language: str = ""
    """The ``lang`` of the html element, or of the body as Outlook writes it, in lower case."""
    covers: frozenset[bytes] = frozenset()
    """The names of elements that may cover what stands in them, in lower case; empty for one that cannot be told."""


def scan(data: bytes) -> Scan:
    """Return what there is to wrap in an HTML document, and where a footer may stand. Linear in its input."""
    return at_once(scanning(page(data)))


def scanning(page: Page) -> Walk[Scan]:
    """Walk through an HTML document as ``scan`` does, in steps."""
    data = page.data
    stops = yield from finding_stops(page)
    scanner = Scanner(data, _SEEK if page.plain else _SKIP, merge(stops.hints, stops.pauses), seeking=page.plain)
    reader = _Reader(data, page.lowered)
    step_end = PAUSE_BYTES
    for number, tag in enumerate(scanner.tags(0, len(data)), 1):
        sought = reader.found.quote_at is None
        reader.see(tag)
        if sought and reader.found.quote_at is not None:
            # Where history begins is known: the marks in it are none to stop at.
            scanner.stops = iter(stops.pauses)
        if not number % TAGS_PER_STEP or tag.end > step_end:
            step_end = tag.end + PAUSE_BYTES
            yield
    yield
    dashes = DASHES in page.lowered
    yield
    line = yield from finding_quote_line(page.lowered, dashes=dashes)
    found = reader.result(line)
    found.complete, found.dashes = scanner.complete, dashes
    found.covers = yield from finding_covers(page.markup)
    return found


@dataclass(slots=True)
class _Reader:
    """Takes note of the tags that matter, with the link elements that are open."""

    data: bytes
    lowered: bytes
    found: Scan = field(default_factory=Scan)
    open: list[tuple[Tag, dict[str, Attribute]]] = field(default_factory=list)

    def see(self, tag: Tag) -> None:
        """Take note of one tag."""
        found, name = self.found, tag.name
        if name in ("a", "area"):
            self._close(tag.start)
            if not tag.closing:
                self._link(tag)
        elif name.startswith("v:"):
            if not tag.closing:
                self._link(tag)
        elif name == "body" and not tag.conditional:
            if tag.closing:
                found.body_end = tag.start
            elif found.body_start is None:
                found.body_start = tag.end
                self._language(tag)
        elif name == "html":
            if not tag.closing:
                self._language(tag)
        elif found.quote_at is None and not tag.closing and begins_quote(self.data, tag):
            found.quote_at = tag.start

    def _language(self, tag: Tag) -> None:
        if not self.found.language:
            said = tag.attributes(self.data).get("lang")
            self.found.language = said.text(self.data).strip().lower() if said is not None else ""

    def _link(self, tag: Tag) -> None:
        attributes = tag.attributes(self.data)
        href = attributes.get("href")
        if href is None or href.end - href.start > MAX_VALUE or len(self.found.anchors) >= _MAX_ANCHORS:
            return
        if tag.name == "a":
            self.open.append((tag, attributes))
        elif tag.name == "area":
            self._add(tag, attributes, tag.end)
        else:
            # A shape's text stands inside it, up to its end tag.
            text_end = self.lowered.find(b"</v:", tag.end, tag.end + _MAX_ANCHOR_TEXT)
            self._add(tag, attributes, max(text_end, tag.end))

    def _close(self, text_end: int) -> None:
        while self.open:
            self._add(*self.open.pop(), text_end)

    def _add(self, tag: Tag, attributes: dict[str, Attribute], text_end: int) -> None:
        self.found.anchors.append(_anchor(self.data, tag, attributes, text_end))

    def result(self, quote_line: int | None) -> Scan:
        """Return what was found, at the end of the document; ``quote_line`` is where text says that history begins."""
        self._close(len(self.data))
        found = self.found
        starts = [at for at in (found.quote_at, quote_line) if at is not None]
        found.quote_at = min(starts, default=None)
        found.anchors.sort(key=lambda anchor: anchor.start)
        return found


_LABELS = ("title", "alt", "aria-label")
_ASKED_FOR = OPT_OUTS.union(_LABELS, ["href"])
_MAX_ANCHOR_TEXT = 4_096
_MAX_ANCHORS = 5_000
"""Of a document with more links than any letter has, the rest stays as it is."""


_POINTING = re.compile(r"(?:here|hier|ici|aqu\S{1,2}|qui|(?:this|diese[nm]) link|ce lien|enlace)\W*\Z")
_MAX_BEFORE_POINTING = 24
_AROUND = 300
"""Bytes on either side."""
_ENDS_SENTENCES = re.compile(
    rb"</?(?:a|p|div|t[drh]|table|li|[uo]l|h[1-6r]|blockquote|v:[a-z]+)\b[^>]*+>", re.IGNORECASE
)


def _only_points(text: str) -> bool:
    """Tell whether a link's text says nothing of where it leads: what stands around it does."""
    text = text.lower()
    found = _POINTING.search(text)
    if found is None or found.start() > _MAX_BEFORE_POINTING:
        return False
    return not text[: found.start()][-1:].isalnum()


def _said_around(data: bytes, start: int, text_end: int) -> list[str]:
    """Return what the block that a link stands in says before and behind it, up to the next link."""
    begin = max(0, start - _AROUND)
    before, behind = data[begin:start], data[text_end : text_end + _AROUND]
    tag_end = before.find(b">")
    if begin and b"<" not in before[: max(0, tag_end)]:
        # It may begin inside a tag.
        before = before[tag_end + 1 :]
    before = before[max((match.end() for match in _ENDS_SENTENCES.finditer(before)), default=0) :]
    behind = behind.removeprefix(b"</a>")
    end = _ENDS_SENTENCES.search(behind)
    behind = behind[: end.start()] if end is not None else behind[: behind.rfind(b"<")] if b"<" in behind else behind
    return [said(before)[0], said(behind)[0]]


def _anchor(data: bytes, tag: Tag, attributes: dict[str, Attribute], text_end: int) -> Anchor:
    texts = {name: attribute.text(data) for name, attribute in attributes.items() if name in _ASKED_FOR}
    href = attributes["href"]
    text, alternatives = said(data[tag.end : min(text_end, tag.end + _MAX_ANCHOR_TEXT)])
    labels = [texts[name] for name in _LABELS if name in texts]
    if _only_points(text):
        labels += _said_around(data, tag.start, text_end)
    return Anchor(href.start, href.end, texts["href"], texts, text, " ".join(labels + alternatives))
