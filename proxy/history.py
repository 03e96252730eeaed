"""Quoted history: where mail programs say that another message follows."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.page import Page
from proxy.slices import STEP_BYTES, Walk
from proxy.tags import Tag

# Where a mail program says that history begins: Gmail, Outlook on the web, desktop and Mac, Thunderbird, Yahoo, Proton,
# Zimbra, Spark, Apple Mail (blockquote). Looked for in lower-case bytes first, so that most mail never stops at a div.
# One search for each, 2 to 3 GB/s for a long word or one rare letter: one for all would be tried at every byte.
_HINTS = tuple(
    map(
        re.compile,
        (
            rb"divrplyfwdmsg",
            rb"appendonsend",
            rb"reference-message",
            rb"messagereplysection",
            rb'name="quote"',
            rb"tabindex",
            rb"_(?=quote|extra|src_body)",
            rb"z(?=-cite|-forward|wchr)",
            rb"border-top(?=:\s{0,99}solid|-color:\s{0,99}rgb)",
        ),
    )
)
_LONGEST_HINT = 130
_QUOTE_VALUE = re.compile(
    r"(?:^|\s)(?:gmail_quote\S*|gmail_extra|\S*divRplyFwdMsg|\S*appendonsend|moz-cite-prefix|moz-forward-container"
    r"|\S*yahoo_quoted|protonmail_quote|tutanota_quote|zmail_extra|zwchr|olk_src_body_section"
    r"|\S*reference-message(?:-container)?)(?:\s|$)",
    re.IGNORECASE,
)
# Outlook's Word engine: a rule above "From: … Sent: …".
_OUTLOOK_RULE = re.compile(
    r"border:\s*none;\s*border-top:\s*solid\s+(?:#(?:E1E1E1|B5C4DF)|windowtext|rgb\()|border-top-color:\s*rgb\(225",
    re.IGNORECASE,
)
# What programs write above history as text, in the languages that the product speaks.
DASHES = b"----"
_QUOTE_LINE = re.compile(
    rb"-{4,}+(?:\s*+(?:original message|forwarded message|urspr(?:\xc3\xbc|\xfc|&uuml;)ngliche (?:nachricht|mail)"
    rb"|weitergeleitete nachricht|original-nachricht"
    rb"|message d'origine|message transf\S{1,8}|mensaje (?:original|reenviado)"
    rb"|messaggio (?:originale|inoltrato))\s*-{4,}()|)"
)
"""A run of dashes; if it begins such a line, all of that, and a group."""
_FORWARDED = b"begin forwarded message:"
_SENT = (b"sent:", b"date:", b"gesendet", b"datum:", b"envoy", b"enviad", b"fecha:", b"inviato", b"data:")
_FROM = re.compile(rb"\*?(?:from|von|de|da)[\xc2\xa0 ]{0,3}:")
"""Outlook's first two lines above the message that a reply in plain text quotes, the second one first."""
PAUSE_BYTES = STEP_BYTES // 2
"""Bytes behind which a scanner pauses: there may be nothing in them but what looks like tags."""
_LINES_STEP = STEP_BYTES // 2
"""Bytes that one step searches for lines between dashes: there may be nothing but dashes."""
_TRIES = 100
"""Lines that may begin with such a word before there is one below the other."""
_LONGEST_LINE = 1_000
_LONGEST_REPLY = 262_144
"""Bytes that somebody may have written above what they quote, in plain text."""


class Stops(NamedTuple):
    """Where a scanner is to stop: offsets of "<", in order."""

    hints: list[int]
    """Where tags begin that may say that history follows."""
    pauses: list[int]
    """Now and then a tag, so that others get their turn."""


def finding_stops(page: Page) -> Walk[Stops]:
    """Walk to where a scanner is to stop, in steps."""
    data, lowered = page.data, page.lowered
    hints, found, last = _hints_in(page), Stops([], []), 0
    for start in range(0, len(lowered), STEP_BYTES):
        end = start + STEP_BYTES
        for at in _places(hints, lowered, start, end) if hints else ():
            # Not behind the last one: a search back to the same "<" for each of many would be quadratic.
            tag = data.rfind(b"<", last, at)
            last = at
            if tag != -1 and data[tag + 1 : tag + 2].isalpha():
                found.hints.append(tag)
        for at in range(start, min(end, len(lowered) - PAUSE_BYTES), PAUSE_BYTES):
            pause = data.rfind(b"<", at, at + PAUSE_BYTES)
            if pause != -1:
                found.pauses.append(pause)
        yield
    return found


def _hints_in(page: Page) -> Sequence[re.Pattern[bytes]]:
    """Return the hints that there may be in a page; of one that is searched as a whole, that comes step by step."""
    if page.markup is page.lowered:
        return _HINTS
    return [hint for hint in _HINTS if hint.search(page.markup)]


def _places(hints: Iterable[re.Pattern[bytes]], lowered: bytes, start: int, end: int) -> list[int]:
    """Return where hints begin between two offsets, in order."""
    matches = (match for hint in hints for match in hint.finditer(lowered, start, end + _LONGEST_HINT))
    return sorted(match.start() for match in matches if match.start() < end)


def finding_history_in_text(data: bytes) -> Walk[int]:
    """Walk to where history begins in a text that marks none of its lines with ">"; its length without any."""
    top = data[:_LONGEST_REPLY].lower()
    lowered = data.lower()
    yield
    line = yield from finding_quote_line(lowered)
    places = [line, *(_reply_header(top, word) for word in _SENT)]
    return min((place for place in places if place is not None), default=len(data))


def _reply_header(lowered: bytes, word: bytes) -> int | None:
    """Return where a line stands that says who wrote what follows, above one that begins with the word."""
    at = lowered.find(word)
    for _ in range(_TRIES):
        if at == -1:
            return None
        end = at - 1 - (lowered[at - 1 : at] == b"*")
        if end > 0 and lowered.startswith(b"\n", end):
            start = lowered.rfind(b"\n", max(0, end - _LONGEST_LINE), end) + 1
            if _FROM.match(lowered, start) is not None:
                return start
        at = lowered.find(word, at + 1)
    return None


def finding_quote_line(lowered: bytes, *, dashes: bool = True) -> Walk[int | None]:
    """Walk to where a line stands that programs write above history as text.

    ``dashes`` says whether there may be any side by side.
    """
    for start in range(0, len(lowered), _LINES_STEP):
        forwarded = lowered.find(_FORWARDED, start, start + _LINES_STEP + len(_FORWARDED) - 1)
        end = forwarded if forwarded != -1 else start + _LINES_STEP
        line = _dashed_line(lowered, start, end) if dashes else None
        if line is not None or forwarded != -1:
            return line if line is not None else forwarded
        yield
    return None


def _dashed_line(lowered: bytes, start: int, end: int) -> int | None:
    """Return where a line between dashes begins between two offsets."""
    at = lowered.find(DASHES, start, end + len(DASHES) - 1)
    while at != -1:
        match = _QUOTE_LINE.match(lowered, at)
        assert match is not None  # it stands at four dashes
        if match[1] is not None and not lowered.startswith(b"-", at - 1):
            return at
        # Behind the run, or the next one would be part of it.
        at = lowered.find(DASHES, match.end(), end + len(DASHES) - 1)
    return None


def begins_quote(data: bytes, tag: Tag) -> bool:
    """Tell whether a tag is one that programs put around, or above, what they quote."""
    if tag.name == "blockquote":
        return True
    if tag.name not in ("div", "span", "table", "hr", "p"):
        return False
    attributes = tag.attributes(data)
    if tag.name == "hr" and "tabindex" in attributes:
        # Outlook before 2007 and Outlook Web App have nothing else; nobody writes one by hand.
        return True
    marks = (attributes[name].text(data) for name in ("class", "id") if name in attributes)
    if any(_QUOTE_VALUE.search(mark) for mark in marks):
        return True
    if "name" in attributes and attributes["name"].text(data) in ("quote", "messageReplySection"):
        return True
    return "style" in attributes and _OUTLOOK_RULE.search(attributes["style"].text(data)) is not None
