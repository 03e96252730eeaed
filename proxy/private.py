"""Private links: where people unsubscribe, sign in, reset something or join a meeting; no detour on the way there.

Known by patterns over their addresses and over what is said of them, in the languages that the product speaks; a link
that is taken for one and is none is only not counted.
"""

import re
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote

from policies.address import within

# The patterns below look at lower-case text: without IGNORECASE the engine skips to their first characters. What is
# said comes as latin-1 readings of bytes: an accented letter is one or two characters, an apostrophe one or three.
_LEAVING = re.compile(
    r"unsubscri|list[-_]?unsub|[?&/]unsub\b|opt[-_ ]?out|remove[-_ ]?me\b|list-manage\.com/profile"
    r"|(?:manage|edit|update|change)[-_ /]?(?:your[-_ ]|my[-_ ])?(?:e-?mail[-_ ])?(?:subscription|notification)"
    r"|pr.{1,2}f.{1,2}ren[cz]|subscriptions?/(?:manage|edit|cancel)|notification[-_ /]?settings|settings/notification"
    r"|no longer (?:want|wish)|stop (?:these|receiving|getting|e-?mails|all)|keine (?:weiteren )?(?:e-?)?mails"
    r"|e-?mail[-_ ]?settings|ab(?:zu)?meld|ab(?:zu)?bestell|aus(?:zu)?trag|newsletter[-_]?stop"
    r"|(?:einstellungen|benachrichtigungen)[-_ ]?(?:verwalten|.{1,2}ndern)|(?:e-?mail|newsletter)[-_ ]?einstellungen"
    r"|(?:newsletter|abo|abonnements?)[-_ ]?(?:verwalten|k.{1,2}ndigen|.{1,2}ndern)"
    r"|d.{1,2}sabonn|d.{1,2}sinscri|(?:g.{1,2}rer|modifier) .{0,9}(?:abonnement|inscription|notification)"
    r"|(?:plus|pas) recevoir|(?:gestionar?|administrar?|cambiar?) .{0,9}(?:suscripci|notificaci)"
    r"|desuscri|(?:cancel|anul)(?:ar?|e)[-_ ]?(?:(?:la|mi|tu|su)[-_ ])?suscripci"
    r"|dar(?:se|me|te)?[-_ ]?(?:de[-_ ]?)?baja|(?:no|dejar de|sin) (?:quiero |deseo |desea )?recibir|pi.{1,2} ricevere"
    r"|(?:gestisci|gestire|modifica) .{0,9}(?:iscrizion|abbonament|notific)"
    r"|disiscri|annulla(?:re|mento)?[-_ ]?(?:la[-_ ]|l.{1,3})?iscrizione|cancella(?:mi|ti|rmi|rsi|zione|[-_ ]iscri)"
    r"|/(?:stop|join)/[a-z0-9_\-]{40}"  # Those of another installation, whose tokens are not for us to open.
)
_SIGNING_IN = re.compile(
    r"[/._\-?&=#](?:log[-_]?in|log[-_]?on|sign[-_]?in|sign[-_]?on|anmelden|sso|auth|oauth2?|saml|authorize|password"
    r"|passwort|kennwort|passwd|pwd|reset|zuruecksetzen|recover|recovery|verify|verification|verif|validate|confirm"
    r"|confirm-email|confirm-account|best(?:ae|%c3%a4)tig(?:en|ung)|(?:double-?)?opt-?in|activate|activation"
    r"|aktivier(?:en|ung)|freischalt(?:en|ung)|unlock|entsperren|connexion|mot-?de-?passe|r.?initialis(?:er|ation)"
    r"|iniciar-?sesion|restablecer|contrasena|accedi|reimposta"
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
    r"|/call/[a-z0-9]{8}(?:$|[?#])"  # Nextcloud Talk's meetings, wherever it runs.
)
_SIGNING_IN_HOSTS = frozenset({"login", "signin", "sso", "auth", "oauth", "logon", "anmelden", "accounts", "idp"})
_ACCOUNT = r"(?:adresse|e-?mail|konto|account|anmeldung|registrierung)"
_COMPTE = r"(?:mon|ma|ton|ta|votre|le|la|l.{1,3}|son)? ?(?:compte|adresse|e-?mail|courriel|inscription)"
_CUENTA = r"(?:tu|su|mi|la|el)? ?(?:cuenta|correo|direcci|e-?mail|registro)"
_CONTO = r"(?:il |la |l.{1,3})?(?:tuo |tua |suo |sua )?(?:account|e-?mail|indirizzo|registrazione)"
_MEETING = r"(?:besprechung|meeting|\w{0,9}konferenz|webinar)"
_SIGNING_IN_TEXT = re.compile(
    r"\b(?:log|sign)[ -]?(?:in|on)\b|\ban(?:zu)?melden\b|\bein(?:zu)?loggen\b|connectez-vous|(?:se|me|vous) connecter"
    r"|connexion|inici(?:ar|e|a) sesi|\bacced(?:i|ere)\b|acceder? a (?:mi|tu|su|la) cuenta"
    r"|(?:reset|set|set up|change|choose|create|new|forgot) (?:your |my |the |a )?(?:new )?password|magic link|one-time"
    r"|kennwort|neues passwort|passwort (?:(?:zu|neu) )?(?:zur|vergessen|vergeben|.{1,2}ndern|setzen|fest(?:zu)?legen)"
    r"|einmal-?(?:code|link)|mot de passe|r.{1,2}initialis|contrase|restablec|reimposta"
    r"|accept (?:the |your |this |my )?invit(?:e|ation)\b|einladung (?:an(?:zu)?nehmen)"
    r"|(?:activate|verify|confirm|validate|unlock) (?:your |my |the )?"
    r"(?:account|e-?mail|address|registration|subscription)"
    rf"|{_ACCOUNT} (?:(?:jetzt|zu) )?(?:best.{{1,2}}tigen|aktivieren|verifizieren|freischalten|entsperren)"
    r"|(?:best.{1,2}tige|aktiviere|verifiziere)n? (?:sie )?(?:(?:bitte|jetzt|hier) )?(?:ihr|dein)(?:en?)? (?:e-mail-)?"
    rf"{_ACCOUNT}"
    rf"|(?:activ|v.{{1,2}}rifi|confirm)(?:er|ez|e) {_COMPTE}"
    rf"|(?:activ(?:ar|a|e)|verifi(?:car|ca|que)|confirm(?:ar|a|e)) {_CUENTA}"
    rf"|(?:attiva|verifica|conferma)(?:re)? {_CONTO}"
    r"|join (?:the |this |your |our )?(?:\w{1,20} ){0,3}(?:meeting|call|webinar)\b"
    rf"|{_MEETING} bei(?:zu)?treten|(?:an|am) (?:der |dem )?(?:\w{{1,20}}[ -])?{_MEETING} teil"
    r"|(?:rejoindre|rejoignez) la r.{1,2}union|particip(?:er|ez) .{0,3} ?la r.{1,2}union"
    r"|(?:unir[st]e|.{1,2}n[ae][st]e) a la reuni|participar en la reuni|partecipa(?:re)? alla riunione"
)
HINTS = (
    "unsub", "optout", "opt-out", "opt_out", "opt out", "renc", "renz", "subscription", "notification", "removeme",
    "remove-me", "remove_me", "remove me", "list-manage", "no longer", "keine ", "meld", "bestell", "trag",
    "settings", "recevoir", "recibir", "ricevere", "stop", "einstellungen", "benachrichtigungen", "verwalten", "ndigen",
    "ndern", "sabonn", "sinscri", "abonnement", "inscription", "iscri", "cancella", "baja", "suscri", "notific",
    "abbonament",
    "login", "log-in", "log_in", "log in", "logon", "log-on", "log_on", "log on", "loggen", "signin", "sign-in",
    "sign_in", "sign in", "signon", "sign-on", "sign_on", "sign on", "sso", "saml", "auth", "jwt",
    "pin=", "pass", "pwd", "kennwort", "setzen", "reset", "recover", "verif", "validate", "confirm", "activ", "tig",
    "optin", "opt-in", "schalt", "aktivier", "unlock", "entsperr",
    "magic", "onetime", "one-time", "one_time", "einmal", "einladung",
    "invit", "code=", "otp", "2fa", "mfa", "forgot", "token", "ticket", "/call/", "oobcode", "nonce", "hmac",
    "connecte", "connexion", "sesi", "contrase", "acced", "reimposta", "restablec", "initialis", "rifie",
    "attiva", "conferma", "join", "rejoign", "treten", "besprechung", "meeting", "konferenz", "webinar", "reuni",
    "particip", "partecipa",
    "$", "__", "((",
)  # fmt: skip
"""One of these stands in all that the patterns above, and that of placeholders, find; most links have none."""
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
    "zoom.us": "/j/|/w/|/s/|/my/|/meeting|/wc/|/webinar|/ejl?/",
    "zoom.com": "/j/|/w/|/s/|/my/|/meeting|/wc/|/webinar",
    "zoomgov.com": "/j/|/my/",
    "teams.microsoft.com": ".*/l/meetup-join|.*meetingjoin=true|/meet",
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
    "8x8.vc": "/",
    "vc.larksuite.com": "/j/",
    "vc.feishu.cn": "/j/",
    "voovmeeting.com": "/",
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


class Place(NamedTuple):
    """What a host tells of every link that leads there."""

    signs_in: bool
    meetings: tuple[re.Pattern[str], ...]
    """The paths, with query and fragment, by which people join meetings there."""


def place(name: str) -> Place:
    """Return what a host tells; its name is canonical."""
    label = name.partition(".")[0]
    meetings = tuple(paths for host, paths in _MEETING_PATHS.items() if within(name, frozenset({host})))
    return Place(label in _SIGNING_IN_HOSTS, (_ANY_PATH,) if label in _MEETING_HOSTS else meetings)


def is_private(url: str, at: Place, path: str, query: str, fragment: str, said: str) -> bool:
    """Tell whether a link signs in, resets, joins or leaves, or is a placeholder; ``said`` is its text and labels."""
    if at.signs_in or (at.meetings and _joins_meeting(at, path, query, fragment)):
        return True
    if _is_hinted(url, said):
        said = said.lower()
        if leaves(url, said) or _SIGNING_IN_TEXT.search(said) or _PLACEHOLDER.search(url):
            return True
        if _signs_in(url, path, query, fragment):
            return True
    return _carries_private(url)


def _is_hinted(url: str, said: str) -> bool:
    """Tell whether it takes a closer look at what a link says."""
    everything = f"{url}\n{said}" if "%" not in url else f"{url}\n{unquote(url)}\n{said}"
    return _HINT.search(everything.lower()) is not None


def leaves(url: str, said: str) -> bool:
    """Tell whether a link leads to where people unsubscribe, by its address or by what is said of it."""
    return _LEAVING.search(unquote(url).lower()) is not None or _LEAVING.search(said.lower()) is not None


def _joins_meeting(at: Place, path: str, query: str, fragment: str) -> bool:
    # A fragment is a path of its own to programs that run in the browser, and a launcher has the path in its query.
    where = unquote(f"{path}?{query}" + (f"#{fragment}" if fragment else ""))
    return any(paths.match(where) for paths in at.meetings)


def _signs_in(url: str, path: str, query: str, fragment: str) -> bool:
    """Tell whether the link signs somebody in or resets something: one use, one person, no detours."""
    path, query, fragment = path.lower(), query.lower(), fragment.lower()
    if _SIGNING_IN.search(path) or (fragment and _SIGNING_IN.search(f"#{fragment}")):
        return True
    if _SECRET_KEY.search(f"?{query}&{fragment.replace('?', '&')}"):
        return True
    return _SIGNING_IN_WORDS.search(url.lower()) is not None


_CARRIED = re.compile(r"https?://([a-z0-9.-]+)(?::\d+)?(?=([^?#\s]*)\??([^#\s]*)#?(\S*))")
_MAX_CARRIED = 4
"""Addresses one in another; with more of them a link is left alone."""


def _carries_private(url: str) -> bool:
    """Tell whether an address in the address, as redirects and mail gateways have it, is a private link itself."""
    rest = url[len("http:/") :].lower()
    if "http" not in rest:
        # Of most links that is all: nobody escapes letters.
        return False
    for _ in range(_MAX_CARRIED):
        rest = unquote(rest) if "%" in rest else rest
    found = list(islice(_CARRIED.finditer(rest), _MAX_CARRIED + 1))
    return len(found) > _MAX_CARRIED or any(_is_private_address(*match.group(0, 1, 2, 3, 4)) for match in found)


def _is_private_address(url: str, host: str, path: str, query: str, fragment: str) -> bool:
    at = place(host.rstrip("."))
    return at.signs_in or _joins_meeting(at, path, query, fragment) or _signs_in(url, path, query, fragment)
