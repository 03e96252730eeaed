"""The fingerprint of a letter: by it, look-alike messages are known again without their text. Pure.

A letter is cut into overlapping runs of three words (shingles), each is hashed, and the smallest hashes are kept: a
bottom-k sketch, a form of MinHash. What two letters share, their sketches share in proportion. The ledger keys the
values before it keeps them, so that they mean nothing to anybody else.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from zlib import crc32

from policies.facts import Letter

Fingerprint = tuple[int, ...]
"""Up to ``SKETCH`` numbers of 32 bits, ascending and distinct."""

SHINGLE = 3
"""Words. Longer ones are broken by every name, number or word that a merge puts in."""
SKETCH = 64
MAX_WORDS = 240
"""A letter is known by its beginning; a longer one is no likelier to be somebody else's."""
MIN_WORDS = 20
"""A shorter letter says nothing of its own: "Thanks, got it!" five times is no circular."""
_SPREAD = 0x9E3779B1
"""Knuth's multiplicative hashing: 2³² divided by the golden ratio, odd."""
ALIKE = 0.3
"""What two letters must have in common, of all that both say (Jaccard).

Measured on tests/mail/letters: unrelated letters have 0.07 at most, those of a merge with a paragraph of its own for
each recipient 0.5 and more.
"""


def fingerprint(letter: Letter) -> Fingerprint | None:
    """Return the fingerprint of a letter; None for one too short to be told from any other."""
    words = letter.words[:MAX_WORDS]
    if len(words) < MIN_WORDS:
        return None
    # CRC-32 alone keeps neighbours together, and the smallest are picked: the factor spreads it evenly.
    found = {crc32(shingle) * _SPREAD & 0xFFFFFFFF for part in (letter.subject, words) for shingle in _shingles(part)}
    return tuple(sorted(found)[:SKETCH])


def _shingles(words: Sequence[str]) -> Iterator[bytes]:
    encoded = [word.encode("utf-8", "replace") for word in words]
    return map(b" ".join, zip(*(encoded[offset:] for offset in range(SHINGLE)), strict=False))


def alike(one: AbstractSet[int], other: AbstractSet[int]) -> bool:
    """Tell whether two fingerprints, keyed alike, are of letters that say the same."""
    shared = len(one & other)
    return shared >= ALIKE * (len(one) + len(other) - shared)
