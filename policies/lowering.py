"""Lowering: what each rule that applied to a message took away, beyond what the policy says anyway."""

from collections.abc import Iterator
from dataclasses import dataclass

from policies.decide import Decision
from policies.policy import Policy
from policies.rule import RuleModel
from policies.words import ForeignTracking, Purpose

_MILDEST_FIRST = list(ForeignTracking)


@dataclass(frozen=True, slots=True)
class Lowering:
    """What one rule did to one message; ``None`` where it changed nothing."""

    rule: str
    open: str | None = None
    click: str | None = None
    detail: str | None = None
    foreign_tracking: str | None = None
    ask: str | None = None
    footer: str | None = None
    refuse: str | None = None


def lowerings(policy: Policy, decision: Decision) -> Iterator[Lowering]:
    """Yield what each rule that the decision names took away, in the order of the file."""
    applied = frozenset(decision.rules)
    for rule in policy.model.rule:
        if rule.name in applied:
            yield _lowering(policy, decision, rule)


def _lowering(policy: Policy, decision: Decision, rule: RuleModel) -> Lowering:
    then = rule.then
    never = {purpose: "never" for purpose in Purpose if purpose in then.never and policy.allows(purpose)}
    return Lowering(
        rule=rule.name,
        open=never.get(Purpose.OPEN),
        click=never.get(Purpose.CLICK),
        detail=never.get(Purpose.DETAIL),
        foreign_tracking=then.foreign_tracking if _tightens(policy, decision, then.foreign_tracking) else None,
        ask=then.ask if policy.model.ask != "never" else None,
        footer=then.footer,
        refuse=then.refuse if decision.refusal is not None else None,
    )


def _tightens(policy: Policy, decision: Decision, action: ForeignTracking | None) -> bool:
    """Tell whether an action is stricter than the class's setting, and not more than may be done to the message."""
    if action is None:
        return False
    before, after = policy.model.foreign_tracking.of(decision.message_class), decision.foreign_tracking
    return _MILDEST_FIRST.index(before) < _MILDEST_FIRST.index(action) <= _MILDEST_FIRST.index(after)
