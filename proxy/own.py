"""Our own old marks: the pixel, links and footer of an earlier message that a reply or a forward quotes.

They belong to somebody else, so they are taken out of every message that is not protected (DESIGN.md §1, promise 2):
the pixel goes, links lead to their exact destination again, the footer goes where it stands alone. A mark is ours by
its path and a token that opens, on whatever host: hosts change.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Protocol
from urllib.parse import unquote

from proxy.links import addresses_in_text, at_schemes, is_whole
from proxy.page import Page
from proxy.slices import STEP_BYTES, Walk, each
from proxy.tags import MAX_VALUE, TAGS_PER_STEP, Tag, all_tags, removal
from proxy.transfer import Edit, apart
from proxy.visible import visible_text

MAX_FOOTER_TEXT = 400
"""Characters of a footer of ours; a longer element around a stop link is somebody's text."""
_MAX_FOOTER_BYTES = 20_000

# The shortest token, a pixel's, has 60 characters. Gmail's image proxy keeps the original address behind "#".
_MARK = re.compile(rb"/(?:o|l|stop|join)/[A-Za-z0-9_\-]{40}")
# Patterns with one letter at the front of each: together they would be tried at every byte.
_HIDDEN_MARKS = (
    re.compile(rb"&(?=#0*+(?:47|58)\b|#[xX]0*+(?:2[fF]|3[aA])\b|sol;|colon;)"),
    re.compile(rb"%(?=2[fF](?:o|l|stop|join)%2[fF])"),
    re.compile(rb"_(?=(?:o|l|stop|join)_[A-Za-z0-9\-]{40})"),
)
"""What a mark may look like with its slashes or colon written another way, as gateways write links into their own."""
Unwrap = Callable[[str], str | None]
"""Returns where a link leads that others have put around one; None for any other."""
_URL = re.compile(
    r"(?i:https?)://[^\s/<>\"']+(?:/[^\s/<>\"']+)*?/(o|l|stop|join)/([A-Za-z0-9_\-]{40,4096})(\.gif)?"
    # One behind another is the last of them: to take the first out would make an address of what is left.
    r"(?![A-Za-z0-9_\-]|/(?:o|l|stop|join)/)"
)
_OF_ADDRESS = re.compile(r"[^\s<>\"'()\[\]]")
_IN_ADDRESS = re.compile(r"(?i:https?)://[^\s<>\"'()\[\]]*\Z")
_LONGEST_PROXY = 2_000
"""Characters that an image proxy, as Google's, puts in front of the address of the image itself."""
_BLOCKS = frozenset(
    {"div", "p", "table", "td", "th", "tr", "li", "ul", "ol", "center", "section", "footer", "blockquote"}
)
_KEPT_BLOCKS = frozenset({"td", "th", "blockquote"})
"""Elements of which only the content goes: a table would fall apart without its cell, a quote is the sender's."""
_ENDS_PARAGRAPH = frozenset({"p"})
_ENDS = {
    "li": frozenset({"p", "li"}),
    "td": frozenset({"p", "td", "th"}),
    "th": frozenset({"p", "td", "th"}),
    "tr": frozenset({"p", "td", "th", "tr"}),
}


class OpensTokens(Protocol):
    """Tells what a token of ours carries."""

    def is_pixel(self, token: str) -> bool:
        """Tell whether it is a pixel's."""

    def destination(self, token: str) -> str | None:
        """Return where a link's token leads; None for any other."""

    def is_stop(self, token: str) -> bool:
        """Tell whether it is that of a stop link, or of an invitation: by either a footer of ours is known."""


@dataclass(frozen=True, slots=True)
class OwnMarks:
    """The edits that take our old marks out of one part, in order and apart, and what they take out."""

    edits: tuple[Edit, ...] = ()
    pixels: int = 0
    links: int = 0
    footers: int = 0

    def covers(self, offset: int) -> bool:
        """Tell whether an edit replaces what stands at the offset."""
        return _inside((offset, offset + 1, b""), self.edits)

    def touches(self, start: int, end: int) -> bool:
        """Tell whether an edit replaces any of what stands between the offsets."""
        at = bisect_right(self.edits, start, key=lambda edit: edit[1])
        return at < len(self.edits) and self.edits[at][0] < end


@dataclass(slots=True)
class _Block:
    tag: Tag
    links: int = 0
    stop: bool = False


@dataclass(slots=True)
class _Finder:
    """Walks through the tags of one part, with the block elements that are open."""

    data: bytes
    tokens: OpensTokens
    unwrap: Unwrap
    blocks: list[_Block] = field(default_factory=list)
    open_names: Counter[str] = field(default_factory=Counter)
    pixels: list[Edit] = field(default_factory=list)
    links: list[Edit] = field(default_factory=list)
    footers: list[Edit] = field(default_factory=list)

    def see(self, tag: Tag) -> None:
        """Take note of one tag."""
        if tag.closing:
            if self.open_names[tag.name]:
                self._close(tag.name, tag.start, tag.end)
        elif tag.name in _BLOCKS:
            self._close_implied(tag)
            self.blocks.append(_Block(tag))
            self.open_names[tag.name] += 1
        elif tag.name in ("a", "area") or tag.name.startswith("v:"):
            self._link(tag)
        elif tag.name in ("img", "input"):
            source = tag.attributes(self.data).get("src")
            if source is not None and _is_pixel(source.text(self.data), self.tokens):
                self.pixels.append((tag.start, tag.end, b""))

    def _close_implied(self, tag: Tag) -> None:
        """End the elements that a start tag ends: a paragraph by any block, an item or a cell by the next one.

        WHATWG HTML §13.1.2.4; without it, a footer in a paragraph left open would take the one before it along.
        """
        ended = _ENDS.get(tag.name, _ENDS_PARAGRAPH)
        while self.blocks and self.blocks[-1].tag.name in ended:
            self._finish(self._pop(), tag.start, tag.start)

    def _link(self, tag: Tag) -> None:
        href = tag.attributes(self.data).get("href")
        if href is None or href.end - href.start > MAX_VALUE:
            return
        match = _link_of_ours(href.text(self.data).strip(), self.unwrap)
        if match is not None and match[1] in ("stop", "join") and self.tokens.is_stop(match[2]):
            if self.blocks:
                self.blocks[-1].stop = True
            return
        if self.blocks:
            self.blocks[-1].links += 1
        destination = self.tokens.destination(match[2]) if match is not None and match[1] == "l" else None
        if destination is not None:
            quoted = self.data[href.start - 1 : href.start] in (b'"', b"'")
            self.links.append((href.start, href.end, _value(destination, quoted=quoted)))

    def _close(self, name: str, start: int, end: int) -> None:
        """Close the innermost open block of this name, and those left open inside it."""
        block = self._pop()
        while block.tag.name != name:
            self._finish(block, start, start)
            block = self._pop()
        self._finish(block, start, end)

    def _finish(self, block: _Block, content_end: int, end: int) -> None:
        """Judge a block that has ended; a footer of ours is one that says little else."""
        if block.stop and block.links == 0 and self._says_little(block.tag.end, content_end):
            whole = (block.tag.start, end, b"")
            self.footers.append((block.tag.end, content_end, b"") if block.tag.name in _KEPT_BLOCKS else whole)
        elif self.blocks:
            self.blocks[-1].links += block.links + block.stop

    def _pop(self) -> _Block:
        block = self.blocks.pop()
        self.open_names[block.tag.name] -= 1
        return block

    def _says_little(self, start: int, end: int) -> bool:
        if end - start > _MAX_FOOTER_BYTES:
            return False
        return len(visible_text(self.data[start:end])) <= MAX_FOOTER_TEXT

    def result(self) -> OwnMarks:
        """Return the edits in order; what stands inside a footer goes with it."""
        footers: list[Edit] = []
        for footer in sorted(self.footers, key=lambda edit: (edit[0], -edit[1])):
            # One inside another goes with it.
            if not footers or footer[0] >= footers[-1][1]:
                footers.append(footer)
        outside = [edit for edit in (*self.pixels, *self.links) if not _inside(edit, footers)]
        edits = tuple(self._apart(edit) for edit in sorted([*footers, *outside]))
        return OwnMarks(edits, len(self.pixels), len(self.links), len(footers))

    def _apart(self, edit: Edit) -> Edit:
        """Return the edit as it may be made: nothing in the text may become markup with what follows."""
        start, end, new = edit
        return edit if new else removal(self.data, start, end)


def _link_of_ours(url: str, unwrap: Unwrap) -> re.Match[str] | None:
    """Return the parts of an address that looks like one of ours, by itself or in what a gateway has put around it."""
    # What a program has put behind the address, a query or a fragment, leads nowhere else.
    match = _URL.fullmatch(re.split(r"[?#]", url, maxsplit=1)[0])
    if match is not None:
        return match
    inner = unwrap(url)
    return None if inner is None else _URL.fullmatch(re.split(r"[?#]", inner, maxsplit=1)[0])


def no_gateways(_: str) -> None:
    """Unwrap nothing."""


def finding_in_html(page: Page, tokens: OpensTokens, unwrap: Unwrap = no_gateways) -> Walk[OwnMarks]:
    """Walk to what there is of ours in an HTML part. Costs three short searches where there is nothing."""
    if not (yield from _finding_hint(page.markup)):
        return OwnMarks()
    data = page.data
    finder = _Finder(data, tokens, unwrap)
    for number, tag in enumerate(all_tags(data), 1):
        finder.see(tag)
        if not number % TAGS_PER_STEP:
            yield
    return finder.result()


def _finding_hint(markup: bytes) -> Walk[bool]:
    """Tell, in steps, whether there may be a mark. No value is looked at further than the steps reach over."""
    for start in range(0, len(markup), STEP_BYTES):
        if any(mark.search(markup, start, start + STEP_BYTES + MAX_VALUE) for mark in (_MARK, *_HIDDEN_MARKS)):
            return True
        yield
    return False


def _value(destination: str, *, quoted: bool) -> bytes:
    """Return an attribute value for HTML; without quotes some more characters would end it (WHATWG §13.1.2.3)."""
    value = escape(destination)
    return (value if quoted else value.replace("`", "&#96;").replace("=", "&#61;")).encode("ascii")


def _is_pixel(source: str, tokens: OpensTokens) -> bool:
    """Tell whether an image is our pixel: by its address, or by the one a proxy keeps behind ``#`` or in its path."""
    return any(match[1] == "o" and tokens.is_pixel(match[2]) for match in _URL.finditer(unquote(source)))


def _inside(edit: Edit, spans: Sequence[Edit]) -> bool:
    """Tell whether an edit stands inside one of the spans, which are in order and apart."""
    at = bisect_right(spans, edit[0], key=lambda span: span[0]) - 1
    return at >= 0 and edit[1] <= spans[at][1]


def finding_in_text(data: bytes, tokens: OpensTokens, unwrap: Unwrap = no_gateways) -> Walk[OwnMarks]:
    """Walk to what there is of ours in a text part: links that stand there whole, and pixels' addresses."""
    if not (yield from _finding_hint(data)):
        return OwnMarks()
    links = yield from each(_text_edits(data.decode("latin-1"), tokens))
    wrapped = yield from each(_gateway_edits(data, tokens, unwrap))
    edits = tuple(apart(filter(None, [*links, *wrapped])))
    pixels = sum(not new.strip() for _, _, new in edits)
    return OwnMarks(edits, pixels, links=len(edits) - pixels)


def _text_edits(text: str, tokens: OpensTokens) -> Iterator[Edit | None]:
    """Yield the edit of each address that is one of ours, None of others."""
    for match in at_schemes(text, "://", _URL):
        destination = tokens.destination(match[2]) if match is not None and match[1] == "l" else None
        if match is None:
            yield None
        elif destination is not None:
            yield match.start(), match.end(), destination.encode("ascii")
        elif _is_pixel(match[0], tokens):
            # Outlook makes "[address]" of an image when it makes text of HTML; whoever follows that has the pixel.
            proxy = _IN_ADDRESS.search(text, max(0, match.start() - _LONGEST_PROXY), match.start())
            start = match.start() if proxy is None else proxy.start()
            bracket = text[start - 1 : start] + text[match.end() : match.end() + 1] in ("[]", "<>", "()")
            yield _removal(text, start - bracket, match.end() + bracket)
        else:
            yield None


def _removal(text: str, start: int, end: int) -> Edit:
    """Return the edit that takes an address out, with a space where its neighbours might make another one."""
    joined = _OF_ADDRESS.match(text[start - 1 : start]) and _OF_ADDRESS.match(text[end : end + 1])
    return start, end, b" " if joined else b""


def _gateway_edits(data: bytes, tokens: OpensTokens, unwrap: Unwrap) -> Iterator[Edit | None]:
    for address in addresses_in_text(data):
        if address is None or not is_whole(data, address):
            yield None
            continue
        match = _link_of_ours(address[0].decode("ascii"), unwrap)
        destination = tokens.destination(match[2]) if match is not None and match[1] == "l" else None
        yield (address.start(), address.end(), destination.encode("ascii")) if destination is not None else None
