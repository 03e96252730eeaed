"""What in a policy is surely meant otherwise: each mistake is found, named by its key, with what would be right."""

from typing import Any

import pytest

from policies.checks import Surroundings, notes, problems
from policies.policy import PolicyModel, compile_policy

SURROUNDINGS = Surroundings(
    frozenset({"example.org"}), {"127.0.0.1:1587": False, "127.0.0.1:1588": True, "127.0.0.1:1589": True}
)
GROUPS = {"sales": ["*@example.org"], "board": ["boss@example.org"]}


def found(settings: dict[str, Any]) -> list[str]:
    """Return the problems of a policy, as key path and text."""
    policy = compile_policy(PolicyModel.model_validate(settings), ["example.org"])
    return [f"{one.path}: {one.text}" for one in problems(policy, SURROUNDINGS)]


def noted(settings: dict[str, Any]) -> list[str]:
    """Return the notes on a policy, as key path and text."""
    return [f"{one.path}: {one.text}" for one in notes(PolicyModel.model_validate(settings), SURROUNDINGS)]


def rule(when: dict[str, Any] | None = None, then: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """Return a policy of one rule."""
    one = {"name": "r", "when": when or {}, "then": then or {"open": "never"}}
    return {"rule": [one], "groups": GROUPS, **settings}


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    (rule({"recipient": ["*.example"]}),
     'rule[0].when.recipient[0]: "*.example" matches no address; write "*@*.example"'),
    (rule({"recipient": ["a@b.example", "press.example"]}),
     'rule[0].when.recipient[1]: "press.example" matches no address; write "*@press.example"'),
    (rule({"sender": ["anna"]}), 'rule[0].when.sender[0]: "anna" matches no address; write "anna@*"'),
    (rule({"sender": ["anna@"]}), 'rule[0].when.sender[0]: "anna@" matches no address; write "anna@*"'),
    (rule({"recipient": ["*@press"]}),
     'rule[0].when.recipient[0]: "*@press" matches no address; write "*@press.example"'),
    (rule({"recipient": ["*@.example"]}),
     'rule[0].when.recipient[0]: "*@.example" matches no address; write "*@*.example"'),
    (rule({"recipient": ["*@*de"]}), 'rule[0].when.recipient[0]: "*@*de" matches no address; write "*@*.de"'),
    (rule({"recipient": ["@press.example"]}),
     'rule[0].when.recipient[0]: "@press.example" matches no address; write "*@press.example"'),
    (rule({"sender": ["@*.press.example"]}),
     'rule[0].when.sender[0]: "@*.press.example" matches no address; write "*@*.press.example"'),
    (rule({"sender": ["@press"]}), 'rule[0].when.sender[0]: "@press" matches no address; write "*@press.example"'),
    ({"role_addresses": ["lobby"]}, 'role_addresses[0]: "lobby" matches no address; write "lobby@*"'),
    ({"list_addresses": ["x.example"]}, 'list_addresses[0]: "x.example" matches no address; write "*@x.example"'),
    ({"groups": {"hr": ["a@b.example", "*.hr.example"]}},
     'groups.hr[1]: "*.hr.example" matches no address; write "*@*.hr.example"'),
    (rule({"recipient_domain": ["de"]}), 'rule[0].when.recipient_domain[0]: "de" matches no domain; write "*.de"'),
    (rule({"recipient_domain": [".de"]}), 'rule[0].when.recipient_domain[0]: ".de" matches no domain; write "*.de"'),
    (rule({"recipient_domain": ["*de"]}), 'rule[0].when.recipient_domain[0]: "*de" matches no domain; write "*.de"'),
    (rule({"recipient_domain": ["*@a.example"]}),
     'rule[0].when.recipient_domain[0]: "*@a.example" matches no domain; write "a.example"'),
    (rule({"recipient": [" *@press.example"]}),
     'rule[0].when.recipient[0]: " *@press.example" matches no address; write "*@press.example"'),
    (rule({"recipient": ["Max <max@press.example>"]}),
     'rule[0].when.recipient[0]: "Max <max@press.example>" matches no address; write "max@press.example"'),
    (rule({"recipient": ["*@a.example, *@b.example"]}),
     'rule[0].when.recipient[0]: "*@a.example, *@b.example" matches no address; write "*@a.example", "*@b.example"'),
    (rule({"recipient": ["(a|b)@press.example"]}),
     'rule[0].when.recipient[0]: "(a|b)@press.example" matches no address: "(" cannot stand there; '
     "besides * and ? nothing is special"),
    (rule({"recipient": ["max@@press.example"]}),
     'rule[0].when.recipient[0]: "max@@press.example" matches no address: "@" cannot stand there; '
     "besides * and ? nothing is special"),
    (rule({"recipient": ['"jane@press.example']}),
     'rule[0].when.recipient[0]: ""jane@press.example" matches no address: """ cannot stand there; '
     "besides * and ? nothing is special"),
    (rule({"recipient": ['jane"@press.example']}),
     'rule[0].when.recipient[0]: "jane"@press.example" matches no address: """ cannot stand there; '
     "besides * and ? nothing is special"),
    (rule({"recipient": ["*@press..example"]}),
     'rule[0].when.recipient[0]: "*@press..example" matches no address; write "*@press.example"'),
    (rule({"recipient": ["*@press(er).example"]}),
     'rule[0].when.recipient[0]: "*@press(er).example" matches no address: "(" cannot stand there; '
     "besides * and ? nothing is special"),
    (rule({"recipient": ["*@*münchen.example"]}),
     'rule[0].when.recipient[0]: "*@*münchen.example" matches no address: '
     '"*münchen" is more than ASCII and must be written without * and ?'),
    (rule({"recipient_domain": ["münch?n.example"]}),
     'rule[0].when.recipient_domain[0]: "münch?n.example" matches no domain: '
     '"münch?n" is more than ASCII and must be written without * and ?'),
    (rule({"recipient_domain": ["https://press.example/"]}),
     'rule[0].when.recipient_domain[0]: "https://press.example/" matches no domain; write "press.example"'),
    (rule({"recipient_domain": ["press .example"]}),
     'rule[0].when.recipient_domain[0]: "press .example" matches no domain; write "press.example"'),
    ({"never_wrap": ["bank.example"]},
     'never_wrap[0]: "bank.example" matches no URL; write "https://bank.example/*"'),
    ({"never_wrap": ["https://*", "bank.example/a*"]},
     'never_wrap[1]: "bank.example/a*" matches no URL; write "https://bank.example/a*"'),
    ({"foreign_allowed": ["//img.example.org"]},
     'foreign_allowed[0]: "//img.example.org" matches no URL; write "https://img.example.org/*"'),
    ({"never_wrap": ["https://*münchen.example/*"]},
     'never_wrap[0]: "https://*münchen.example/*" matches no URL: '
     '"*münchen" is more than ASCII and must be written without * and ?'),
    (rule({"header": {"X-Unit": ["a"], "x-unit": ["b"]}}),
     'rule[0].when.header.x-unit: is the same field as "X-Unit"; put the globs into one list'),
    (rule({"sender_group": ["sale"]}),
     'rule[0].when.sender_group[0]: "sale" is not a group in policy.groups (did you mean "sales"?)'),
    (rule({"sender_group": ["xyz"]}), 'rule[0].when.sender_group[0]: "xyz" is not a group in policy.groups'),
    (rule({"listener": ["127.0.0.1:587"]}),
     'rule[0].when.listener[0]: "127.0.0.1:587" is not the address of a relay.listener '
     '(did you mean "127.0.0.1:1587"?)'),
    (rule({"size": {}}), "rule[0].when.size: must say min, max or both"),
    (rule({"size": {"min": 2, "max": 1}}), "rule[0].when.size: can never be met: min is more than max"),
    (rule({"time": {"zone": "UTC", "from": "10:00", "until": "10:00"}}),
     "rule[0].when.time: can never be met: it ends when it begins; leave both out for the whole day"),
    (rule({"time": {"zone": "UTC", "from": "10:00"}}),
     "rule[0].when.time: must say from and until, or neither for the whole day"),
    (rule({"recipient": ["*@a.example"], "recipient_domain": ["b.example", "*.a.example"]}),
     "rule[0].when.recipient_domain: can never be met: no recipient above is in any of these domains"),
    (rule({"sender": ["anna@*"], "sender_group": ["board"]}),
     "rule[0].when.sender_group: can never be met: no sender above is in any of these groups"),
    (rule({"recipient": ["info@a.example", "list@a.example"], "class": ["individual"]}),
     'rule[0].when.class: can never be met: these recipients are read by several people; write "group"'),
    (rule({"listener": ["127.0.0.1:1588", "127.0.0.1:1589"], "class": ["individual", "group"]}),
     'rule[0].when.class: can never be met: these listeners are for machines; write "automated"'),
    ({"rule": [{"name": "r", "when": {}, "then": {}}]},
     'rule[0].then: limits nothing; say what it lowers, like open = "never"'),
    (rule(then={"foreign_tracking": "report"}),
     'rule[0].then.foreign_tracking: "report" would loosen policy.foreign_tracking, which says "remove"; '
     "a rule can only be stricter"),
    (rule({"class": ["bulk"]}, {"foreign_tracking": "remove"}, foreign_tracking={"bulk": "refuse"}),
     'rule[0].then.foreign_tracking: "remove" would loosen policy.foreign_tracking, which says "refuse"; '
     "a rule can only be stricter"),
    ({"rule": [{"name": name, "when": {}, "then": {"open": "never"}} for name in ("a", "b", "a")]},
     "rule[2].name: is the name of rule[0] already"),
    ({"preset": "never-track", "open": "with-consent"},
     'open: must be "never", not "with-consent", beside preset = "never-track", '
     "which tracks nobody and takes other people's trackers out"),
    ({"preset": "never-track", "ask": "footer"},
     'ask: must be "never", not "footer", beside preset = "never-track", '
     "which tracks nobody and takes other people's trackers out"),
    ({"preset": "never-track", "foreign_tracking": {"bulk": "report"}},
     'foreign_tracking.bulk: must be "remove" or "refuse", not "report", beside preset = "never-track", '
     "which tracks nobody and takes other people's trackers out"),
    ({"preset": "report-only", "foreign_tracking": {"individual": "remove"}},
     'foreign_tracking.individual: must be "report", not "remove", beside preset = "report-only", '
     'which changes no message'),
    (rule(then={"foreign_tracking": "refuse"}, preset="report-only"),
     'rule[0].then.foreign_tracking: must be "report", not "refuse", beside preset = "report-only", '
     "which changes no message"),
    (rule(then={"refuse": "No"}, preset="report-only"),
     'rule[0].then.refuse: cannot be beside preset = "report-only", which changes no message'),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), PROBLEMS, ids=[expected for _, expected in PROBLEMS])
def test_what_is_meant_otherwise_is_a_problem(settings: dict[str, Any], expected: str) -> None:
    """Each mistake is one problem that names the key and says what would be right."""
    assert [expected] == found(settings)


RIGHT: list[dict[str, Any]] = [
    {},
    {"preset": "report-only"},
    {"preset": "never-track", "foreign_tracking": {"bulk": "refuse"}, "internal": "with-consent"},
    rule({"recipient": ["*@a.example", "x@*"], "recipient_domain": ["a.example"]}),
    rule({"recipient": ["*", "*@*", "*@news*", "postmaster@*", "*@*.example"]}),
    rule({"recipient_domain": ["*", "a.example", "*.de", "a*", "*.münchen.example", "a.example.", "x_y.example"]}),
    rule({"recipient": ["*@MÜNCHEN.example", "*@münchen\u3002example", "*@[192.0.2.*]", "*@[IPv6:2001:db8::1]"]}),
    rule({"recipient": ['"a b"@press.example', '"*@home"@press.example', "o'neil+*@press.example", "änne@a.example"]}),
    {"never_wrap": ["*.pdf", "*bank.example*", "HTTPS://bank.example/*", "*://münchen.example/*", "http?://*/x"]},
    {"never_wrap": ["http://intranet.example/*"]},
    {"foreign_allowed": ["*"]},
    rule({"sender": ["a*@example.org"], "sender_group": ["sales"]}),
    rule({"recipient": ["info@a.example", "jane@a.example"], "class": ["individual"]}),
    rule({"recipient": ["info@a.example"], "class": ["individual", "group"]}),
    rule({"listener": ["127.0.0.1:1588", "127.0.0.1:1587"], "class": ["individual"]}),
    rule({"size": {"min": 1, "max": 1}, "time": {"zone": "UTC", "from": "22:00", "until": "06:00"}}),
    rule(then={"foreign_tracking": "refuse"}),
    rule(then={"foreign_tracking": "remove"}, foreign_tracking={"individual": "report"}),
    rule(then={"refuse": "No"}, preset="never-track"),
]


@pytest.mark.parametrize("settings", RIGHT, ids=str)
def test_what_makes_sense_is_no_problem(settings: dict[str, Any]) -> None:
    """Nothing is found where nothing is wrong."""
    assert [] == found(settings)


NOTHING = "rule[0]: lowers nothing that is not so already"
NOTES: list[tuple[dict[str, Any], list[str]]] = [
    (rule(), []),
    (rule(open="never"), [NOTHING]),
    (rule(then={"open": "never", "click": "never"}, open="never"), []),
    (rule(then={"detail": "never"}), [NOTHING]),
    (rule({"class": ["group", "list"]}), [NOTHING]),
    (rule({"class": ["group", "individual"]}), []),
    (rule({"class": ["group"]}, {"refuse": "No"}), []),
    (rule(then={"ask": "never"}), [NOTHING]),
    (rule(then={"ask": "never"}, ask="footer"), []),
    (rule(then={"foreign_tracking": "remove"}), [NOTHING]),
    (rule(then={"foreign_tracking": "refuse"}), []),
    (rule(then={"footer": "Hello"}), []),
    (rule(then={"footer": "Hello"}, preset="never-track"), [NOTHING]),
    (rule({"sender": ["*@elsewhere.example"]}),
     ["rule[0].when: is about senders outside organisation.domains, who are never tracked"]),
    (rule({"sender": ["*@elsewhere.example", "a@EXAMPLE.org"]}), []),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), NOTES, ids=str)
def test_what_has_no_effect_is_noted(settings: dict[str, Any], expected: list[str]) -> None:
    """A rule that changes nothing is no error, for another may be about to change; but it is said."""
    assert expected == noted({**settings, "groups": {}})


def test_a_group_that_nobody_names_is_noted() -> None:
    """A group without a rule is either too much or meant to be named."""
    settings = rule({"sender_group": ["sales"]})

    assert ["groups.board: is a group that no rule names"] == noted(settings)
