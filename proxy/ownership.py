"""Ownership: whose mail a login's is, and as whom it may write (DESIGN.md §4: From must belong to the login)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from policies.address import canonical_domain, domain_of, folded, split, untagged
from policies.glob import address_pattern, matches
from proxy.header import parse_address_list
from proxy.reply import ReplyError, reply

LOCAL = "{local}"
"""Stands for the login's own local part in an alias's addresses."""
_BARE = re.compile(r"[A-Za-z0-9!#$%&'+\-/=^_`{|}~.\u0080-\U0010ffff]+")
# A header that no strict reader takes apart is still shown by some program, so the fields are looked for by themselves.
_AUTHORS = re.compile(rb"(?:\A|\n)(?:from|sender)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)
_MAX_HEADER = 1_048_576


@dataclass(frozen=True, slots=True)
class Alias:
    """Addresses that logins may write as beside their own."""

    logins: re.Pattern[str] | None
    addresses: tuple[str, ...]

    def allows(self, login: str, address: str) -> bool:
        """Tell whether a login may write as an address; both folded."""
        if not matches(self.logins, login):
            return False
        local = split(login)[0]
        # A local part may hold what a glob takes for a wildcard (RFC 5321 §4.1.2).
        globs = [one.replace(LOCAL, local) for one in self.addresses if LOCAL not in one or _BARE.fullmatch(local)]
        return matches(address_pattern(globs), address)


def parse_alias(logins: Sequence[str], addresses: Sequence[str]) -> Alias:
    """Return an alias of globs over logins and over addresses."""
    return Alias(address_pattern(logins), tuple(addresses))


@dataclass(slots=True)
class Ownership:
    """The organisation's domains and its aliases."""

    domains: tuple[str, ...]
    """May be replaced at any time. The first is that of logins without one."""
    aliases: tuple[Alias, ...] = ()

    def address_of(self, login: str) -> str:
        """Return whose mail a login's is: itself, or what it is in the organisation's first domain."""
        if "@" in login or not self.domains or not _BARE.fullmatch(login):
            return login
        return f"{login}@{self.domains[0]}"

    def owns(self, login: str, address: str) -> bool:
        """Tell whether a login may write as an address: its own, with a sub-address too, or an alias."""
        login, address = folded(login), folded(address)
        own = address == login or untagged(address) == login
        return own or any(alias.allows(login, address) for alias in self.aliases)

    def check_author(self, content: bytes, login: str, more: Sequence[str] = ()) -> None:
        """Raise ReplyError where From or Sender names somebody else of the organisation.

        ``more`` are globs of further addresses that the login may write as. Addresses of other domains are nobody's
        here: what is redirected or forwarded names its own author.
        """
        others = address_pattern(more)
        ours = frozenset(map(canonical_domain, self.domains))
        for address in _authors(content):
            if domain_of(address) in ours and not self.owns(login, address) and not matches(others, folded(address)):
                raise ReplyError(reply(553, "5.7.1 The login may not write as the address in From or Sender"))


def _authors(content: bytes) -> list[str]:
    """Return every address in the From and Sender fields."""
    end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n", 0, _MAX_HEADER)
    values = _AUTHORS.findall(content, 0, end if end != -1 else _MAX_HEADER)
    texts = (value.decode("utf-8", "surrogateescape").replace("\r\n", "") for value in values)
    return [address for text in texts for address in parse_address_list(text).addresses]
