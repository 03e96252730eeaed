"""What rules do to a decision beyond the three purposes: stricter about trackers, no asking, words, refusal."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from policies import (
    Consent,
    Decision,
    Envelope,
    Facts,
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
OUTSIDE = replace(ENVELOPE, mail_from="somebody@elsewhere.example")


def decided(
    *limits: dict[str, Any],
    message_class: MessageClass = MessageClass.INDIVIDUAL,
    facts: Facts = FACTS,
    envelope: Envelope = ENVELOPE,
    **settings: Any,
) -> Decision:
    """Return what is decided under rules that always apply, with these limits."""
    rules = [{"name": f"rule {at}", "when": {}, "then": then} for at, then in enumerate(limits)]
    policy = compile_policy(PolicyModel.model_validate({"rule": rules, **settings}), ["example.org"])
    return decide(policy, facts, envelope, message_class, Wish(), Consent(), NOW)


@pytest.mark.parametrize(
    ("setting", "actions", "expected"),
    [
        ("keep", ["remove"], "remove"),
        ("keep", ["report", "refuse", "remove"], "refuse"),
        ("remove", ["report"], "remove"),
        ("refuse", ["keep"], "refuse"),
        ("report", [], "report"),
    ],
)
def test_a_rule_can_only_tighten_what_happens_to_trackers(setting: str, actions: list[str], expected: str) -> None:
    """Of the class's setting and all rules the strictest counts, in whatever order they stand."""
    limits = [{"foreign_tracking": action} for action in actions]
    for order in (limits, limits[::-1]):
        assert expected == decided(*order, foreign_tracking={"individual": setting}).foreign_tracking


@pytest.mark.parametrize(
    "message",
    [
        {"facts": replace(FACTS, protection=Protection.SIGNED), "message_class": MessageClass.PROTECTED},
        {"facts": replace(FACTS, problem=Reason.UNPARSABLE)},
        {"envelope": OUTSIDE},
    ],
    ids=["protected", "problem", "outside"],
)
def test_a_rule_changes_nothing_that_must_not_be_changed(message: dict[str, Any]) -> None:
    """What may not be touched is only reported, whatever a rule wants."""
    assert "report" == decided({"foreign_tracking": "refuse"}, **message).foreign_tracking


@pytest.mark.parametrize(
    ("ask", "limits", "expected"),
    [
        ("footer", [], "footer"),
        ("footer", [{"ask": "never"}], "never"),
        ("footer", [{"open": "never", "click": "never"}], "never"),
        ("never", [{"open": "never"}], "never"),
    ],
)
def test_asking(ask: str, limits: list[dict[str, Any]], expected: str) -> None:
    """A rule can only keep somebody from being asked, by ``ask`` or because they may not be tracked."""
    assert expected == decided(*limits, ask=ask).ask


def test_words_for_the_footer() -> None:
    """Every sentence stands once, in the order of the file."""
    assert ("One.", "Two.") == decided({"footer": "One."}, {"footer": "Two."}, {"footer": "One."}).footer


def test_the_first_refusal_is_said_and_all_are_named() -> None:
    """The text of the first rule in the file is what the client hears; every rule that applies is recorded."""
    decision = decided({"open": "never"}, {"refuse": "First"}, {"refuse": "Second"}, detail="with-consent")

    assert ("First", ("rule 0", "rule 1", "rule 2")) == (decision.refusal, decision.rules)
    assert {Reason.RULE} == set(decision.reasons.values())


@pytest.mark.parametrize(
    ("envelope", "authors", "refused"),
    [
        (ENVELOPE, ("sender@example.org",), True),
        (OUTSIDE, ("sender@example.org",), False),
        (ENVELOPE, ("somebody@elsewhere.example",), False),
        (ENVELOPE, (), False),
        (replace(ENVELOPE, mail_from=""), ("sender@example.org",), False),
    ],
    ids=["ours", "reverse-path", "author", "no author", "null sender"],
)
def test_mail_from_outside_is_never_refused(envelope: Envelope, authors: tuple[str, ...], refused: bool) -> None:
    """Forwards, redirects and reports pass through (DESIGN.md §4)."""
    decision = decided({"refuse": "No"}, envelope=envelope, facts=replace(FACTS, authors=authors))

    assert refused == (decision.refusal is not None)
    assert not decision.tracked


def test_protected_mail_may_be_refused() -> None:
    """Refusing changes no byte; the reason stays what protects the message."""
    facts = replace(FACTS, protection=Protection.SIGNED)
    decision = decided({"refuse": "No"}, facts=facts, message_class=MessageClass.PROTECTED)

    assert ("No", Reason.PROTECTED, Protection.SIGNED) == (decision.refusal, decision.reason, decision.detail)
