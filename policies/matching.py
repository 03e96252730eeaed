"""Matching: which rules apply to a message, found through indexes, so that a thousand rules cost little more than ten.

A set of rules is a number with one bit for each rule, the first rule's the lowest. Every kind of condition is compiled
into a function from a message to the set of rules whose condition of that kind it meets; with those that have none of
that kind, these are the rules that it leaves. The rules that apply are what all kinds leave.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from policies.condition import KINDS, Asked, Condition, Groups
from policies.rule import RuleCondition, RuleLimit, RuleModel
from policies.words import ForeignTracking, Purpose


@dataclass(frozen=True, slots=True)
class Applying:
    """What the rules that apply to a message say together, in the order of the file."""

    names: tuple[str, ...] = ()
    never: frozenset[Purpose] = frozenset()
    ask_never: bool = False
    foreign_tracking: ForeignTracking = ForeignTracking.KEEP
    """The strictest action that any of them wants."""
    footer: tuple[str, ...] = ()
    """The sentences for the footer, each once."""
    refusals: tuple[str, ...] = ()
    """The texts to refuse with."""


class Rules:
    """All rules of a policy, compiled."""

    def __init__(self, rules: Sequence[RuleModel], groups: Groups) -> None:
        """Compile the rules; ``groups`` are the sender groups that they may name."""
        limits = [rule.then for rule in rules]
        self._names = [rule.name for rule in rules]
        self._limits = limits
        self._everyone = (1 << len(rules)) - 1
        self._conditions = tuple(_conditions([rule.when for rule in rules], groups))
        self._never = {purpose: _those(limits, lambda then: purpose in then.never) for purpose in Purpose}  # noqa: B023  # called at once
        self._ask_never = _those(limits, lambda then: then.ask is not None)
        self._foreign_tracking = {
            action: _those(limits, lambda then: then.foreign_tracking is action)  # noqa: B023  # called at once
            for action in reversed(ForeignTracking)
        }
        self._texts = _those(limits, lambda then: then.footer is not None or then.refuse is not None)

    def applying(self, asked: Asked) -> Applying:
        """Return what the rules that apply to a message say."""
        found = self._everyone
        for condition in self._conditions:
            if not found:
                break
            found &= condition(asked)
        return self._together(found) if found else _NONE

    def _together(self, found: int) -> Applying:
        texts = [self._limits[at] for at in _places(found & self._texts)]
        return Applying(
            names=tuple([self._names[at] for at in _places(found)]),
            never=frozenset(purpose for purpose, those in self._never.items() if found & those),
            ask_never=bool(found & self._ask_never),
            foreign_tracking=next(
                (action for action, those in self._foreign_tracking.items() if found & those), ForeignTracking.KEEP
            ),
            footer=tuple(dict.fromkeys(then.footer for then in texts if then.footer is not None)),
            refusals=tuple(then.refuse for then in texts if then.refuse is not None),
        )


_NONE = Applying()


def _those(limits: Sequence[RuleLimit], says: Callable[[RuleLimit], bool]) -> int:
    return reduce(or_, (1 << at for at, then in enumerate(limits) if says(then)), 0)


def _places(found: int) -> list[int]:
    """Return the places of the bits that are set, the lowest first."""
    digits, places = f"{found:b}"[::-1], []
    at = digits.find("1")
    while at != -1:
        places.append(at)
        at = digits.find("1", at + 1)
    return places


def _conditions(whens: Sequence[RuleCondition], groups: Groups) -> Iterator[Condition]:
    """Yield a condition for each kind that any of the rules has."""
    everyone = (1 << len(whens)) - 1
    for kind in KINDS:
        owned = [(value, 1 << at) for at, when in enumerate(whens) for value in kind.values(when, groups)]
        if owned:
            yield _leaving(kind.index(owned), everyone & ~reduce(or_, (owner for _, owner in owned)))


def _leaving(met: Condition, others: int) -> Condition:
    return lambda asked: met(asked) | others
