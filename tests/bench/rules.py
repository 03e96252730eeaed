"""The time that ``decide`` takes with policies of many rules of every kind."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from policies import (
    Assurance,
    Consent,
    ConsentEvent,
    Decision,
    Envelope,
    Facts,
    MessageClass,
    Policy,
    PolicyModel,
    Purpose,
    Standing,
    State,
    Wish,
    compile_policy,
    decide,
)
from tests.bench.samples import best

SIZES = (10, 100, 1_000, 10_000)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KINDS: tuple[Callable[[int], dict[str, Any]], ...] = (
    lambda n: {"recipient": [f"person{n}@customer{n}.example", f"*@partner{n}.example"]},
    lambda n: {"recipient": [f"*@*.group{n}.example", f"press*@news{n}.example"]},
    lambda n: {"recipient_domain": [f"*.region{n}.example"], "class": ["individual"]},
    lambda n: {"sender": [f"team{n}-*@example.org"]},
    lambda n: {"sender_group": [f"department {n}"], "recipient": ["*"]},
    lambda n: {"header": {"X-Department": [f"*unit {n} *", f"office {n}"]}},
    lambda n: {"label": [f"*level {n}"]},
    lambda n: {"size": {"min": 20_000_000 + n}, "has_attachment": True},
    lambda n: {"listener": [f"10.0.0.1:{n}"]},
    lambda n: {"client": [f"10.{n // 256 % 256}.{n % 256}.0/24"]},
    lambda n: {"time": {"zone": "Europe/Berlin", "from": f"{n % 24:02}:00", "until": f"{n % 24:02}:30"}},
)


def policy_of(size: int) -> PolicyModel:
    """Return a policy of so many rules, of all kinds in turn; the message below meets a few of them."""
    kinds = itertools.cycle(KINDS)
    rules = [{"name": f"rule {n}", "when": next(kinds)(n), "then": {"detail": "never"}} for n in range(size)]
    groups = {f"department {n}": [f"*.d{n}@example.org", f"head{n}@example.org"] for n in range(size)}
    return PolicyModel.model_validate({"rule": rules, "groups": groups})


AGREED = Consent(
    {
        purpose: Standing(
            ConsentEvent("e", 1, purpose, State.GRANTED, Assurance.ASSERTED, NOW, NOW + timedelta(days=1), exact=True)
        )
        for purpose in Purpose
    }
)
FACTS = Facts(
    size=50_000,
    fields={
        "subject": ("Our offer",),
        "x-department": ("sales unit 5 north",),
        "msip_labels": ("MSIP_Label_1_Enabled=true; MSIP_Label_1_Name=level 6",),
    },
    authors=("anna@example.org",),
    has_html=True,
    links=3,
)
ENVELOPE = Envelope(
    "anna.d4@example.org", ("max@sales.group1.example",), listener="10.0.0.1:8", client="10.0.9.7"
)  # fmt: skip


def table() -> None:
    """Print the table."""
    print("decide, with rules of every kind in turn (to be under 200 µs for 1 000)")
    for size in SIZES:
        policy = compile_policy(policy_of(size), ["example.org"])

        def work(policy: Policy = policy) -> Decision:
            return decide(policy, FACTS, ENVELOPE, MessageClass.INDIVIDUAL, Wish(), AGREED, NOW)

        print(f"  {size:6} rules: {best(work, 300) * 1e6:7.1f} µs, {len(work().rules)} apply")
