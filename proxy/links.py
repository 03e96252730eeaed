"""Links: which of a message's links may be wrapped, and which never (DESIGN.md §4, "which links")."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

from policies.address import canonical_domain, within
from policies.glob import matches, pattern

MAX_LINKS = 1_000
"""Links of one message that are wrapped; the rest stays as it is."""

# RFC 3986 §3, for http and https with a host and without user information: a name before "@" is how links deceive.
_PCT = r"%[0-9A-Fa-f]{2}"
_CHARACTERS = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]++|{_PCT})*+"
_QUERY = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]++|{_PCT})*+"
_URL = re.compile(
    rf"[Hh][Tt][Tt][Pp][Ss]?://(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|{_PCT})++)"
    rf"(?::(?P<port>[0-9]{{1,5}}))?"
    rf"(?:/{_CHARACTERS})?(?:\?{_QUERY})?(?:#{_QUERY})?"
)
_HOST_NAME = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
)
_EDGES = "".join(map(chr, range(0x21)))
"""WHATWG URL §4.4 step 1: leading and trailing C0 controls and spaces are no part of the URL."""


def valid_target(href: str) -> str | None:
    """Return the exact absolute http or https URL that an href names, or None where it is not one we may lead to."""
    url = href.strip(_EDGES)
    match = _URL.fullmatch(url)
    if match is None or int(match["port"] or 0) > 65_535:
        return None
    host = match["host"]
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return None
    elif len(host) > 253 or not _HOST_NAME.fullmatch(host):
        return None
    return url


# The patterns below look at lower-case text: without IGNORECASE the engine skips to their first characters.
_LEAVING = re.compile(
    r"unsubscri|list[-_]?unsub|opt[-_ ]?out|preference|manage[-_ ]?subscription|remove[-_ ]?me\b"
    r"|abmeld|abbestell|austrag|newsletter[-_]?stop|einstellungen[-_ ]?verwalten|d.{1,2}sabonn|d.{1,2}sinscri"
    r"|disiscri|annulla[-_ ]?(?:la[-_ ]?)?iscrizione|cancella(?:mi|zione|[-_ ]iscri)"
    r"|dar(?:se)?[-_ ]?(?:de[-_ ]?)?baja|cancelar[-_ ]?(?:la[-_ ]?)?suscripci"
)
_SIGNING_IN = re.compile(
    r"[/._\-?&=#](?:log-?in|log-?on|sign-?in|anmelden|sso|oauth2?|saml|authorize|password|passwort|passwd|pwd"
    r"|reset|recover|recovery|verify|verification|verif|validate|confirm-email|confirm-account|activate|activation"
    r"|magic-?link|one-?time|otp|2fa|mfa|set-?password|forgot)(?:$|[/._\-?&=#])"
)
_SECRET_KEY = re.compile(r"[?&;](?:[a-z_\-]*token|otp|one_?time_?code|reset_?key|auth_?key|nonce|ticket|hmac)=")
_SIGNING_IN_WORDS = re.compile(
    r"reset-?pass|password-?reset|confirm-?e?mail|verify-?e?mail|oobcode=|auth/action|change-?password|forgot-?pass"
)
_SIGNING_IN_HOSTS = frozenset({"login", "signin", "sso", "auth", "logon", "anmelden"})
_SIGNING_IN_TEXT = re.compile(
    r"\b(?:log|sign)[ -]?(?:in|on)\b|reset (?:your |my |the )?password|\banmelden\b|\beinloggen\b"
    r"|passwort (?:zur|vergessen)|se connecter|mot de passe|iniciar sesi|contrase|\baccedi\b|reimposta"
)
# Placeholders of mail merges that are made of valid characters; the others are no valid URL anyway.
_PLACEHOLDER = re.compile(r"\$\w+\$|\$\$|__[A-Za-z0-9_]+__|\(\([\w.]+\)\)")
_MEETINGS: dict[str, str] = {
    "zoom.us": "/j/|/w/|/s/|/my/|/meeting|/wc/",
    "zoomgov.com": "/j/|/my/",
    "teams.microsoft.com": ".*/l/meetup-join|/meet",
    "teams.live.com": "/meet|/l/meetup-join",
    "meet.google.com": "/",
    "webex.com": "/meet|/join|.*/j\\.php|/wbxmjs|/m/|/webappng",
    "teams.microsoft.us": "/",
    "ringcentral.com": "/j/|/join",
    "gotomeeting.com": "/",
    "gotomeet.me": "/",
    "meet.goto.com": "/",
    "join.skype.com": "/",
    "meet.lync.com": "/",
    "whereby.com": "/",
    "meet.jit.si": "/",
    "bluejeans.com": "/",
    "chime.aws": "/",
    "app.bigmarker.com": "/",
    "facetime.apple.com": "/",
}
_MEETING_PATHS = {host: re.compile(rf"(?:{paths})", re.IGNORECASE) for host, paths in _MEETINGS.items()}
_MEETING_HOSTS = frozenset(_MEETINGS)

# One character stands for the local part: with more, every start in a long word would be tried to its end.
_TEXT_ADDRESS = re.compile(r"\b(?:https?|ftp)://|https?:|www\.|[^\s@<>()]@[^\s@<>()]+\.[a-z]{2,}", re.IGNORECASE)
_TEXT_HOST = re.compile(
    r"(?:(?:[^\W_](?:[\w-]*[^\W_])?\.)+(?:[^\W\d_]{2,}|xn--[a-z0-9-]+)|\d{1,3}(?:\.\d{1,3}){3}|localhost)(?::\d+)?(?:[/?#]\S*)?",
    re.IGNORECASE,
)
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


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What the organisation says about links, and which pages are our own."""

    visible_url_links: bool = False
    never_wrap: re.Pattern[str] | None = None
    own_hosts: frozenset[str] = field(default_factory=frozenset)


def link_rules(visible_url_links: bool, never_wrap: Iterable[str], own_urls: Iterable[str]) -> LinkRules:
    """Return the rules that the policy's keys amount to; ``own_urls`` are our own web addresses, now and before."""
    return LinkRules(visible_url_links, pattern(never_wrap), frozenset(map(own_place, own_urls)))


def own_place(url: str) -> str:
    """Return host and port of a URL in the form that two addresses of one place share."""
    parts = urlsplit(url)
    return _place(parts.scheme, parts.netloc)


@lru_cache(maxsize=1_024)
def _place(scheme: str, netloc: str) -> str:
    # The links of one message lead to few places.
    parts = SplitResult(scheme, netloc, "", "", "")
    port = parts.port or {"http": 80, "https": 443}.get(scheme, 0)
    return f"{canonical_domain(parts.hostname or '')}:{port}"


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
    url = valid_target(href)
    if url is None or url in list_unsubscribe or _opted_out(attributes):
        return None
    if own_place(url) in rules.own_hosts or matches(rules.never_wrap, url):
        return None
    said = f"{text} {labels}".lower()
    if leaves(url, said) or _SIGNING_IN_TEXT.search(said):
        return None
    if _PLACEHOLDER.search(url) or _special(url.lower()):
        return None
    if not rules.visible_url_links and _shows_address(text):
        return None
    return url


def leaves(url: str, said: str) -> bool:
    """Tell whether a link leads to where people unsubscribe, by its address or by what is said of it."""
    return _LEAVING.search(unquote(url).lower()) is not None or _LEAVING.search(said.lower()) is not None


def _opted_out(attributes: Mapping[str, str]) -> bool:
    if not _OPT_OUT_PRESENT.isdisjoint(attributes):
        return True
    said = _OPT_OUT_VALUES.keys() & attributes
    return any(attributes[name].strip().lower() in _OPT_OUT_VALUES[name] for name in said)


def _special(url: str) -> bool:
    """Tell whether the link signs somebody in, resets something or joins a meeting: one use, one person, no detours."""
    parts = urlsplit(url)
    # A fragment is a path of its own to programs that run in the browser.
    path_and_query = f"{parts.path}?{parts.query}" + (f"#{parts.fragment}" if parts.fragment else "")
    if _SIGNING_IN.search(parts.path) or (parts.fragment and _SIGNING_IN.search(f"#{parts.fragment}")):
        return True
    if _SIGNING_IN_WORDS.search(url) or _SECRET_KEY.search(f"?{parts.query}&{parts.fragment.replace('?', '&')}"):
        return True
    host = _place(parts.scheme, parts.netloc).rpartition(":")[0]
    if host.partition(".")[0] in _SIGNING_IN_HOSTS:
        return True
    if not within(host, _MEETING_HOSTS):
        return False
    return any(
        within(host, frozenset({name})) and paths.match(path_and_query) for name, paths in _MEETING_PATHS.items()
    )


def _shows_address(text: str) -> bool:
    """Tell whether the link's text is an address: mail programs warn where it and the target differ."""
    if not text.isascii():
        # The scanner reads bytes as latin-1; most mail means UTF-8.
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode("utf-8")
    if _TEXT_ADDRESS.search(text) is not None:
        return True
    if "." not in text and "localhost" not in text.lower():
        return False
    # What is no word at the ends goes; at the end found from behind, or a long run inside would be tried from each of
    # its characters.
    start = _NOT_WORDS.match(text).end()  # type: ignore[union-attr]  # it matches the empty string
    end = len(text) - _NOT_WORDS_OR_SLASHES.match(text[::-1]).end()  # type: ignore[union-attr]
    return _TEXT_HOST.fullmatch(text, start, max(start, end)) is not None


# What ends a sentence, or closes what was opened before the address, is no part of it.
_TEXT_URL = re.compile(rb"\bhttps?://[!-;=?-~]*[A-Za-z0-9/#&=_~+%-]", re.IGNORECASE)
_GOES_ON = re.compile(rb"[!-;=?-~]*+[\x80-\xff]")
"""An address that goes on beyond ASCII, as programs read it: left alone, for half of it is another address."""


def addresses_in_text(data: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the web addresses that stand in a text, as far as they are ASCII to their end."""
    return (match for match in _TEXT_URL.finditer(data) if not _GOES_ON.match(data, match.end()))


def unsubscribe_targets(values: Iterable[str]) -> frozenset[str]:
    """Return the addresses that List-Unsubscribe fields name (RFC 2369 §2: each in angle brackets)."""
    return frozenset(found for value in values for found in re.findall(r"<\s*([^<>\s]+)\s*>", value))
