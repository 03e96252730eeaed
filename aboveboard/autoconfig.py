"""Autoconfig: which of the configuration mail programs are told, and what stands in their way."""

from urllib.parse import urlsplit

from aboveboard.settings import AutoconfigSection, Config, ListenerSection
from aboveboard.values import is_loopback, split_address
from policies.address import canonical_domain
from web.mailserver import MailServer, Protocol, Tls, document

_USERNAMES = {"address": "%EMAILADDRESS%", "local-part": "%EMAILLOCALPART%"}
_SCHEMES: dict[str, tuple[Protocol, Tls, int]] = {
    "imaps": ("imap", "implicit", 993),
    "imap+starttls": ("imap", "starttls", 143),
    "pop3s": ("pop3", "implicit", 995),
    "pop3+starttls": ("pop3", "starttls", 110),
    "smtps": ("smtp", "implicit", 465),
    "smtp+starttls": ("smtp", "starttls", 587),
    "smtp": ("smtp", "none", 25),
}
_PREFERRED = {"implicit": 0, "starttls": 1, "none": 2}
"""RFC 8314 §3: implicit TLS before STARTTLS."""


def told(config: Config) -> bytes | None:
    """Return what mail programs are told that ask for their settings, as XML; None where nothing is configured."""
    section = config.autoconfig
    if section is None:
        return None
    domains = [canonical_domain(domain) for domain in section.domains or config.organisation.domains]
    incoming = [_server(url, _USERNAMES[section.username]) for url in section.incoming]
    name = section.display_name or config.organisation.name
    return document(domains, name, [*incoming, *outgoing(config, section)])


def outgoing(config: Config, section: AutoconfigSection) -> list[MailServer]:
    """Return the servers to hand mail in at, the best first: as configured, else the listeners for people."""
    username = _USERNAMES[section.username]
    if section.outgoing:
        needed = username if any(map(_needs_login, _for_people(config))) else None
        return [_server(url, needed) for url in section.outgoing]
    name = config.relay.hostname or urlsplit(config.web.public_url).hostname or "localhost"
    found = sorted((one for one in _for_people(config) if _reached_as(name, one)), key=lambda one: _PREFERRED[one.tls])
    # Where people have logins, a listener for trusted networks is for machines, and would not take them on the road.
    chosen = [one for one in found if _needs_login(one)] or found
    return [_listener(name, one, username) for one in chosen]


def problems(config: Config) -> list[str]:
    """Return a sentence for everything that is wrong with what mail programs would be told."""
    section = config.autoconfig
    if section is None:
        return []
    servers = outgoing(config, section)
    if not servers:
        return [
            "autoconfig.outgoing: is missing: no listener is for people on other machines; name the server that "
            'their mail programs reach, like "smtp+starttls://relay.example.org:587".'
        ]
    clear = any(one.tls == "none" and one.username is not None and not is_loopback(one.host) for one in servers)
    return ["autoconfig.outgoing: passwords would travel in clear; name a server with TLS."] if clear else []


def _for_people(config: Config) -> list[ListenerSection]:
    return [one for one in config.relay.listener if one.message_class is None]


def _needs_login(listener: ListenerSection) -> bool:
    return listener.auth != "networks"


def _reached_as(name: str, listener: ListenerSection) -> bool:
    """Tell whether programs that are told ``name`` reach a listener, and may say a password there if they need to."""
    here = is_loopback(name)
    # Behind a balancer it is the balancer's name and port that count.
    inward = is_loopback(split_address(listener.address)[0]) or bool(listener.proxy_protocol_from)
    return here or (not inward and not (_needs_login(listener) and listener.tls == "none"))


def _listener(name: str, listener: ListenerSection, username: str) -> MailServer:
    _, port = split_address(listener.address)
    return MailServer("smtp", canonical_domain(name), port, listener.tls, username if _needs_login(listener) else None)


def _server(url: str, username: str | None) -> MailServer:
    parts = urlsplit(url)
    protocol, tls, port = _SCHEMES[parts.scheme]
    return MailServer(protocol, canonical_domain(parts.hostname or ""), parts.port or port, tls, username)
