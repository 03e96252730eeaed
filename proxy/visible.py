"""What people see of HTML: its text, the alternative texts of its images, and whether there is anything at all."""

import re

from proxy.entities import decode_attribute
from proxy.slices import Walk
from proxy.tags import RAW_TEXT, TAGS_PER_STEP, all_tags


def visible_text(fragment: bytes) -> str:
    """Return the text of a fragment as a person reads it: without tags, white space folded, references decoded."""
    return said(fragment)[0]


_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)


def said(fragment: bytes) -> tuple[str, list[str]]:
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
_IN_HEAD = frozenset({"base", "basefont", "bgsound", "head", "html", "link", "meta", "noscript", "template", "xml"})
"""Elements that leave the head open (HTML §13.2.6.4.4), beside those of hidden text; Office puts its settings there."""


def finding_empty(data: bytes, start: int = 0) -> Walk[bool]:
    """Tell, in steps, whether nobody would see anything in a document from ``start`` on: no text and no picture.

    Stops at the first thing seen. ``start`` is where the document begins, or behind its ``<body>`` tag.
    """
    at, hidden = start, ""
    for number, tag in enumerate(all_tags(data, start), 1):
        if not hidden and not tag.conditional and (yield from _finding_words(data[at : tag.start])):
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
        elif hidden == "head" and not tag.closing and tag.name not in _IN_HEAD and ":" not in tag.name:
            # The head's end tag may be left out (HTML §13.1.2.4): whatever does not belong there ends it.
            hidden = ""
        at = tag.end
    return bool(hidden) or not (yield from _finding_words(data[at:]))


_BLANK = re.compile(r"[\s\u00ad\u034f\u200b-\u200f\u2060\ufeff\xa0]*")
_ANY_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)|<[!?][^>]*+(?:>|\Z)", re.DOTALL)


_GLANCE = 4_096


def _finding_words(text: bytes) -> Walk[bool]:
    """Walk to whether a text says something."""
    if not text.strip():
        return False
    # Of a long text the beginning is enough, if it says something.
    text, at = _ANY_COMMENT.sub(b"", text), 0
    while at < len(text):
        # Cut where nothing is cut through: in front of a character reference.
        end = text.find(b"&", at + _GLANCE)
        end = end if end != -1 else len(text)
        if _is_visible(text[at:end]):
            return True
        at = end
        yield
    return False


def _is_visible(text: bytes) -> bool:
    # Not html.unescape: int() refuses numbers of more than 4 300 digits.
    return _BLANK.fullmatch(decode_attribute(text.decode("utf-8", "replace"))) is None
