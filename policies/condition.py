"""Conditions: what a rule can ask about a message, each kind compiled into one index over all rules that have it.

An index gives, for a message, the owners whose condition it meets, as bits of a number. A doubt meets no condition.
"""

import ipaddress
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from policies.address import canonical_domain, domain_of, folded, untagged
from policies.envelope import Envelope
from policies.facts import Facts
from policies.glob import GlobIndex
from policies.rule import RuleCondition, SizeRange, TimeWindow, Weekday
from policies.setting import minute
from policies.words import MessageClass

_DAY = 24 * 60
_WEEK = 7 * _DAY
_WEEKDAYS = list(Weekday)

Key = TypeVar("Key")
Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A message as conditions look at it; ``now`` is an aware time."""

    facts: Facts
    envelope: Envelope
    message_class: MessageClass
    now: datetime


Condition = Callable[[Asked], int]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of condition: what a rule says of it, nothing where it has none, and how all that becomes an index."""

    values: Callable[[RuleCondition, Groups], Iterable[Any]]
    index: Callable[[Sequence[tuple[Any, int]]], Condition]


class Steps:
    """Ranges of whole numbers: which owners have one that a number lies in."""

    def __init__(self, ranges: Iterable[tuple[int, int | None, int]]) -> None:
        """Take ranges as (first, behind the last or None for no end, owner); ranges of one owner must not overlap."""
        events: list[tuple[int, bool, int]] = []
        for first, behind, owner in ranges:
            events.append((first, True, owner))
            if behind is not None:
                events.append((behind, False, owner))
        self._begins = [-1]
        self._owners = [0]
        # What ends somewhere ends before anything begins there.
        for at, begins, owner in sorted(events):
            owners = self._owners[-1] | owner if begins else self._owners[-1] & ~owner
            self._begins.append(at)
            self._owners.append(owners)

    def owners(self, number: int) -> int:
        """Return the owners of the ranges that a number lies in; it is not negative."""
        return self._owners[bisect_right(self._begins, number) - 1]


def _by_key(owned: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for key, owner in owned:
        found[key] = found.get(key, 0) | owner
    return found


def _class_index(owned: Sequence[tuple[MessageClass, int]]) -> Condition:
    by_class = _by_key(owned)
    return lambda asked: by_class.get(asked.message_class, 0)


def _listener_index(owned: Sequence[tuple[str, int]]) -> Condition:
    by_listener = _by_key(owned)
    return lambda asked: by_listener.get(asked.envelope.listener, 0)


def _attachment_index(owned: Sequence[tuple[bool, int]]) -> Condition:
    by_answer: dict[bool | None, int] = {**_by_key(owned)}
    return lambda asked: by_answer.get(asked.facts.has_attachment, 0)


def _size_index(owned: Sequence[tuple[SizeRange, int]]) -> Condition:
    steps = Steps((size.min or 0, None if size.max is None else size.max + 1, owner) for size, owner in owned)
    return lambda asked: steps.owners(asked.facts.size)


def _sender_index(owned: Sequence[tuple[Sequence[str], int]]) -> Condition:
    index = GlobIndex((folded(glob), owner) for globs, owner in owned for glob in globs)

    def met(asked: Asked) -> int:
        address = folded(asked.envelope.sender)
        # A return path with a tag for each message is still the one sender's.
        return index.owners(address) | index.owners(untagged(address))

    return met


def _members(when: RuleCondition, groups: Groups) -> Iterable[Sequence[str]]:
    if when.sender_group:
        yield [glob for name in when.sender_group for glob in groups.get(name, ())]


def _recipient_index(owned: Sequence[tuple[RuleCondition, int]]) -> Condition:
    """With several recipients any of them is enough, but it is one that both address and domain must be right for."""
    addresses = GlobIndex((folded(glob), owner) for when, owner in owned for glob in when.recipient)
    domains = GlobIndex((canonical_domain(glob), owner) for when, owner in owned for glob in when.recipient_domain)
    any_address = _union(owner for when, owner in owned if not when.recipient)
    any_domain = _union(owner for when, owner in owned if not when.recipient_domain)

    def met(asked: Asked) -> int:
        found = 0
        for address in asked.envelope.recipients:
            by_address = addresses.owners(address) | any_address
            found |= by_address & (domains.owners(domain_of(address)) | any_domain)
        return found

    return met


def _union(owners: Iterable[int]) -> int:
    found = 0
    for owner in owners:
        found |= owner
    return found


def _as_compared(text: str) -> str:
    """Return a text for comparison by people's eyes: case and the two ways to write an accent make no difference."""
    return unicodedata.normalize("NFC", text.casefold())


def _header_index(owned: Sequence[tuple[tuple[str, Sequence[str]], int]]) -> Condition:
    """Of the fields that one rule names, each must have a value that matches."""
    everyone = _union(owner for _, owner in owned)
    names = dict.fromkeys(name for (name, _), _ in owned)
    fields = [
        (
            name,
            GlobIndex((_as_compared(glob), owner) for (one, globs), owner in owned if one == name for glob in globs),
            everyone & ~_union(owner for (one, _), owner in owned if one == name),
        )
        for name in names
    ]

    def met(asked: Asked) -> int:
        found = everyone
        for name, index, others in fields:
            found &= others | _union(index.owners(_as_compared(value.strip())) for value in asked.facts.as_read(name))
        return found

    return met


def _label_index(owned: Sequence[tuple[str, int]]) -> Condition:
    index = GlobIndex((_as_compared(glob), owner) for glob, owner in owned)

    def met(asked: Asked) -> int:
        labels = asked.facts.labels
        return _union(index.owners(_as_compared(text)) for label in labels for text in (label.name, label.guid))

    return met


def _client_index(owned: Sequence[tuple[str, int]]) -> Condition:
    networks = [(ipaddress.ip_network(network), owner) for network, owner in owned]
    by_network = _by_key(((one.version, one.prefixlen, int(one.network_address)), owner) for one, owner in networks)
    lengths = sorted({(network.version, network.prefixlen) for network, _ in networks})

    def met(asked: Asked) -> int:
        try:
            address = ipaddress.ip_address(asked.envelope.client.partition("%")[0])
        except ValueError:
            return 0
        # An IPv4 client of a socket that takes both kinds (RFC 4291 §2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        number, bits = int(address), address.max_prefixlen
        return _union(
            by_network.get((version, length, number >> (bits - length) << (bits - length)), 0)
            for version, length in lengths
            if version == address.version
        )

    return met


def minutes_of_week(window: TimeWindow) -> Iterator[tuple[int, int]]:
    """Yield the minutes of the week that a window covers, as (first, behind the last); Monday begins at 0."""
    begin = minute(window.begin) if window.begin is not None else 0
    until = minute(window.until) if window.until is not None else _DAY
    length = until - begin if until > begin else until - begin + _DAY
    for day in set(window.days):
        first = _WEEKDAYS.index(day) * _DAY + begin
        yield first, min(first + length, _WEEK)
        if first + length > _WEEK:
            # Sunday night goes on on Monday.
            yield 0, first + length - _WEEK


def _time_index(owned: Sequence[tuple[TimeWindow, int]]) -> Condition:
    by_zone: dict[str, list[tuple[int, int | None, int]]] = {}
    for window, owner in owned:
        ranges = by_zone.setdefault(window.zone, [])
        ranges += [(first, behind, owner) for first, behind in minutes_of_week(window)]
    zones = [(ZoneInfo(zone), Steps(ranges)) for zone, ranges in by_zone.items()]

    def met(asked: Asked) -> int:
        if asked.now.utcoffset() is None:
            return 0
        local = [(asked.now.astimezone(zone), steps) for zone, steps in zones]
        return _union(steps.owners(at.weekday() * _DAY + at.hour * 60 + at.minute) for at, steps in local)

    return met


KINDS = (
    Kind(lambda when, _: when.message_class, _class_index),
    Kind(lambda when, _: when.listener, _listener_index),
    Kind(lambda when, _: [] if when.has_attachment is None else [when.has_attachment], _attachment_index),
    Kind(lambda when, _: [] if when.size is None else [when.size], _size_index),
    Kind(lambda when, _: [when.sender] if when.sender else [], _sender_index),
    Kind(_members, _sender_index),
    Kind(lambda when, _: [when] if when.recipient or when.recipient_domain else [], _recipient_index),
    Kind(lambda when, _: when.label, _label_index),
    Kind(lambda when, _: [(name.lower(), globs) for name, globs in when.header.items()], _header_index),
    Kind(lambda when, _: when.client, _client_index),
    Kind(lambda when, _: [] if when.time is None else [when.time], _time_index),
)
"""Every kind, the ones that are quick to look at first."""
