"""The sections of the configuration file, as models."""

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field

from aboveboard.collection import ConsentSection
from aboveboard.values import (
    Address,
    AliasGlob,
    Domain,
    IncomingUrls,
    LedgerUrl,
    MailAddress,
    NetworkText,
    ProxyText,
    PublicUrl,
    UpstreamUrl,
    UpstreamUrls,
    WebUrl,
)
from policies.footer import Language
from policies.policy import PolicyModel
from policies.setting import OneLine, Section, Whole, YesNo


class Organisation(Section):
    """Whose mail this is. One per installation."""

    name: OneLine = Field(description="The controller named to recipients.")
    domains: list[Domain] = Field(min_length=1, description="Whose mail this is, and who is a colleague.")
    privacy_url: WebUrl = Field(description="The organisation's privacy statement.")
    contact: MailAddress = Field(description="Where people write to about their data.")
    language: Language = Field(
        default=Language.ENGLISH, description="Spoken to recipients whose own language is not known."
    )


class ListenerSection(Section):
    """One address where mail programs hand in mail."""

    address: Address = Field(description="HOST:PORT to listen on.")
    tls: Literal["none", "starttls", "implicit"] = Field(default="none", description="How connections are encrypted.")
    certificate: Path | None = Field(default=None, description="Certificate chain, PEM; with tls only.")
    key: Path | None = Field(default=None, description="Private key, PEM; with tls only.")
    auth: Literal["networks", "pass-through", "accounts"] = Field(
        default="networks",
        description="Who may send: trusted networks, or who can log in, at the upstream or with an account here.",
    )
    networks: list[NetworkText] = Field(
        default=["127.0.0.0/8", "::1/128"], min_length=1, description='Trusted addresses; with auth = "networks" only.'
    )
    proxy_protocol_from: list[ProxyText] = Field(
        default=[], description="Balancers, whose connections begin with a PROXY protocol header, version 1 or 2."
    )
    message_class: Literal["automated"] | None = Field(
        default=None, alias="class", description="automated: for printers and machines; nothing is ever tracked."
    )
    bare_newlines: Literal["refuse", "normalise"] = Field(
        default="refuse", description="normalise: take CR and LF alone for line ends, for devices that send them."
    )


class UpstreamSection(Section):
    """One mail server behind the relay."""

    url: UpstreamUrls = Field(
        description="smtp://, smtp+starttls:// or smtps://, with host and port; or several, tried in order."
    )
    senders: list[str] = Field(
        default=["*"], min_length=1, description="Globs over the sender's address; with pass-through, over the login."
    )
    username: str | None = Field(default=None, description="Service login at this server.")
    password_file: Path | None = Field(default=None, description="File with the service login's password.")
    password_env: str | None = Field(default=None, description="Environment variable with it, in place of a file.")
    insecure: YesNo = Field(default=False, description="Allow smtp:// to a server that is not on this machine.")
    connections: Whole = Field(default=40, ge=1, le=10_000, description="Connections open at once, of all workers.")
    messages_per_connection: Whole = Field(
        default=100, ge=1, le=100_000, description="Messages sent over one connection before it is closed."
    )


class AliasSection(Section):
    """Addresses that logins may write as, beside their own."""

    login: list[str] = Field(min_length=1, description="Globs over the login.")
    addresses: list[AliasGlob] = Field(
        min_length=1, description="Globs; {local} stands for the login's own local part."
    )


class RelaySection(Section):
    """The SMTP relay."""

    listener: list[ListenerSection] = Field(min_length=1, description="Where mail is handed in.")
    upstream: list[UpstreamSection] = Field(min_length=1, description="Where mail goes on to; the first match counts.")
    alias: list[AliasSection] = Field(default=[], description="Addresses that logins may write as.")
    hostname: Domain | None = Field(
        default=None, description="How the relay calls itself; by default public_url's host."
    )
    max_message_bytes: Whole = Field(
        default=36_700_160, ge=65_536, le=1_073_741_824, description="Largest message taken."
    )
    max_connections: Whole = Field(default=1_000, ge=1, le=1_000_000, description="SMTP connections at once.")
    max_connections_per_client: Whole = Field(default=50, ge=1, le=60_000, description="Of them, from one address.")
    max_bytes_in_flight: Whole = Field(
        default=536_870_912, ge=65_536, description="Octets of all messages that are being handed in."
    )
    received: YesNo = Field(default=True, description="Add one Received line.")
    processed_header: YesNo = Field(default=False, description="Loop marker for Exchange and Workspace round trips.")
    dkim_signed: Literal["untouched", "remove-own"] = Field(
        default="untouched", description="What to do with signed mail."
    )


class WebSection(Section):
    """The web application."""

    address: Address = Field(default="127.0.0.1:8080", description="HOST:PORT to listen on.")
    public_url: PublicUrl = Field(description="What goes into mail; https unless loopback.")
    former_urls: list[PublicUrl] = Field(default=[], description="Public URLs used before.")
    trusted_proxies: list[ProxyText] = Field(default=[], description="Proxies whose X-Forwarded-For counts.")
    metrics_address: Address | None = Field(default=None, description="HOST:PORT of the metrics page.")


class AutoconfigSection(Section):
    """What mail programs are told that set themselves up by somebody's address."""

    incoming: IncomingUrls = Field(
        description="imaps://, imap+starttls://, pop3s:// or pop3+starttls://: where mail is read; or several."
    )
    outgoing: UpstreamUrls | None = Field(
        default=None, description="Where mail is handed in; by default the listeners for people, under relay.hostname."
    )
    username: Literal["address", "local-part"] = Field(default="address", description="What people log in with.")
    domains: list[Domain] | None = Field(
        default=None, min_length=1, description="Whose addresses; by default organisation.domains."
    )
    display_name: OneLine | None = Field(
        default=None,
        max_length=60,
        description="What the account is called; by default the organisation.",
    )


class LedgerSection(Section):
    """Where consent, decisions and hits are kept."""

    url: LedgerUrl = Field(default="sqlite:///aboveboard.db", description="sqlite:///FILE or postgresql://…")
    key_file: Path = Field(default=Path("aboveboard.key"), description="Token and look-up keys; back it up.")
    head_file: Path | None = Field(default=None, description="Head of the consent chain; by default beside the ledger.")
    journal_file: Path | None = Field(
        default=None, description="Refusals and erasures once more, for after a restore; by default beside the ledger."
    )
    account_file: Path | None = Field(
        default=None, description="Accounts once more, for when the ledger is away; by default beside the ledger."
    )


class SystemMailSection(Section):
    """Mail that aboveboard itself sends."""

    sender: MailAddress = Field(alias="from", description="Its sender.")
    url: UpstreamUrl = Field(description="Where it is handed in.")
    username: str | None = Field(default=None, description="Login there.")
    password_file: Path | None = Field(default=None, description="File with the password.")
    password_env: str | None = Field(default=None, description="Environment variable with it, in place of a file.")


class RetentionSection(Section):
    """How long things are kept, in days; each has a cap."""

    recording_days: Whole = Field(default=30, ge=0, le=90, description="After sending, hits of a message are recorded.")
    hits_days: Whole = Field(default=90, ge=0, le=395, description="Hits.")
    messages_days: Whole = Field(
        default=90, ge=0, le=395, description="Sender, recipient and subject of tracked messages."
    )
    foreign_days: Whole = Field(default=90, ge=0, le=395, description="Other people's trackers found in messages.")
    decisions_days: Whole = Field(default=365, ge=0, le=1_095, description="Decisions about tracked messages.")
    cases_days: Whole = Field(default=1_095, ge=0, le=2_190, description="Requests, after they are closed.")
    access_days: Whole = Field(default=730, ge=0, le=2_555, description="Who looked at what is recorded.")
    consent_days: Whole = Field(default=365, ge=1, le=730, description="A grant counts, from when it was given.")
    consent_events_days: Whole = Field(
        default=1_095, ge=0, le=2_190, description="Consent events, after a person's last one; refusals stay."
    )


class RequestsSection(Section):
    """Until when requests and complaints must be answered."""

    acknowledge_working_days: Whole = Field(default=10, ge=1, le=20, description="Receipt is confirmed, working days.")
    complaint_days: Whole = Field(default=40, ge=1, le=90, description="A complaint is answered.")
    answer_days: Whole = Field(
        default=30, ge=1, le=31, description="Other requests are answered; a month at the latest."
    )
    uk_acknowledge_days: Whole = Field(
        default=30, ge=1, le=30, description="A complaint is acknowledged, at the latest."
    )
    holidays: list[date] = Field(default=[], description="Days that are no working days.")


class Config(Section):
    """The whole file."""

    organisation: Organisation
    relay: RelaySection
    web: WebSection
    ledger: LedgerSection = LedgerSection()
    system_mail: SystemMailSection | None = None
    autoconfig: AutoconfigSection | None = None
    policy: PolicyModel = PolicyModel()
    consent: ConsentSection = ConsentSection()
    retention: RetentionSection = RetentionSection()
    requests: RequestsSection = RequestsSection()

    def addresses(self) -> list[tuple[str, str]]:
        """Return every address to listen on, each behind its key path."""
        found = [(f"relay.listener[{at}].address", one.address) for at, one in enumerate(self.relay.listener)]
        found.append(("web.address", self.web.address))
        if self.web.metrics_address is not None:
            found.append(("web.metrics_address", self.web.metrics_address))
        return found
