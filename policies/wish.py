"""Wish: what the sender asks for, by the message itself or by a saved default. A wish can only lower."""

from dataclasses import dataclass

from policies.words import Purpose

NOTHING: frozenset[Purpose] = frozenset()
EVERYTHING: frozenset[Purpose] = frozenset(Purpose)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. A message that says nothing falls back to the sender's saved default."""

    message: frozenset[Purpose] | None = None
    """The message's own request, by header, subject tag or Sensitivity; ``None`` where it makes none."""
    saved: frozenset[Purpose] | None = None
    """The sender's saved default; ``None`` where nothing is saved, then the policy's ``sender_default`` counts."""
