"""The page: one HTML document with what every search in it begins with, made once for all of them."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.slices import STEP_BYTES, Walk, at_once
from proxy.tags import ends_with

_PIECE = re.compile(rb"<[^>]*+")
_MAX_PIECES = 1_000
"""Different tags of one document; one with more is searched as a whole."""


class Page(NamedTuple):
    """An HTML document, in lower case, and its markup."""

    data: bytes
    lowered: bytes
    markup: bytes
    """The text of every tag in lower case, each different one once: what is not in there is in no tag.

    It may hold more than that, up to the whole document. Programs write the same few tags over and over, so that it is
    a tenth of the document for most, and many searches in it cost less than one there.
    """
    plain: bool
    """Every "<" begins a tag, a comment or a declaration, and the next ">" ends it; of a comment at the earliest."""


def page(data: bytes) -> Page:
    """Return the page that a document is."""
    return at_once(reading_page(data))


def reading_page(data: bytes) -> Walk[Page]:
    """Walk to the page that a document is, in steps."""
    lowered = data.lower()
    pieces: set[bytes] = set()
    start = 0
    while start < len(lowered) and len(pieces) <= _MAX_PIECES:
        # Behind a ">", so that no piece is cut in two.
        end = lowered.find(b">", start + STEP_BYTES) + 1 or len(lowered)
        pieces.update(_PIECE.findall(lowered, start, end))
        start = end
        yield
    # A tag ends at the first ">" unless that stands in a value. Where each piece is a whole tag (or nothing that a tag
    # can hide behind), the next tag begins in a piece of its own, so none is missing.
    known = len(pieces) <= _MAX_PIECES and (yield from _finding_whole(pieces))
    # Something stands behind the last one too, in whatever order they come, as the ">" does in the document.
    markup = b"\n".join([*pieces, b""]) if known else lowered
    ended = lowered.rfind(b"<") <= lowered.rfind(b">")
    return Page(data, lowered, markup, known and ended and markup.count(b"<") == len(pieces))


def _finding_whole(pieces: Iterable[bytes]) -> Walk[bool]:
    """Walk to whether every piece is a whole tag, or nothing that one can hide behind."""
    done = 0
    for piece in pieces:
        if not ends_with(piece):
            return False
        done += len(piece)
        if done > STEP_BYTES:
            done = 0
            yield
    return True
