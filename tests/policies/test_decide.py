"""The decision: promise 1 of DESIGN.md, for inputs of any kind. The tables of reasons are in test_decide_reasons.py."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.consent import Assurance, Consent, ConsentEvent, Standing, State
from policies.decide import Decision, decide
from policies.envelope import Envelope
from policies.facts import Facts
from policies.policy import Policy, PolicyModel, compile_policy
from policies.wish import NOTHING, Wish
from policies.words import MessageClass, Protection, Purpose, Reason

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def on(decision: Decision) -> set[str]:
    return {purpose.value for purpose in Purpose if decision.allows(purpose)}


@dataclass(frozen=True)
class Case:
    """The arguments of a decision, of any kind."""

    model: dict[str, Any]
    facts: Facts
    envelope: Envelope
    message_class: MessageClass
    wish: Wish
    consent: Consent
    now: datetime

    def decide(self, rules: Sequence[Any] | None = None) -> Decision:
        model = self.model if rules is None else self.model | {"rule": rules}
        return decide(
            compiled(json.dumps(model)),
            self.facts,
            self.envelope,
            self.message_class,
            self.wish,
            self.consent,
            self.now,
        )


@cache
def compiled(model: str) -> Policy:
    return compile_policy(PolicyModel.model_validate_json(model), ["example.org"])


PURPOSES = st.frozensets(st.sampled_from(Purpose))
WISHES = st.none() | PURPOSES
TIMES = st.sampled_from([NOW - DAY, NOW, NOW + DAY, NOW.replace(tzinfo=None)])
CEILINGS = st.sampled_from(["with-consent", "never"])
RULES = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abc"),
        "when": st.sampled_from(
            [
                {},
                {"recipient": ["*@customer.example"]},
                {"sender": ["jane@*"]},
                {"class": ["group"]},
                {"sender": ["s*@*"], "recipient": ["max@*", "*.net"], "class": ["individual"]},
            ]
        ),
        "then": PURPOSES.map(lambda chosen: dict.fromkeys(chosen, "never")),
    }
)
ADDRESSES = st.sampled_from(
    ["jane@customer.example", "Jane@customer.example", "max@mail.net", "boss@example.org", "odd"]
)
SENDERS = st.sampled_from(["sender@example.org", "jane@Example.org.", "x@elsewhere.example", "", "@"])
STANDS = st.dictionaries(st.sampled_from(Purpose), st.tuples(st.sampled_from(State), TIMES | st.none()))

# Each input with the value that permits most, and with any value. Drawn at random all at once, hardly any case would be
# tracked; so most inputs of a case are permissive, and a few are anything.
INPUTS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "open": ("with-consent", CEILINGS),
    "click": ("with-consent", CEILINGS),
    "detail": ("with-consent", CEILINGS),
    "internal": ("never", CEILINGS),
    "sender_default": ("on", st.sampled_from(["on", "off"])),
    "plain_text_links": (False, st.booleans()),
    "rule": ([], st.lists(RULES, min_size=1, max_size=3)),
    "protection": (None, st.sampled_from(Protection)),
    "problem": (None, st.sampled_from(Reason)),
    "has_html": (True, st.booleans()),
    "has_text": (True, st.booleans()),
    "empty": (False, st.booleans()),
    "links": (3, st.integers(0, 3)),
    "mail_from": ("sender@example.org", SENDERS),
    "rcpt_to": (("jane@customer.example",), st.lists(ADDRESSES, max_size=3).map(tuple)),
    "login": (None, SENDERS),
    "class": (MessageClass.INDIVIDUAL, st.sampled_from(MessageClass)),
    "message": (None, WISHES),
    "saved": (None, WISHES),
    "stands": (dict.fromkeys(Purpose, (State.GRANTED, NOW + DAY)), STANDS),
    "available": (True, st.booleans()),
    "now": (NOW, TIMES),
}
SETTINGS = ("open", "click", "detail", "internal", "sender_default", "plain_text_links", "rule")
FACTS = ("protection", "problem", "has_html", "has_text", "empty", "links")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    anything = draw(st.sets(st.sampled_from(sorted(INPUTS))))
    given = {name: draw(values) if name in anything else plain for name, (plain, values) in INPUTS.items()}
    return Case(
        model={name: given[name] for name in SETTINGS},
        facts=Facts(size=1, **{name: given[name] for name in FACTS}),
        envelope=Envelope(given["mail_from"], given["rcpt_to"], given["login"]),
        message_class=given["class"],
        wish=Wish(given["message"], given["saved"]),
        consent=Consent({p: stand(p, *said) for p, said in given["stands"].items()}, given["available"]),
        now=given["now"],
    )


def stand(purpose: Purpose, state: State, until: datetime | None) -> Standing:
    return Standing(ConsentEvent(purpose.value, 1, purpose, state, Assurance.ASSERTED, NOW - DAY, until, True))


CASES = cases()


def permitted(case: Case, purpose: Purpose) -> bool:
    """Tell by promise 1 whether everyone who may say no to a purpose says yes: one flat sentence."""
    model, facts, who, stand = case.model, case.facts, case.envelope, case.consent.standings.get(purpose)
    sender = (who.mail_from if who.login is None else who.login).lower().rstrip(".")
    people = {address.lower() for address in who.rcpt_to}
    values = {"sender": [sender], "recipient": people, "class": [case.message_class.value]}
    wished = next((said for said in (case.wish.message, case.wish.saved) if said is not None), None)
    return (
        model[purpose] == "with-consent"
        and not any(
            purpose in rule["then"]
            and all(
                any(fnmatch(value, glob) for value in values[key] for glob in rule["when"][key]) for key in rule["when"]
            )
            for rule in model["rule"]
        )
        and (purpose in wished if wished is not None else model["sender_default"] == "on")
        and case.message_class is MessageClass.INDIVIDUAL
        and len(people) == 1
        and (model["internal"] == "with-consent" or people != {"boss@example.org"})
        and sender.endswith("@example.org")
        and facts.problem is None
        and facts.protection is None
        and not facts.empty
        and (facts.has_html or (facts.has_text and model["plain_text_links"] and purpose != "open"))
        and (purpose != "click" or facts.links > 0)
        and case.consent.available
        and stand is not None
        and stand.event is not None
        and stand.event.state in (State.GRANTED, State.RENEWED)
        and stand.event.valid_until is not None
        and None not in (stand.event.valid_until.tzinfo, case.now.tzinfo)
        and stand.event.valid_until > case.now
    )


@settings(max_examples=1000, deadline=None)
@given(CASES)
def test_promise_1_no_consent_no_trace(case: Case) -> None:
    """A purpose is tracked only where ceiling, rules, wish, class, recipient, ledger and a live grant allow it."""
    decision = case.decide()
    expected = {purpose.value for purpose in Purpose if permitted(case, purpose)}

    assert (expected if expected & {"open", "click"} else set()) == on(decision)
    assert bool(expected & {"open", "click"}) == decision.tracked == (decision.reason is Reason.TRACKED)


@settings(max_examples=200, deadline=None)
@given(CASES, st.permutations(range(3)))
def test_the_same_question_has_the_same_answer(case: Case, order: list[int]) -> None:
    """The decision is pure, and the order of the rules matters for no reason and no purpose."""
    rules = [case.model["rule"][at] for at in order if at < len(case.model["rule"])]
    decision, other = case.decide(), case.decide(rules)

    assert decision == case.decide()
    assert (decision.reasons, decision.reason) == (other.reasons, other.reason)
    assert sorted(decision.rules) == sorted(other.rules)


def without(said: frozenset[Purpose] | None, purpose: Purpose) -> frozenset[Purpose]:
    return NOTHING if said is None else said - {purpose}


def stands(case: Case, standings: dict[Purpose, Standing]) -> Case:
    return replace(case, consent=replace(case.consent, standings=standings))


LOWERINGS: dict[str, Callable[[Case, Purpose], Case]] = {
    "ceiling": lambda case, p: replace(case, model=case.model | {p.value: "never"}),
    "internal": lambda case, _: replace(case, model=case.model | {"internal": "never"}),
    "sender_default": lambda case, _: replace(case, model=case.model | {"sender_default": "off"}),
    "plain_text_links": lambda case, _: replace(case, model=case.model | {"plain_text_links": False}),
    "rule": lambda case, p: replace(
        case, model=case.model | {"rule": [{"name": "n", "when": {}, "then": {p: "never"}}, *case.model["rule"]]}
    ),
    "class": lambda case, _: replace(case, message_class=MessageClass.GROUP),
    "recipients": lambda case, _: replace(
        case, envelope=Envelope(case.envelope.sender, (*case.envelope.rcpt_to, "a@b.c", "d@e.f"))
    ),
    "sender": lambda case, _: replace(case, envelope=Envelope("x@elsewhere.example", case.envelope.rcpt_to)),
    "message": lambda case, p: replace(case, wish=replace(case.wish, message=without(case.wish.message, p))),
    "saved": lambda case, p: replace(case, wish=replace(case.wish, saved=without(case.wish.saved, p))),
    "refusal": lambda case, p: stands(case, {**case.consent.standings, p: stand(p, State.REFUSED, None)}),
    "unknown": lambda case, p: stands(case, {q: s for q, s in case.consent.standings.items() if q is not p}),
    "ledger": lambda case, _: replace(case, consent=replace(case.consent, available=False)),
    "time": lambda case, _: replace(case, now=case.now + DAY),
    "problem": lambda case, _: replace(case, facts=replace(case.facts, problem=Reason.ERROR)),
    "protection": lambda case, _: replace(case, facts=replace(case.facts, protection=Protection.DKIM)),
    "empty": lambda case, _: replace(case, facts=replace(case.facts, empty=True)),
    "html": lambda case, _: replace(case, facts=replace(case.facts, has_html=False)),
    "links": lambda case, _: replace(case, facts=replace(case.facts, links=0)),
}


@pytest.mark.parametrize("lowering", LOWERINGS)
@settings(max_examples=60, deadline=None)
@given(CASES, st.sampled_from(Purpose))
def test_lowering_an_input_never_turns_a_purpose_on(lowering: str, case: Case, purpose: Purpose) -> None:
    """Whatever input is lowered, no purpose is on afterwards that was off before: limits only limit."""
    assert on(LOWERINGS[lowering](case, purpose).decide()) <= on(case.decide())


ODD = st.text(max_size=20) | st.sampled_from(["@", "a@", "a@b@c", "\udcff@\udcff", "ß@ß.example", "a@" + "x" * 300])


@settings(max_examples=300, deadline=None)
@given(
    CASES,
    st.just("sender@example.org") | ODD,
    ODD.map(lambda one: (one,)) | st.lists(ODD, max_size=3).map(tuple),
    st.none() | ODD,
)
def test_there_is_an_answer_to_everything(
    case: Case, mail_from: str, rcpt_to: tuple[str, ...], login: str | None
) -> None:
    """No input raises, every purpose has a reason, and detail is never on without open or click."""
    decision = replace(case, envelope=Envelope(mail_from, rcpt_to, login)).decide()

    assert set(Purpose) == set(decision.reasons)
    assert "detail" not in on(decision) or on(decision) & {"open", "click"}
