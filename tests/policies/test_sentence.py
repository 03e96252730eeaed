"""The sentence that a sender reads."""

import pytest

from policies.sentence import sentence
from policies.words import Purpose, Reason

ABOUT_CONSENT = [Reason.SUPPRESSED, Reason.REFUSED, Reason.WITHDRAWN, Reason.EXPIRED, Reason.NO_CONSENT]


def untracked(reason: Reason) -> str:
    """Return the sentence for a message that is not tracked for this reason."""
    return sentence(reason, dict.fromkeys(Purpose, reason))


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.TRACKED])
def test_every_reason_has_one_sentence(reason: Reason) -> None:
    """Whatever was decided, the sender reads exactly one sentence."""
    said = untracked(reason)

    assert (True, 1) == (said.endswith("."), said.count(". ") + 1)


def test_promise_7_a_refusal_reads_like_no_answer() -> None:
    """Refused, taken back, erased, run out or never answered: the sender reads the same words."""
    assert 1 == len({untracked(reason) for reason in ABOUT_CONSENT})


@pytest.mark.parametrize("tracked", [{Purpose.OPEN}, {Purpose.CLICK}])
def test_promise_7_holds_for_the_other_purpose_too(tracked: set[Purpose]) -> None:
    """Of a message that is tracked for one purpose, nobody reads why it is not for the other."""
    said = {
        sentence(Reason.TRACKED, {purpose: Reason.TRACKED if purpose in tracked else reason for purpose in Purpose})
        for reason in [*ABOUT_CONSENT, Reason.POLICY_OFF, Reason.NOTHING_TO_TRACK]
    }

    assert 1 == len(said)


def test_no_two_other_reasons_read_alike() -> None:
    """Everything else is told apart: a sender can see what to do about it."""
    others = [reason for reason in Reason if reason not in (*ABOUT_CONSENT, Reason.TRACKED)]

    assert len(others) == len({untracked(reason) for reason in others})
