"""Envelope: who sends to whom, as SMTP says it (RFC 5321 §2.3.1)."""

from dataclasses import dataclass

from policies.address import folded


@dataclass(frozen=True, slots=True)
class Envelope:
    """The reverse-path, the forward-paths that the upstream accepted, and who is logged in."""

    mail_from: str
    """Empty for the null reverse-path ``<>``."""
    rcpt_to: tuple[str, ...]
    login: str | None = None
    """The account that submits; ``None`` on a trusted network."""
    automated: bool = False
    """Came in through a listener for printers and machines."""
    listener: str = ""
    """The listening address it came in by, as the configuration writes it; empty where it did not come by SMTP."""
    client: str = ""
    """The IP address of the client; empty where it did not come by SMTP. For rules only: never recorded."""

    @property
    def sender(self) -> str:
        """Who the sender is: the login, or on a trusted network the reverse-path."""
        return self.login if self.login is not None else self.mail_from

    @property
    def recipients(self) -> frozenset[str]:
        """The distinct recipients, folded: one address in two spellings is one person."""
        return frozenset(folded(address) for address in self.rcpt_to)
