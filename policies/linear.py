"""Patterns over text that strangers write: a subset of regular expressions that takes linear time on any input.

Python's engine goes back where a repetition could have ended earlier. That costs nothing where the repetition cannot
eat what follows it (``[^/]+/``), and is quadratic or worse where it can (``.*a.*b``) or where a group is repeated.
"""

import re

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<escape>\\.)|(?P<repeat>(?:[*+]|\{\d*,?\d*\})[?+]?)|(?P<maybe>\?[?+]?)"
    r"|(?P<open>\((?:\?P<target>|\?i:|\?:)?(?!\?))|(?P<close>\))|(?P<or>\|)|(?P<end>\$)|(?P<plain>[^()\[\]{}*+?|^$\\])",
    re.DOTALL,
)
MAX_CHOICES = 12
"""Alternatives and optional parts of one pattern: each may double the ways to fail."""
_ATOMS = frozenset({"class", "escape", "plain"})
_CLASSES_AND_SIGNS = re.compile(r"\\[dwsDWS]|\\[^0-9A-Za-z]")
_PROBES = [*map(chr, range(0x100)), "\u0130", "\u017f", "\u212a", "\u4e00"]
"""Every character that a class may tell apart here; the four stand for all others, three of which fold to ASCII."""

_Token = tuple[str, str]


def check_linear(pattern: str) -> None:
    """Raise ValueError, with a sentence, for a pattern that does not compile or might take more than linear time."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression ({error})") from error
    tokens = _tokens(pattern)
    if sum(kind in ("maybe", "or") for kind, _ in tokens) > MAX_CHOICES:
        raise ValueError(f"must not have more than {MAX_CHOICES} of ? and | together")
    for at, (kind, text) in enumerate(tokens):
        if kind == "escape" and not _CLASSES_AND_SIGNS.fullmatch(text):
            raise ValueError(f"must not use {text}: of the letters only \\d, \\w, \\s and their opposites are known")
        if kind == "end" and at != len(tokens) - 1:
            raise ValueError("must have $ at its end only")
        if kind == "repeat":
            _check_repeat(tokens, at)


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None:
            raise ValueError(
                f"must be of characters, classes, groups and repetitions: {pattern[at : at + 8]!r} is none"
            )
        tokens.append((match.lastgroup or "", match[0]))
        at = match.end()
    return tokens


def _check_repeat(tokens: list[_Token], at: int) -> None:
    """Raise ValueError where the repetition at ``at`` is of a group, or could end in more than one place."""
    text = tokens[at][1]
    before = tokens[at - 1] if at else ("", "")
    if before[0] not in _ATOMS:
        raise ValueError(f"must repeat a character or a class, never a group: {text!r} behind {before[1]!r}")
    if re.fullmatch(r"\{\d+\}", text) or (len(text) > 1 and text.endswith("+")):
        return
    behind = at + 1
    while behind < len(tokens) and tokens[behind][0] == "close":
        behind += 1
    if behind == len(tokens) or tokens[behind][0] == "end":
        return
    kind, following = tokens[behind]
    certain = not any(kind in ("maybe", "repeat") for kind, _ in tokens[behind + 1 : behind + 2])
    if kind in _ATOMS and certain and _apart(before[1], following):
        return
    repeated = before[1] + text
    raise ValueError(
        f"must say where {repeated} ends: by a character behind it that it cannot match, or as {repeated}+"
    )


def _apart(one: str, other: str) -> bool:
    """Tell whether no character matches both atoms, in whatever case."""
    first, second = re.compile(one, re.IGNORECASE | re.DOTALL), re.compile(other, re.IGNORECASE | re.DOTALL)
    return not any(first.match(probe) and second.match(probe) for probe in _PROBES)
