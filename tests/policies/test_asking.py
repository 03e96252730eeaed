"""Asking by the footer: whom a message may invite to say yes or no."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies import (
    UNAVAILABLE,
    Consent,
    Envelope,
    Facts,
    MessageClass,
    PolicyModel,
    Protection,
    Purpose,
    Reason,
    Wish,
    compile_policy,
    decide,
    least,
)
from policies.consent import PAUSE, Assurance, ConsentEvent, State, weigh

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FACTS = Facts(size=1_000, authors=("sender@example.org",), has_html=True)
ENVELOPE = Envelope("sender@example.org", ("someone@example.net",))
INDIVIDUAL, NO_WISH = MessageClass.INDIVIDUAL, Wish()


def event(state: State, age: timedelta = timedelta(0), purpose: Purpose = Purpose.OPEN, **more: Any) -> ConsentEvent:
    """Return an event of so long ago."""
    at = NOW - age
    until = at + timedelta(days=365) if state in (State.GRANTED, State.RENEWED) else None
    given: dict[str, Any] = {"id": "e", "sequence": 1, "exact": True, **more}
    return ConsentEvent(purpose=purpose, state=state, assurance=Assurance.ASSERTED, at=at, valid_until=until, **given)


def asks(
    events: Sequence[ConsentEvent] = (),
    *,
    consent: Consent | None = None,
    facts: Facts = FACTS,
    envelope: Envelope = ENVELOPE,
    message_class: MessageClass = INDIVIDUAL,
    wish: Wish = NO_WISH,
    now: datetime = NOW,
    **settings: Any,
) -> bool:
    """Tell whether a message asks its recipient, under a policy that has it ask."""
    policy = compile_policy(PolicyModel.model_validate({"ask": "footer", **settings}), ["example.org"])
    decision = decide(policy, facts, envelope, message_class, wish, consent or weigh(events), now)
    assert not decision.tracked
    return decision.ask == "footer"


def test_somebody_unknown_is_asked() -> None:
    """Row 47: who never answered is asked in individual mail, where policy says so and only there."""
    assert asks()
    assert not asks(ask="never")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([event(State.REQUESTED, PAUSE - timedelta(seconds=1))], False, id="asked lately"),
        pytest.param([event(State.REQUESTED, PAUSE)], True, id="asked six months ago"),
        pytest.param([event(State.REQUESTED, PAUSE * 2), event(State.REQUESTED, sequence=2)], False, id="asked twice"),
        pytest.param([event(State.REQUESTED, sequence=2), event(State.REQUESTED, PAUSE * 2)], False, id="newest first"),
        pytest.param([event(State.IMPORTED_UNPROVEN)], True, id="imported without proof"),
        pytest.param([event(State.REFUSED, PAUSE * 3)], False, id="refused long ago"),
        pytest.param([event(State.REFUSED, PAUSE * 3, Purpose.DETAIL)], False, id="refused something else"),
        pytest.param([event(State.WITHDRAWN)], False, id="withdrawn"),
        pytest.param([event(State.SUPPRESSED)], False, id="erased"),
        pytest.param([event(State.INVALIDATED)], False, id="never agreed"),
        pytest.param([event(State.GRANTED, PAUSE * 3)], False, id="agreed once"),
    ],
)
def test_who_is_not_asked_again(events: list[ConsentEvent], expected: bool) -> None:
    """Nobody is asked twice in six months, and who has answered is not asked by a footer at all."""
    assert expected == asks(events)


@pytest.mark.parametrize("month", range(1, 13))
def test_six_months_are_no_day_shorter(month: int) -> None:
    """Between two questions lie six months of the calendar, whichever they are."""
    asked = datetime(2027, month, 1, tzinfo=UTC)
    years, after = divmod(month + 5, 12)
    again = datetime(2027 + years, after + 1, 1, tzinfo=UTC)
    known = [replace(event(State.REQUESTED), at=asked)]

    assert not asks(known, now=again - timedelta(seconds=1))
    assert asks(known, now=again + timedelta(days=3))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"message_class": MessageClass.GROUP}, id="group"),
        pytest.param({"message_class": MessageClass.BULK}, id="bulk"),
        pytest.param({"message_class": MessageClass.LIST}, id="list"),
        pytest.param({"message_class": MessageClass.AUTOMATED}, id="automated"),
        pytest.param({"message_class": MessageClass.PROTECTED}, id="protected"),
        pytest.param({"facts": replace(FACTS, protection=Protection.SIGNED)}, id="signed"),
        pytest.param({"facts": replace(FACTS, protection=Protection.ENCRYPTED)}, id="encrypted"),
        pytest.param({"facts": replace(FACTS, problem=Reason.TOO_LARGE)}, id="too large"),
        pytest.param({"facts": replace(FACTS, has_html=False, has_text=True)}, id="plain text"),
        pytest.param({"facts": replace(FACTS, has_html=False)}, id="empty"),
        pytest.param({"envelope": Envelope("a@example.org", ("b@example.org",))}, id="colleague"),
        pytest.param({"envelope": Envelope("a@example.org", ("b@x.test", "c@x.test"))}, id="two people"),
        pytest.param({"envelope": Envelope("a@elsewhere.test", ("b@x.test",))}, id="passing through"),
        pytest.param({"wish": Wish(message=frozenset())}, id="the message says off"),
        pytest.param({"wish": Wish(saved=frozenset())}, id="the sender saved off"),
        pytest.param({"consent": UNAVAILABLE}, id="no ledger"),
        pytest.param({"consent": Consent(do_not_write=True), "do_not_write": "ignore"}, id="no mail wanted"),
        pytest.param({"open": "never", "click": "never"}, id="nothing to ask for"),
        pytest.param({"consent": Consent(asked_at=NOW.replace(tzinfo=None))}, id="asked at a time without a zone"),
    ],
)
def test_what_does_not_ask(message: dict[str, Any]) -> None:
    """Mail that would not be tracked even with an agreement does not ask for one, and doubt is no."""
    assert not asks(**message)


def test_text_that_may_have_a_footer_asks() -> None:
    """Where policy lets text-only messages have links wrapped and a footer, they ask too."""
    assert asks(facts=replace(FACTS, has_html=False, has_text=True), plain_text_links=True)


def test_several_spellings_of_one_person() -> None:
    """Who was asked in one spelling of their address was asked."""
    earlier, later = (Consent(asked_at=NOW - timedelta(days=days)) for days in (300, 3))
    assert [NOW - timedelta(days=3)] * 2 == [least(pair, NOW).asked_at for pair in ((earlier, later), (later, earlier))]
    assert least((Consent(), Consent()), NOW).asked_at is None
