"""Checks: what in a policy is surely meant otherwise. Every remark says where it stands and what would be right.

The model says what may be written; these say what makes no sense although it may be: a rule that can never apply, one
that limits nothing, a glob that cannot be what it looks like, a setting that goes above the preset.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from policies.address import canonical_domain, folded
from policies.glob import matches, overlap
from policies.policy import Policy, PolicyModel
from policies.presets import PRESETS, Preset
from policies.rule import RuleCondition, RuleLimit, RuleModel, TimeWindow
from policies.spelling import address_trouble, domain_trouble, url_trouble
from policies.words import ForeignTracking, MessageClass, Purpose

_MILDEST_FIRST = list(ForeignTracking)


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark: the key path below ``policy``, and the rest of the sentence without its full stop."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the rest of the file the rules refer to."""

    domains: frozenset[str] = frozenset()
    """The organisation's, in canonical form."""
    listeners: Mapping[str, bool] = field(default_factory=dict)
    """By listening address: whether it is for printers and machines."""


def problems(policy: Policy, surroundings: Surroundings) -> Iterator[Remark]:
    """Yield what must be put right before the policy can be used."""
    model = policy.model
    yield from _above_preset(model)
    for key, globs in (("role_addresses", model.role_addresses), ("list_addresses", model.list_addresses)):
        yield from address_globs(key, globs)
    for key, globs in (("never_wrap", model.never_wrap), ("foreign_allowed", model.foreign_allowed)):
        yield from _misspelt(key, globs, url_trouble)
    for name, members in model.groups.items():
        yield from address_globs(f"groups.{name}", members)
    names: dict[str, int] = {}
    for at, rule in enumerate(model.rule):
        path = f"rule[{at}]"
        if names.setdefault(rule.name, at) != at:
            yield Remark(f"{path}.name", f"is the name of rule[{names[rule.name]}] already")
        yield from _condition_problems(f"{path}.when", rule.when, policy, surroundings)
        yield from _limit_problems(f"{path}.then", rule, model)


def notes(model: PolicyModel, surroundings: Surroundings) -> Iterator[Remark]:
    """Yield what may be so, but has no effect."""
    used = {name for rule in model.rule for name in rule.when.sender_group}
    for name in model.groups:
        if name not in used:
            yield Remark(f"groups.{name}", "is a group that no rule names")
    for at, rule in enumerate(model.rule):
        if not _limits_anything(rule, model):
            yield Remark(f"rule[{at}]", "lowers nothing that is not so already")
        globs = [*rule.when.sender, *(glob for name in rule.when.sender_group for glob in model.groups.get(name, ()))]
        ours = [f"*@{domain}" for domain in surroundings.domains]
        if globs and not any(overlap(folded(glob), one) for glob in globs for one in ours):
            yield Remark(f"rule[{at}].when", "is about senders outside organisation.domains, who are never tracked")


def _above_preset(model: PolicyModel) -> Iterator[Remark]:
    preset = PRESETS[model.preset]
    said: list[tuple[str, str, str]] = [(key, key, getattr(model, key)) for key in ("open", "click", "detail", "ask")]
    said += [
        (f"foreign_tracking.{key}", "foreign_tracking", getattr(model.foreign_tracking, key))
        for key in ("individual", "group", "bulk")
    ]
    for at, rule in enumerate(model.rule):
        then = rule.then
        if then.foreign_tracking is not None:
            said.append((f"rule[{at}].then.foreign_tracking", "foreign_tracking", then.foreign_tracking))
        if then.refuse is not None and not preset.permitted("refuse", then.refuse):
            yield Remark(f"rule[{at}].then.refuse", f"cannot be beside {_promise(preset)}")
    for path, key, value in said:
        if not preset.permitted(key, value):
            right = " or ".join(f'"{one}"' for one in preset.permits[key])
            yield Remark(path, f'must be {right}, not "{value}", beside {_promise(preset)}')


def _promise(preset: Preset) -> str:
    return f'preset = "{preset.name}", which {preset.promise}'


def address_globs(path: str, globs: Iterable[str]) -> Iterator[Remark]:
    """Yield what is wrong with globs over addresses: those that no address matches."""
    yield from _misspelt(path, globs, address_trouble)


def _misspelt(path: str, globs: Iterable[str], trouble: Callable[[str], str | None]) -> Iterator[Remark]:
    for at, glob in enumerate(globs):
        text = trouble(glob)
        if text is not None:
            yield Remark(f"{path}[{at}]", text)


def _condition_problems(path: str, when: RuleCondition, policy: Policy, surroundings: Surroundings) -> Iterator[Remark]:
    yield from address_globs(f"{path}.sender", when.sender)
    yield from address_globs(f"{path}.recipient", when.recipient)
    yield from _misspelt(f"{path}.recipient_domain", when.recipient_domain, domain_trouble)
    yield from _known(f"{path}.sender_group", when.sender_group, policy.model.groups, "a group in policy.groups")
    yield from _known(f"{path}.listener", when.listener, surroundings.listeners, "the address of a relay.listener")
    if when.size is not None:
        if when.size.min is None and when.size.max is None:
            yield Remark(f"{path}.size", "must say min, max or both")
        elif when.size.min is not None and when.size.max is not None and when.size.min > when.size.max:
            yield Remark(f"{path}.size", "can never be met: min is more than max")
    if when.time is not None:
        yield from _time_problems(f"{path}.time", when.time)
    yield from _twice(f"{path}.header", when.header)
    yield from _contradictions(path, when, policy, surroundings)


def _twice(path: str, names: Iterable[str]) -> Iterator[Remark]:
    """Yield the header fields that are named twice; their case does not matter (RFC 5322 §1.2.2)."""
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(name.lower(), name) != name:
            yield Remark(f"{path}.{name}", f'is the same field as "{seen[name.lower()]}"; put the globs into one list')


def _known(path: str, names: Iterable[str], known: Iterable[str], what: str) -> Iterator[Remark]:
    for at, name in enumerate(names):
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            yield Remark(f"{path}[{at}]", f'"{name}" is not {what}' + (f' (did you mean "{near[0]}"?)' if near else ""))


def _time_problems(path: str, window: TimeWindow) -> Iterator[Remark]:
    if (window.begin is None) != (window.until is None):
        yield Remark(path, "must say from and until, or neither for the whole day")
    elif window.begin is not None and window.begin == window.until:
        yield Remark(path, "can never be met: it ends when it begins; leave both out for the whole day")


def _contradictions(path: str, when: RuleCondition, policy: Policy, surroundings: Surroundings) -> Iterator[Remark]:
    addresses = [folded(glob) for glob in when.recipient]
    domains = [f"*@{canonical_domain(glob)}" for glob in when.recipient_domain]
    if _apart(addresses, domains):
        yield Remark(f"{path}.recipient_domain", "can never be met: no recipient above is in any of these domains")
    members = [folded(glob) for name in when.sender_group for glob in policy.model.groups.get(name, ())]
    if _apart([folded(glob) for glob in when.sender], members):
        yield Remark(f"{path}.sender_group", "can never be met: no sender above is in any of these groups")
    if when.message_class == [MessageClass.INDIVIDUAL] and addresses and all(_shared(one, policy) for one in addresses):
        yield Remark(f"{path}.class", 'can never be met: these recipients are read by several people; write "group"')
    machines = [surroundings.listeners.get(one, False) for one in when.listener]
    possible = {MessageClass.AUTOMATED, MessageClass.PROTECTED}
    if machines and all(machines) and when.message_class and not possible & set(when.message_class):
        yield Remark(f"{path}.class", 'can never be met: these listeners are for machines; write "automated"')


def _apart(globs: list[str], others: list[str]) -> bool:
    """Tell whether both are said and no text can match one of each."""
    return bool(globs and others) and not any(overlap(one, other) for one in globs for other in others)


def _shared(address: str, policy: Policy) -> bool:
    return not {"*", "?"} & set(address) and (matches(policy.roles, address) or matches(policy.lists, address))


def _limit_problems(path: str, rule: RuleModel, model: PolicyModel) -> Iterator[Remark]:
    then = rule.then
    if then == RuleLimit():
        yield Remark(path, 'limits nothing; say what it lowers, like open = "never"')
    if then.foreign_tracking is not None:
        said = {model.foreign_tracking.of(one) for one in _classes(rule)}
        if all(_stricter(setting, then.foreign_tracking) for setting in said):
            mildest = min(said, key=_MILDEST_FIRST.index)
            wrong = f'"{then.foreign_tracking}" would loosen policy.foreign_tracking, which says "{mildest}"'
            yield Remark(f"{path}.foreign_tracking", f"{wrong}; a rule can only be stricter")


def _stricter(one: ForeignTracking, other: ForeignTracking) -> bool:
    return _MILDEST_FIRST.index(one) > _MILDEST_FIRST.index(other)


def _classes(rule: RuleModel) -> list[MessageClass]:
    return rule.when.message_class or list(MessageClass)


def _limits_anything(rule: RuleModel, model: PolicyModel) -> bool:
    """Tell whether anything is lower with the rule than without; a rule that says nothing is a problem already."""
    then = rule.then
    trackable = {purpose for purpose in Purpose if getattr(model, purpose.value) == "with-consent"}
    trackable = trackable if MessageClass.INDIVIDUAL in _classes(rule) else set()
    return (
        then == RuleLimit()
        or then.refuse is not None
        or bool(then.never & trackable)
        or (then.footer is not None and bool(trackable & {Purpose.OPEN, Purpose.CLICK}))
        or (then.ask is not None and model.ask != "never")
        or any(
            then.foreign_tracking is not None and _stricter(then.foreign_tracking, model.foreign_tracking.of(one))
            for one in _classes(rule)
        )
    )
