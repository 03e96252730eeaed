"""What is decided about other people's trackers: by class, never more than a report where nothing may be changed."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from policies import (
    Consent,
    Decision,
    Envelope,
    Facts,
    ForeignTracking,
    MessageClass,
    PolicyModel,
    Protection,
    Reason,
    Wish,
    compile_policy,
    decide,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FACTS = Facts(size=1_000, authors=("sender@example.org",), has_html=True)
ENVELOPE = Envelope("sender@example.org", ("someone@example.net",))


def action(
    message_class: MessageClass = MessageClass.INDIVIDUAL,
    facts: Facts = FACTS,
    envelope: Envelope = ENVELOPE,
    **foreign_tracking: Any,
) -> ForeignTracking:
    """Return what is decided about foreign trackers."""
    return decided(message_class, facts, envelope, **foreign_tracking).foreign_tracking


def decided(
    message_class: MessageClass = MessageClass.INDIVIDUAL,
    facts: Facts = FACTS,
    envelope: Envelope = ENVELOPE,
    **foreign_tracking: Any,
) -> Decision:
    """Return the decision for a message."""
    policy = compile_policy(PolicyModel(foreign_tracking=foreign_tracking), ["example.org"])
    return decide(policy, facts, envelope, message_class, Wish(), Consent(), NOW)


@pytest.mark.parametrize(
    ("message_class", "expected"),
    [
        (MessageClass.INDIVIDUAL, "keep"),
        (MessageClass.GROUP, "report"),
        (MessageClass.BULK, "refuse"),
        (MessageClass.LIST, "refuse"),
        (MessageClass.AUTOMATED, "refuse"),
        (MessageClass.PROTECTED, "report"),
    ],
)
def test_each_class_has_its_own_answer(message_class: MessageClass, expected: str) -> None:
    """Individual, group and bulk have their own setting; other classes follow bulk, protected mail is only reported."""
    assert expected == action(message_class, individual="keep", group="report", bulk="refuse")


def test_protected_mail_is_not_looked_into_where_bulk_is_kept() -> None:
    """A policy that keeps trackers in bulk mail has nobody look for them in protected mail."""
    assert "keep" == action(MessageClass.PROTECTED, bulk="keep")


@pytest.mark.parametrize(
    "facts",
    [replace(FACTS, protection=Protection.SIGNED), replace(FACTS, problem=Reason.TOO_LARGE)],
    ids=["protected", "problem"],
)
def test_what_may_not_be_changed_is_only_reported(facts: Facts) -> None:
    """A message that must not, or cannot, be taken apart is neither changed nor refused."""
    assert "report" == action(facts=facts, individual="refuse")


@pytest.mark.parametrize("setting", ["remove", "refuse"])
@pytest.mark.parametrize(
    ("facts", "envelope"),
    [
        (FACTS, replace(ENVELOPE, mail_from="somebody@elsewhere.example")),
        (replace(FACTS, authors=("somebody@elsewhere.example",)), ENVELOPE),
    ],
    ids=["reverse-path", "author"],
)
def test_mail_that_only_passes_through_is_neither_changed_nor_refused(
    facts: Facts, envelope: Envelope, setting: str
) -> None:
    """Other people's mail, as in forwards and redirects, is not the organisation's to change."""
    assert "report" == action(facts=facts, envelope=envelope, individual=setting)


@pytest.mark.parametrize(
    ("setting", "trackers", "expected"),
    [
        ("refuse", 1, (True, True)),
        ("refuse", 0, (False, True)),
        ("remove", 1, (False, True)),
        ("report", 1, (False, False)),
    ],
)
def test_refused(setting: str, trackers: int, expected: tuple[bool, bool]) -> None:
    """A message is refused where policy says so and a tool of the sender's tracks in it; else trackers go."""
    decision = decided(facts=replace(FACTS, trackers=trackers), individual=setting)

    assert expected == (decision.refused, decision.removes_trackers)
    assert not (decision.refused and decision.tracked)


def test_a_refused_message_is_not_tracked() -> None:
    """What is refused is not tracked either, and says policy_off."""
    decision = decided(facts=replace(FACTS, trackers=1), individual="refuse")

    assert {Reason.POLICY_OFF} == set(decision.reasons.values())


def test_what_passes_through_is_never_refused() -> None:
    """A forward with a tracker in it is not the sender's doing."""
    envelope = replace(ENVELOPE, mail_from="somebody@elsewhere.example")

    assert not decided(facts=replace(FACTS, trackers=1), envelope=envelope, individual="refuse").refused
