"""The fingerprint of a letter: what keeps two of them alike, what tells them apart, and what has none."""

from itertools import pairwise

import pytest

from policies.facts import Letter
from policies.fingerprint import MAX_WORDS, MIN_WORDS, SKETCH, alike, fingerprint

WORDS = tuple(f"word{number}" for number in range(200))


def of(words: tuple[str, ...], subject: tuple[str, ...] = ()) -> set[int]:
    """Return the fingerprint of a letter that has one."""
    found = fingerprint(Letter(subject, words))
    assert found is not None
    return set(found)


def test_is_small_and_in_order() -> None:
    """It is a few numbers of 32 bits, ascending, however long the letter is."""
    found = fingerprint(Letter((), WORDS * 100))
    assert found is not None
    assert SKETCH == len(found)
    assert all(one < other for one, other in pairwise((-1, *found, 2**32)))


def test_is_the_same_in_every_process() -> None:
    """Workers of one machine and of several compare their fingerprints, so these numbers stay."""
    found = fingerprint(Letter((), WORDS[:MIN_WORDS]))
    assert found is not None
    assert (150989322, 342412615, 802737351) == found[:3]


@pytest.mark.parametrize(("length", "expected"), [(0, False), (MIN_WORDS - 1, False), (MIN_WORDS, True)])
def test_a_short_letter_has_none(length: int, expected: bool) -> None:
    """98: what is said in a few words is nobody's own, whatever the subject adds."""
    assert expected == (fingerprint(Letter(WORDS, WORDS[:length])) is not None)


def test_a_long_letter_is_known_by_its_beginning() -> None:
    """What stands behind so many words changes nothing."""
    words = tuple(f"w{number}" for number in range(2 * MAX_WORDS))
    assert of(words[:MAX_WORDS]) == of(words)


def test_the_subject_counts() -> None:
    """Two letters that say the same under different subjects differ a little, and are alike."""
    one, other = of(WORDS[:40], ("our", "summer", "prices")), of(WORDS[:40], ("your", "invoice", "of", "may"))
    assert one != other
    assert alike(one, other)


@pytest.mark.parametrize(
    ("own", "expected"), [(0, True), (10, True), (20, True), (60, False), (100, False)], ids="{} own words".format
)
def test_a_paragraph_of_its_own(own: int, expected: bool) -> None:
    """Letters of fifty words in common stay alike with some words of their own each, and not with many."""
    common = WORDS[:50]
    one, other = (tuple(f"{who}{number}" for number in range(own)) + common for who in "ab")
    assert expected == alike(of(one), of(other))


def test_nothing_in_common_is_not_alike() -> None:
    """Letters without three words in a row in common are never alike, in whatever order the words stand."""
    assert not alike(of(WORDS), of(WORDS[::-1]))


@pytest.mark.parametrize("word", ["\ud800", "\x00", "😀"], ids=ascii)
def test_any_word_will_do(word: str) -> None:
    """No character, a lone surrogate included, keeps a letter from having a fingerprint."""
    assert of((word,) * MIN_WORDS)
