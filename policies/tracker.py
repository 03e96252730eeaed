"""Trackers that were found in a message: what is told and remembered of them. Never a full address."""

from dataclasses import dataclass

from policies.words import Scope, Surface, Tier, TrackerAction

OWN_VENDOR = "aboveboard"
"""Stands for our own marks where a vendor is named."""
OWN_UNVERIFIED = "own_unverified"
"""An image on our own host whose token does not open; no vendor can be called that."""


@dataclass(frozen=True, slots=True)
class FoundTracker:
    """Trackers of one kind in one message, and what was done about them."""

    scope: Scope
    vendor: str | None
    """The vendor's id in the rules; None where only the looks speak for it."""
    surface: Surface
    tier: Tier
    action: TrackerAction
    host: str
    """Where it would have been fetched from; empty where it has no address."""
    count: int
