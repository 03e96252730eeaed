"""The message's own wish: our control header, a tag at the start of the subject, and Sensitivity (DESIGN.md §3).

Header and tag are for us alone and are taken out before the message goes on.
"""

import re
from collections.abc import Iterable, Sequence

from policies.wish import EVERYTHING, NOTHING
from policies.words import Purpose
from proxy.encodedword import decode_words, without_prefix
from proxy.header import Field
from proxy.transfer import Edit

CONTROL_HEADER = "x-aboveboard-track"
_TAG = re.compile(r"[ \t]*\[(?:(track)(?:\s+(open|click))?|(notrack))\][ \t]*", re.IGNORECASE)
_TAGS = re.compile(rf"(?:{_TAG.pattern})+", re.IGNORECASE)
_CONTROL_LINES = re.compile(
    rb"^" + CONTROL_HEADER.encode("ascii") + rb"[ \t]*:[^\r\n]*+(?:\r?\n[ \t][^\r\n]*+)*+\r?\n",
    re.IGNORECASE | re.MULTILINE,
)
_BLANK_LINE = re.compile(rb"\A\r?\n|\n\r?\n")
_MAX_UNREAD = 1_048_576
_PRIVATE = re.compile(r"(?<![\w-])(?:private|personal|company[ -]confidential)(?![\w-])", re.IGNORECASE)
"""RFC 4021 §2.1.55, wherever the word stands: beside others, or by a comment."""


def wished_by_header(values: Sequence[str]) -> frozenset[Purpose] | None:
    """Return what the first control header asks for; whatever it says that is not understood means off."""
    if not values:
        return None
    words = {word.strip().lower() for word in values[0].split(",")}
    if not words <= {"open", "click"}:
        return NOTHING
    return _with_detail(Purpose(word) for word in words)


def wished_by_subject(subject: str) -> frozenset[Purpose] | None:
    """Return what the tags at the start of the subject ask for, the least of them; None where there is none."""
    tags = _TAGS.match(subject)
    if tags is None:
        return None
    wishes = [_wish_of(match) for match in _TAG.finditer(subject, 0, tags.end())]
    return frozenset.intersection(*wishes)


def _wish_of(tag: re.Match[str]) -> frozenset[Purpose]:
    if tag[3]:
        return NOTHING
    return _with_detail([Purpose(tag[2].lower())]) if tag[2] else EVERYTHING


def without_tag(subject: str) -> str:
    """Return a subject as the recipient reads it, without a tag of ours."""
    match = _TAGS.match(subject)
    return subject[match.end() :] if match else subject


def _with_detail(purposes: Iterable[Purpose]) -> frozenset[Purpose]:
    """``detail`` has no word of its own in a message: it goes with what is asked for, as far as policy allows."""
    return frozenset({*purposes, Purpose.DETAIL})


def message_wish(control: Sequence[str], subject: str, sensitivity: Sequence[str]) -> frozenset[Purpose] | None:
    """Return what the message asks for in all its ways together, the least of them; None where it says nothing."""
    wishes = [wish for wish in (wished_by_header(control), wished_by_subject(subject)) if wish is not None]
    if any(_PRIVATE.search(value) for value in sensitivity):
        wishes.append(NOTHING)
    return frozenset.intersection(*wishes) if wishes else None


def tag_stays(raw: bytes, fields: Iterable[Field]) -> bool:
    """Tell whether a subject has a tag that cannot be taken out, for it is spread over several encoded words.

    Or that is in one of several subjects, of which nobody knows what each says.
    """
    subjects = [field for field in fields if field.name == "subject"]
    return any(
        wished_by_subject(decode_words(field.text(raw), "replace")) is not None
        and (len(subjects) > 1 or without_prefix(raw, field, _TAGS) is None)
        for field in subjects
    )


def removals(raw: bytes, fields: Iterable[Field], keep_subject: bool) -> list[Edit]:
    """Return the edits that take our control headers and the subject's tag out of the header.

    ``keep_subject`` is for protected messages: a signature may cover the subject, so it stays as it is.
    """
    edits: list[Edit] = []
    for field in fields:
        if field.name == CONTROL_HEADER:
            edits.append((field.start, field.end, b""))
        elif field.name == "subject" and not keep_subject:
            edit = without_prefix(raw, field, _TAGS)
            if edit is not None:
                edits.append(edit)
    return edits


def removals_unread(raw: bytes) -> list[Edit]:
    """Return the edits that take our control headers out of a header that could not be read field by field.

    What looks like one, up to the first blank line, is one: nobody else writes it. No header is longer than a
    megabyte; a body of 25 that nothing parts from its header would take a second to look through.
    """
    blank = _BLANK_LINE.search(raw, 0, _MAX_UNREAD)
    end = blank.start() + 1 if blank else min(len(raw), _MAX_UNREAD)
    return [(match.start(), match.end(), b"") for match in _CONTROL_LINES.finditer(raw, 0, end)]
