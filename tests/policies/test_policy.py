"""The model of the [policy] section, and the compiled policy."""

import itertools
import re
import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from policies.policy import Policy, PolicyModel, compile_policy
from policies.rule import RuleLimit
from policies.words import Purpose

DESIGN = """
open = "with-consent"
click = "with-consent"
detail = "never"
internal = "never"
sender_default = "on"
ask = "never"
plain_text_links = false
visible_url_links = false
never_wrap = []
foreign_tracking = { individual = "remove", group = "remove", bulk = "remove" }
merge_window = { messages = 5, minutes = 10 }
"""
"""The [policy] section as DESIGN.md §3 prints it."""

VENDOR = {
    "id": "acme",
    "name": "Acme",
    "kind": "tool",
    "source": ["made up"],
    "mark": [
        {
            "on": ["image"],
            "host": ["px.acme.test"],
            "certainty": "certain",
            "hit": ["https://px.acme.test/o.gif"],
            "miss": ["https://acme.test/"],
        }
    ],
}

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("open", {"open": "never"}),
    ("click", {"click": "never"}),
    ("detail", {"detail": "with-consent"}),
    ("internal", {"internal": "with-consent"}),
    ("sender_default", {"sender_default": "off"}),
    ("ask", {"ask": "footer"}),
    ("plain_text_links", {"plain_text_links": True}),
    ("visible_url_links", {"visible_url_links": True}),
    ("never_wrap", {"never_wrap": ["https://example.org/*"]}),
    ("role_addresses", {"role_addresses": ["shared@*"]}),
    ("list_addresses", {"list_addresses": ["shared@*"]}),
    ("footer", {"footer": {"en": "{organisation} sees {what}."}}),
    ("footer", {"footer": {"position": "top-if-long"}}),
    ("foreign_tracking", {"foreign_tracking": {"individual": "keep"}}),
    ("foreign_tracking", {"foreign_tracking": {"group": "report"}}),
    ("foreign_tracking", {"foreign_tracking": {"bulk": "refuse"}}),
    ("foreign_allowed", {"foreign_allowed": ["https://img.example.org/*"]}),
    ("vendors_off", {"vendors_off": ["mailtrack"]}),
    ("vendor", {"vendor": [VENDOR]}),
    ("vendor", {"vendor": [VENDOR | {"name": "Other"}]}),
    ("merge_window", {"merge_window": "off"}),
    ("merge_window", {"merge_window": {"messages": 6}}),
    ("merge_window", {"merge_window": {"minutes": 11}}),
    ("rule", {"rule": [{"name": "r", "when": {}, "then": {}}]}),
    ("rule", {"rule": [{"name": "s", "when": {}, "then": {}}]}),
    ("rule", {"rule": [{"name": "r", "when": {}, "then": {"open": "never"}}]}),
    ("rule", {"rule": [{"name": "r", "when": {}, "then": {"click": "never"}}]}),
    ("rule", {"rule": [{"name": "r", "when": {}, "then": {"detail": "never"}}]}),
    ("rule", {"rule": [{"name": "r", "when": {"sender": ["a@*"]}, "then": {}}]}),
    ("rule", {"rule": [{"name": "r", "when": {"recipient": ["a@*"]}, "then": {}}]}),
    ("rule", {"rule": [{"name": "r", "when": {"class": ["group"]}, "then": {}}]}),
    ("preset", {"preset": "report-only"}),
    ("preset", {"preset": "never-track"}),
    ("groups", {"groups": {"sales": ["a@example.org"]}}),
]
"""A change to every setting, each unlike all others."""


def compiled(settings: dict[str, Any] | None = None, domains: list[str] | None = None) -> Policy:
    """Return the policy of these settings for one organisation."""
    return compile_policy(PolicyModel.model_validate(settings or {}), domains or ["example.org"])


def test_defaults_are_those_of_the_design() -> None:
    """Leaving the section out means what the printed one says."""
    printed = PolicyModel.model_validate(tomllib.loads(DESIGN))

    assert printed == PolicyModel()
    more = {"role_addresses", "list_addresses", "footer", "foreign_allowed", "vendors_off", "vendor", "rule"}
    assert set() == {*more, "preset", "groups"} ^ (set(PolicyModel.model_fields) - set(tomllib.loads(DESIGN)))


@pytest.mark.parametrize(
    "settings",
    [
        {"opens": "never"},
        {"foreign_tracking": {"list": "keep"}},
        {"merge_window": {"messages": 5, "hours": 1}},
        {"rule": [{"name": "r", "when": {}, "then": {}, "else": {}}]},
        {"rule": [{"name": "r", "when": {"to": ["*"]}, "then": {}}]},
        {"rule": [{"name": "r", "when": {"message_class": ["group"]}, "then": {}}]},
        {"rule": [{"name": "r", "when": {}, "then": {"internal": "never"}}]},
    ],
    ids=["section", "foreign_tracking", "merge_window", "rule", "when", "when_by_field_name", "then"],
)
def test_unknown_keys_are_refused(settings: dict[str, Any]) -> None:
    """A misspelt key is an error wherever it stands: a limit that nobody reads would be no limit."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        PolicyModel.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"open": "always"},
        {"open": "on"},
        {"open": True},
        {"click": ""},
        {"detail": None},
        {"internal": "always"},
        {"sender_default": "always"},
        {"ask": "always"},
        {"never_wrap": [""]},
        {"never_wrap": "https://example.org/*"},
        {"merge_window": {"messages": 1}},
        {"merge_window": {"minutes": 0}},
        {"merge_window": {"minutes": 1441}},
        {"merge_window": "on"},
        {"foreign_tracking": {"bulk": "add"}},
        {"rule": [{"name": "", "when": {}, "then": {}}]},
        {"rule": [{"when": {}, "then": {}}]},
        {"rule": [{"name": "r", "then": {}}]},
        {"rule": [{"name": "r", "when": {}}]},
        {"rule": [{"name": "r", "when": {"class": ["personal"]}, "then": {}}]},
    ],
    ids=str,
)
def test_values_outside_the_words_are_refused(settings: dict[str, Any]) -> None:
    """A setting takes its own words and nothing near them; above all there is none that tracks without consent."""
    with pytest.raises(ValidationError):
        PolicyModel.model_validate(settings)


@pytest.mark.parametrize("purpose", [*Purpose, "internal"])
@pytest.mark.parametrize("value", ["with-consent", "always", "on", "yes", True, "Never", "", 1])
def test_a_rule_cannot_raise(purpose: str, value: object) -> None:
    """There is no value by which a rule could say more than never, nor a key for what is not a purpose."""
    with pytest.raises(ValidationError):
        RuleLimit.model_validate({purpose: value})


def test_a_rule_has_no_word_that_raises() -> None:
    """The schema that editors get holds, for each purpose and for asking, no value but never."""
    properties = RuleLimit.model_json_schema()["properties"]

    assert {*Purpose, "ask", "foreign_tracking", "footer", "refuse"} == set(properties)
    nothing_or_never = [{"const": "never", "type": "string"}, {"type": "null"}]
    for key in (*Purpose, "ask"):
        assert nothing_or_never == properties[key]["anyOf"]


def test_the_model_does_not_change_after_loading() -> None:
    """A loaded setting cannot be assigned to."""
    with pytest.raises(ValidationError, match="frozen"):
        PolicyModel().detail = "with-consent"  # type: ignore[misc]


def test_every_setting_has_a_change_below() -> None:
    """The table of changes covers every setting of the model, so that none can drop out of the version."""
    assert set(PolicyModel.model_fields) == {name for name, _ in CHANGES}


@pytest.mark.parametrize("settings", [change for _, change in CHANGES], ids=str)
def test_version_changes_with_every_setting(settings: dict[str, Any]) -> None:
    """Any change of any setting makes another version, and the same settings always the same one."""
    assert compiled().version != compiled(settings).version
    assert compiled(settings).version == compiled(settings).version


def test_versions_are_all_different() -> None:
    """No two of the changed policies share a version."""
    assert len(CHANGES) == len({compiled(settings).version for _, settings in CHANGES})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["example.org", "example.net"], ["example.net", "example.org"], True),
        (["example.org"], ["EXAMPLE.ORG."], True),
        (["example.org"], ["example.org", "example.org"], True),
        (["münchen.example"], ["xn--mnchen-3ya.example"], True),
        (["example.org"], ["example.net"], False),
        (["example.org"], ["example.org", "example.net"], False),
    ],
    ids=["order", "spelling", "repeat", "idna", "other", "one_more"],
)
def test_version_and_domains(one: list[str], other: list[str], same: bool) -> None:
    """The domains are part of the version; their order and spelling are not."""
    assert same == (compiled(domains=one).version == compiled(domains=other).version)


def test_version_of_the_defaults_written_out() -> None:
    """Writing down what is so anyway makes no other version."""
    assert compiled().version == compiled(tomllib.loads(DESIGN)).version


def test_version_is_twelve_hex_digits() -> None:
    """The version is short enough to read out, and fit for a log line."""
    assert re.fullmatch("[0-9a-f]{12}", compiled().version)


@pytest.mark.parametrize("allowed", list(itertools.product([True, False], repeat=3)), ids=str)
def test_ceiling(allowed: tuple[bool, ...]) -> None:
    """Each purpose has a ceiling of its own."""
    ceilings = {p.value: "with-consent" if yes else "never" for p, yes in zip(Purpose, allowed, strict=True)}
    policy = compiled(ceilings)

    assert allowed == tuple(policy.allows(purpose) for purpose in Purpose)
