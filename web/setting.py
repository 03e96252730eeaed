"""A sender's setting: what they choose on their page counts for their next messages, as far as policy allows."""

from typing import Any

from ledger.ledger import Ledger
from ledger.senders import Saved, Setting
from policies.policy import Policy
from policies.wish import EVERYTHING, NOTHING
from policies.words import Purpose

CHOICES = {Purpose.OPEN: "loaded images", Purpose.CLICK: "followed links"}
"""What a sender chooses, in the words of the page."""


def _listed(purposes: Saved) -> str:
    return " and ".join(name for purpose, name in CHOICES.items() if purpose in purposes)


async def save(ledger: Ledger, sender_hash: str, form: dict[str, list[str]]) -> str:
    """Do what the form says and return what was done: "saved", "forgotten", or nothing for a form that is not ours.

    Without the tick at "remember" nothing is kept, and the organisation's default counts. Raises LedgerUnavailable.
    """
    if "save" not in form:
        return ""
    chosen = frozenset(purpose for purpose in CHOICES if form.get(purpose.value) == ["on"])
    remember = form.get("remember") == ["on"]
    await ledger.save_setting(sender_hash, chosen if remember else None)
    return "saved" if remember else "forgotten"


def shown(policy: Policy, setting: Setting | None) -> dict[str, Any]:
    """Return what the page says: what counts now, since when, and what the policy allows at most."""
    default = EVERYTHING if policy.model.sender_default == "on" else NOTHING
    counts = setting.purposes if setting is not None else default
    return {
        "choices": [
            {"name": purpose.value, "text": text, "on": purpose in counts} for purpose, text in CHOICES.items()
        ],
        "counts": _listed(counts),
        "since": setting.changed_at.strftime("%Y-%m-%d") if setting is not None else None,
        "default": _listed(default),
        "allowed": _listed(frozenset(purpose for purpose in CHOICES if policy.allows(purpose))),
    }
