"""Consent: which of a person's events counts, and for how long (DESIGN.md §4, precedence of consent events)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.consent import REFUSALS, UNAVAILABLE, Assurance, Consent, ConsentEvent, Standing, State, least, weigh
from policies.words import Purpose

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
BEFORE = NOW - timedelta(days=30)
STATES = {"grant": State.GRANTED, "refusal": State.REFUSED, "withdrawal": State.WITHDRAWN, "mark": State.SUPPRESSED}
ASSURANCES = {"proven": Assurance.MAILBOX_PROVEN, "token": Assurance.TOKEN_POSSESSION, "asserted": Assurance.ASSERTED}


def event(
    sequence: int,
    words: str = "proven grant",
    *,
    purpose: Purpose = Purpose.OPEN,
    valid_until: datetime | None = LATER,
    exact: bool = True,
) -> ConsentEvent:
    """Return an event from words such as "token refusal", or "asserted grant elsewhere" for another spelling."""
    assurance, state, *elsewhere = words.split()
    return ConsentEvent(
        id=f"event-{sequence}",
        sequence=sequence,
        purpose=purpose,
        state=STATES[state],
        assurance=ASSURANCES[assurance],
        at=BEFORE + timedelta(minutes=sequence),
        valid_until=valid_until if state == "grant" else None,
        exact=exact and not elsewhere,
    )


def ruling(events: Sequence[ConsentEvent]) -> ConsentEvent | None:
    """Tell which event counts, by comparing each with each: it stands unless another one displaces it."""

    def heard(one: ConsentEvent) -> bool:
        return one.exact or one.state is not State.GRANTED

    def displaces(one: ConsentEvent, other: ConsentEvent) -> bool:
        newer = one.sequence > other.sequence
        if newer and one.assurance is Assurance.MAILBOX_PROVEN:
            return True
        overruled = any(
            heard(third) and third.assurance is Assurance.MAILBOX_PROVEN and third.sequence > one.sequence
            for third in events
        )
        if overruled:
            return False
        refuses, grants = one.state is not State.GRANTED, other.state is State.GRANTED
        return (refuses and grants) or (newer and refuses != grants)

    standing = [
        one for one in events if heard(one) and not any(heard(other) and displaces(other, one) for other in events)
    ]
    assert len(standing) <= 1
    return standing[0] if standing else None


EVENTS = st.lists(
    st.builds(
        event,
        st.integers(1, 30),
        st.builds(" ".join, st.tuples(st.sampled_from(sorted(ASSURANCES)), st.sampled_from(sorted(STATES)))),
        purpose=st.sampled_from([Purpose.OPEN, Purpose.OPEN, Purpose.CLICK]),
        valid_until=st.sampled_from([LATER, LATER, BEFORE, None]),
        exact=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda one: one.sequence,
)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], None),
        (["proven grant"], 1),
        (["asserted grant"], 1),
        (["token refusal"], 1),
        # The newest mailbox-proven event ends the argument.
        (["proven refusal", "proven grant"], 2),
        (["proven grant", "proven refusal"], 2),
        (["proven grant", "proven withdrawal", "proven grant"], 3),
        (["token refusal", "proven grant"], 2),
        (["asserted withdrawal", "token refusal", "proven grant"], 3),
        (["proven mark", "proven grant"], 2),
        # Among all others any refusal wins, in whatever order.
        (["asserted grant", "token refusal"], 2),
        (["token refusal", "asserted grant"], 1),
        (["asserted refusal", "asserted grant", "asserted grant"], 1),
        (["asserted refusal", "token withdrawal", "asserted grant"], 2),
        (["token mark", "asserted grant"], 1),
        # A refusal after the proof holds from the next message (promise 6), and only a newer proof lifts it.
        (["proven grant", "token withdrawal"], 2),
        (["proven grant", "token withdrawal", "asserted grant"], 2),
        (["proven grant", "token withdrawal", "proven grant"], 3),
        (["proven refusal", "asserted grant"], 1),
        (["proven refusal", "token withdrawal", "asserted grant"], 2),
        # Refusals match the folded address, grants the exact one.
        (["proven grant elsewhere"], None),
        (["asserted grant elsewhere"], None),
        (["token refusal elsewhere"], 1),
        (["proven grant", "token refusal elsewhere"], 2),
        (["proven grant", "proven refusal elsewhere"], 2),
        (["token refusal", "proven grant elsewhere"], 1),
        (["proven refusal elsewhere", "proven grant"], 2),
    ],
    ids=lambda value: " < ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_precedence(history: list[str], expected: int | None) -> None:
    """Of a history, oldest first, the event that DESIGN.md's rule names is the one that counts."""
    events = [event(at, words) for at, words in enumerate(history, start=1)]

    counted = weigh(events).on(Purpose.OPEN).event

    assert expected == (counted.sequence if counted else None)


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_precedence_for_every_history(events: list[ConsentEvent]) -> None:
    """For each purpose the event that counts is the one no other displaces."""
    consent = weigh(events)

    for purpose in Purpose:
        assert ruling([one for one in events if one.purpose is purpose]) == consent.on(purpose).event


@settings(max_examples=300, deadline=None)
@given(EVENTS.flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_order_of_reading_does_not_matter(orders: tuple[list[ConsentEvent], list[ConsentEvent]]) -> None:
    """The events may come from the ledger in any order, and as any iterable."""
    one, other = orders

    assert weigh(one) == weigh(iter(other))


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.sampled_from(sorted(ASSURANCES)), st.sampled_from(sorted(STATES.keys() - {"grant"})), st.booleans())
def test_a_new_refusal_always_holds(events: list[ConsentEvent], assurance: str, state: str, exact: bool) -> None:
    """After a refusal of any kind, proven or not, in any spelling, nothing that was said before is a grant."""
    refused = weigh([*events, event(31, f"{assurance} {state}", exact=exact)])

    assert not refused.granted(Purpose.OPEN, NOW)
    assert refused.on(Purpose.OPEN).state in REFUSALS


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.integers(0, 30), st.sampled_from(sorted(ASSURANCES)), st.sampled_from(sorted(REFUSALS)))
def test_a_refusal_anywhere_never_turns_a_grant_on(
    events: list[ConsentEvent], place: int, assurance: str, state: State
) -> None:
    """A refusal that comes to light late, anywhere in the history, can only reduce."""
    spread = [replace(one, sequence=one.sequence * 2) for one in events]
    refusal = replace(event(place * 2 + 1, f"{assurance} refusal"), state=state)

    before, after = weigh(spread), weigh([*spread, refusal])

    assert {p for p in Purpose if after.granted(p, NOW)} <= {p for p in Purpose if before.granted(p, NOW)}


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_another_spelling_can_only_reduce(events: list[ConsentEvent]) -> None:
    """Whatever is held about other spellings of the address, no purpose is on that is off without it."""
    own = weigh(one for one in events if one.exact)
    everything = weigh(events)

    assert {p for p in Purpose if everything.granted(p, NOW)} <= {p for p in Purpose if own.granted(p, NOW)}


def test_purposes_are_weighed_apart() -> None:
    """A refusal of one purpose leaves a grant of another, and what nobody spoke about is unknown."""
    consent = weigh([event(1), event(2, "token refusal", purpose=Purpose.CLICK)])

    states = {Purpose.OPEN: State.GRANTED, Purpose.CLICK: State.REFUSED, Purpose.DETAIL: None}
    assert states == {purpose: consent.on(purpose).state for purpose in Purpose}
    assert {Purpose.OPEN} == {purpose for purpose in Purpose if consent.granted(purpose, NOW)}


@pytest.mark.parametrize(
    ("valid_until", "now", "expected"),
    [
        (LATER, NOW, True),
        (NOW + timedelta(microseconds=1), NOW, True),
        (NOW, NOW, False),
        (BEFORE, NOW, False),
        (None, NOW, False),
        ((NOW + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=-9))), NOW, True),
        ((NOW - timedelta(minutes=1)).astimezone(timezone(timedelta(hours=9))), NOW, False),
        (LATER.replace(tzinfo=None), NOW, False),
        (LATER, NOW.replace(tzinfo=None), False),
        (LATER.replace(tzinfo=None), NOW.replace(tzinfo=None), False),
    ],
    ids=[
        "ahead", "just_ahead", "this_very_moment", "past", "endless", "zone_west", "zone_east", "end_without_zone",
        "now_without_zone", "no_zones",
    ],
)  # fmt: skip
def test_expiry(valid_until: datetime | None, now: datetime, expected: bool) -> None:
    """A grant stands up to its end and not at it, never without an end, and never where a time is in doubt."""
    assert expected == Standing(event(1, valid_until=valid_until)).granted(now)


@pytest.mark.parametrize("state", sorted(REFUSALS))
def test_a_refusal_is_no_grant_for_any_time(state: State) -> None:
    """Only a grant can stand: a refusal does not, even if it were given an end that lies ahead."""
    assert not Standing(replace(event(1), state=state)).granted(NOW)


def test_a_grant_that_ran_out_still_counts_as_the_last_word() -> None:
    """Expiry is judged after precedence: an older grant does not come back when a newer proven one has run out."""
    consent = weigh([event(1), event(2, valid_until=BEFORE)])

    assert not consent.granted(Purpose.OPEN, NOW)
    assert consent.on(Purpose.OPEN).event == event(2, valid_until=BEFORE)


def test_nothing_is_granted_without_the_ledger() -> None:
    """When the ledger could not be asked, what may be known from elsewhere does not count."""
    known = weigh([event(1)])

    assert known.granted(Purpose.OPEN, NOW)
    assert not Consent(known.standings, available=False).granted(Purpose.OPEN, NOW)
    assert not any(UNAVAILABLE.granted(purpose, NOW) for purpose in Purpose)


def test_unknown_is_not_granted() -> None:
    """Who has never said anything stands nowhere."""
    assert not any(Consent().granted(purpose, NOW) for purpose in Purpose)
    assert {None} == {weigh([]).on(purpose).state for purpose in Purpose}


def test_the_least_of_several_spellings() -> None:
    """A grant for one spelling of an address is none for a message that goes to another spelling too."""
    granted = weigh([_grant()])
    assert granted.granted(Purpose.OPEN, NOW)
    assert least([granted, granted], NOW).granted(Purpose.OPEN, NOW)
    assert not least([granted, Consent()], NOW).granted(Purpose.OPEN, NOW)
    assert not least([Consent(), granted], NOW).granted(Purpose.OPEN, NOW)
    assert not least([granted, UNAVAILABLE], NOW).available
    assert least([granted, weigh([], do_not_write=True)], NOW).do_not_write


def _grant() -> ConsentEvent:
    until = NOW + timedelta(days=1)
    return ConsentEvent("g", 1, Purpose.OPEN, State.GRANTED, Assurance.ASSERTED, NOW, until, exact=True)
