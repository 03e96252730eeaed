"""A comparison of two texts: side by side, with what differs marked and what is the same folded away."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, zip_longest

CONTEXT = 3
"""Lines shown around a change; longer stretches without one are folded away."""
# A whole address is one word, or a wrapped link would be marked letter by letter.
_WORDS = re.compile(r"https?://[^\s\"'<>]+|\w+|\s+|.")

Pieces = list[tuple[bool, str]]
"""A line in pieces; True marks one that the other side has not."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line as it was sent beside the same line as it arrived; None where one side has no such line."""

    sent: Pieces | None
    delivered: Pieces | None
    changed: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lines that belong together: shown, or folded away because they are the same on both sides."""

    rows: list[Row]
    folded: bool


def compare(sent: str, delivered: str) -> list[Stretch]:
    """Return two texts side by side, line by line, with what differs marked."""
    rows = list(_rows(sent.splitlines(), delivered.splitlines()))
    changed = [at for at, row in enumerate(rows) if row.changed]
    near = {at + offset for at in changed for offset in range(-CONTEXT, CONTEXT + 1)}
    stretches = groupby(enumerate(rows), lambda numbered: numbered[0] not in near)
    return [Stretch([row for _, row in numbered], folded) for folded, numbered in stretches]


def _rows(sent: list[str], delivered: list[str]) -> Iterator[Row]:
    matcher = difflib.SequenceMatcher(None, sent, delivered, autojunk=False)
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        for old, new in zip_longest(sent[start:end], delivered[new_start:new_end]):
            if kind == "equal":
                yield Row([(False, old)], [(False, new)], changed=False)
            elif old is None or new is None:
                yield Row(_alone(old), _alone(new), changed=True)
            else:
                yield _changed_line(old, new)


def _alone(line: str | None) -> Pieces | None:
    return None if line is None else [(True, line)]


def _changed_line(old: str, new: str) -> Row:
    olds, news = _WORDS.findall(old), _WORDS.findall(new)
    before: Pieces = []
    after: Pieces = []
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(None, olds, news, False).get_opcodes():
        before.append((kind != "equal", "".join(olds[start:end])))
        after.append((kind != "equal", "".join(news[new_start:new_end])))
    return Row([piece for piece in before if piece[1]], [piece for piece in after if piece[1]], changed=True)
