"""The HTML scanner: start tags, end tags and attribute values as byte spans, as the WHATWG tokenizer sees them.

It finds what the rewriter needs and never builds a tree (WHATWG HTML §13.2.5). The bytes of a charset that contains
ASCII are scanned as they are: no markup character is ever part of another character there. One compiled pattern skips
text and the tags nobody asked for; possessive quantifiers keep it linear whatever the input.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from proxy.entities import decode_attribute

_WS = rb"[\t\n\f\r ]"
# §13.2.5.32 to 39. A name may begin with "="; a value without quotes ends at white space or ">". An "=" that no value
# follows makes the whole tag fail, for then a quote is never closed and the tag runs to the end of the file.
_ATTRIBUTE = (
    rb"[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+|(?=>))"
    rb"|(?!" + _WS + rb"*+=))"
)
_INSIDE = rb"(?:[\t\n\f\r /]++|" + _ATTRIBUTE + rb")*+"
_TAG = re.compile(rb"<(/?)([A-Za-z][^\t\n\f\r />]*+)(" + _INSIDE + rb")>")
_ATTRIBUTES = re.compile(
    rb"([^\t\n\f\r />][^\t\n\f\r />=]*+)"
    rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\t\n\f\r >\"'][^\t\n\f\r >]*+))?+)?+"
)

RAW_TEXT = (b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
"""Elements whose content is text up to their end tag (§13.2.5.2 to 4; scripting is off in mail, so not noscript)."""
_RAW_END = {name: re.compile(rb"</" + name + rb"(?=[\t\n\f\r />])", re.IGNORECASE) for name in RAW_TEXT}
_SCRIPT = re.compile(rb"<!--(-?>)?|(-->)|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)
_COMMENT_END = re.compile(rb"--!?>")
_CONDITIONAL = re.compile(rb"<!--\[if\b[^\]>]*+\]>", re.IGNORECASE)


def _skipper(names: bytes) -> re.Pattern[bytes]:
    """Return a pattern that runs over text and over every tag whose name is not one of ``names`` (alternatives)."""
    return re.compile(
        rb"(?:[^<]++|<(?![A-Za-z/!?])"
        rb"|<(?!/?(?:" + names + rb")[\t\n\f\r />])/?[A-Za-z][^\t\n\f\r />]*+" + _INSIDE + rb">)*+",
        re.IGNORECASE,
    )


_ALWAYS = rb"a|area|body|blockquote|html|hr|plaintext|v:[^\t\n\f\r />]*+|" + b"|".join(RAW_TEXT)
_SKIP = _skipper(_ALWAYS)
_SKIP_NOT_DIV = _skipper(_ALWAYS + rb"|div|span|table|p")
_SKIP_NOTHING = re.compile(rb"(?:[^<]++|<(?![A-Za-z/!?]))*+")

# Where a mail program says that history begins: Gmail, Outlook on the web and desktop, Thunderbird, Yahoo, Proton,
# Apple Mail (blockquote). Looked for in the raw bytes first, so that most mail never stops at a div.
_QUOTE_HINTS = (
    b"gmail_quote", b"gmail_extra", b"divrplyfwdmsg", b"appendonsend", b"moz-cite-prefix", b"moz-forward-container",
    b"yahoo_quoted", b"protonmail_quote", b"tutanota_quote", b"zmail_extra", b"reference-message", b"border-top:",
    b'name="quote"',
)  # fmt: skip
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
    rb"(?<!-)-{4,}+\s*+(?:original message|forwarded message|urspr(?:\xc3\xbc|\xfc|&uuml;)ngliche nachricht"
    rb"|message d'origine|message transf\S{1,8}|mensaje original|messaggio originale)\s*-{4,}|begin forwarded message:"
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its name in lower case and the span of its raw value, without quotes."""

    name: str
    start: int
    end: int

    def text(self, data: bytes) -> str:
        """Return the value with character references decoded; bytes above ASCII come back as latin-1."""
        return decode_attribute(data[self.start : self.end].decode("latin-1"))


@dataclass(frozen=True, slots=True)
class Tag:
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
            start, end = match.span(match.lastindex or 1) if (match.lastindex or 1) > 1 else (match.end(), match.end())
            found.setdefault(name, Attribute(name, start, end))
        return found


@dataclass(slots=True)
class _Scanner:
    data: bytes
    skip: re.Pattern[bytes]
    complete: bool = True

    def tags(self, at: int, end: int, conditional: bool = False) -> Iterator[Tag]:
        """Yield the tags that the skip pattern stops at. Clears ``complete`` where the input ends inside something."""
        data = self.data
        while True:
            at = self.skip.match(data, at, end).end()  # type: ignore[union-attr]  # it matches the empty string
            if at >= end:
                return
            match = _TAG.match(data, at, end)
            if match is None:
                inner = _CONDITIONAL.match(data, at, end)
                next_at = self._past_markup(at, end)
                # A comment that is never closed shows nothing to anybody.
                if inner is not None and not conditional and self.complete:
                    yield from _Scanner(data, self.skip).tags(inner.end(), max(inner.end(), next_at - 3), True)
                at = next_at
                continue
            name = match[2].lower()
            yield Tag(name.decode("latin-1"), at, match.end(), match.start(3), bool(match[1]), conditional)
            at = match.end() if match[1] else self._past_raw_text(name, match.end(), end)

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

    def _past_raw_text(self, name: bytes, at: int, end: int) -> int:
        """Return where the content of a raw-text element ends; ``at`` itself for all other elements."""
        if name == b"plaintext":
            self.complete = False
            return end
        if name not in _RAW_END:
            return at
        found = _script_end(self.data, at, end) if name == b"script" else None
        if name != b"script":
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


def all_tags(data: bytes) -> Iterator[Tag]:
    """Yield every tag of the document, the ones in conditional comments included."""
    return _Scanner(data, _SKIP_NOTHING).tags(0, len(data))


@dataclass(frozen=True, slots=True)
class Anchor:
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
    found = Scan()
    lowered = data.lower()
    scanner = _Scanner(data, _SKIP_NOT_DIV if any(hint in lowered for hint in _QUOTE_HINTS) else _SKIP)
    open_anchors: list[tuple[Tag, dict[str, Attribute], Attribute]] = []

    def close(text_end: int) -> None:
        while open_anchors:
            tag, attributes, href = open_anchors.pop()
            found.anchors.append(_anchor(data, tag, attributes, href, text_end))

    for tag in scanner.tags(0, len(data)):
        if tag.name in ("a", "area") or tag.name.startswith("v:"):
            if not tag.name.startswith("v:"):
                close(tag.start)
            if tag.closing:
                continue
            attributes = tag.attributes(data)
            if "href" not in attributes or len(found.anchors) >= _MAX_ANCHORS:
                continue
            if tag.name == "a":
                open_anchors.append((tag, attributes, attributes["href"]))
            elif tag.name == "area":
                found.anchors.append(_anchor(data, tag, attributes, attributes["href"], tag.end))
            else:
                # A shape's text stands inside it, up to its end tag.
                text_end = lowered.find(b"</v:", tag.end, tag.end + _MAX_ANCHOR_TEXT)
                found.anchors.append(_anchor(data, tag, attributes, attributes["href"], max(text_end, tag.end)))
        elif tag.name == "body" and not tag.conditional:
            if tag.closing:
                found.body_end = tag.start
            elif found.body_start is None:
                found.body_start = tag.end
        elif tag.name == "html" and not tag.closing and not found.language:
            attributes = tag.attributes(data)
            found.language = attributes["lang"].text(data).strip().lower() if "lang" in attributes else ""
        elif found.quote_at is None and not tag.closing and _begins_quote(data, tag):
            found.quote_at = tag.start
    close(len(data))
    line = _QUOTE_LINE.search(lowered) if b"----" in lowered or b"begin forwarded" in lowered else None
    if line is not None:
        found.quote_at = min(line.start(), found.quote_at if found.quote_at is not None else len(data))
    found.complete = scanner.complete
    found.anchors.sort(key=lambda anchor: anchor.start)
    return found


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


def _anchor(data: bytes, tag: Tag, attributes: dict[str, Attribute], href: Attribute, text_end: int) -> Anchor:
    texts = {name: attribute.text(data) for name, attribute in attributes.items()}
    inside = data[tag.end : min(text_end, tag.end + _MAX_ANCHOR_TEXT)]
    labels = [texts[name] for name in ("title", "alt", "aria-label") if name in texts]
    if b"alt" in inside or b"ALT" in inside:
        labels += [match[1].decode("latin-1") for match in _ALT.finditer(inside)]
    return Anchor(href.start, href.end, texts["href"], texts, visible_text(inside), " ".join(labels))


_ALT = re.compile(rb"<img\b[^>]*?\balt\s*=\s*[\"']?([^\"'>]+)", re.IGNORECASE)


def visible_text(fragment: bytes) -> str:
    """Return the text of a fragment as a person reads it: without tags, white space folded, references decoded."""
    if b"<" not in fragment:
        return _folded(fragment)
    pieces = []
    at = 0
    for tag in all_tags(fragment):
        if tag.conditional:
            continue
        pieces.append(fragment[at : tag.start])
        at = tag.end
    pieces.append(fragment[at:])
    text = b"".join(re.sub(rb"<!--.*?(?:-->|\Z)", b"", piece, flags=re.DOTALL) for piece in pieces)
    return _folded(text)


def _folded(text: bytes) -> str:
    """Return text with references decoded and white space folded; soft hyphens, which nobody sees, are left out."""
    # Not html.unescape: int() refuses numbers of more than 4 300 digits.
    decoded = decode_attribute(text.replace(b"\xc2\xad", b"").replace(b"\xad", b"").decode("latin-1"))
    return " ".join(decoded.replace("\xad", "").split())


_SHOWS = frozenset({"img", "input", "video", "object", "embed", "svg", "v:shape", "v:imagedata", "v:fill", "v:image"})
_HIDDEN_TEXT = frozenset(name.decode() for name in RAW_TEXT if name != b"textarea") | {"head"}


def is_empty(data: bytes) -> bool:
    """Tell whether nobody would see anything in the document: no text and no picture. Stops at the first thing seen."""
    at, hidden = 0, ""
    for tag in all_tags(data):
        if not hidden and not tag.conditional and _says_something(data[at : tag.start]):
            return False
        if not tag.closing and tag.name in _SHOWS:
            return False
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
