"""Settings: what every table of the configuration file has in common, and the kinds of values in ``[policy]``."""

import ipaddress
import re
from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict, StringConstraints

_ALLOWING = frozenset({"always", "on", "yes", "true", "allow", "allowed", "enable", "enabled", "all", "force", "1"})
_FIELD_NAME = re.compile(r"[!-9;-~]{1,200}")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class Section(BaseModel):
    """A table of the configuration file: unknown keys are errors, values do not change after loading."""

    # Built on first use: as part of another, a section would be built twice.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _no_permission(value: object) -> object:
    if str(value).strip().lower() in _ALLOWING:
        raise ValueError('tracking without consent cannot be allowed; use "with-consent"')
    return value


def _no_raise(value: object) -> object:
    if str(value).strip().lower() in _ALLOWING:
        raise ValueError('tracking without consent cannot be allowed; a rule can only say "never"')
    return value


def _network(value: str) -> str:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError('must be a network, like "10.1.0.0/16" or "192.0.2.7"') from error
    if getattr(network.network_address, "ipv4_mapped", None) is not None:
        raise ValueError("is an IPv4 network in IPv6 form: write it as IPv4, for such clients are compared as IPv4")
    if ipaddress.ip_address(value.partition("/")[0]) != network.network_address:
        raise ValueError(f'must be a network, like "{network}"')
    return value


def _field_name(value: str) -> str:
    # RFC 5322 §3.6.8: printable ASCII without the colon.
    if not _FIELD_NAME.fullmatch(value):
        raise ValueError('must be the name of a header field, like "X-Department"')
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError('must be a time zone that this machine knows, like "Europe/Berlin"') from error
    return value


def _time_of_day(value: str) -> str:
    if not _TIME.fullmatch(value):
        raise ValueError('must be a time of day from "00:00" to "23:59", like "18:30"')
    return value


def minute(value: str) -> int:
    """Return the minute of the day that a ``TimeOfDay`` names."""
    parsed = time.fromisoformat(value)
    return parsed.hour * 60 + parsed.minute


def _one_line(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("must be one line of text without control characters")
    return value


def _footer_text(value: str) -> str:
    if "//" in value or "www." in value.lower():
        raise ValueError("must hold no address: the link to stop is put behind it, and is the only one")
    return _one_line(value)


def _reply_text(value: str) -> str:
    # RFC 5321 §4.2: the text of a reply is printable ASCII.
    if not value.isascii():
        raise ValueError("must be ASCII: a mail program that is refused need not understand more")
    return _one_line(value)


Whole = Annotated[int, Strict()]
"""A whole number, and nothing that could be made one of: `hits_days = true` is no day."""
YesNo = Annotated[bool, Strict()]
"""`true` or `false`, and nothing that could be taken for it."""
Ceiling = Annotated[Literal["never", "with-consent"], BeforeValidator(_no_permission)]
Never = Annotated[Literal["never"], BeforeValidator(_no_raise)]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=320)]
Network = Annotated[str, AfterValidator(_network)]
FieldName = Annotated[str, AfterValidator(_field_name)]
OneLine = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_one_line)]
Zone = Annotated[str, AfterValidator(_zone)]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
FooterText = Annotated[str, StringConstraints(min_length=1, max_length=120), AfterValidator(_footer_text)]
"""Short, so that a quoted footer with it is still recognised as ours (at most 400 characters)."""
ReplyText = Annotated[str, StringConstraints(min_length=1, max_length=400), AfterValidator(_reply_text)]
"""Short enough for one reply line (512 octets, RFC 5321 §4.5.3.1.5)."""
