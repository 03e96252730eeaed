"""Parameters of the command: what an address, a purpose or a text is, and the options that many commands have."""

import ipaddress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from policies.address import canonical_domain
from policies.spelling import address_trouble
from policies.words import Purpose
from proxy.path import parse_address
from proxy.reply import ReplyError


class MailAddress(click.ParamType[str]):
    """An e-mail address, by the grammar that the relay itself uses."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address; "<>" and an empty one are the null sender."""
        text = str(value).strip()
        if text in ("", "<>"):
            return ""
        try:
            return parse_address(text.removeprefix("<").removesuffix(">"))
        except ReplyError:
            self.fail(f"{value!r} is not an e-mail address.", param, ctx)


class PersonAddress(MailAddress):
    """An address that somebody reads mail at: with a domain, and not the null sender."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address."""
        address = super().convert(value, param, ctx)
        if "@" not in address:
            self.fail(f"{value!r} is not the e-mail address of a person, like jane@example.org.", param, ctx)
        return address


class PurposeList(click.ParamType[frozenset[Purpose]]):
    """Purposes, separated by commas."""

    name = "purposes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[Purpose]:
        """Return the purposes."""
        if isinstance(value, frozenset):
            return value
        try:
            return frozenset(Purpose(word.strip()) for word in str(value).split(",") if word.strip())
        except ValueError:
            self.fail(f"{value!r}: purposes are {', '.join(Purpose)}.", param, ctx)


class IpAddress(click.ParamType[str]):
    """An IP address."""

    name = "ip address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address; an empty one says nothing."""
        try:
            return str(ipaddress.ip_address(value)) if value else ""
        except ValueError:
            self.fail(f"{value!r} is not an IP address.", param, ctx)


class Writable(click.ParamType[str]):
    """Text that can be written down: bytes that are no UTF-8 come as surrogates."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            self.fail("is not UTF-8.", param, ctx)
        return text


class Text(Writable):
    """Text that is not blank."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = super().convert(value, param, ctx)
        if not text.strip():
            self.fail("must not be empty.", param, ctx)
        return text


class AddressGlob(Text):
    """A glob over addresses, which some address matches."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the glob."""
        text = super().convert(value, param, ctx)
        trouble = address_trouble(text)
        if trouble is not None:
            self.fail(f"{trouble}.", param, ctx)
        return text


class Word(Text):
    """Text that is not blank, and short enough to be a word for something."""

    most = 64
    """Characters; the ledger's columns for such words have no more."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = super().convert(value, param, ctx)
        if len(text) > self.most:
            self.fail(f"must not be longer than {self.most} characters.", param, ctx)
        return text


class Day(click.ParamType[date]):
    """A day of the calendar, with days before and after it that can be counted."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        if isinstance(value, date):
            return value
        try:
            day = datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=UTC).date()
            return day if 1970 <= day.year < date.max.year else self.fail(f"{value!r} is too far away.", param, ctx)
        except ValueError:
            self.fail(f"{value!r} is not a day, like 2026-03-31.", param, ctx)


class DomainName(click.ParamType[str]):
    """A domain of at least two labels, in its canonical form."""

    name = "domain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the domain; a leading "@" or "*." says the same."""
        text = canonical_domain(str(value).strip().removeprefix("@").removeprefix("*."))
        try:
            parse_address(f"postmaster@{text}")
        except ReplyError:
            text = ""
        if "." not in text:
            self.fail(f"{value!r} is not a domain, like example.org.", param, ctx)
        return text


ADDRESS = MailAddress()
PERSON = PersonAddress()
DOMAIN = DomainName()
IP_ADDRESS = IpAddress()
DAY = Day()
ADDRESS_GLOB = AddressGlob()
PURPOSE = click.Choice([purpose.value for purpose in Purpose])
PURPOSES = PurposeList()
TEXT = Text()
WORD = Word()
WRITABLE = Writable()

config_option = click.option(
    "--config",
    "config_path",
    envvar="ABOVEBOARD_CONFIG",
    default="aboveboard.toml",
    show_default=True,
    type=click.Path(path_type=Path, readable=False),
    help="The configuration file; also by $ABOVEBOARD_CONFIG.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit_option = click.option("--limit", type=click.IntRange(1, 2**31 - 1), default=None, help="How many, at most.")
workers_option = click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of each part."
)
