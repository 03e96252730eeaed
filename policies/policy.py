"""Policy: what the organisation allows. The model of the ``[policy]`` section, and the compiled form that decides.

The policy is a ceiling. Rules, senders and messages can only lower it, so nothing here has a value that raises.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from policies.address import canonical_domain, folded
from policies.envelope import Envelope
from policies.footer import FooterModel
from policies.glob import address_pattern, matches
from policies.roles import LIST_PATTERNS, ROLE_NAMES
from policies.words import ForeignTracking, MessageClass, Purpose

Ceiling = Literal["never", "with-consent"]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=320)]


class Section(BaseModel):
    """A table of the configuration file: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleCondition(Section):
    """When a rule applies: every key that is given must match; within a key, any of its values."""

    sender: list[Glob] = Field(default=[], description="Globs over the sender's address.")
    recipient: list[Glob] = Field(default=[], description="Globs over the recipient's address.")
    message_class: list[MessageClass] = Field(default=[], alias="class", description="Classes of message.")


class RuleLimit(Section):
    """What a rule lowers. There is nothing to raise: only ``never`` can be said."""

    open: Literal["never"] | None = Field(default=None, description="No pixel.")
    click: Literal["never"] | None = Field(default=None, description="No wrapped link.")
    detail: Literal["never"] | None = Field(default=None, description="No town and no mail program.")


class RuleModel(Section):
    """One rule: all rules that match apply, and the least wins, whatever their order."""

    name: str = Field(min_length=1, description="Shown by `aboveboard explain` where the rule applies.")
    when: RuleCondition = Field(description="When the rule applies.")
    then: RuleLimit = Field(description="What it lowers.")


class ForeignTrackingModel(Section):
    """What happens to other people's trackers in outgoing mail, by class."""

    individual: ForeignTracking = ForeignTracking.REMOVE
    group: ForeignTracking = ForeignTracking.REMOVE
    bulk: ForeignTracking = ForeignTracking.REMOVE


class MergeWindow(Section):
    """So many look-alike single messages in so many minutes are bulk."""

    messages: int = Field(default=5, ge=2)
    minutes: int = Field(default=10, ge=1, le=1440)


class PolicyModel(Section):
    """The ceiling for everybody in the organisation; rules and people can only lower it."""

    open: Ceiling = Field(default="with-consent", description="The pixel: for people who agreed, or never.")
    click: Ceiling = Field(default="with-consent", description="Wrapped links: for people who agreed, or never.")
    detail: Ceiling = Field(default="never", description="Town and mail program of a hit.")
    internal: Ceiling = Field(default="never", description="Mail to colleagues.")
    sender_default: Literal["on", "off"] = Field(default="on", description="For a sender who has saved nothing.")
    ask: Literal["never", "footer"] = Field(default="never", description="Invite unknown recipients, once in 6 months.")
    plain_text_links: bool = Field(default=False, description="Wrap the links of text-only messages.")
    visible_url_links: bool = Field(default=False, description="Wrap links whose text is itself an address.")
    never_wrap: list[Glob] = Field(default=[], description="URL globs of links that are never wrapped.")
    role_addresses: list[Glob] = Field(default=[], description="More shared mailboxes, as globs; they count as groups.")
    list_addresses: list[Glob] = Field(default=[], description="More mailing lists and distribution lists, as globs.")
    footer: FooterModel = Field(default=FooterModel(), description="The footer of tracked messages.")
    foreign_tracking: ForeignTrackingModel = Field(default=ForeignTrackingModel())
    merge_window: MergeWindow | Literal["off"] = Field(default=MergeWindow())
    rule: list[RuleModel] = Field(default=[], description="Rules that lower the ceiling.")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in compiled form."""

    name: str
    never: frozenset[Purpose]
    senders: re.Pattern[str] | None
    recipients: re.Pattern[str] | None
    classes: frozenset[MessageClass]

    def applies(self, envelope: Envelope, message_class: MessageClass) -> bool:
        """Tell whether every condition that the rule has is met; with several recipients, any of them counts."""
        if self.senders is not None and not matches(self.senders, folded(envelope.sender)):
            return False
        if self.recipients is not None and not any(matches(self.recipients, one) for one in envelope.recipients):
            return False
        return not self.classes or message_class in self.classes


@dataclass(frozen=True, slots=True)
class Policy:
    """The compiled policy of one organisation: what ``decide`` and ``classify`` look at."""

    model: PolicyModel
    domains: frozenset[str]
    version: str
    """Names exactly this policy: the first 12 hex digits of a SHA-256 over all that can change a decision."""
    rules: tuple[Rule, ...] = ()
    roles: re.Pattern[str] | None = field(default=None)
    lists: re.Pattern[str] | None = field(default=None)

    def allows(self, purpose: Purpose) -> bool:
        """Tell whether the ceiling leaves the purpose to the person's consent."""
        ceiling: Ceiling = getattr(self.model, purpose.value)
        return ceiling == "with-consent"


def compile_policy(model: PolicyModel, domains: list[str]) -> Policy:
    """Return the policy that the ``[policy]`` section and the organisation's domains amount to."""
    ours = frozenset(canonical_domain(domain) for domain in domains)
    canon = json.dumps([model.model_dump(mode="json", by_alias=True), sorted(ours)], sort_keys=True)
    return Policy(
        model=model,
        domains=ours,
        version=hashlib.sha256(canon.encode()).hexdigest()[:12],
        rules=tuple(_compile_rule(rule) for rule in model.rule),
        roles=address_pattern([*(f"{name}@*" for name in ROLE_NAMES), *model.role_addresses]),
        lists=address_pattern([*LIST_PATTERNS, *model.list_addresses]),
    )


def _compile_rule(rule: RuleModel) -> Rule:
    never = frozenset(purpose for purpose in Purpose if getattr(rule.then, purpose.value) == "never")
    return Rule(
        name=rule.name,
        never=never,
        senders=address_pattern(rule.when.sender),
        recipients=address_pattern(rule.when.recipient),
        classes=frozenset(rule.when.message_class),
    )
