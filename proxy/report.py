"""The report: which trackers a message had, by scope, vendor, surface and tier, and what was done about each.

Hosts only, never a full address: those of some tools hold the addresses of people.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from policies import Decision
from policies.tracker import OWN_VENDOR, FoundTracker
from policies.words import Protection, Scope, Surface, Tier, TrackerAction
from proxy.body import Body
from proxy.message import Message
from proxy.own import OwnMarks
from proxy.reply import Reply, reply
from proxy.slices import Walk
from proxy.trackers import Finding

MAX_KINDS = 50
"""Kinds of tracker that are told and remembered of one message."""
_MAX_NAMED = 5
"""Vendors that a refusal names, so that its line stays short (RFC 5321 §4.5.3.1.5)."""
_GOES = frozenset({TrackerAction.REMOVED, TrackerAction.UNWRAPPED})
_STAYS = frozenset({TrackerAction.OPAQUE, TrackerAction.UNDECODABLE})
_SEALED = frozenset({Protection.SIGNED, Protection.ENCRYPTED, Protection.DKIM})


def found_in(body: Body, edited: bool, *, clean: bool) -> Iterator[FoundTracker]:
    """Yield what was found in a part. ``edited`` says that its edits were made, ``clean`` that trackers were to go."""
    yield from _own(body.own, None if edited else TrackerAction.REPORTED)
    for one in body.foreign:
        said = one.action in _STAYS or (clean and edited)
        yield _found(one, one.action if said else TrackerAction.REPORTED)


def found_untouched(message: Message) -> Iterator[FoundTracker]:
    """Yield what was found in a message that is not to be changed."""
    sealed = message.facts.protection in _SEALED
    action = TrackerAction.UNSTRIPPABLE_SIGNED if sealed else TrackerAction.REPORTED
    for part in message.untouchable:
        yield from _own(part.own, action)
        for one in part.foreign:
            yield _found(one, action if one.action in _GOES else one.action)


def finding_refused(message: Message) -> Walk[tuple[FoundTracker, ...]]:
    """Walk to what was found in a message that is refused because of it."""
    found = (one for body in (*message.bodies, *message.texts) for one in body.foreign)
    return (
        yield from summing_up(
            _found(one, TrackerAction.REFUSED if one.certain and one.scope is Scope.TOOL else TrackerAction.REPORTED)
            for one in found
        )
    )


def vendor_names(message: Message) -> tuple[str, ...]:
    """Return the names of the vendors that the sender's own tools are from."""
    found = (one for body in (*message.bodies, *message.texts) for one in body.foreign)
    return tuple(dict.fromkeys(one.name for one in found if one.certain and one.scope is Scope.TOOL))


def refusal(decision: Decision, vendors: Sequence[str]) -> Reply:
    """Return what a client hears whose message a rule refuses, or that holds trackers which policy refuses."""
    if decision.refusal is not None:
        return reply(550, f"5.7.1 {decision.refusal}")
    named = [re.sub(r"[^ -~]", "?", name)[:40] for name in vendors[:_MAX_NAMED]]
    others = f" and {len(vendors) - _MAX_NAMED} more" if len(vendors) > _MAX_NAMED else ""
    text = f"5.7.1 Not sent: the message holds tracking by {', '.join(named)}{others}, which the policy here forbids"
    return reply(550, text)


def _found(one: Finding, action: TrackerAction) -> FoundTracker:
    return FoundTracker(one.scope, one.vendor, one.surface, one.tier, action, one.host, 1)


def _own(own: OwnMarks, action: TrackerAction | None) -> Iterator[FoundTracker]:
    for surface, count, done in (
        (Surface.IMAGE, own.pixels, TrackerAction.REMOVED),
        (Surface.LINK, own.links, TrackerAction.UNWRAPPED),
        (Surface.ELEMENT, own.footers, TrackerAction.REMOVED),
    ):
        if count:
            yield FoundTracker(Scope.OWN, OWN_VENDOR, surface, Tier.A, action or done, "", count)


def summing_up(found: Iterable[FoundTracker]) -> Walk[tuple[FoundTracker, ...]]:
    """Walk to what was found, those of one kind counted together."""
    counts: Counter[FoundTracker] = Counter()
    for one in found:
        counts[replace(one, count=0)] += one.count
        yield
    return tuple(replace(one, count=count) for one, count in list(counts.items())[:MAX_KINDS])
