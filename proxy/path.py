"""The arguments of MAIL and RCPT: paths and parameters, by the grammar of RFC 5321 §4.1.2 and RFC 6531 §3.3.

Read from the raw text by our own code, because what is let through here is sent to the upstream as it is: no control
characters, no encoded words, nothing longer than 254 octets.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

from proxy.reply import ReplyError, reply

MAX_PATH = 254
"""Octets of an address; RFC 5321 §4.5.3.1.3 less the angle brackets.

The 64 of a local part are what everybody must take, not the most that one may (§4.5.3.1): return paths of forwarders
and addresses to reply to a ticket are longer, and the mail server behind us may know them.
"""

# What is beyond ASCII is allowed (RFC 6531 §3.3), so each class says which ASCII is not: one that names a range up to
# U+10FFFF takes 5 ms to compile.
_ATEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f]'
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_QUOTED_STRING = r'"(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*"'
_LABEL_END = r"[^\x00-/:-@\[-^`{-\x7f]"
_LABEL = rf"{_LABEL_END}(?:[^\x00-,./:-@\[-^`{{-\x7f]*{_LABEL_END})?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_LITERAL = r"\[[!-Z^-~]+\]"
_MAILBOX = re.compile(rf"(?:{_DOT_STRING}|{_QUOTED_STRING})@(?:{_DOMAIN}|{_LITERAL})")
# RFC 5321 §4.1.1.3: a source route is to be ignored.
_SOURCE_ROUTE = re.compile(rf"@{_DOMAIN}(?:,@{_DOMAIN})*:")
# RFC 5321 §4.1.3: of the tags for other kinds of address none is registered.
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_IPV6 = re.compile(r"IPv6:([0-9A-F:.]+)", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bBqQ]\?")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9\-]*)(?:=([^\x00- =\x7f]+))?")
_KEYWORDS = {"FROM": re.compile(r"FROM:\s?<", re.IGNORECASE), "TO": re.compile(r"TO:\s?<", re.IGNORECASE)}
_BODIES = ("7BIT", "8BITMIME")
# RFC 3461 §4: what a client may ask about reports. An xtext's "+" is followed by two hexadecimal digits.
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})"
_XTEXT_OR_NOBODY = re.compile(rf"<>|{_XTEXT}{{1,500}}")
_DSN_MAIL = {"RET": re.compile("FULL|HDRS", re.IGNORECASE), "ENVID": re.compile(rf"{_XTEXT}{{1,100}}")}
_DSN_RCPT = {
    "NOTIFY": re.compile("NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE),
    # RFC 6533 §3 allows UTF-8 after "utf-8;".
    "ORCPT": re.compile(rf"[A-Za-z0-9\-]+;(?:{_XTEXT}|[^\x00-\x7f]){{1,500}}"),
}


@dataclass(frozen=True, slots=True)
class Path:
    """A reverse- or forward-path with its ESMTP parameters."""

    address: str
    """Empty for the null reverse-path."""
    parameters: dict[str, str | None]
    """Values by keyword, which is in upper case; in the order and with the values that the client gave."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the client was offered, as far as it decides which parameters are taken."""

    extended: bool
    """It said EHLO."""
    smtputf8: bool = False
    dsn: bool = False
    auth: bool = False


@dataclass(frozen=True, slots=True)
class MailParameters:
    """The parameters of MAIL that we take."""

    size: int | None
    eight_bit: bool
    smtputf8: bool
    dsn: tuple[str, ...] = ()
    """RET and ENVID, as words to be said upstream."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient, as the client named it."""

    address: str
    dsn: tuple[str, ...] = ()
    """NOTIFY and ORCPT, as words to be said upstream."""


def parse_path(keyword: str, argument: str) -> Path:
    """Return the path of ``FROM:<…>`` or ``TO:<…>``. Raises ReplyError with the reply to give."""
    opening = _KEYWORDS[keyword].match(argument)
    closing = _closing_bracket(argument, opening.end()) if opening else -1
    if opening is None or closing == -1:
        raise ReplyError(reply(501, f"5.5.4 Syntax: {'MAIL FROM' if keyword == 'FROM' else 'RCPT TO'}:<address>"))
    address = argument[opening.end() : closing]
    route = _SOURCE_ROUTE.match(address)
    address = address[route.end() :] if route else address
    if not (keyword == "FROM" and not address) and not (keyword == "TO" and address.lower() == "postmaster"):
        _check_mailbox(address, "5.1.7" if keyword == "FROM" else "5.1.3")
    return Path(address, _parameters(argument[closing + 1 :]))


def parse_address(text: str) -> str:
    """Return an address that stands alone; that of a recipient, so not the null one. Raises ReplyError."""
    path = parse_path("TO", f"TO:<{text}>")
    if path.address != text:
        # What stood there went on with a bracket and parameters, or began with a route.
        raise ReplyError(reply(501, "5.1.3 The address is not valid (RFC 5321 section 4.1.2)"))
    return path.address


def _closing_bracket(argument: str, at: int) -> int:
    """Return where the path ends: at the first ``>`` that is not inside a quoted local part."""
    quoted = escaped = False
    for offset in range(at, len(argument)):
        character = argument[offset]
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return offset
    return -1


def _check_mailbox(address: str, enhanced: str) -> None:
    try:
        length = len(address.encode("utf-8"))
    except UnicodeEncodeError as error:
        # Bytes that are not UTF-8 came in as surrogates.
        raise ReplyError(reply(501, f"{enhanced} The address is not UTF-8")) from error
    if length > MAX_PATH:
        raise ReplyError(reply(501, f"{enhanced} The address is longer than {MAX_PATH} octets"))
    if _ENCODED_WORD.search(address) or not _MAILBOX.fullmatch(address):
        raise ReplyError(reply(501, f"{enhanced} The address is not valid (RFC 5321 section 4.1.2)"))
    domain = address.rpartition("@")[2]
    if domain.startswith("[") and not _is_literal(domain[1:-1]):
        raise ReplyError(reply(501, f"{enhanced} The address literal is not valid (RFC 5321 section 4.1.3)"))


def _is_literal(text: str) -> bool:
    """Tell whether what stands between brackets in place of a domain is an address."""
    if _IPV4.fullmatch(text):
        return all(int(number) <= 255 for number in text.split("."))
    ipv6 = _IPV6.fullmatch(text)
    if ipv6 is None:
        return False
    try:
        IPv6Address(ipv6[1])
    except ValueError:
        return False
    return True


def _parameters(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    if text and not text.startswith(" "):
        raise ReplyError(reply(501, "5.5.4 A space belongs between path and parameters"))
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Bytes that are not UTF-8 came in as surrogates.
        raise ReplyError(reply(501, "5.5.4 A parameter is not UTF-8"))
    # Only a space parts them: others of Unicode may stand in an address (RFC 6533 §3).
    for word in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            raise ReplyError(reply(501, "5.5.4 A parameter is not valid or occurs twice"))
        found[match[1].upper()] = match[2]
    return found


def _dsn(parameters: dict[str, str | None], known: dict[str, re.Pattern[str]], *, offered: bool) -> tuple[str, ...]:
    """Take the words about reports out of the parameters, unharmed and in order. Raises ReplyError."""
    words = []
    for keyword in [keyword for keyword in parameters if keyword in known]:
        value = parameters[keyword]
        if not offered:
            raise ReplyError(reply(555, f"5.5.4 Not offered: {keyword}"))
        if value is None or not known[keyword].fullmatch(value):
            raise ReplyError(reply(501, f"5.5.4 {keyword} is not valid (RFC 3461 section 4)"))
        words.append(f"{keyword}={value}")
        del parameters[keyword]
    return tuple(words)


def mail_parameters(path: Path, offer: Offer) -> MailParameters:
    """Return what MAIL's parameters say. Raises ReplyError for those that were not offered or are not valid."""
    parameters = dict(path.parameters)
    if parameters and not offer.extended:
        raise ReplyError(reply(501, "5.5.4 Parameters need EHLO"))
    size = parameters.pop("SIZE", "0")
    body = parameters.pop("BODY", "7BIT")
    smtputf8 = "SMTPUTF8" in parameters
    if smtputf8 and (parameters.pop("SMTPUTF8") is not None or not offer.smtputf8):
        raise ReplyError(
            reply(555, "5.6.7 SMTPUTF8 is not offered" if not offer.smtputf8 else "5.5.4 SMTPUTF8 takes no value")
        )
    if size is None or not size.isascii() or not size.isdigit() or len(size) > 20:
        raise ReplyError(reply(501, "5.5.4 SIZE is a number of octets"))
    if body is None or body.upper() not in _BODIES:
        raise ReplyError(reply(501, "5.5.4 BODY is 7BIT or 8BITMIME"))
    if offer.auth and not _XTEXT_OR_NOBODY.fullmatch(parameters.pop("AUTH", "<>") or ""):
        raise ReplyError(reply(501, "5.5.4 AUTH is not valid (RFC 4954 section 5)"))
    dsn = _dsn(parameters, _DSN_MAIL, offered=offer.dsn)
    if parameters:
        raise ReplyError(reply(555, f"5.5.4 Not offered: {', '.join(parameters)}"))
    if not smtputf8 and not path.address.isascii():
        raise ReplyError(reply(553, "5.6.7 The address needs SMTPUTF8"))
    return MailParameters(int(size) or None, body.upper() == "8BITMIME", smtputf8, dsn)


def recipient(path: Path, offer: Offer, *, smtputf8: bool) -> Recipient:
    """Return what RCPT says. Raises ReplyError for parameters that were not offered or are not valid.

    ``smtputf8`` says whether the transaction's MAIL asked for it.
    """
    parameters = dict(path.parameters)
    if parameters and not offer.extended:
        raise ReplyError(reply(501, "5.5.4 Parameters need EHLO"))
    dsn = _dsn(parameters, _DSN_RCPT, offered=offer.dsn)
    if parameters:
        raise ReplyError(reply(555, f"5.5.4 Not offered: {', '.join(parameters)}"))
    if not smtputf8 and not (path.address.isascii() and all(word.isascii() for word in dsn)):
        raise ReplyError(reply(553, "5.6.7 The address needs SMTPUTF8"))
    return Recipient(path.address, dsn)
