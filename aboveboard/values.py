"""The values that settings take: addresses, domains, networks and URLs, each with a sentence for what is wrong."""

import ipaddress
import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from policies.address import canonical_domain
from proxy.providers import Network, provider_of

_INCOMING = ("imaps", "imap+starttls", "pop3s", "pop3+starttls")
"""How mail programs may fetch mail: never in clear, for a password travels with it."""
SQLITE = "sqlite:///"
"""How the URL of a ledger in a file begins."""
LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain"})
_NOT_IN_URLS = re.compile(r"[\s\"<>\\^`{|}\x00-\x20\x7f]")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.I
)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine only."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[IPV6]:PORT``. Raises ValueError with a sentence."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^:\[\]]+)):(\d{1,5})", address)
    if match is None or int(match[3]) > 65_535:
        raise ValueError('must be "HOST:PORT", like "127.0.0.1:1587" or "[::1]:1587"')
    return match[1] or match[2], int(match[3])


def _address(value: str) -> str:
    split_address(value)
    return value


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value if value.isascii() else canonical_domain(value)):
        raise ValueError('must be a domain name, like "example.org"')
    return value


def _web_url(value: str) -> str:
    parts = _split(value)
    whole = parts is not None and _is_host(parts.hostname) and not parts.query and not parts.fragment
    if parts is None or parts.scheme not in ("http", "https") or not whole:
        raise ValueError('must be a web address, like "https://example.org/privacy"')
    return value


def _public_url(value: str) -> str:
    parts = urlsplit(_web_url(value))
    if not value.isascii() or len(value) > 200 or parts.username:
        raise ValueError("must be plain ASCII, at most 200 characters, without user name")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://, for people's choices travel over it")
    return value.rstrip("/")


def _narrow(value: str, consequence: str) -> Network:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError('must be a network, like "10.1.0.0/16" or "192.0.2.7"') from error
    if getattr(network.network_address, "ipv4_mapped", None) is not None:
        raise ValueError("is an IPv4 network in IPv6 form: write it as IPv4, for such clients are compared as IPv4")
    least = 8 if network.version == 4 else 32
    if network.prefixlen < least:
        raise ValueError(f"is wider than /{least}: {consequence}")
    return network


def _trusted(value: str) -> str:
    consequence = "the relay would send mail for everybody there"
    network = _narrow(value, consequence)
    provider = provider_of(network)
    if provider is not None:
        raise ValueError(f"has mail servers of {provider} in it, whose customers all send from there: {consequence}")
    return value


def _proxies(value: str) -> str:
    _narrow(value, "everybody there could pass for anybody")
    return value


def _upstream_url(value: str) -> str:
    parts = _split(value, ports=False)
    if parts is not None and (parts.username or parts.password):
        raise ValueError("must not hold a login: use username with password_file or password_env")
    if parts is None or parts.scheme not in ("smtp", "smtp+starttls", "smtps") or not _is_server(parts):
        raise ValueError('must be "smtp://HOST:PORT", "smtp+starttls://HOST:PORT" or "smtps://HOST:PORT"')
    if not _has_port(parts):
        raise ValueError("must have a port from 1 to 65535")
    return value


def _split(value: str, *, ports: bool = True) -> SplitResult | None:
    """Return a URL taken apart; None where it has a character that none has, or, unless told, a port that is none."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return parts if not _NOT_IN_URLS.search(value) and (not ports or _has_port(parts)) else None


def _is_host(host: str | None) -> bool:
    """Tell whether a URL's host is a domain name or an IP address."""
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        # Names within a network of containers may have underscores.
        return _DOMAIN.fullmatch(canonical_domain(host or "").replace("_", "-0")) is not None
    return True


def _is_server(parts: SplitResult) -> bool:
    """Tell whether a URL names a server and nothing else."""
    return _is_host(parts.hostname) and parts.path in ("", "/") and not parts.query and not parts.fragment


def _upstream_urls(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("must not be empty")
    return [_upstream_url(url) for url in value]


def _has_port(parts: SplitResult) -> bool:
    """Tell whether the port, if there is one, is one."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _incoming_urls(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("must not be empty")
    for url in value:
        parts = _split(url)
        if parts is None or parts.scheme not in _INCOMING or parts.username or not _is_server(parts):
            raise ValueError('must be "imaps://HOST", "imap+starttls://HOST", "pop3s://HOST" or "pop3+starttls://HOST"')
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _ledger_url(value: str) -> str:
    whole = value != SQLITE if value.startswith(SQLITE) else _is_postgresql(value)
    if not whole:
        raise ValueError('must be "sqlite:///FILE" or "postgresql://USER@HOST/DATABASE"')
    return value


def _is_postgresql(value: str) -> bool:
    """Tell whether a URL names a PostgreSQL database; one without a host is reached by its local socket."""
    try:
        parts = urlsplit(value)
        return parts.scheme == "postgresql" and value.startswith("postgresql://") and parts.port != 0
    except ValueError:
        return False


def _mail_address(value: str) -> str:
    if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", value) or not value.isprintable():
        raise ValueError('must be an e-mail address, like "privacy@example.org"')
    return value


def _alias_glob(value: str) -> str:
    if re.search(r"[{}]", value.replace("{local}", "")):
        raise ValueError('must have "{local}" in braces and nothing else')
    return value


Address = Annotated[str, AfterValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]
AliasGlob = Annotated[str, AfterValidator(_alias_glob)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
NetworkText = Annotated[str, AfterValidator(_trusted)]
"""Whose mail is sent on."""
ProxyText = Annotated[str, AfterValidator(_proxies)]
"""Who is believed when they say for whom they speak."""
UpstreamUrl = Annotated[str, AfterValidator(_upstream_url)]
UpstreamUrls = Annotated[
    list[str],
    BeforeValidator(_listed),
    AfterValidator(_upstream_urls),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
IncomingUrls = Annotated[
    list[str],
    BeforeValidator(_listed),
    AfterValidator(_incoming_urls),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
LedgerUrl = Annotated[str, AfterValidator(_ledger_url)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
