"""The decision: may this message be tracked, for what, and if not, why. The only place that decides.

Pure and total: the same arguments always give the same answer, nothing is read or written, and there is no input for
which it raises. Every doubt ends in a reason, and a purpose with a reason is off.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from policies.address import domain_of, within
from policies.condition import Asked
from policies.consent import Consent, State
from policies.envelope import Envelope
from policies.facts import Facts
from policies.matching import Applying
from policies.policy import Policy
from policies.wish import Wish
from policies.words import REASON_ORDER, ForeignTracking, MessageClass, Protection, Purpose, Reason

_CLASS_REASONS = {
    MessageClass.PROTECTED: Reason.PROTECTED,
    MessageClass.AUTOMATED: Reason.AUTOMATED,
    MessageClass.LIST: Reason.LIST,
    MessageClass.BULK: Reason.BULK,
    MessageClass.GROUP: Reason.GROUP,
}
_MILDEST_FIRST = {action: place for place, action in enumerate(ForeignTracking)}
_PROBLEMS = frozenset({Reason.ERROR, Reason.UNPARSABLE, Reason.TOO_LARGE})
_STATE_REASONS: dict[State | None, Reason] = {
    State.SUPPRESSED: Reason.SUPPRESSED,
    State.REFUSED: Reason.REFUSED,
    State.INVALIDATED: Reason.REFUSED,
    State.WITHDRAWN: Reason.WITHDRAWN,
    State.GRANTED: Reason.EXPIRED,
    State.RENEWED: Reason.EXPIRED,
}
"""Why a state does not allow; all others amount to knowing nothing."""


NOT_WRITTEN_TO = "Not sent: this person has asked not to be written to"
"""What a sender hears."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one message. ``reasons`` holds every purpose; the ones that are on say ``tracked``."""

    message_class: MessageClass
    reason: Reason
    reasons: Mapping[Purpose, Reason]
    policy_version: str
    detail: Protection | None = None
    """What protects a protected message."""
    rules: tuple[str, ...] = ()
    """The names of the rules that matched."""
    consent_events: tuple[str, ...] = field(default=())
    """The ids of the consent events relied on."""
    foreign_tracking: ForeignTracking = ForeignTracking.REPORT
    """What happens to other people's trackers in the message."""
    refused: bool = False
    """The message is not taken: a rule refuses it, or a tool of the sender's tracks in it and policy refuses that."""
    refusal: str | None = None
    """The text of the rule that refuses the message; ``None`` where none does."""
    ask: Literal["never", "footer"] = "never"
    """Whether the message invites its recipient, who has never answered, to say yes or no."""
    footer: tuple[str, ...] = ()
    """Sentences of the organisation's own for the footer of a tracked message."""

    def allows(self, purpose: Purpose) -> bool:
        """Tell whether the purpose is on."""
        return self.reasons.get(purpose) is Reason.TRACKED

    @property
    def tracked(self) -> bool:
        """Tell whether the message carries anything of ours."""
        return self.reason is Reason.TRACKED

    @property
    def removes_trackers(self) -> bool:
        """Tell whether other people's trackers are taken out: also what is quoted where a tool's would be refused."""
        return self.foreign_tracking in (ForeignTracking.REMOVE, ForeignTracking.REFUSE)


@dataclass(slots=True)
class _Case:
    # Not frozen: it is made for every message, and freezing one costs as much as half of the rest.
    policy: Policy
    facts: Facts
    envelope: Envelope
    message_class: MessageClass
    wish: Wish
    consent: Consent
    now: datetime
    rules: Applying
    ours: bool
    """Sender and the one author are of the organisation."""


def decide(
    policy: Policy,
    facts: Facts,
    envelope: Envelope,
    message_class: MessageClass,
    wish: Wish,
    consent: Consent,
    now: datetime,
) -> Decision:
    """Return the decision for a message.

    ``now`` is an aware time in UTC. For each purpose the answer is the least of the ceiling, the rules that match, the
    wish and the consent of the one recipient (DESIGN.md §1, promise 1). ``detail`` says more about an open or a click,
    so it is on only beside one of them.
    """
    rules = policy.rules.applying(Asked(facts, envelope, message_class, now))
    ours = _ours(policy, facts, envelope)
    case = _Case(policy, facts, envelope, message_class, wish, consent, now, rules, ours)
    for_all = _first(_FOR_ALL, case, Purpose.OPEN)
    reasons = {purpose: for_all or _first(_BY_PURPOSE, case, purpose) or Reason.TRACKED for purpose in Purpose}
    # The purpose that came nearest to being tracked says why the message as a whole is not.
    overall = max(reasons[Purpose.OPEN], reasons[Purpose.CLICK], key=REASON_ORDER.__getitem__)
    if reasons[Purpose.DETAIL] is Reason.TRACKED and overall is not Reason.TRACKED:
        reasons[Purpose.DETAIL] = overall
    refusal = _refusal(case)
    return Decision(
        message_class=message_class,
        reason=overall,
        reasons=reasons,
        policy_version=policy.version,
        detail=facts.protection if overall is Reason.PROTECTED else None,
        rules=rules.names,
        consent_events=_relied_on(consent, reasons),
        foreign_tracking=_foreign_tracking(case),
        refused=refusal is not None or _tracks_itself(case),
        # Mail that only passes through is never refused (DESIGN.md §4); refusing changes no byte of a protected one.
        refusal=refusal,
        ask="footer" if _may_ask(case, overall) else "never",
        footer=rules.footer,
    )


def _may_ask(case: _Case, overall: Reason) -> bool:
    """Tell whether the message may ask: nothing but an answer of its recipient is missing for it to be tracked."""
    if case.policy.model.ask == "never" or case.rules.ask_never or overall is not Reason.NO_CONSENT:
        return False
    return case.consent.may_be_asked(case.now)


def _refusal(case: _Case) -> str | None:
    """Return the sentence with which the message is not taken, or None."""
    if not case.ours:
        return None
    if case.rules.refusals:
        return case.rules.refusals[0]
    return NOT_WRITTEN_TO if _unwanted(case) else None


def _unwanted(case: _Case) -> bool:
    """Tell whether the one recipient asked not to be written to, and policy heeds that."""
    heeded = case.policy.model.do_not_write == "refuse" and case.consent.do_not_write
    return heeded and len(case.envelope.recipients) == 1


def _foreign_tracking(case: _Case) -> ForeignTracking:
    """Return what happens to other people's trackers: what the policy says of the class, or a stricter rule.

    DESIGN.md §3 and §4.
    """
    said = case.policy.model.foreign_tracking.of(case.message_class)
    found = max(said, case.rules.foreign_tracking, key=_MILDEST_FIRST.__getitem__)
    untouchable = _by_facts(case, Purpose.OPEN) is not None or case.facts.protection is not None
    if (untouchable or case.message_class is MessageClass.PROTECTED) and found is not ForeignTracking.KEEP:
        return ForeignTracking.REPORT
    if not case.ours:
        # Mail that only passes through is neither changed nor refused.
        return min(found, ForeignTracking.REPORT, key=_MILDEST_FIRST.__getitem__)
    return found


def _tracks_itself(case: _Case) -> bool:
    """Tell whether a tool of the sender's tracks, and policy refuses that.

    What others wrote, and a reply quotes, is not held against the sender.
    """
    return case.facts.trackers > 0 and _foreign_tracking(case) is ForeignTracking.REFUSE


_Limit = Callable[[_Case, Purpose], Reason | None]


def _first(limits: tuple[_Limit, ...], case: _Case, purpose: Purpose) -> Reason | None:
    """Return the first thing that limits the purpose, in the order of DESIGN.md §3."""
    for limit in limits:
        reason = limit(case, purpose)
        if reason is not None:
            return reason
    return None


def _by_facts(case: _Case, purpose: Purpose) -> Reason | None:
    problem = case.facts.problem
    # A problem is never good news: one in any other word (``tracked`` above all) is an error.
    return problem if problem is None or problem in _PROBLEMS else Reason.ERROR


def _by_ledger(case: _Case, purpose: Purpose) -> Reason | None:
    return None if case.consent.available else Reason.LEDGER_UNAVAILABLE


def _by_class(case: _Case, purpose: Purpose) -> Reason | None:
    # The class is what somebody made of the facts and the envelope; where these say less than it does, they win. With
    # two recipients there is no "consent of the one recipient" to look at.
    if case.facts.protection is not None:
        return Reason.PROTECTED
    if case.message_class is not MessageClass.INDIVIDUAL:
        return _CLASS_REASONS[case.message_class]
    return None if len(case.envelope.recipients) == 1 else Reason.GROUP


def _by_colleagues(case: _Case, purpose: Purpose) -> Reason | None:
    if case.policy.model.internal == "with-consent":
        return None
    internal = any(within(domain_of(address), case.policy.domains) for address in case.envelope.rcpt_to)
    return Reason.INTERNAL if internal else None


def _by_ceiling(case: _Case, purpose: Purpose) -> Reason | None:
    # Mail of somebody else's that only passes through (a forward, a redirect) is not the organisation's to track.
    return None if case.ours and case.policy.allows(purpose) and not _tracks_itself(case) else Reason.POLICY_OFF


def _ours(policy: Policy, facts: Facts, envelope: Envelope) -> bool:
    """Tell whether sender and the one author are of the organisation.

    A reverse-path that was rewritten on the way does not make a forward ours.
    """
    authors = facts.authors
    written_here = authors is None or (len(authors) == 1 and domain_of(authors[0]) in policy.domains)
    return written_here and domain_of(envelope.sender) in policy.domains


def _by_rules(case: _Case, purpose: Purpose) -> Reason | None:
    # A message that is refused is tracked for nothing.
    return Reason.RULE if purpose in case.rules.never or case.rules.refusals else None


def _by_wish(case: _Case, purpose: Purpose) -> Reason | None:
    if case.wish.message is not None:
        return None if purpose in case.wish.message else Reason.MESSAGE_OFF
    if case.wish.saved is not None:
        return None if purpose in case.wish.saved else Reason.SENDER_OFF
    return None if case.policy.model.sender_default == "on" else Reason.SENDER_OFF


def _by_body(case: _Case, purpose: Purpose) -> Reason | None:
    facts = case.facts
    wrap_anyway = purpose is not Purpose.OPEN and case.policy.model.plain_text_links
    if facts.has_text and not facts.has_html and not wrap_anyway:
        return Reason.PLAIN_TEXT
    return Reason.EMPTY_BODY if facts.empty or not (facts.has_html or facts.has_text) else None


def _by_consent(case: _Case, purpose: Purpose) -> Reason | None:
    if case.consent.do_not_write:
        # Who wants no mail at all is tracked in none, also where policy lets the mail go.
        return Reason.REFUSED
    if case.consent.granted(purpose, case.now):
        return None
    return _STATE_REASONS.get(case.consent.on(purpose).state, Reason.NO_CONSENT)


def _by_content(case: _Case, purpose: Purpose) -> Reason | None:
    return Reason.NOTHING_TO_TRACK if purpose is Purpose.CLICK and case.facts.links == 0 else None


_FOR_ALL: tuple[_Limit, ...] = (_by_facts, _by_ledger, _by_class, _by_colleagues)
"""What limits every purpose alike."""
_BY_PURPOSE: tuple[_Limit, ...] = (_by_ceiling, _by_rules, _by_wish, _by_body, _by_consent, _by_content)


_FROM_CONSENT = frozenset({*_STATE_REASONS.values(), Reason.NO_CONSENT, Reason.NOTHING_TO_TRACK, Reason.TRACKED})


def _relied_on(consent: Consent, reasons: Mapping[Purpose, Reason]) -> tuple[str, ...]:
    """Return the ids of the consent events that made or unmade a purpose: none where consent was never reached."""
    events = [consent.on(purpose).event for purpose, reason in reasons.items() if reason in _FROM_CONSENT]
    return tuple(dict.fromkeys(event.id for event in events if event is not None))
