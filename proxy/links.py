"""Links: which of a message's links may be wrapped, and which never (DESIGN.md §4, "which links")."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import AnyStr, NamedTuple
from urllib.parse import urlsplit

from policies.address import canonical_domain
from policies.glob import url_matches, url_pattern
from proxy.private import Place, is_private, place

MAX_LINKS = 1_000
"""Links of one message that are wrapped; the rest stays as it is."""

# RFC 3986 §3, for http and https with a host and without user information: a name before "@" is how links deceive.
_PCT = r"%[0-9A-Fa-f]{2}"
_CHARACTERS = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]++|{_PCT})*+"
_QUERY = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]++|{_PCT})*+"
_URL = re.compile(
    rf"([Hh][Tt][Tt][Pp][Ss]?)://(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|{_PCT})++)(?::([0-9]{{1,5}}))?"
    rf"(/{_CHARACTERS})?(?:\?({_QUERY}))?(?:#({_QUERY}))?"
)
"""Its groups are scheme, host, port, path, query and fragment."""
_HOST_NAME = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
)
_EDGES = "".join(map(chr, range(0x21)))
"""WHATWG URL §4.4 step 1: leading and trailing C0 controls and spaces are no part of the URL."""


class _Host(NamedTuple):
    """What a valid host tells of every link that leads there."""

    name: str
    """Canonical, an IPv6 address without its brackets."""
    place: Place


_LONGEST_HOST = 253
"""Characters (RFC 1035 §2.3.4, as they are written)."""


@lru_cache(maxsize=4_096)
def _host(written: str) -> _Host | None:
    """Return what is known of a host; None where it is none. Links lead to few hosts, and to those again and again."""
    if written.startswith("["):
        try:
            ipaddress.IPv6Address(written[1:-1])
        except ValueError:
            return None
    elif not _HOST_NAME.fullmatch(written):
        return None
    name = canonical_domain(written.strip("[]"))
    return _Host(name, place(name))


def _read(href: str) -> tuple[re.Match[str], _Host] | None:
    """Return the parts of the absolute http or https URL that an href names, and its host; None for any other."""
    match = _URL.fullmatch(href.strip(_EDGES))
    if match is None or int(match[3] or 0) > 65_535:
        return None
    # Its length first: what was asked about is remembered, and links may be as long as strangers like.
    host = _host(match[2]) if len(match[2]) <= _LONGEST_HOST else None
    return None if host is None else (match, host)


def valid_target(href: str) -> str | None:
    """Return the exact absolute http or https URL that an href names, or None where it is not one we may lead to."""
    found = _read(href)
    return None if found is None else found[0][0]


_TEXT_ADDRESS = re.compile(r"https?:|\bftp://|www\.", re.IGNORECASE)
# One character stands for the local part: with more, every start in a long word would be tried to its end.
_TEXT_MAILBOX = re.compile(r"@(?<=[^\s@<>()]@)[^\s@<>()]+\.[a-z]{2,}", re.IGNORECASE)
_TEXT_HOST = re.compile(
    r"(?:(?:[^\W_](?:[\w-]*[^\W_])?\.)+(?:[^\W\d_]{2,}|xn--[a-z0-9-]+)|\d{1,3}(?:\.\d{1,3}){3}|localhost)(?::\d+)?(?:[/?#]\S*)?",
    re.IGNORECASE,
)
_UNSEEN = re.compile("[\u200b-\u200d\u2060\ufeff]|\xe2\x80[\x8b-\x8d]|\xe2\x81\xa0|\xef\xbb\xbf")
"""Characters of no width, as such or as their bytes in UTF-8: some put them into an address so that it is none."""
_NOT_WORDS = re.compile(r"\W*+")
_NOT_WORDS_OR_SLASHES = re.compile(r"[^\w/]*+")

# The opt-outs of our own, Postmark, SES, SendGrid, Mailgun, Mailchimp and SparkPost: left in place, and honoured.
_OPT_OUT_PRESENT = frozenset({"data-pm-no-track", "ses:no-track", "data-skip-click", "data-msys-clicktrack-off"})
_OPT_OUT_VALUES = {
    "data-track": ("false", "off", "no", "0"),
    "clicktracking": ("off",),
    "data-clicktracking": ("off",),
    "disable-tracking": ("true", ""),
    "mc:disable-tracking": ("true", ""),
    "data-msys-clicktrack": ("0", "false"),
}
OPT_OUTS = _OPT_OUT_PRESENT | _OPT_OUT_VALUES.keys()
"""Attributes that may say of a link that it is to be left alone."""


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What the organisation says about links, and which pages are our own."""

    visible_url_links: bool = False
    never_wrap: re.Pattern[str] | None = None
    own_hosts: frozenset[str] = field(default_factory=frozenset)


def link_rules(visible_url_links: bool, never_wrap: Iterable[str], own_urls: Iterable[str]) -> LinkRules:
    """Return the rules that the policy's keys amount to; ``own_urls`` are our own web addresses, now and before."""
    return LinkRules(visible_url_links, url_pattern(never_wrap), frozenset(map(own_place, own_urls)))


def own_place(url: str) -> str:
    """Return host and port of a URL in the form that two addresses of one place share. Raises ValueError for no URL."""
    parts = urlsplit(url)
    return _place(canonical_domain(parts.hostname or ""), parts.port or 0, parts.scheme)


_PORTS = {"http": 80, "https": 443}


def _place(host: str, port: int, scheme: str) -> str:
    return f"{host}:{port or _PORTS.get(scheme, 0)}"


def target(
    href: str,
    text: str,
    attributes: Mapping[str, str],
    rules: LinkRules,
    list_unsubscribe: frozenset[str],
    labels: str = "",
) -> str | None:
    """Return the destination of a link that may be wrapped, or None for one that must stay as it is.

    ``href``, ``text``, ``attributes`` and ``labels`` (titles and alternative texts) are decoded. ``list_unsubscribe``
    holds the addresses of the List-Unsubscribe field. Being wrapped is a convenience of the sender; every doubt leaves
    the link alone.
    """
    found = _read(href)
    if found is None:
        return None
    match, host = found
    url, scheme, port = match[0], match[1], match[3]
    if url in list_unsubscribe or _opted_out(attributes):
        return None
    if _place(host.name, int(port or 0), scheme.lower()) in rules.own_hosts or url_matches(rules.never_wrap, url):
        return None
    if is_private(url, host.place, match[4] or "", match[5] or "", match[6] or "", f"{text} {labels}"):
        return None
    if not rules.visible_url_links and _shows_address(text):
        return None
    return url


def _opted_out(attributes: Mapping[str, str]) -> bool:
    if OPT_OUTS.isdisjoint(attributes):
        return False
    if not _OPT_OUT_PRESENT.isdisjoint(attributes):
        return True
    said = _OPT_OUT_VALUES.keys() & attributes
    return any(attributes[name].strip().lower() in _OPT_OUT_VALUES[name] for name in said)


def _shows_address(text: str) -> bool:
    """Tell whether the link's text is an address: mail programs warn where it and the target differ."""
    if not text.isascii():
        # The scanner reads bytes as latin-1; most mail means UTF-8.
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode("utf-8")
        text = _UNSEEN.sub("", text)
    if (":" in text or "." in text) and _TEXT_ADDRESS.search(text) is not None:
        return True
    if "@" in text and _TEXT_MAILBOX.search(text) is not None:
        return True
    if "." not in text and "localhost" not in text.lower():
        return False
    # What is no word at the ends goes; at the end found from behind, or a long run inside would be tried from each of
    # its characters.
    start = _NOT_WORDS.match(text).end()  # type: ignore[union-attr]  # it matches the empty string
    end = len(text) - _NOT_WORDS_OR_SLASHES.match(text[::-1]).end()  # type: ignore[union-attr]
    return _TEXT_HOST.fullmatch(text, start, max(start, end)) is not None


# What ends a sentence, or closes what was opened before the address, is no part of it.
_TEXT_URL = re.compile(rb"\bhttps?://[!-;=?-~]*[A-Za-z0-9/#&=_~+%$-]", re.IGNORECASE)
_GOES_ON = re.compile(rb"[!-;=?-~]*+[\x80-\xff]")
"""An address that goes on beyond ASCII, as programs read it: left alone, for half of it is another address."""


def at_schemes(text: AnyStr, mark: AnyStr, pattern: re.Pattern[AnyStr]) -> Iterator[re.Match[AnyStr] | None]:
    """Yield what ``finditer`` would, of a pattern that begins with ``https?://``; ``mark`` is what follows the name.

    Searched by the mark a text takes a tenth of the time. None is yielded too, so that no step is long.
    """
    at, end = text.find(mark), 0
    while at != -1:
        match = pattern.match(text, at - 5) if at - 5 >= end else None
        if match is None and at - 4 >= end:
            match = pattern.match(text, at - 4)
        yield match
        end = match.end() if match is not None else end
        at = text.find(mark, max(end, at + len(mark)))


def addresses_in_text(data: bytes) -> Iterator[re.Match[bytes] | None]:
    """Yield the web addresses that stand in a text, as far as they are ASCII to their end; None between them."""
    for match in at_schemes(data, b"://", _TEXT_URL):
        yield None if match is None or _GOES_ON.match(data, match.end()) else match


_WRAPPED_FROM = 60
"""Characters of a line from which on a program may have broken it."""


def is_whole(data: bytes, match: re.Match[bytes]) -> bool:
    """Tell whether an address ends where it seems to: a program that breaks lines breaks them at a usual length.

    One between angle brackets (RFC 3986 appendix C) ends with the bracket.
    """
    if data[max(0, match.start() - 1) : match.start()] == b"<":
        return data.startswith(b">", match.end())
    end = match.end()
    # No further back than that: a line may be as long as the message.
    is_short = end < _WRAPPED_FROM or data.rfind(b"\n", end - _WRAPPED_FROM, match.start()) != -1
    if is_short or data[end : end + 1] not in (b"", b"\r", b"\n"):
        return True
    following = data[data.find(b"\n", end) + 1 :][:1] if data.find(b"\n", end) != -1 else b""
    return following in (b"", b"\r", b"\n", b" ", b"\t", b">", b"<")


def ends_in_doubt(data: bytes, match: re.Match[bytes]) -> bool:
    """Tell whether a bracket behind an address closes one within it: some programs make it part of the link."""
    return data.startswith(b")", match.end()) and match[0].count(b"(") > match[0].count(b")")


def unsubscribe_targets(values: Iterable[str]) -> frozenset[str]:
    """Return the addresses that List-Unsubscribe fields name.

    RFC 2369 §2: each in angle brackets, and white space in them, as folding leaves it, is none of theirs.
    """
    return frozenset("".join(found.split()) for value in values for found in re.findall(r"<([^<>]+)>", value))
