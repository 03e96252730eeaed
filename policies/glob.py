"""Globs over addresses and URLs: ``*`` stands for anything, ``?`` for one character, nothing else is special."""

import fnmatch
import re
from collections.abc import Iterable

from policies.address import folded


def pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one pattern that matches a whole string when any of the globs does; ``None`` for no globs at all."""
    # fnmatch writes every star as an atomic group, so that a glob of many stars takes linear time on a long URL; with
    # plain ".*" six stars and a hundred characters took eleven seconds. Its one extra, "[…]", is escaped away.
    parts = [fnmatch.translate(glob.replace("[", "[[]")) for glob in globs]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def address_pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for folded addresses; the globs are folded the same way, so that IDNA and case agree."""
    return pattern(folded(glob) for glob in globs)


def matches(compiled: re.Pattern[str] | None, text: str) -> bool:
    """Tell whether the whole text matches; a missing pattern matches nothing."""
    return compiled is not None and compiled.fullmatch(text) is not None
