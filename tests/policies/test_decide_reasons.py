"""The reasons of the decision: each in its order, per purpose, against DESIGN.md §3 and §4 and in truth tables."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from policies.consent import Assurance, Consent, ConsentEvent, Standing, State
from policies.decide import Decision, decide
from policies.envelope import Envelope
from policies.facts import Facts
from policies.policy import Policy, PolicyModel, compile_policy
from policies.wish import Wish
from policies.words import MessageClass, Protection, Purpose, Reason

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ALL = frozenset({"open", "click", "detail"})
ORDER = [
    "error", "unparsable", "too_large", "ledger_unavailable", "protected", "automated", "list", "bulk", "group",
    "internal", "policy_off", "rule", "sender_off", "message_off", "plain_text", "empty_body", "suppressed", "refused",
    "withdrawn", "expired", "no_consent", "nothing_to_track", "tracked",
]  # fmt: skip
"""The reasons as DESIGN.md §3 lists them."""

# What each purpose's consent can look like, as (state, end); "endless" is a grant that names no end.
STANDINGS = {
    "granted": (State.GRANTED, NOW + DAY),
    "expired": (State.GRANTED, NOW),
    "endless": (State.GRANTED, None),
    "refused": (State.REFUSED, None),
    "withdrawn": (State.WITHDRAWN, None),
    "suppressed": (State.SUPPRESSED, None),
    "unknown": None,
}
# What the body can look like, as (has HTML, has text, empty).
BODIES = {
    "html": (True, False, False),
    "both": (True, True, False),
    "text": (False, True, False),
    "blank": (True, False, True),
    "none": (False, False, True),
    "gone": (False, False, False),
}


@dataclass(frozen=True)
class Scene:
    """Every input of a decision in plain words; as it stands, each purpose is tracked."""

    problem: str | None = None
    ledger: bool = True
    klass: str = "individual"
    protection: str | None = None
    recipients: tuple[str, ...] = ("jane@customer.example",)
    sender: str = "sender@example.org"
    ceiling: frozenset[str] = ALL
    internal: str = "never"
    sender_default: str = "on"
    plain_text_links: bool = False
    rules: tuple[frozenset[str], ...] = ()
    message: frozenset[str] | None = None
    saved: frozenset[str] | None = None
    body: str = "both"
    links: int = 3
    consent: tuple[tuple[str, str], ...] = tuple((purpose, "granted") for purpose in ("open", "click", "detail"))

    def decide(self) -> Decision:
        """Return the decision of the program."""
        html, text, empty = BODIES[self.body]
        facts = Facts(
            size=100,
            protection=Protection(self.protection) if self.protection else None,
            problem=Reason(self.problem) if self.problem else None,
            has_html=html,
            has_text=text,
            empty=empty,
            links=self.links,
        )
        policy = compiled(self.ceiling, self.internal, self.sender_default, self.plain_text_links, self.rules)
        wish = Wish(purposes(self.message), purposes(self.saved))
        envelope = Envelope(self.sender, self.recipients)
        return decide(policy, facts, envelope, MessageClass(self.klass), wish, standing(self), NOW)

    def holds(self, purpose: str) -> dict[str, bool]:
        """Tell of each reason whether it speaks against the purpose: DESIGN.md, line by line."""
        state = dict(self.consent)[purpose]
        saved = self.saved if self.saved is not None else ALL if self.sender_default == "on" else frozenset()
        return {
            "error": self.problem == "error",
            "unparsable": self.problem == "unparsable",
            "too_large": self.problem == "too_large",
            "ledger_unavailable": not self.ledger,
            "protected": self.klass == "protected" or self.protection is not None,
            "automated": self.klass == "automated",
            "list": self.klass == "list",
            "bulk": self.klass == "bulk",
            "group": self.klass == "group" or len({one.lower() for one in self.recipients}) != 1,
            "internal": self.internal == "never" and any(one.endswith("example.org") for one in self.recipients),
            "policy_off": purpose not in self.ceiling or not self.sender.endswith("@example.org"),
            "rule": any(purpose in rule for rule in self.rules),
            "sender_off": self.message is None and purpose not in saved,
            "message_off": self.message is not None and purpose not in self.message,
            "plain_text": self.body == "text" and (purpose == "open" or not self.plain_text_links),
            "empty_body": self.body in ("blank", "none", "gone"),
            "suppressed": state == "suppressed",
            "refused": state == "refused",
            "withdrawn": state == "withdrawn",
            "expired": state in ("expired", "endless"),
            "no_consent": state == "unknown",
            "nothing_to_track": purpose == "click" and self.links == 0,
            "tracked": True,
        }

    def expected(self) -> tuple[dict[str, str], str]:
        """Return the reason of each purpose and of the message, by DESIGN.md alone."""
        first = {}
        for purpose in ("open", "click", "detail"):
            holds = self.holds(purpose)
            first[purpose] = next(reason for reason in ORDER if holds[reason])
        overall = max(first["open"], first["click"], key=ORDER.index)
        if first["detail"] == "tracked":
            first["detail"] = overall
        return first, overall


def on(decision: Decision) -> set[str]:
    return {purpose.value for purpose in Purpose if decision.allows(purpose)}


def purposes(names: frozenset[str] | None) -> frozenset[Purpose] | None:
    return None if names is None else frozenset(map(Purpose, names))


@cache
def compiled(
    ceiling: frozenset[str],
    internal: str,
    sender_default: str,
    plain_text_links: bool,
    rules: tuple[frozenset[str], ...],
) -> Policy:
    model: dict[str, Any] = {name: "with-consent" if name in ceiling else "never" for name in ALL}
    model |= {"internal": internal, "sender_default": sender_default, "plain_text_links": plain_text_links}
    model["rule"] = [
        {"name": f"rule {at}", "when": {}, "then": dict.fromkeys(rule, "never")} for at, rule in enumerate(rules)
    ]
    return compile_policy(PolicyModel.model_validate(model), ["example.org"])


def standing(scene: Scene) -> Consent:
    found = {}
    for purpose, name in scene.consent:
        says = STANDINGS[name]
        if says is not None:
            state, end = says
            found[Purpose(purpose)] = Standing(
                ConsentEvent(
                    f"{purpose} {name}", 1, Purpose(purpose), state, Assurance.MAILBOX_PROVEN, NOW - DAY, end, True
                )
            )
    return Consent(found, available=scene.ledger)


def consent(**states: str) -> tuple[tuple[str, str], ...]:
    return tuple((purpose, states.get(purpose, "granted")) for purpose in ("open", "click", "detail"))


def everywhere(state: str) -> tuple[tuple[str, str], ...]:
    return consent(open=state, click=state, detail=state)


# Each reason alone, in DESIGN.md's order: what brings it about, and the purposes that it turns off.
TABLE: list[tuple[str, dict[str, Any], str]] = [
    ("error", {"problem": "error"}, "open click detail"),
    ("unparsable", {"problem": "unparsable"}, "open click detail"),
    ("too_large", {"problem": "too_large"}, "open click detail"),
    ("ledger_unavailable", {"ledger": False}, "open click detail"),
    ("protected", {"klass": "protected"}, "open click detail"),
    ("protected", {"protection": "signed"}, "open click detail"),
    ("automated", {"klass": "automated"}, "open click detail"),
    ("list", {"klass": "list"}, "open click detail"),
    ("bulk", {"klass": "bulk"}, "open click detail"),
    ("group", {"klass": "group"}, "open click detail"),
    ("group", {"recipients": ("jane@customer.example", "max@customer.example")}, "open click detail"),
    ("group", {"recipients": ()}, "open click detail"),
    ("internal", {"recipients": ("colleague@example.org",)}, "open click detail"),
    ("internal", {"recipients": ("Colleague@Mail.EXAMPLE.org.",)}, "open click detail"),
    ("policy_off", {"sender": "somebody@elsewhere.example"}, "open click detail"),
    ("policy_off", {"ceiling": frozenset({"click", "detail"})}, "open"),
    ("policy_off", {"ceiling": frozenset({"open", "detail"})}, "click"),
    ("policy_off", {"ceiling": frozenset({"open", "click"})}, "detail"),
    ("policy_off", {"ceiling": frozenset()}, "open click detail"),
    ("rule", {"rules": (frozenset({"open"}),)}, "open"),
    ("rule", {"rules": (frozenset({"click"}), frozenset({"detail"}))}, "click detail"),
    ("sender_off", {"sender_default": "off"}, "open click detail"),
    ("sender_off", {"saved": frozenset({"open"})}, "click detail"),
    ("sender_off", {"saved": frozenset()}, "open click detail"),
    ("message_off", {"message": frozenset({"click", "detail"})}, "open"),
    ("message_off", {"message": frozenset()}, "open click detail"),
    ("plain_text", {"body": "text"}, "open click detail"),
    ("plain_text", {"body": "text", "plain_text_links": True}, "open"),
    ("empty_body", {"body": "blank"}, "open click detail"),
    ("empty_body", {"body": "none", "plain_text_links": True}, "open click detail"),
    *((state, {"consent": everywhere(state)}, "open click detail") for state in ("suppressed", "refused", "withdrawn")),
    ("expired", {"consent": everywhere("expired")}, "open click detail"),
    ("expired", {"consent": consent(click="endless")}, "click"),
    ("no_consent", {"consent": everywhere("unknown")}, "open click detail"),
    ("no_consent", {"consent": consent(detail="unknown")}, "detail"),
    ("nothing_to_track", {"links": 0}, "click"),
]


def test_the_words_are_those_of_the_design() -> None:
    """The reasons are DESIGN.md's, in its order, and each has a row of its own in the table below."""
    assert [reason.value for reason in Reason] == ORDER
    assert {reason for reason, _, _ in TABLE} == set(ORDER) - {"tracked"}


@pytest.mark.parametrize(
    ("reason", "cause", "off"), TABLE, ids=[f"{reason}-{number}" for number, (reason, _, _) in enumerate(TABLE)]
)
def test_each_reason_alone(reason: str, cause: dict[str, Any], off: str) -> None:
    """One limit by itself turns off its purposes, says so, and leaves the others on."""
    decision = Scene(**cause).decide()

    assert {p: reason if p in off.split() else "tracked" for p in ALL} == decision.reasons
    assert (reason if {"open", "click"} <= set(off.split()) else "tracked") == decision.reason


PAIRS = [
    (one, other)
    for one, other in itertools.combinations(TABLE, 2)
    if one[0] != other[0]
    and not one[1].keys() & other[1].keys()
    and {one[0], other[0]} != {"sender_off", "message_off"}
]


def test_the_first_of_two_is_said() -> None:
    """Of any two limits that meet on a purpose, the one that comes first in DESIGN.md's list is the reason."""
    for (early, cause, off), (late, another, off_too) in PAIRS:
        reasons = Scene(**cause, **another).decide().reasons
        for purpose in set(off.split()) & set(off_too.split()):
            assert early == reasons[Purpose(purpose)], (early, late)


HEAD: dict[str, list[Any]] = {
    "problem": [None, "error", "unparsable", "too_large"],
    "ledger": [True, False],
    "klass": ["individual", "group", "bulk", "list", "automated", "protected"],
    "recipients": [
        ("jane@customer.example",),
        ("colleague@example.org",),
        ("a@customer.example", "colleague@example.org"),
    ],
    "internal": ["never", "with-consent"],
    "sender": ["sender@example.org", "somebody@elsewhere.example"],
}
SETS = [ALL, frozenset(), frozenset({"open"}), frozenset({"click", "detail"})]
TAIL: dict[str, list[Any]] = {
    "ceiling": SETS,
    "rules": [(), (frozenset({"open", "detail"}),), (frozenset({"click"}), ALL)],
    "message": [None, *SETS],
    "saved": [None, ALL, frozenset(), frozenset({"click"})],
    "sender_default": ["on", "off"],
    "body": list(BODIES),
    "plain_text_links": [False, True],
    "links": [0, 1],
}


def scenes(inputs: dict[str, list[Any]]) -> Iterator[Scene]:
    return (Scene(**dict(zip(inputs, values, strict=True))) for values in itertools.product(*inputs.values()))


def check(scene: Scene) -> None:
    decision = scene.decide()
    assert (decision.reasons, decision.reason) == scene.expected(), scene


def test_truth_table_of_the_message() -> None:
    """Every combination of problem, ledger, class, recipients and sender, against a coarse rest, has its reason."""
    rest: dict[str, list[Any]] = {
        "ceiling": SETS[:2],
        "message": [None, *SETS[1:3]],
        "body": ["both", "text"],
        "consent": [everywhere("granted")],
    }
    for scene in scenes(HEAD | rest):
        check(scene)


def test_truth_table_of_what_is_allowed() -> None:
    """Every combination of ceiling, rules, wish and body, with and without consent, has its reason."""
    for scene in scenes(TAIL | {"consent": [everywhere("granted"), consent(open="refused", detail="unknown")]}):
        check(scene)


def test_truth_table_of_consent() -> None:
    """Every combination of where the person stands on the three purposes, for each ceiling and body, has its reason."""
    stand = [consent(open=o, click=c, detail=d) for o, c, d in itertools.product(STANDINGS, repeat=3)]
    for scene in scenes({"consent": stand, "ceiling": SETS, "body": list(BODIES), "links": [0, 1]}):
        check(scene)


@pytest.mark.parametrize(
    ("message", "saved", "expected"),
    [
        (ALL, frozenset(), ALL),
        (frozenset({"click"}), frozenset({"open"}), {"click"}),
        (frozenset(), ALL, set()),
        (None, frozenset({"open"}), {"open"}),
        (None, None, ALL),
    ],
    ids=["exceeds_default", "replaces_default", "off", "default", "nothing_said"],
)
def test_a_wish_may_exceed_the_saved_default(
    message: frozenset[str] | None, saved: frozenset[str] | None, expected: set[str]
) -> None:
    """The message's own wish counts instead of the saved default, upwards too."""
    assert expected == on(Scene(message=message, saved=saved).decide())


def test_consent_events_relied_on_are_named() -> None:
    """The decision names the events of the purposes that consent decided, and none where it was never asked."""
    scene = Scene(ceiling=frozenset({"open", "click"}), consent=consent(click="refused"))

    named = ("open granted", "click refused")
    assert named == scene.decide().consent_events
    assert replace(scene, klass="group").decide().consent_events == ()


def test_what_protects_is_named() -> None:
    """A protected message says by what it is protected, and no other message does."""
    assert Protection.DKIM is Scene(klass="protected", protection="dkim").decide().detail
    assert Scene(problem="error", protection="dkim").decide().detail is None
