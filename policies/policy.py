"""Policy: what the organisation allows. The model of the ``[policy]`` section, and the compiled form that decides.

The policy is a ceiling. Rules, senders and messages can only lower it, so nothing here has a value that raises.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from policies.address import canonical_domain
from policies.footer import FooterModel
from policies.glob import address_pattern
from policies.matching import Rules
from policies.presets import PRESETS
from policies.roles import LIST_PATTERNS, ROLE_PATTERNS
from policies.rule import RuleModel
from policies.setting import Ceiling, Glob, Section, Whole, YesNo
from policies.vendor import VendorId, VendorModel
from policies.words import ForeignTracking, MessageClass, Purpose


class ForeignTrackingModel(Section):
    """What happens to other people's trackers in outgoing mail, by class."""

    individual: ForeignTracking = ForeignTracking.REMOVE
    group: ForeignTracking = ForeignTracking.REMOVE
    bulk: ForeignTracking = ForeignTracking.REMOVE

    def of(self, message_class: MessageClass) -> ForeignTracking:
        """Return what happens in messages of a class; the classes without a setting of their own follow bulk."""
        if message_class is MessageClass.INDIVIDUAL:
            return self.individual
        return self.group if message_class is MessageClass.GROUP else self.bulk


class MergeWindow(Section):
    """So many look-alike single messages in so many minutes are bulk."""

    messages: Whole = Field(default=5, ge=2)
    minutes: Whole = Field(default=10, ge=1, le=1440)


def _window(value: object) -> str | None:
    """Tell which form of ``merge_window`` is meant, so that what is wrong with it is said once."""
    if isinstance(value, dict | MergeWindow):
        return "Window"
    return "Off" if value == "off" else None


MergeWindowOrOff = Annotated[
    Annotated[MergeWindow, Tag("Window")] | Annotated[Literal["off"], Tag("Off")],
    Discriminator(
        _window,
        custom_error_type="no_window",
        custom_error_message='must be "off", or like { messages = 5, minutes = 10 }',
    ),
]


Members = Annotated[list[Glob], Field(min_length=1)]


class PolicyModel(Section):
    """The ceiling for everybody in the organisation; rules and people can only lower it."""

    preset: Literal["strict", "report-only", "never-track"] = Field(
        default="strict", description="What holds where the file says nothing; the file cannot go above it."
    )
    open: Ceiling = Field(default="with-consent", description="The pixel: for people who agreed, or never.")
    click: Ceiling = Field(default="with-consent", description="Wrapped links: for people who agreed, or never.")
    detail: Ceiling = Field(default="never", description="Town and mail program of a hit.")
    internal: Ceiling = Field(default="never", description="Mail to colleagues.")
    sender_default: Literal["on", "off"] = Field(default="on", description="For a sender who has saved nothing.")
    ask: Literal["never", "footer"] = Field(default="never", description="Invite unknown recipients, once in 6 months.")
    do_not_write: Literal["refuse", "ignore"] = Field(
        default="refuse", description="Mail to one person who asked not to be written to."
    )
    plain_text_links: YesNo = Field(default=False, description="Wrap the links of text-only messages.")
    visible_url_links: YesNo = Field(default=False, description="Wrap links whose text is itself an address.")
    never_wrap: list[Glob] = Field(default=[], description="URL globs of links that are never wrapped.")
    role_addresses: list[Glob] = Field(default=[], description="More shared mailboxes, as globs; they count as groups.")
    list_addresses: list[Glob] = Field(default=[], description="More mailing lists and distribution lists, as globs.")
    footer: FooterModel = Field(default=FooterModel(), description="The footer of tracked messages.")
    foreign_tracking: ForeignTrackingModel = Field(default=ForeignTrackingModel())
    foreign_allowed: list[Glob] = Field(default=[], description="URL globs that are never taken for trackers.")
    vendors_off: list[VendorId] = Field(default=[], description="Ids of shipped vendor rules that are switched off.")
    vendor: list[VendorModel] = Field(default=[], description="Rules for vendors that the shipped ones do not know.")
    merge_window: MergeWindowOrOff = Field(default=MergeWindow())
    groups: dict[str, Members] = Field(default={}, description="Groups of senders for rules: globs over addresses.")
    rule: list[RuleModel] = Field(default=[], description="Rules that lower the ceiling.")

    @model_validator(mode="before")
    @classmethod
    def _on_preset(cls, given: Any) -> Any:
        """Put what the preset says where nothing is given; ``checks`` looks whether what is given keeps its promise."""
        preset = given.get("preset") if isinstance(given, dict) else None
        # What strict says are the model's own defaults; what is no preset is found out when its turn comes.
        return PRESETS[preset].beneath(given) if preset in list(PRESETS) and preset != "strict" else given


@dataclass(frozen=True, slots=True)
class Policy:
    """The compiled policy of one organisation: what ``decide`` and ``classify`` look at."""

    model: PolicyModel
    domains: frozenset[str]
    version: str
    """Names exactly this policy: the first 12 hex digits of a SHA-256 over all that can change a decision."""
    rules: Rules
    roles: re.Pattern[str] | None = field(default=None)
    lists: re.Pattern[str] | None = field(default=None)

    def allows(self, purpose: Purpose) -> bool:
        """Tell whether the ceiling leaves the purpose to the person's consent."""
        ceiling: Ceiling = getattr(self.model, purpose.value)
        return ceiling == "with-consent"


def canonical_text(model: PolicyModel, domains: list[str]) -> str:
    """Return all that can change a decision, as JSON in one spelling: the ``[policy]`` section and the domains."""
    ours = sorted({canonical_domain(domain) for domain in domains})
    return json.dumps([model.model_dump(mode="json", by_alias=True), ours], sort_keys=True)


def version_of(text: str) -> str:
    """Return the name of exactly the policy whose canonical text this is."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def compile_policy(model: PolicyModel, domains: list[str]) -> Policy:
    """Return the policy that the ``[policy]`` section and the organisation's domains amount to."""
    return Policy(
        model=model,
        domains=frozenset(canonical_domain(domain) for domain in domains),
        version=version_of(canonical_text(model, domains)),
        rules=Rules(model.rule, model.groups),
        roles=address_pattern([*ROLE_PATTERNS, *model.role_addresses]),
        lists=address_pattern([*LIST_PATTERNS, *model.list_addresses]),
    )
