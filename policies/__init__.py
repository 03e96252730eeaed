"""What the organisation allows, and the one decision: model, classification, consent, and the types that travel.

Pure: nothing in here reads or writes, looks at a clock or knows a database.
"""

from policies.classify import Classification, Signal, classify
from policies.consent import UNAVAILABLE, Assurance, Consent, ConsentEvent, Standing, State, least, weigh
from policies.decide import Decision, decide
from policies.envelope import Envelope
from policies.facts import Facts, Part
from policies.policy import Policy, PolicyModel, compile_policy
from policies.tracker import FoundTracker
from policies.wish import EVERYTHING, NOTHING, Wish
from policies.words import (
    ForeignTracking,
    MessageClass,
    Outcome,
    Protection,
    Purpose,
    Reason,
    Scope,
    Surface,
    Tier,
    TrackerAction,
    Verdict,
)

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "UNAVAILABLE",
    "Assurance",
    "Classification",
    "Consent",
    "ConsentEvent",
    "Decision",
    "Envelope",
    "Facts",
    "ForeignTracking",
    "FoundTracker",
    "MessageClass",
    "Outcome",
    "Part",
    "Policy",
    "PolicyModel",
    "Protection",
    "Purpose",
    "Reason",
    "Scope",
    "Signal",
    "Standing",
    "State",
    "Surface",
    "Tier",
    "TrackerAction",
    "Verdict",
    "Wish",
    "classify",
    "compile_policy",
    "decide",
    "least",
    "weigh",
]
