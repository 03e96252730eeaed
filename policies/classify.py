"""Classification: what kind of message this is, from the envelope, the header and the facts. Pure.

The most restrictive signal wins, and whatever is unclear is not individual. The signals and their sources are those of
cases/classification.md §6.2.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policies.address import folded, untagged
from policies.envelope import Envelope
from policies.facts import Facts
from policies.glob import matches
from policies.policy import Policy
from policies.words import MessageClass

_CLASS_ORDER = {message_class: place for place, message_class in enumerate(MessageClass)}
_COMMENT = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that speaks for a class."""

    message_class: MessageClass
    name: str


@dataclass(frozen=True, slots=True)
class Classification:
    """The class, and the signals that made it, the most restrictive first."""

    message_class: MessageClass
    signals: tuple[Signal, ...] = ()


def classify(policy: Policy, facts: Facts, envelope: Envelope, run: int = 0) -> Classification:
    """Return the class of a message and every signal that was found.

    ``run`` is how many people the sender has written to alike within the merge window, by what the ledger says.
    """
    found = sorted(_signals(policy, facts, envelope, run), key=lambda signal: _CLASS_ORDER[signal.message_class])
    return Classification(found[0].message_class if found else MessageClass.INDIVIDUAL, tuple(found))


def _signals(policy: Policy, facts: Facts, envelope: Envelope, run: int) -> Iterator[Signal]:
    if facts.protection is not None:
        yield Signal(MessageClass.PROTECTED, facts.protection.value)
    yield from _automated(facts, envelope)
    yield from _list_and_bulk(facts)
    yield from _people(policy, facts, envelope)
    window = policy.model.merge_window
    if window != "off" and run >= window.messages:
        yield Signal(MessageClass.BULK, "merge_window")


def _automated(facts: Facts, envelope: Envelope) -> Iterator[Signal]:
    if not envelope.mail_from:
        yield Signal(MessageClass.AUTOMATED, "null_sender")
    if envelope.automated:
        yield Signal(MessageClass.AUTOMATED, "listener")
    # RFC 3834 §5: anything but "no", in any of several fields, says that no person sent this.
    if any(_keyword(value) != "no" for value in facts.values("auto-submitted")):
        yield Signal(MessageClass.AUTOMATED, "auto-submitted")
    for name in ("x-autoreply", "x-autorespond", "x-ms-exchange-inbox-rules-loop"):
        if facts.values(name):
            yield Signal(MessageClass.AUTOMATED, name)
    # RFC 5322 §3.6.6: somebody else's message, sent on as it was.
    if any(name.startswith("resent-") for name in facts.fields):
        yield Signal(MessageClass.AUTOMATED, "resent")


def _list_and_bulk(facts: Facts) -> Iterator[Signal]:
    # RFC 2369 and RFC 2919; List-Unsubscribe-Post is RFC 8058.
    for name in facts.fields:
        if name.startswith("list-") or name in ("mailing-list", "x-mailing-list"):
            yield Signal(MessageClass.LIST, name)
    for name in ("precedence", "x-precedence"):
        for value in facts.values(name):
            # The field was never standardised, so a word counts wherever it stands: beside others, or by a comment.
            words = frozenset(_WORD.findall(value.lower()))
            if words & {"auto_reply", "auto-reply"}:
                yield Signal(MessageClass.AUTOMATED, name)
            if "list" in words:
                yield Signal(MessageClass.LIST, name)
            elif words & {"bulk", "junk"}:
                yield Signal(MessageClass.BULK, name)
    if facts.undisclosed:
        yield Signal(MessageClass.BULK, "undisclosed_recipients")


def _people(policy: Policy, facts: Facts, envelope: Envelope) -> Iterator[Signal]:
    addressed = frozenset(folded(address) for address in facts.addressed)
    everybody = envelope.recipients | addressed
    for address in sorted(everybody):
        if matches(policy.lists, address) or matches(policy.lists, untagged(address)):
            yield Signal(MessageClass.LIST, "list_address")
        elif "@" not in address or matches(policy.roles, untagged(address)):
            # Without a domain it can only be "postmaster" (RFC 5321 §4.1.1.3), a role like any other.
            yield Signal(MessageClass.GROUP, "role_address")
    if len(everybody) > 1:
        yield Signal(MessageClass.GROUP, "recipients")
    if not envelope.recipients:
        yield Signal(MessageClass.GROUP, "no_recipient")
    elif not envelope.recipients <= addressed:
        # A recipient that no address field names got a blind copy, or a list expanded to them.
        yield Signal(MessageClass.GROUP, "not_addressed")


def _keyword(value: str) -> str:
    """Return the keyword of a structured field: without comments, parameters, case and white space."""
    return _COMMENT.sub("", value).partition(";")[0].strip().lower()
