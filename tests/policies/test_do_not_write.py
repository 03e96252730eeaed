""" "Do not write to me": apart from tracking, heeded for mail to one person, and only for the organisation's own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from policies.consent import Assurance, Consent, ConsentEvent, Standing, State
from policies.decide import NOT_WRITTEN_TO, decide
from policies.envelope import Envelope
from policies.facts import Facts
from policies.policy import PolicyModel, compile_policy
from policies.wish import Wish
from policies.words import MessageClass, Purpose, Reason

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ANNA, MAX, EVE = "anna@example.org", "max@client.example", "eve@client.example"
YES = ConsentEvent("e", 1, Purpose.OPEN, State.GRANTED, Assurance.MAILBOX_PROVEN, NOW, NOW + timedelta(days=9), True)
AGREED = Consent({Purpose.OPEN: Standing(YES)})
UNWANTED = replace(AGREED, do_not_write=True)
HTML = Facts(size=2_000, has_html=True, has_text=True, links=1)


@pytest.mark.parametrize(
    ("consent", "to", "sender", "setting", "expected"),
    [
        pytest.param(UNWANTED, (MAX,), ANNA, "refuse", (NOT_WRITTEN_TO, Reason.REFUSED), id="refused"),
        pytest.param(UNWANTED, (MAX,), ANNA, "ignore", (None, Reason.REFUSED), id="ignored"),
        pytest.param(AGREED, (MAX,), ANNA, "refuse", (None, Reason.TRACKED), id="wanted"),
        pytest.param(UNWANTED, (MAX, EVE), ANNA, "refuse", (None, Reason.GROUP), id="to several"),
        pytest.param(UNWANTED, (MAX,), EVE, "refuse", (None, Reason.POLICY_OFF), id="only passing through"),
    ],
)
def test_do_not_write(
    consent: Consent,
    to: tuple[str, ...],
    sender: str,
    setting: Literal["refuse", "ignore"],
    expected: tuple[str | None, Reason],
) -> None:
    """Row 76, case 153: mail to one person who wants none is refused where policy heeds that, and not tracked."""
    policy = compile_policy(PolicyModel(do_not_write=setting), ["example.org"])
    found = decide(policy, HTML, Envelope(sender, to), MessageClass.INDIVIDUAL, Wish(), consent, NOW)

    assert expected == (found.refusal, found.reason)
    assert (expected[0] is not None) == found.refused
