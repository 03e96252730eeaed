"""Mail servers as mail programs are told of them, in the format of Mozilla's autoconfig.

See https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat, and draft-ietf-mailmaint-autoconfig.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

Protocol = Literal["imap", "pop3", "smtp"]
Tls = Literal["implicit", "starttls", "none"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """One server as a mail program is told of it."""

    protocol: Protocol
    host: str
    port: int
    tls: Tls
    username: str | None
    """With the format's placeholders, like %EMAILADDRESS%; None where the server knows its clients by their network."""


_SOCKET: dict[Tls, str] = {"implicit": "SSL", "starttls": "STARTTLS", "none": "plain"}


def document(domains: Sequence[str], name: str, servers: Sequence[MailServer]) -> bytes:
    """Return the settings for addresses in some domains (A-labels), as XML; the servers in order of preference."""
    root = ElementTree.Element("clientConfig", version="1.1")
    provider = ElementTree.SubElement(root, "emailProvider", id=domains[0])
    for domain in domains:
        _text(provider, "domain", domain)
    _text(provider, "displayName", name)
    _text(provider, "displayShortName", name)
    for server in servers:
        kind = "outgoingServer" if server.protocol == "smtp" else "incomingServer"
        _describe(ElementTree.SubElement(provider, kind, type=server.protocol), server)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return written + b"\n"


def _describe(element: ElementTree.Element, server: MailServer) -> None:
    _text(element, "hostname", server.host)
    _text(element, "port", str(server.port))
    _text(element, "socketType", _SOCKET[server.tls])
    # "password-cleartext" is the format's word for PLAIN and LOGIN, inside TLS or not.
    _text(element, "authentication", "client-IP-address" if server.username is None else "password-cleartext")
    if server.username is not None:
        _text(element, "username", server.username)


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
