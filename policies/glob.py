"""Globs over addresses and URLs: ``*`` stands for anything, ``?`` for one character, nothing else is special."""

import re
from collections.abc import Iterable

from policies.address import folded


def pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one pattern that matches a whole string when any of the globs does; ``None`` for no globs at all."""
    parts = [re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs]
    return re.compile("|".join(parts), re.IGNORECASE | re.DOTALL) if parts else None


def address_pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for folded addresses; the globs are folded the same way, so that IDNA and case agree."""
    return pattern(folded(glob) for glob in globs)


def matches(compiled: re.Pattern[str] | None, text: str) -> bool:
    """Tell whether the whole text matches; a missing pattern matches nothing."""
    return compiled is not None and compiled.fullmatch(text) is not None
