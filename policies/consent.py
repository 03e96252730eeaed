"""Consent: what one person has said, purpose by purpose, and which event of several is the one that counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from policies.words import Purpose

PAUSE = timedelta(days=184)
"""Six months between two questions, and after a refusal: as many days as any six have, as those from July on."""


class Assurance(StrEnum):
    """How sure it is that the person themselves said it."""

    MAILBOX_PROVEN = "mailbox_proven"
    TOKEN_POSSESSION = "token_possession"
    ASSERTED = "asserted"


class State(StrEnum):
    """What an event says (ISO/IEC TS 27560 event states, as far as they occur here)."""

    REQUESTED = "requested"
    """Was asked; says nothing of the answer."""
    IMPORTED_UNPROVEN = "imported_unproven"
    """Somebody brought a grant along without saying where and with which wording it was given: tracks nobody."""
    GRANTED = "granted"
    RENEWED = "renewed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    INVALIDATED = "invalidated"
    """The person says they never agreed."""
    SUPPRESSED = "suppressed"
    """Erased; what is left says no."""
    LIFTED = "lifted"
    """An administrator took back that a whole domain refuses: says nothing of what anybody there has said."""


GRANTS = frozenset({State.GRANTED, State.RENEWED})
REFUSALS = frozenset({State.REFUSED, State.WITHDRAWN, State.INVALIDATED, State.SUPPRESSED})


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One thing that happened to one person's consent for one purpose."""

    id: str
    sequence: int
    purpose: Purpose
    state: State
    assurance: Assurance
    at: datetime
    valid_until: datetime | None
    """When a grant ends; ``None`` for a refusal, which does not end."""
    exact: bool
    """Recorded for the very spelling of the address that is asked about, not only for its folded form."""
    suspended: bool = False
    """A grant that does not count for now: its import is in doubt, or the purposes have changed since."""
    domain: bool = False
    """Said for the whole domain of the address."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a person stands on one purpose: the event that counts, or none."""

    event: ConsentEvent | None = None

    @property
    def state(self) -> State | None:
        """The state of the event that counts; ``None`` for unknown."""
        return self.event.state if self.event else None

    def granted(self, now: datetime) -> bool:
        """Tell whether a grant stands at ``now`` (aware, UTC). A grant without an end never stands."""
        event = self.event
        if event is None or event.state not in GRANTS or event.valid_until is None:
            return False
        # A time without a zone is a doubt, and doubts are off; comparing it with one that has a zone would raise.
        if now.utcoffset() is None or event.valid_until.utcoffset() is None:
            return False
        return now < event.valid_until


UNKNOWN = Standing()


@dataclass(frozen=True, slots=True)
class Consent:
    """Everything the decision needs to know of the one recipient's consent."""

    standings: Mapping[Purpose, Standing] = field(default_factory=dict)
    available: bool = True
    """False when the ledger could not be asked, or not in time."""
    do_not_write: bool = False
    """The person asked not to be written to: another matter than tracking, and kept apart from it."""
    asked_at: datetime | None = None
    """When they were last asked for their agreement; ``None`` for never."""

    def on(self, purpose: Purpose) -> Standing:
        """Return where the person stands on a purpose."""
        return self.standings.get(purpose, UNKNOWN)

    def granted(self, purpose: Purpose, now: datetime) -> bool:
        """Tell whether a grant for the purpose stands at ``now``."""
        return self.available and self.on(purpose).granted(now)

    def may_be_asked(self, now: datetime) -> bool:
        """Tell whether somebody has never answered, and was not asked for six months before ``now`` (aware, UTC)."""
        if not self.available or self.do_not_write or any(self.on(purpose).event is not None for purpose in Purpose):
            return False
        if self.asked_at is None:
            return True
        # A time without a zone is a doubt, and whoever is in doubt is not asked.
        return now.utcoffset() is not None and self.asked_at.utcoffset() is not None and now - self.asked_at >= PAUSE


UNAVAILABLE = Consent(available=False)


def least(consents: Sequence[Consent], now: datetime) -> Consent:
    """Return what several consents allow together: for each purpose the first that does not, else one that does.

    For one person who is written to in several spellings: a grant counts only for its own.
    """
    if len(consents) == 1:
        return consents[0]
    standings: dict[Purpose, Standing] = {}
    for purpose in Purpose:
        found = [consent.on(purpose) for consent in consents]
        standings[purpose] = next((one for one in found if not one.granted(now)), found[0] if found else UNKNOWN)
    return Consent(
        standings,
        available=all(consent.available for consent in consents),
        do_not_write=any(consent.do_not_write for consent in consents),
        asked_at=max((one.asked_at for one in consents if one.asked_at), key=datetime.timestamp, default=None),
    )


def most(consents: Sequence[Consent], now: datetime) -> Consent:
    """Return what several consents allow between them: for each purpose one that does, else the first that says why.

    For somebody of whom only the folded address is known, in whatever spelling they agreed: what to tell them, never
    what to do.
    """
    standings: dict[Purpose, Standing] = {}
    for purpose in Purpose:
        found = [consent.on(purpose) for consent in consents]
        said = next((one for one in found if one.event is not None), UNKNOWN)
        standings[purpose] = next((one for one in found if one.granted(now)), said)
    return Consent(
        standings,
        available=all(consent.available for consent in consents),
        do_not_write=any(consent.do_not_write for consent in consents),
        asked_at=max((one.asked_at for one in consents if one.asked_at), key=datetime.timestamp, default=None),
    )


def weigh(events: Iterable[ConsentEvent], *, do_not_write: bool = False) -> Consent:
    """Return what a person's events, in any order, amount to."""
    by_purpose: dict[Purpose, list[ConsentEvent]] = {}
    asked: ConsentEvent | None = None
    for event in events:
        by_purpose.setdefault(event.purpose, []).append(event)
        if event.state is State.REQUESTED and (asked is None or event.sequence > asked.sequence):
            asked = event
    standings = {purpose: Standing(_ruling(found)) for purpose, found in by_purpose.items()}
    return Consent(standings, do_not_write=do_not_write, asked_at=asked.at if asked is not None else None)


def _counts(event: ConsentEvent) -> bool:
    return event.state in REFUSALS or (event.state in GRANTS and event.exact and not event.suspended)


def _ruling(events: Sequence[ConsentEvent]) -> ConsentEvent | None:
    """Return the event that counts, by the precedence of DESIGN.md §4.

    The newest mailbox-proven event ends every argument that came before it. Among what came after it, and where there
    is none among everything, any refusal wins over any grant. Refusals count for every spelling of the address, a
    grant only for the exact one. A question that was asked, or an unproven import, is no answer.
    """
    ordered = sorted((event for event in events if _counts(event)), key=lambda event: event.sequence)
    proven = [at for at, event in enumerate(ordered) if event.assurance is Assurance.MAILBOX_PROVEN]
    if proven:
        ordered = ordered[proven[-1] :]
    candidates = [event for event in ordered if event.state in REFUSALS] or ordered
    return candidates[-1] if candidates else None
