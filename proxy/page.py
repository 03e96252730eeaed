"""The page: one HTML document with what every search in it begins with, made once for all of them."""

import re
from typing import NamedTuple

from proxy.tags import ends_with

_PIECE = re.compile(rb"<[^>]*+")
_MAX_PIECES = 1_000
"""Different tags of one document; one with more is searched as a whole."""
_MAX_BYTES = 524_288
"""A larger document is searched as a whole too, in steps."""


class Page(NamedTuple):
    """An HTML document, in lower case, and its markup."""

    data: bytes
    lowered: bytes
    markup: bytes
    """The text of every tag in lower case, each different one once: what is not in there is in no tag.

    It may hold more than that, up to the whole document. Programs write the same few tags over and over, so that it is
    a tenth of the document for most, and many searches in it cost less than one there.
    """


def page(data: bytes) -> Page:
    """Return the page that a document is."""
    lowered = data.lower()
    return Page(data, lowered, _markup(lowered))


def _markup(lowered: bytes) -> bytes:
    if len(lowered) > _MAX_BYTES:
        return lowered
    pieces = set(_PIECE.findall(lowered))
    # A tag ends at the first ">" unless that stands in a value. Where each piece is a whole tag (or nothing that a tag
    # can hide behind), the next tag begins in a piece of its own, so none is missing.
    if len(pieces) > _MAX_PIECES or not all(map(ends_with, pieces)):
        return lowered
    return b"\n".join(pieces)
