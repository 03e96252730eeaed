"""The HTML scanner: start tags, end tags and attribute values as byte spans, as the WHATWG tokenizer sees them.

It finds what the rewriter needs and never builds a tree (WHATWG HTML §13.2.5). The bytes of a charset that contains
ASCII are scanned as they are: no markup character is ever part of another character there. One compiled pattern skips
text and the tags nobody asked for; possessive quantifiers keep it linear whatever the input.
"""

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.entities import decode_attribute
from proxy.slices import Walk, at_once

_WS = rb"[\t\n\f\r ]"
# §13.2.5.32 to 39. A name may begin with "="; a value without quotes ends at white space or ">". An "=" that no value
# follows makes the whole tag fail, for then a quote is never closed and the tag runs to the end of the file.
_ATTRIBUTE = (
    rb"[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+|(?=>))"
    rb"|(?!" + _WS + rb"*+=))"
)
# The same for most tags that programs write, in fewer steps: where every "=" stands right behind a letter or digit, and
# its value right behind it, what else has no quote mark needs no closer look: ">" ends the tag.
_PLAIN = rb"[^>\"'=]*+(?:(?<=[A-Za-z0-9])=(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+)[^>\"'=]*+)*+(?=>)"
_INSIDE = rb"(?:(?=>)|" + _PLAIN + rb"|(?:[\t\n\f\r /]++|" + _ATTRIBUTE + rb")*+)"
_ANY_TAG = rb"<(/?)([A-Za-z][^\t\n\f\r />]*+)(" + _INSIDE + rb")>"
_TAG = re.compile(_ANY_TAG)
_ATTRIBUTES = re.compile(
    rb"([^\t\n\f\r />][^\t\n\f\r />=]*+)"
    rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\t\n\f\r >\"'][^\t\n\f\r >]*+))?+)?+"
)


def _any_case(name: bytes) -> bytes:
    """Return a pattern of a name in any case: sets of two are tried much faster than letters under IGNORECASE."""
    return re.sub(rb"[a-z]", lambda letter: b"[" + letter[0] + letter[0].upper() + b"]", name)


RAW_TEXT = (b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
"""Elements whose content is text up to their end tag (§13.2.5.2 to 4; scripting is off in mail, so not noscript)."""
_RAW_END = {name.decode(): re.compile(rb"</" + _any_case(name) + rb"(?=[\t\n\f\r />])") for name in RAW_TEXT}
_RAW_NAMES = frozenset(_RAW_END) | {"plaintext"}
_SCRIPT = re.compile(rb"<!--(-?>)?|(-->)|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)
_COMMENT_END = re.compile(rb"--!?>")
_CONDITIONAL = re.compile(rb"<!--\[if\b[^\]>]*+\]>", re.IGNORECASE)


def _skipper(names: bytes, closing: bytes = b"") -> re.Pattern[bytes]:
    """Return a pattern that runs over text and over every tag whose name is not one of ``names`` (alternatives).

    A "<" that begins no markup is text. ``closing`` are the names of end tags, where they are not the same. The tag at
    which it stops is matched with it, as ``_TAG`` does.
    """
    start, end = (_any_case(each) + rb"|[vV]:[^\t\n\f\r />]*+" for each in (names, closing or names))
    return re.compile(
        rb"[^<]*+(?:<(?:(?![A-Za-z/!?])"
        rb"|(?:/(?!(?:" + end + rb")[\t\n\f\r />])|(?!(?:" + start + rb")[\t\n\f\r />]))"
        rb"[A-Za-z][^\t\n\f\r />]*+" + _INSIDE + rb">"
        rb")[^<]*+)*+(?:" + _ANY_TAG + rb")?+"
    )


# Names by their first letters: every alternative is tried at every tag.
_RAW_TEXT = b"s(?:cript|tyle)|t(?:extarea|itle)|xmp|iframe|no(?:embed|frames)|plaintext"
_SKIP = _skipper(b"a(?:rea)?|b(?:ody|lockquote)|html|" + _RAW_TEXT, closing=b"a(?:rea)?|body")
_SKIP_NOTHING = re.compile(rb"[^<]*+(?:<(?![A-Za-z/!?])[^<]*+)*+(?:" + _ANY_TAG + rb")?+")

# Where a mail program says that history begins: Gmail, Outlook on the web and desktop, Thunderbird, Yahoo, Proton,
# Apple Mail (blockquote). Looked for in lower-case bytes first, so that most mail never stops at a div. One search for
# each, 2 to 3 GB/s for a long word or one rare letter: a pattern of them all would be tried at every byte.
_QUOTE_WORDS = (b"divrplyfwdmsg", b"appendonsend", b"reference-message", b'name="quote"')
_QUOTE_PATTERNS = tuple(
    map(re.compile, (rb"_(?=quote|extra)", rb"z(?=-cite|-forward)", rb"border-top(?=:\s*solid|-color:\s*rgb)"))
)
_QUOTE_VALUE = re.compile(
    r"(?:^|\s)(?:gmail_quote\S*|gmail_extra|\S*divRplyFwdMsg|\S*appendonsend|moz-cite-prefix|moz-forward-container"
    r"|\S*yahoo_quoted|protonmail_quote|tutanota_quote|zmail_extra|\S*reference-message(?:-container)?)(?:\s|$)",
    re.IGNORECASE,
)
# Outlook's Word engine: a rule above "From: … Sent: …".
_OUTLOOK_RULE = re.compile(
    r"border:\s*none;\s*border-top:\s*solid\s+(?:#(?:E1E1E1|B5C4DF)|windowtext|rgb\()|border-top-color:\s*rgb\(225",
    re.IGNORECASE,
)
# What programs write above history as text, in the languages that the product speaks.
_QUOTE_LINE = re.compile(
    rb"-(?<!--)-{3,}+\s*+(?:original message|forwarded message|urspr(?:\xc3\xbc|\xfc|&uuml;)ngliche nachricht"
    rb"|message d'origine|message transf\S{1,8}|mensaje original|messaggio originale)\s*-{4,}"
)
_FORWARDED = b"begin forwarded message:"


_ENDS_ATTRIBUTE = frozenset({b"\t", b"\n", b"\f", b"\r", b" ", b"/", b">"})
MAX_VALUE = 8_192


class Attribute(NamedTuple):
    """One attribute: its name in lower case and the span of its raw value, without quotes."""

    name: str
    start: int
    end: int

    def text(self, data: bytes) -> str:
        """Return the value with character references decoded; bytes above ASCII come back as latin-1.

        Of a value of more than ``MAX_VALUE`` bytes only the beginning: nobody has a use for the rest.
        """
        value = data[self.start : min(self.end, self.start + MAX_VALUE)].decode("latin-1")
        return decode_attribute(value) if "&" in value else value


class Tag(NamedTuple):
    """One start or end tag as the tokenizer emits it."""

    name: str
    start: int
    end: int
    inside: int
    """Where its attributes begin."""
    closing: bool
    conditional: bool
    """Stands inside one of Outlook's conditional comments."""

    def attributes(self, data: bytes) -> dict[str, Attribute]:
        """Return the attributes by name; of a name that occurs twice the first counts (§13.2.5.33)."""
        found: dict[str, Attribute] = {}
        for match in _ATTRIBUTES.finditer(data, self.inside, self.end - 1):
            name = match[1].lower().decode("latin-1")
            if name not in found:
                # The group that matched last is the value in its quotes, or the name where there is no value.
                group = match.lastindex or 1
                start, end = match.span(group) if group > 1 else (match.end(), match.end())
                found[name] = Attribute(name, start, end)
        return found

    def spans(self, data: bytes, name: str) -> list[tuple[int, int]]:
        """Return what would have to go for the tag to be without an attribute: every one of that name.

        White space in front goes with it, for the next one brings its own; where that does not, it stays.
        """
        found = []
        for match in _ATTRIBUTES.finditer(data, self.inside, self.end - 1):
            if match[1].lower() == name.encode("latin-1"):
                goes_on = data[match.end() : match.end() + 1] not in _ENDS_ATTRIBUTE
                found.append((match.start() - (not goes_on and data[match.start() - 1] in b"\t\n\f\r "), match.end()))
        return found


@dataclass(slots=True)
class _Scanner:
    data: bytes
    skip: re.Pattern[bytes]
    stops: Iterator[int] = field(default_factory=lambda: iter(()))
    """Offsets of a "<" at which to stop too, in order, whatever tag begins there."""
    stop: int = -1
    complete: bool = True

    def tags(self, at: int, end: int, conditional: bool = False) -> Iterator[Tag]:
        """Yield the tags that the skip pattern stops at. Clears ``complete`` where the input ends inside something."""
        data, skip = self.data, self.skip.match
        while True:
            while self.stop < at:
                self.stop = next(self.stops, len(data))
            match = skip(data, at, min(self.stop, end))
            if match is None or match[2] is None:
                at = match.end() if match else end
                if at >= end:
                    return
                # A stop, or something else than a tag. A stop that stands inside a tag has cut it short, so that it
                # was not skipped: it is yielded whole.
                match = _TAG.match(data, at, end)
                if match is None:
                    next_at = self._past_markup(at, end)
                    inner = _CONDITIONAL.match(data, at, end)
                    # A comment that is never closed shows nothing to anybody.
                    if inner is not None and not conditional and self.complete:
                        yield from self._inside_conditional(inner.end(), max(inner.end(), next_at - 3))
                    at = next_at
                    continue
            slash, name, after = match[1], match[2].lower().decode("latin-1"), match.end()
            yield Tag(name, match.start(1) - 1, after, match.start(3), bool(slash), conditional)
            at = self._past_raw_text(name, after, end) if name in _RAW_NAMES and not slash else after

    def _inside_conditional(self, at: int, end: int) -> Iterator[Tag]:
        inner = _Scanner(self.data, self.skip, self.stops, self.stop)
        yield from inner.tags(at, end, True)
        self.stop = inner.stop

    def _past_markup(self, at: int, end: int) -> int:
        """Return the offset behind the comment, declaration or bogus comment at ``at``, or the end of the input."""
        data = self.data
        if data.startswith(b"<!--", at):
            # §13.2.5.43 and 44: "<!-->" and "<!--->" are empty comments.
            for empty in (b">", b"->"):
                if data.startswith(empty, at + 4, end):
                    return at + 4 + len(empty)
            match = _COMMENT_END.search(data, at + 4, end)
            found = match.end() if match else -1
        elif data[at + 1] in b"!?" or (data[at + 1] == 0x2F and not data[at + 2 : at + 3].isalpha()):
            found = data.find(b">", at, end) + 1 or -1
        else:
            # A tag that is never closed: the tokenizer drops it and all that follows (§13.2.5.8 to 40).
            found = -1
        if found == -1:
            self.complete = False
            return end
        return found

    def _past_raw_text(self, name: str, at: int, end: int) -> int:
        """Return where the content of a raw-text element ends."""
        found: int | None = None
        if name == "script":
            found = _script_end(self.data, at, end)
        elif name != "plaintext":
            match = _RAW_END[name].search(self.data, at, end)
            found = match.start() if match else None
        if found is None:
            self.complete = False
            return end
        return found


def _script_end(data: bytes, at: int, end: int) -> int | None:
    """Return where a script's end tag begins; between "<!--", "<script" and "-->" one does not count (§13.2.5.15)."""
    escaped = 0
    for match in _SCRIPT.finditer(data, at, end):
        if match[0].startswith(b"<!--"):
            # "<!-->" and "<!--->" open and close at once; inside, their "-->" closes all the same (§13.2.5.22).
            escaped = 0 if match[1] else escaped or 1
        elif match[2] is not None:
            escaped = 0
        elif match[3]:
            if escaped < 2:
                return match.start()
            escaped = 1
        elif escaped:
            escaped = 2
    return None


VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "image", "input", "keygen",
    "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
"""Elements that have no content and no end tag (§13.3, and what tree construction makes one)."""


def all_tags(data: bytes, start: int = 0) -> Iterator[Tag]:
    """Yield every tag of the document, or from an offset on, the ones in conditional comments included."""
    return _Scanner(data, _SKIP_NOTHING).tags(start, len(data))


def tag_skipper(names: bytes) -> re.Pattern[bytes]:
    """Return a pattern for ``some_tags`` by which only tags of these names, alternatives, and raw text are seen."""
    return _skipper(names + b"|plaintext|" + b"|".join(RAW_TEXT))


def some_tags(data: bytes, skipper: re.Pattern[bytes]) -> Iterator[Tag]:
    """Yield the tags that the pattern does not run over, the ones in conditional comments included."""
    return _Scanner(data, skipper).tags(0, len(data))


class Anchor(NamedTuple):
    """One element that leads somewhere: where its href value stands, and what it says."""

    start: int
    end: int
    href: str
    """Decoded; characters above ASCII are latin-1 readings of their bytes."""
    attributes: dict[str, str]
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
    language: str = ""
    """The ``lang`` of the html element, in lower case."""


def scan(data: bytes) -> Scan:
    """Return what there is to wrap in an HTML document, and where a footer may stand. Linear in its input."""
    return at_once(scanning(data))


def scanning(data: bytes) -> Walk[Scan]:
    """Walk through an HTML document as ``scan`` does, in steps."""
    lowered = data.lower()
    scanner = _Scanner(data, _SKIP, _quote_stops(data, lowered))
    reader = _Reader(data, lowered)
    for number, tag in enumerate(scanner.tags(0, len(data)), 1):
        reader.see(tag)
        if reader.found.quote_at is not None:
            # Where history begins is known: the marks in it are none to stop at.
            scanner.stops = iter(())
        if not number % TAGS_PER_STEP:
            yield
    found = reader.result()
    found.complete = scanner.complete
    return found


TAGS_PER_STEP = 16


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
        elif name == "html":
            if not tag.closing and not found.language:
                attributes = tag.attributes(self.data)
                found.language = attributes["lang"].text(self.data).strip().lower() if "lang" in attributes else ""
        elif found.quote_at is None and not tag.closing and _begins_quote(self.data, tag):
            found.quote_at = tag.start

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

    def result(self) -> Scan:
        """Return what was found, at the end of the document."""
        self._close(len(self.data))
        found = self.found
        starts = [at for at in (found.quote_at, quote_line(self.lowered)) if at is not None]
        found.quote_at = min(starts, default=None)
        found.anchors.sort(key=lambda anchor: anchor.start)
        return found


def _quote_stops(data: bytes, lowered: bytes) -> Iterator[int]:
    """Yield, in order, where the tags begin that may say that history follows."""
    words = (_places(lowered, word) for word in _QUOTE_WORDS)
    patterns = (map(re.Match.start, pattern.finditer(lowered)) for pattern in _QUOTE_PATTERNS)
    last = 0
    for at in heapq.merge(*words, *patterns):
        # Not behind the last one: a search back to the same "<" for each of many would be quadratic.
        start = data.rfind(b"<", last, at)
        last = at
        if start != -1 and data[start + 1 : start + 2].isalpha():
            yield start


def _places(data: bytes, word: bytes) -> Iterator[int]:
    at = data.find(word)
    while at != -1:
        yield at
        at = data.find(word, at + len(word))


def quote_line(lowered: bytes) -> int | None:
    """Return where a line stands that programs write above history as text."""
    match = _QUOTE_LINE.search(lowered)
    forwarded = lowered.find(_FORWARDED)
    return min((at for at in (match.start() if match else -1, forwarded) if at != -1), default=None)


def _begins_quote(data: bytes, tag: Tag) -> bool:
    if tag.name == "blockquote":
        return True
    if tag.name not in ("div", "span", "table", "hr", "p"):
        return False
    attributes = tag.attributes(data)
    marks = (attributes[name].text(data) for name in ("class", "id") if name in attributes)
    if any(_QUOTE_VALUE.search(mark) for mark in marks):
        return True
    if "name" in attributes and attributes["name"].text(data) == "quote":
        return True
    return "style" in attributes and _OUTLOOK_RULE.search(attributes["style"].text(data)) is not None


_MAX_ANCHOR_TEXT = 4_096
_MAX_ANCHORS = 5_000
"""Of a document with more links than any letter has, the rest stays as it is."""


def _anchor(data: bytes, tag: Tag, attributes: dict[str, Attribute], text_end: int) -> Anchor:
    texts = {name: attribute.text(data) for name, attribute in attributes.items()}
    href = attributes["href"]
    text, alternatives = _said(data[tag.end : min(text_end, tag.end + _MAX_ANCHOR_TEXT)])
    labels = [texts[name] for name in ("title", "alt", "aria-label") if name in texts]
    return Anchor(href.start, href.end, texts["href"], texts, text, " ".join(labels + alternatives))


def visible_text(fragment: bytes) -> str:
    """Return the text of a fragment as a person reads it: without tags, white space folded, references decoded."""
    return _said(fragment)[0]


_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)


def _said(fragment: bytes) -> tuple[str, list[str]]:
    """Return the visible text of a fragment, and the alternative texts of its images."""
    if b"<" not in fragment:
        return _folded(fragment), []
    pieces, alternatives = [], []
    at = 0
    for tag in all_tags(fragment):
        if tag.name == "img":
            alternative = tag.attributes(fragment).get("alt")
            alternatives += [alternative.text(fragment)] if alternative is not None else []
        if not tag.conditional:
            pieces.append(fragment[at : tag.start])
            at = tag.end
    pieces.append(fragment[at:])
    return _folded(b"".join(_COMMENT.sub(b"", piece) if b"<!" in piece else piece for piece in pieces)), alternatives


def _folded(text: bytes) -> str:
    """Return text with references decoded and white space folded; soft hyphens, which nobody sees, are left out."""
    if b"\xad" in text:
        text = text.replace(b"\xc2\xad", b"").replace(b"\xad", b"")
    # Not html.unescape: int() refuses numbers of more than 4 300 digits.
    decoded = decode_attribute(text.decode("latin-1"))
    return " ".join(decoded.replace("\xad", "").split())


_SHOWS = frozenset({"img", "input", "video", "object", "embed", "svg", "v:shape", "v:imagedata", "v:fill", "v:image"})
_HIDDEN_TEXT = frozenset(name.decode() for name in RAW_TEXT if name != b"textarea") | {"head"}


def is_empty(data: bytes) -> bool:
    """Tell whether nobody would see anything in the document: no text and no picture. Stops at the first thing seen."""
    return at_once(finding_empty(data))


def finding_empty(data: bytes) -> Walk[bool]:
    """Walk through a document as ``is_empty`` does, in steps."""
    at, hidden = 0, ""
    for number, tag in enumerate(all_tags(data), 1):
        if not hidden and not tag.conditional and _says_something(data[at : tag.start]):
            return False
        if not tag.closing and tag.name in _SHOWS:
            return False
        if not number % TAGS_PER_STEP:
            yield
        if tag.conditional:
            continue
        if not tag.closing and tag.name in _HIDDEN_TEXT:
            hidden = hidden or tag.name
        elif (tag.closing and tag.name == hidden) or tag.name == "body":
            hidden = ""
        at = tag.end
    return bool(hidden) or not _says_something(data[at:])


_BLANK = re.compile(r"[\s\u00ad\u034f\u200b-\u200f\u2060\ufeff\xa0]*")
_ANY_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)|<[!?][^>]*+(?:>|\Z)", re.DOTALL)


def _says_something(text: bytes) -> bool:
    if not text.strip():
        return False
    # Not html.unescape: int() refuses numbers of more than 4 300 digits.
    visible = decode_attribute(_ANY_COMMENT.sub(b"", text).decode("utf-8", "replace"))
    return _BLANK.fullmatch(visible) is None
