"""Other people's trackers in one part of a message: what is found, how good the evidence is, and what takes it out.

Tiers A to E of cases/trackers.md §4.2. Nothing is ever fetched, no address is remembered beyond its host, and every
doubt leaves the bytes as they are.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Literal
from urllib.parse import unquote

from policies.address import canonical_domain, within
from policies.glob import url_matches
from policies.tracker import OWN_UNVERIFIED
from policies.words import Scope, Surface, Tier, TrackerAction
from proxy.links import own_place, valid_target
from proxy.own import OpensTokens
from proxy.private import leaves
from proxy.tags import tag_skipper
from proxy.transfer import Edit
from proxy.vendors import Match, VendorRules

_HOST = re.compile(r"(?:https?:)?[/\\]{2}(?:[^/?#\\]*@)?([^/?#\\:@]+)", re.IGNORECASE)
# Gmail shows images through a proxy that keeps the original address behind "#".
_PROXIED = re.compile(r"https?://[a-z0-9.-]*\.?googleusercontent\.com\.?/[^#]*#(?=(?:https?:)?//)", re.IGNORECASE)
_OWN_PIXEL = re.compile(r"/o/([A-Za-z0-9_-]{16,})(?:\.gif)?(?![A-Za-z0-9_-])")
_ALWAYS_ALLOWED = frozenset({"attachments.office.net"})
"""Hosts of images that name who looks at them, and are no trackers: Outlook on the web shows attachments from there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One tracker, and what takes it out."""

    scope: Scope
    vendor: str | None
    """The vendor's id in the rules; None where only the looks speak for it."""
    name: str
    """The vendor's name, for people."""
    surface: Surface
    tier: Tier
    host: str
    start: int
    action: TrackerAction
    """What comes of it where policy has trackers removed."""
    edits: tuple[Edit, ...] = ()
    """What takes it out; none for what is only reported."""
    destination: str | None = None
    """Where an unwrapped link leads."""

    @property
    def certain(self) -> bool:
        """Whether it is known to track, and nobody needs it: a link to unsubscribe is held against nobody."""
        needed = self.surface is Surface.LINK and self.action is TrackerAction.REPORTED
        return self.tier in (Tier.A, Tier.B, Tier.C) and not needed


@dataclass(frozen=True)
class Watch:
    """What is looked for: the vendors' rules, and whose images are nobody's business."""

    rules: VendorRules
    allowed: re.Pattern[str] | None = None
    """Addresses that are never taken for trackers, whole."""
    own_domains: frozenset[str] = frozenset()
    own_hosts: frozenset[str] = frozenset()
    """Our own web addresses, now and before, as ``own_place`` writes them."""
    tokens: OpensTokens | None = None

    @cached_property
    def element_words(self) -> tuple[tuple[bytes, bytes], ...]:
        """The names of the elements that vendors are known by, and the words that tell, in lower case."""
        elements = [element for vendor in self.rules.vendors for element in vendor.element]
        return tuple(dict.fromkeys((element.tag.encode(), element.value.lower().encode()) for element in elements))

    @cached_property
    def element_tags(self) -> re.Pattern[bytes]:
        """By which ``some_tags`` sees the elements that vendors are known by."""
        return tag_skipper(b"|".join(re.escape(tag) for tag in dict(self.element_words)))

    @cached_property
    def tracking_hosts(self) -> frozenset[str]:
        """Every host that vendors track from."""
        marks = [mark for vendor in self.rules.vendors for mark in vendor.mark]
        return frozenset(host for mark in marks for host in mark.host) - {"*"}

    def is_allowed(self, url: str) -> bool:
        """Tell whether the organisation says that an address is no tracker."""
        return url_matches(self.allowed, url)

    def is_trusted(self, url: str) -> bool:
        """Tell whether the looks of an image do not matter: it is the organisation's own, or of a host known well."""
        return within(host_of(url), self.own_domains) or within(host_of(url), _ALWAYS_ALLOWED)

    def resource(self, url: str, surface: Literal["image", "css"]) -> Match | None:
        """Return what a fetched address is known as."""
        return None if self.is_allowed(url) else self.rules.resource(url, surface)

    def link(self, url: str) -> Match | None:
        """Return what a link is known as; None also for a link that protects whoever follows it."""
        match = self.rules.link(url)
        return None if match is None or match.kind == "gateway" or self.is_allowed(url) else match

    def is_unverified(self, url: str) -> bool:
        """Tell whether an image is at the address of a pixel of ours, with a token that does not open (case 3)."""
        match = _OWN_PIXEL.search(unquote(url)) if self.own_hosts and "/o/" in url else None
        if match is None:
            return False
        try:
            ours = own_place(url if ":" in url[:6] else f"https:{url}") in self.own_hosts
        except ValueError:
            return False
        return ours and (self.tokens is None or not self.tokens.is_pixel(match[1]))


def fetched_from(url: str) -> str:
    """Return the address that an image comes from in the end, behind Gmail's proxy."""
    match = _PROXIED.match(url) if "#" in url else None
    return url if match is None else url[match.end() :]


def host_of(url: str) -> str:
    """Return the host of an absolute address, as it is reported; empty where it cannot be told."""
    match = _HOST.match(url)
    host = canonical_domain(match[1]) if match is not None else ""
    return host if host.isascii() and host.isprintable() and len(host) <= 253 else ""


def vendor_finding(
    match: Match, scope: Scope, surface: Surface, url: str, start: int, edits: Sequence[Edit]
) -> Finding:
    """Return the finding for something that a vendor's rule matches; one that is only likely is reported."""
    certain = match.certainty == "certain"
    return Finding(
        scope=scope,
        vendor=match.vendor,
        name=match.name,
        surface=surface,
        tier=Tier.B if certain else Tier.D,
        host=host_of(url),
        start=start,
        action=TrackerAction.REMOVED if certain else TrackerAction.REPORTED,
        edits=tuple(edits) if certain else (),
    )


def unverified_finding(surface: Surface, url: str, start: int, edits: Sequence[Edit]) -> Finding:
    """Return the finding for an image on our own host whose token does not open."""
    return Finding(
        Scope.OWN, OWN_UNVERIFIED, "", surface, Tier.B, host_of(url), start, TrackerAction.REMOVED, tuple(edits)
    )


def look_finding(scope: Scope, tier: Tier, url: str, start: int) -> Finding:
    """Return the finding for an image that only its looks speak against."""
    return Finding(scope, None, "", Surface.IMAGE, tier, host_of(url), start, TrackerAction.REPORTED)


@dataclass(frozen=True, slots=True)
class TrackedLink:
    """A link to look at: where its address stands, and what is said of it."""

    url: str
    start: int
    end: int
    scope: Scope
    text: str = ""
    labels: str = ""


def link_findings(
    watch: Watch, link: TrackedLink, unsubscribe: frozenset[str], written: Callable[[str], bytes | None]
) -> Iterator[Finding]:
    """Yield what is found of a link. ``written`` returns an address as it is to stand there; None where it cannot."""
    match = watch.link(link.url)
    if match is None:
        return

    def finding(known: Match, url: str, action: TrackerAction, destination: str | None = None) -> Finding:
        tier = Tier.B if known.certainty == "certain" else Tier.D
        new = written(destination) if destination is not None else None
        edits = ((link.start, link.end, new),) if new is not None else ()
        if destination is not None and new is None:
            action, destination = TrackerAction.UNDECODABLE, None
        return Finding(
            link.scope,
            known.vendor,
            known.name,
            Surface.LINK,
            tier,
            host_of(url),
            link.start,
            action,
            edits,
            destination,
        )

    if match.certainty == "likely" or link.url in unsubscribe or leaves(link.url, f"{link.text} {link.labels}"):
        # Who wants to leave must not meet a link that somebody has changed.
        yield finding(match, link.url, TrackerAction.REPORTED)
        return
    destination = watch.rules.target(link.url) if match.decode != "opaque" else said_target(watch, link.text)
    if destination is None:
        action = TrackerAction.OPAQUE if match.decode == "opaque" else TrackerAction.UNDECODABLE
        yield finding(match, link.url, action)
        return
    inner = watch.link(destination)
    last = said_target(watch, link.text) if inner is not None else None
    yield finding(match, link.url, TrackerAction.UNWRAPPED, last or destination)
    if inner is not None and last is None:
        # Behind the one there is another that nobody can read.
        yield finding(inner, destination, TrackerAction.OPAQUE)


def said_target(watch: Watch, text: str) -> str | None:
    """Return the address that a link's text is, entirely, if it is no tracker's (cases 67 to 70)."""
    url = valid_target(text)
    # Two dots at the end, or more, say that it was cut short.
    if url is None or not url.isascii() or url.endswith(".."):
        return None
    tracked = within(host_of(url), watch.tracking_hosts) or watch.rules.link(url) is not None
    return None if tracked or watch.rules.resource(url, "image") is not None else url


def attribute_value(url: str, *, quoted: bool) -> bytes:
    """Return an address as an attribute value; without quotes some more characters would end it (WHATWG §13.1.2.3)."""
    value = escape(url)
    if not quoted:
        value = re.sub(r"[\s`=]", lambda match: f"&#{ord(match[0])};", value)
    return value.encode("ascii", "xmlcharrefreplace")
