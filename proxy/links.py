"""Links: which of a message's links may be wrapped, and which never (DESIGN.md §4, "which links")."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import AnyStr, NamedTuple
from urllib.parse import unquote, urlsplit

from policies.address import canonical_domain, within
from policies.glob import url_matches, url_pattern

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
    signs_in: bool
    meetings: tuple[re.Pattern[str], ...]
    """The paths, with query and fragment, by which people join meetings there."""


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
    label = name.partition(".")[0]
    meetings = tuple(paths for host, paths in _MEETING_PATHS.items() if within(name, frozenset({host})))
    return _Host(name, label in _SIGNING_IN_HOSTS, (_ANY_PATH,) if label in _MEETING_HOSTS else meetings)


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


# The patterns below look at lower-case text: without IGNORECASE the engine skips to their first characters.
_LEAVING = re.compile(
    r"unsubscri|list[-_]?unsub|[?&/]unsub\b|opt[-_ ]?out|remove[-_ ]?me\b|list-manage\.com/profile"
    r"|(?:manage|edit|update|change)[-_ /]?(?:your[-_ ]|my[-_ ])?(?:e-?mail[-_ ])?(?:subscription|notification)"
    r"|pr.{1,2}f.{1,2}ren[cz]|subscriptions?/(?:manage|edit|cancel)|notification[-_ /]?settings|settings/notification"
    r"|no longer (?:want|wish)|stop (?:these|receiving|getting|e-?mails|all)|keine (?:weiteren )?(?:e-?)?mails"
    r"|abmeld|abbestell|austrag|newsletter[-_]?stop|(?:einstellungen|benachrichtigungen)[-_ ]?(?:verwalten|.{1,2}ndern)"
    r"|(?:newsletter|abo|abonnements?)[-_ ]?(?:verwalten|k.{1,2}ndigen|.{1,2}ndern)"
    r"|d.{1,2}sabonn|d.{1,2}sinscri|(?:g.{1,2}rer|modifier) .{0,9}(?:abonnement|inscription|notification)"
    r"|(?:gestionar?|administrar?|cambiar?) .{0,9}(?:suscripci|notificaci)"
    r"|(?:gestisci|gestire|modifica) .{0,9}(?:iscrizion|abbonament|notific)"
    r"|disiscri|annulla[-_ ]?(?:la[-_ ]?)?iscrizione|cancella(?:mi|zione|[-_ ]iscri)"
    r"|dar(?:se)?[-_ ]?(?:de[-_ ]?)?baja|cancelar[-_ ]?(?:la[-_ ]?)?suscripci"
    r"|/(?:stop|join)/[a-z0-9_\-]{40}"  # Those of another installation, whose tokens are not for us to open.
)
_SIGNING_IN = re.compile(
    r"[/._\-?&=#](?:log[-_]?in|log[-_]?on|sign[-_]?in|sign[-_]?on|anmelden|sso|auth|oauth2?|saml|authorize|password"
    r"|passwort|kennwort|passwd|pwd|reset|zuruecksetzen|recover|recovery|verify|verification|verif|validate|confirm"
    r"|confirm-email|confirm-account|bestaetigen|(?:double-?)?opt-?in|activate|activation|freischalten"
    r"|magic-?link|one-?time|otp|2fa|mfa|set-?password|forgot)(?:$|[/._\-?&=#])"
)
_SECRET_KEY = re.compile(
    r"[?&;](?:[a-z_\-]*token|otp|one_?time_?code|reset_?key|auth_?key|auth|jwt|pin|nonce|ticket|hmac"
    r"|(?:verification|confirmation|activation|invite|access)_?code)="
    r"|[?&](?:action|mode|do|task|page|view|route|op|operation)=(?:log-?in|sign-?in|reset|verif|confirm|activat|lost-?pass|forgot)"
)
_SIGNING_IN_WORDS = re.compile(
    r"reset-?pass|password-?reset|confirm-?e?mail|verify-?e?mail|oobcode=|auth/action"
    r"|(?:change|set|new|lost)[-_]?password|forgot-?pass|login-?with|accept-?invit"
)
_SIGNING_IN_HOSTS = frozenset({"login", "signin", "sso", "auth", "oauth", "logon", "anmelden", "accounts", "idp"})
_SIGNING_IN_TEXT = re.compile(
    r"\b(?:log|sign)[ -]?(?:in|on)\b|\banmelden\b|\beinloggen\b|se connecter|connexion|iniciar sesi|\baccedi\b"
    r"|(?:reset|set|change|choose|create|new|forgot) (?:your |my |the |a )?(?:new )?password|magic link|one-time"
    r"|kennwort|neues passwort|passwort (?:zur|vergessen|.{1,2}ndern|setzen|festlegen)|einmal-?(?:code|link)"
    r"|mot de passe|contrase|reimposta|accept (?:the |your |this )?invitation|einladung annehmen"
    r"|(?:activate|verify|confirm|validate) (?:your |my |the )?(?:account|e-?mail|address|registration|subscription)"
    r"|(?:adresse|e-?mail|konto|account|anmeldung|registrierung) (?:jetzt )?(?:best.{1,2}tigen|aktivieren|verifizieren)"
    r"|(?:activer|v.{1,2}rifier|confirmer) (?:mon |votre |le |l.|son )?(?:compte|adresse|e-?mail)"
    r"|(?:activar|verificar|confirmar) (?:tu |su |mi |la |el )?(?:cuenta|correo|direcci)"
    r"|(?:attiva|verifica|conferma) (?:il |la |l.)?(?:tuo |tua |suo |sua )?(?:account|e-?mail|indirizzo|registrazione)"
    r"|join (?:the |this |your |our )?(?:\w{1,20} )?(?:meeting|call)\b|(?:besprechung|meeting|videokonferenz) beitreten"
    r"|(?:an|am) (?:der )?(?:besprechung|meeting|videokonferenz) teil|rejoindre la r.{1,2}union"
    r"|unirse a la reuni|partecipa alla riunione"
)
HINTS = (
    "unsub", "optout", "opt-out", "opt_out", "opt out", "renc", "renz", "subscription", "notification", "removeme",
    "remove-me", "remove_me", "remove me", "list-manage", "no longer", "keine ", "abmeld", "abbestell", "austrag",
    "stop", "einstellungen", "benachrichtigungen", "verwalten", "ndigen",
    "ndern", "sabonn", "sinscri", "abonnement", "inscription", "iscri", "cancella", "baja", "suscripci", "notific",
    "abbonament",
    "login", "log-in", "log_in", "log in", "logon", "log-on", "log_on", "log on", "loggen", "signin", "sign-in",
    "sign_in", "sign in", "signon", "sign-on", "sign_on", "sign on", "anmeld", "sso", "saml", "auth", "jwt", "pin=",
    "pass", "pwd", "kennwort", "setzen", "reset", "recover", "verif", "validate", "confirm", "activat", "tigen",
    "optin", "opt-in", "schalten", "aktivieren", "magic", "onetime", "one-time", "one_time", "einmal", "einladung",
    "invit", "code=", "otp", "2fa", "mfa", "forgot", "token", "ticket", "oobcode", "nonce", "hmac", "connecter",
    "connexion", "sesi", "contrase", "accedi", "reimposta", "activer", "rifier", "activar", "attiva", "conferma",
    "join", "beitreten", "besprechung", "meeting", "konferenz", "unirse", "partecipa", "$", "__", "((",
)  # fmt: skip
"""One of these stands in all that the patterns above, and the next one, find; most links have none."""
_TELLING = "fiosaw$(2jqxzyvkbg_pdmhculnrte-/ "
"""The characters of the words, the first ones such that each is in many words and seldom in an address."""


def _hint_pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of the words in a third of the time that alternatives take.

    For each it looks for its most telling character, then at what stands behind that, then at what stands in front.
    """
    tails: dict[str, list[str]] = {}
    for word in words:
        telling = min(word[:-1] or word, key=_TELLING.index)
        tails.setdefault(telling, []).append(f"{re.escape(word.partition(telling)[2])}(?<={re.escape(word)})")
    return re.compile("|".join(f"{re.escape(telling)}(?:{'|'.join(found)})" for telling, found in tails.items()))


_HINT = _hint_pattern(HINTS)
# Placeholders of mail merges that are made of valid characters; the others are no valid URL anyway.
_PLACEHOLDER = re.compile(r"\$\w+\$|\$\$|__[A-Za-z0-9_]+__|\(\([\w.]+\)\)")
_MEETINGS: dict[str, str] = {
    "zoom.us": "/j/|/w/|/s/|/my/|/meeting|/wc/|/webinar|/ej/",
    "zoom.com": "/j/|/w/|/s/|/my/|/meeting|/wc/|/webinar",
    "zoomgov.com": "/j/|/my/",
    "teams.microsoft.com": ".*/l/meetup-join|/meet",
    "teams.live.com": "/meet|/l/meetup-join",
    "teams.cloud.microsoft": "/meet|.*/l/meetup-join",
    "dialin.teams.microsoft.com": "/",
    "aka.ms": "/jointeams",
    "g.co": "/meet",
    "webex.com": "/meet|/join|.*/j\\.php|/wbxmjs|/m/|/webappng",
    "teams.microsoft.us": "/",
    "ringcentral.com": "/j/|/join",
    "gotomeeting.com": "/",
    "gotowebinar.com": "/",
    "gotomeet.me": "/",
    "goto.com": "/(?:meeting|webinar|join)",
    "join.skype.com": "/",
    "whereby.com": "/",
    "bbcollab.com": "/",
    "meetings.vonage.com": "/",
    "meeting.tencent.com": "/",
    "bluejeans.com": "/",
    "chime.aws": "/",
    "app.bigmarker.com": "/",
    "facetime.apple.com": "/",
}
_MEETING_HOSTS = frozenset({"meet", "bbb", "bigbluebutton", "jitsi"})
"""What the hosts are called where people meet with a program of their own."""
_ANY_PATH = re.compile("")
_MEETING_PATHS = {host: re.compile(rf"(?:{paths})", re.IGNORECASE) for host, paths in _MEETINGS.items()}

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
    if host.signs_in or (host.meetings and _joins_meeting(match, host)):
        return None
    if _is_hinted(url, text, labels):
        said = f"{text} {labels}".lower()
        if leaves(url, said) or _SIGNING_IN_TEXT.search(said) or _PLACEHOLDER.search(url) or _signs_in(match):
            return None
    if not rules.visible_url_links and _shows_address(text):
        return None
    return url


def _is_hinted(url: str, text: str, labels: str) -> bool:
    """Tell whether it takes a closer look at what a link says."""
    everything = f"{url}\n{text} {labels}" if "%" not in url else f"{url}\n{unquote(url)}\n{text} {labels}"
    return _HINT.search(everything.lower()) is not None


def leaves(url: str, said: str) -> bool:
    """Tell whether a link leads to where people unsubscribe, by its address or by what is said of it."""
    return _LEAVING.search(unquote(url).lower()) is not None or _LEAVING.search(said.lower()) is not None


def _opted_out(attributes: Mapping[str, str]) -> bool:
    if OPT_OUTS.isdisjoint(attributes):
        return False
    if not _OPT_OUT_PRESENT.isdisjoint(attributes):
        return True
    said = _OPT_OUT_VALUES.keys() & attributes
    return any(attributes[name].strip().lower() in _OPT_OUT_VALUES[name] for name in said)


def _joins_meeting(match: re.Match[str], host: _Host) -> bool:
    _, _, _, path, query, fragment = match.groups()
    # A fragment is a path of its own to programs that run in the browser.
    place = f"{path or ''}?{query or ''}" + (f"#{fragment}" if fragment else "")
    return any(paths.match(place) for paths in host.meetings)


def _signs_in(match: re.Match[str]) -> bool:
    """Tell whether the link signs somebody in or resets something: one use, one person, no detours."""
    path, query, fragment = ((part or "").lower() for part in match.group(4, 5, 6))
    if _SIGNING_IN.search(path) or (fragment and _SIGNING_IN.search(f"#{fragment}")):
        return True
    if _SECRET_KEY.search(f"?{query}&{fragment.replace('?', '&')}"):
        return True
    return _SIGNING_IN_WORDS.search(match[0].lower()) is not None


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
