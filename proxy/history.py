"""Quoted history in HTML: where mail programs say that another message follows."""

import heapq
import re
from collections.abc import Iterator

from proxy.page import Page
from proxy.tags import Tag

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


def quote_stops(page: Page) -> Iterator[int]:
    """Yield, in order, where the tags begin that may say that history follows."""
    if any(word in page.markup for word in _QUOTE_WORDS) or any(one.search(page.markup) for one in _QUOTE_PATTERNS):
        yield from _stops(page.data, page.lowered)


def _stops(data: bytes, lowered: bytes) -> Iterator[int]:
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


def begins_quote(data: bytes, tag: Tag) -> bool:
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
