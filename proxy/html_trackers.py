"""Foreign trackers in an HTML part: resources, style sheets, elements, links, and images that look like pixels.

Most mail pays for a few searches and one look at each link; tags are walked through only where something may be found.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress

from policies.words import Scope, Surface, Tier, TrackerAction
from proxy.entities import decode_attribute
from proxy.hidden import finding_hidden, has_token, hides, is_tiny, names_recipient
from proxy.html import Scan
from proxy.page import Page
from proxy.slices import STEP_BYTES, Walk, each
from proxy.surfaces import (
    FETCHING_TAGS,
    Fetched,
    absolute,
    fetched_by,
    finding_styles,
    finding_tag_names,
    may_fetch,
    sheet,
    styled,
    taken_out,
)
from proxy.tags import TAGS_PER_STEP, VOID, Attribute, Tag, all_tags, removal, some_tags
from proxy.trackers import (
    Finding,
    TrackedLink,
    Watch,
    attribute_value,
    fetched_from,
    host_of,
    link_findings,
    look_finding,
    unverified_finding,
    vendor_finding,
)
from proxy.vendors import ElementMatch
from proxy.visible import visible_text

_MAX_ELEMENT = 20_000
"""Bytes of an element that goes with its content."""
_MAX_ELEMENTS = 50
"""Elements of vendors in one part that are looked at; the programs write one or two."""
_MAX_IMAGES = 2_000
"""Images of one part whose looks are judged."""
_REPEATS = 5
"""An image that is there so often is layout (cases/trackers.md §4.2)."""

_CSS_ADDRESS = re.compile(
    rb"(?:url\(|@import)[\t\n\f\r ]*+(?:url\([\t\n\f\r ]*+)?(?:[\"']|&(?:quot|apos|#39|#34);)?([^\"'()\s<>]{0,2000})"
)
_MAX_ADDRESS = 4_000
"""How far one may reach."""
_BEFORE_WORD = frozenset({b'"', b"'", b"=", b" ", b"\t", b"\r", b"\n", b"\f"})
_BEHIND_WORD = frozenset({b'"', b"'", b">", b"/", b" ", b"\t", b"\r", b"\n", b"\f"})
_SHOWS = frozenset({"input", "video", "audio", "object", "embed", "iframe", "svg", "button", "textarea", "select"})
_WRAPPERS = frozenset({"div", "span", "font", "center", "p"})
_GLYPHS = frozenset({"", "\u1427", "\u1427".encode().decode("latin-1")})
"""What stands in Streak's element beside its image, in white: U+1427, as such or as its bytes in UTF-8."""


def finding_in_html(
    page: Page, scan: Scan, watch: Watch, unsubscribe: frozenset[str] = frozenset()
) -> Walk[tuple[Finding, ...]]:
    """Walk to the foreign trackers of an HTML part, in order. ``unsubscribe`` are the targets of List-Unsubscribe."""
    data, markup = page.data, page.markup
    names = yield from finding_tag_names(markup)
    finder = _Finder(data, scan, watch, _base(data) if b"base" in names else "")
    if may_fetch(markup, names):
        yield from finder.look_at_tags()
    yield
    if (yield from finding_styles(page.lowered, names)) and (yield from finder.has_css_trackers(page.lowered)):
        yield from finder.look_at_styles()
    yield
    if any(tag in names and _has_word(markup, word) for tag, word in watch.element_words):
        yield from finder.look_at_elements()
    yield from finder.look_at_links(unsubscribe)
    return tuple(sorted(finder.found, key=lambda finding: finding.start))


def _has_word(lowered: bytes, word: bytes) -> bool:
    """Tell whether a word stands somewhere where it may be one of an attribute's."""
    if b"_" in word and b"_" not in lowered:
        # One byte is found, or not, thirty times as fast as a word, and most letters have none of these.
        return False
    at = lowered.find(word)
    while at != -1:
        if lowered[at - 1 : at] in _BEFORE_WORD and lowered[at + len(word) : at + len(word) + 1] in _BEHIND_WORD:
            return True
        at = lowered.find(word, at + 1)
    return False


def _is_within(at: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Tell whether an offset lies in one of the spans, which are in order and apart."""
    place = bisect_right(spans, at, key=lambda span: span[0]) - 1
    return place >= 0 and at < spans[place][1]


def _base(data: bytes) -> str:
    """Return the address that relative ones are relative to: the first ``base`` that names one."""
    for tag in some_tags(data, FETCHING_TAGS):
        if tag.name == "base" and not tag.closing:
            href = tag.attributes(data).get("href")
            if href is not None:
                return absolute(href.text(data)) or ""
    return ""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image that no rule knows."""

    url: str
    start: int
    attributes: Mapping[str, str]


@dataclass(slots=True)
class _Finder:
    """Collects what is found in one part."""

    data: bytes
    scan: Scan
    watch: Watch
    base: str
    found: list[Finding] = field(default_factory=list)

    def _scope(self, at: int) -> Scope:
        """Return whose something is: behind the first sign of quoted history it is not the sender's."""
        quote_at = self.scan.quote_at
        return Scope.QUOTED if quote_at is not None and at >= quote_at else Scope.TOOL

    # Resources

    def look_at_tags(self) -> Walk[None]:
        """Find what tags fetch by attributes of their own, and judge the images that no rule knows by their looks."""
        images: list[_Image] = []
        for tag in some_tags(self.data, FETCHING_TAGS):
            yield
            if tag.closing:
                continue
            attributes = tag.attributes(self.data)
            fetched = list(fetched_by(self.data, tag, attributes, self.base))
            if fetched and not self._known(tag, fetched) and len(images) < _MAX_IMAGES:
                images += self._images(tag, attributes, fetched)
        yield from self._judge(images)

    def _known(self, tag: Tag, fetched: Sequence[Fetched]) -> bool:
        """Take note of what a rule knows among the addresses that a tag fetches; tell whether any is."""
        unverified = {one for one in fetched if self.watch.is_unverified(fetched_from(one.url))}
        known = {one: self.watch.resource(one.url, "image") for one in fetched if one not in unverified}
        matches = {one: match for one, match in known.items() if match is not None and match.kind != "gateway"}
        certain = [one for one, match in matches.items() if match.certainty == "certain"]
        # What goes, goes together: two edits of one tag must not be in each other's way.
        edits = taken_out(self.data, tag, fetched, [*certain, *unverified]) if certain or unverified else []
        for one in fetched:
            url = fetched_from(one.url)
            if one in unverified:
                self.found.append(unverified_finding(one.surface, url, tag.start, edits))
                edits = []
            elif one in matches:
                scope = self._scope(tag.start)
                self.found.append(vendor_finding(matches[one], scope, one.surface, url, tag.start, edits))
                edits = edits if matches[one].certainty == "likely" else []
        return bool(matches or unverified)

    def _images(self, tag: Tag, attributes: Mapping[str, Attribute], fetched: Sequence[Fetched]) -> Iterator[_Image]:
        if tag.name in ("img", "image", "input"):
            for one in fetched:
                if one.surface is Surface.IMAGE and one.attribute == "src":
                    texts = {name: attribute.text(self.data) for name, attribute in attributes.items()}
                    yield _Image(fetched_from(one.url), tag.start, texts)

    def _judge(self, images: Sequence[_Image]) -> Walk[None]:
        """Report images that look like pixels (tier D), and visible ones that name the recipient (tier E)."""
        repeats = Counter(image.url for image in images)
        rare = [image for image in images if repeats[image.url] < _REPEATS]
        judged = yield from each(self._is_suspect(image.url) for image in rare)
        suspects = list(compress(rare, judged))
        hidden = (yield from finding_hidden(self.data)) if suspects else []
        for image in suspects:
            yield
            if is_tiny(image.attributes) or hides(image.attributes) or _is_within(image.start, hidden):
                if has_token(image.url):
                    self.found.append(look_finding(self._scope(image.start), Tier.D, image.url, image.start))
            elif names_recipient(image.url):
                self.found.append(look_finding(self._scope(image.start), Tier.E, image.url, image.start))

    def _is_suspect(self, url: str) -> bool:
        if not has_token(url) and not names_recipient(url):
            return False
        return not self.watch.is_trusted(url) and not self.watch.is_allowed(url)

    # Style sheets

    def has_css_trackers(self, lowered: bytes) -> Walk[bool]:
        """Tell whether a style may fetch from a vendor: by its address, or because that cannot be told yet."""
        if b"image-set(" in lowered:
            return True
        seen: set[bytes] = set()
        for start in range(0, len(lowered), STEP_BYTES):
            end = start + STEP_BYTES
            for match in _CSS_ADDRESS.finditer(lowered, start, end + _MAX_ADDRESS):
                address = self.data[match.start(1) : match.end(1)]
                if address not in seen and self._may_be_tracked(address):
                    return True
                seen.add(address)
                yield
            yield
        return False

    def _may_be_tracked(self, address: bytes) -> bool:
        """Tell whether an address in a style may be a vendor's; it may where it is written in a way CSS alone reads."""
        if b"\\" in address or address.startswith((b"&", b"/*")):
            return True
        url = absolute(decode_attribute(address.decode("latin-1")), self.base)
        return url is not None and self.watch.resource(url, "css") is not None

    def look_at_styles(self) -> Walk[None]:
        """Find what ``style`` attributes and style sheets fetch."""
        begun: Tag | None = None
        for number, tag in enumerate(all_tags(self.data), 1):
            if not number % TAGS_PER_STEP:
                yield
            if tag.closing:
                if begun is not None and tag.name == "style":
                    yield from self._fetched_by_css(sheet(self.data, begun.end, tag.start, self.base))
                begun = None
                continue
            begun = tag if tag.name == "style" else None
            if self.data.find(b"(", tag.inside, tag.end) != -1:
                attribute = tag.attributes(self.data).get("style")
                if attribute is not None:
                    yield from self._fetched_by_css(styled(self.data, attribute, self.base))

    def _fetched_by_css(self, fetched: Iterator[Fetched | None]) -> Walk[None]:
        for one in fetched:
            yield
            if one is None:
                continue
            match = self.watch.resource(one.url, "css")
            if match is not None and match.kind != "gateway":
                scope, edit = self._scope(one.start), (one.start, one.end, b"")
                self.found.append(vendor_finding(match, scope, Surface.CSS, one.url, one.start, [edit]))

    # Elements

    def look_at_elements(self) -> Walk[None]:
        """Find the elements that vendors' programs write; what is found inside one that goes is no second tracker."""
        reached, looked_at = 0, 0
        for number, tag in enumerate(some_tags(self.data, self.watch.element_tags), 1):
            if not number % TAGS_PER_STEP:
                yield
            if tag.closing or tag.start < reached or looked_at >= _MAX_ELEMENTS:
                continue
            texts = {name: attribute.text(self.data) for name, attribute in tag.attributes(self.data).items()}
            match = self.watch.rules.element(tag.name, texts)
            if match is not None:
                looked_at += 1
                reached = self._element(tag, texts, match)
                yield

    def _element(self, tag: Tag, attributes: Mapping[str, str], match: ElementMatch) -> int:
        """Take note of an element, and return where what goes with it ends."""
        start, end = self._extent(tag) or (tag.start, tag.start)
        inside, outside = self._apart(start, max(end, tag.end), match.vendor)
        if tag.name in VOID and any(one.vendor is not None for one in inside):
            # Its address gave it away already.
            return tag.end
        if start < end:
            self.found = outside
        url = absolute(attributes.get("src", ""), self.base) or ""
        self.found.append(
            Finding(
                scope=self._scope(tag.start),
                vendor=match.vendor,
                name=match.name,
                surface=Surface.ELEMENT,
                tier=Tier.C,
                host=next((one.host for one in inside), host_of(fetched_from(url))),
                start=tag.start,
                action=TrackerAction.REMOVED if start < end else TrackerAction.REPORTED,
                edits=(removal(self.data, start, end),) if start < end else (),
            )
        )
        return max(end, tag.end)

    def _apart(self, start: int, end: int, vendor: str) -> tuple[list[Finding], list[Finding]]:
        """Return what was found of a vendor, or only by its looks, between two offsets, and everything else."""
        both: tuple[list[Finding], list[Finding]] = ([], [])
        for one in self.found:
            both[not (start <= one.start < end and one.vendor in (vendor, None))].append(one)
        return both

    def _extent(self, tag: Tag) -> tuple[int, int] | None:
        """Return the span of an element that may go, or None where it holds something for people to see."""
        if tag.name in VOID:
            source = tag.attributes(self.data).get("src")
            if source is not None and absolute(source.text(self.data), self.base) is None:
                # A picture that comes with the message fetches nothing.
                return None
            return self._wrapped(tag)
        if tag.conditional:
            return None
        closing = self._closing(tag)
        if closing is None or not self._is_residue(tag.end, closing.start):
            return None
        return tag.start, closing.end

    def _closing(self, tag: Tag) -> Tag | None:
        """Return the end tag of an element; None where it is far away or anything but plain nesting comes between."""
        opened = [tag.name]
        for other in all_tags(self.data, tag.end):
            if other.start - tag.end > _MAX_ELEMENT or other.name in ("body", "html"):
                return None
            if other.conditional or other.name in VOID:
                continue
            if not other.closing:
                opened.append(other.name)
            elif other.name != opened.pop():
                return None
            elif not opened:
                return other
        return None

    def _is_residue(self, start: int, end: int) -> bool:
        """Tell whether the content of an element is nothing but pixels and a glyph that nobody sees."""
        content = self.data[start:end]
        if visible_text(content) not in _GLYPHS or b"<!--[" in content:
            return False
        return all(self._goes(content, tag) for tag in all_tags(content) if not tag.closing)

    def _goes(self, content: bytes, tag: Tag) -> bool:
        if tag.name in _SHOWS or tag.name.startswith("v:"):
            return False
        if tag.name not in ("img", "image"):
            return True
        attributes = {name: attribute.text(content) for name, attribute in tag.attributes(content).items()}
        url = absolute(attributes.get("src", ""), self.base)
        if url is None:
            return False
        return self.watch.resource(url, "image") is not None or is_tiny(attributes) or hides(attributes)

    def _wrapped(self, tag: Tag) -> tuple[int, int]:
        """Return the span of an image, and of the element around it where that is there for nothing else."""
        data = self.data
        before = data.rfind(b"<", max(0, tag.start - 500), tag.start)
        if before == -1 or tag.conditional:
            return tag.start, tag.end
        opening, closing = (
            next(all_tags(data[before : tag.start]), None),
            next(all_tags(data[tag.end : tag.end + 200]), None),
        )
        if opening is None or closing is None or opening.closing or not closing.closing:
            return tag.start, tag.end
        between = data[before + opening.end : tag.start] + data[tag.end : tag.end + closing.start]
        plain = opening.inside + 1 == opening.end or self._is_hidden(before, opening)
        if opening.name != closing.name or opening.name not in _WRAPPERS or between.strip() or not plain:
            return tag.start, tag.end
        return before, tag.end + closing.end

    def _is_hidden(self, at: int, tag: Tag) -> bool:
        content = self.data[at : at + tag.end]
        return hides({name: attribute.text(content) for name, attribute in tag.attributes(content).items()})

    # Links

    def look_at_links(self, unsubscribe: frozenset[str]) -> Walk[None]:
        """Find links that lead through a tracker, and where they lead in the end."""
        for number, anchor in enumerate(self.scan.anchors, 1):
            if not number % TAGS_PER_STEP:
                yield
            url = absolute(anchor.href, self.base)
            if url is None or self.watch.link(url) is None:
                continue
            quoted = self.data[anchor.start - 1 : anchor.start] in (b'"', b"'")
            link = TrackedLink(url, anchor.start, anchor.end, self._scope(anchor.start), anchor.text, anchor.labels)
            written = partial(attribute_value, quoted=quoted)
            self.found += link_findings(self.watch, link, unsubscribe, written)
            yield
