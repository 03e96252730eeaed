"""Nothing but the person's own word stands for their consent: no relationship, no residence, no domain."""

from datetime import UTC, datetime

import pytest

from policies import Consent, Envelope, Facts, MessageClass, PolicyModel, Purpose, Reason, Wish, compile_policy, decide
from policies.rule import RuleModel

FACTS = Facts(size=1_000, authors=("sender@example.org",), has_html=True, links=1)
POLICY_PURPOSES = tuple(Purpose)
POLICY = compile_policy(PolicyModel(open="with-consent", click="with-consent"), ["example.org"])


@pytest.mark.parametrize(
    "recipient",
    ["customer@shop.de", "prospect@shop.com", "someone@company.us", "someone@city.gov", "x@host.cn", "x@[192.0.2.7]"],
)
def test_rows_51_to_53(recipient: str) -> None:
    """Rows 51 to 53: customer or prospect, at home anywhere, in doubt or not: who has not agreed is not tracked."""
    envelope = Envelope("sender@example.org", (recipient,))
    asked = Wish(message=frozenset(POLICY_PURPOSES))
    now = datetime(2026, 11, 22, tzinfo=UTC)
    decision = decide(POLICY, FACTS, envelope, MessageClass.INDIVIDUAL, asked, Consent(), now)
    assert (Reason.NO_CONSENT, False) == (decision.reason, decision.tracked)


def test_no_rule_can_stand_for_consent() -> None:
    """Rows 51 to 53: what a rule may say of open, click and detail is "never", for whatever region or relationship."""
    then = RuleModel.model_json_schema()["$defs"]
    limits = next(model for model in then.values() if "open" in model.get("properties", {}))["properties"]
    said = [str(limits[purpose]) for purpose in ("open", "click", "detail")]
    assert all("never" in one and "with-consent" not in one for one in said)
