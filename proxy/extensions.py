"""The extensions of SMTP: what a client is offered at EHLO, and what a trace field says was used."""

from proxy.route import Capabilities


def offered(common: Capabilities, size_limit: int) -> list[str]:
    """Return what every client is offered: never more than what all upstreams can do."""
    words = ["PIPELINING", f"SIZE {size_limit}"]
    if common.eight_bit:
        words.append("8BITMIME")
    if common.smtputf8:
        words.append("SMTPUTF8")
    if common.enhanced_codes:
        words.append("ENHANCEDSTATUSCODES")
    if common.dsn:
        words.append("DSN")
    return words


def protocol(*, extended: bool, utf8: bool, tls: bool, auth: bool) -> str:
    """Return what a trace field calls the way a message came in (RFC 3848, RFC 6531 §4.3)."""
    if not extended and not utf8:
        return "SMTP"
    return f"{'UTF8SMTP' if utf8 else 'ESMTP'}{'S' if tls else ''}{'A' if auth else ''}"
