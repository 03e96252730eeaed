"""Rules: the model of ``[[policy.rule]]``. When a rule applies, and what it lowers; there is nothing it could raise."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from policies.setting import (
    FieldName,
    FooterText,
    Glob,
    Network,
    Never,
    OneLine,
    ReplyText,
    Section,
    TimeOfDay,
    Whole,
    YesNo,
    Zone,
)
from policies.words import ForeignTracking, MessageClass, Purpose

Globs = Annotated[list[Glob], Field(min_length=1)]


class Weekday(StrEnum):
    """The days of the week, Monday first."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class SizeRange(Section):
    """How large the message is, in bytes as it came; both ends belong to it."""

    min: Whole | None = Field(default=None, ge=0, description="At least so many bytes.")
    max: Whole | None = Field(default=None, ge=0, description="At most so many bytes.")


class TimeWindow(Section):
    """When the message is sent, by the clocks of a place."""

    zone: Zone = Field(description='Whose clocks count, like "Europe/Berlin".')
    begin: TimeOfDay | None = Field(default=None, alias="from", description="From this minute on, like 18:30.")
    until: TimeOfDay | None = Field(
        default=None, description="Until before this minute; a time before `from` is of the next day."
    )
    days: list[Weekday] = Field(
        default=list(Weekday), min_length=1, description="Days on which the window begins: mon, tue …"
    )


class RuleCondition(Section):
    """When a rule applies: every key that is given must match; within a key, any of its values."""

    sender: list[Glob] = Field(default=[], min_length=1, description="Globs over the sender's address.")
    sender_group: list[str] = Field(default=[], min_length=1, description="Names of groups in policy.groups.")
    recipient: list[Glob] = Field(default=[], min_length=1, description="Globs over a recipient's address.")
    recipient_domain: list[Glob] = Field(
        default=[], min_length=1, description="Globs over the domain of a recipient's address."
    )
    header: dict[FieldName, Globs] = Field(
        default={}, min_length=1, description="By header field: globs over its value. Every field that is named counts."
    )
    message_class: list[MessageClass] = Field(
        default=[], min_length=1, alias="class", description="Classes of message."
    )
    label: list[Glob] = Field(
        default=[], min_length=1, description="Globs over name or GUID of a Microsoft sensitivity label."
    )
    size: SizeRange | None = Field(default=None, description="How large the message is.")
    has_attachment: YesNo | None = Field(default=None, description="Whether anything is attached.")
    listener: list[str] = Field(default=[], min_length=1, description="Listener addresses, as in relay.listener.")
    client: list[Network] = Field(default=[], min_length=1, description="Networks of the sending machine.")
    time: TimeWindow | None = Field(default=None, description="When the message is sent.")


class RuleLimit(Section):
    """What a rule lowers, or refuses."""

    open: Never | None = Field(default=None, description="No pixel.")
    click: Never | None = Field(default=None, description="No wrapped link.")
    detail: Never | None = Field(default=None, description="No town and no mail program.")
    ask: Never | None = Field(default=None, description="No invitation.")
    foreign_tracking: ForeignTracking | None = Field(
        default=None, description="A stricter action for other people's trackers: report, remove or refuse."
    )
    footer: FooterText | None = Field(default=None, description="An own sentence in the footer of tracked mail.")
    refuse: ReplyText | None = Field(default=None, description="Refuse the message, with this text.")

    @property
    def never(self) -> frozenset[Purpose]:
        """The purposes that it turns off."""
        return frozenset(purpose for purpose in Purpose if getattr(self, purpose.value) is not None)


class RuleModel(Section):
    """One rule: all rules that match apply, and the least wins, whatever their order."""

    name: OneLine = Field(description="Shown by `aboveboard explain` where the rule applies.")
    when: RuleCondition = Field(description="When the rule applies; without conditions, always.")
    then: RuleLimit = Field(description="What it lowers.")
