"""The configuration file: TOML, loaded into models that say by key path what is wrong and what would be right."""

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema

from aboveboard.mistakes import sentence
from policies import checks, compile_policy
from policies.address import canonical_domain
from policies.footer import Language
from policies.policy import PolicyModel
from policies.setting import Section
from proxy.route import DEFAULT_PORTS
from proxy.vendorcheck import problems as vendor_problems

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain"})
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.I
)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine only."""
    if host.lower() in _LOOPBACK_NAMES:
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
    if not value.isascii():
        return value
    if not _DOMAIN.fullmatch(value):
        raise ValueError('must be a domain name, like "example.org"')
    return value


def _web_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('must be a web address, like "https://example.org/privacy"')
    return value


def _public_url(value: str) -> str:
    parts = urlsplit(_web_url(value))
    if not value.isascii() or len(value) > 200 or parts.username:
        raise ValueError("must be plain ASCII, at most 200 characters, without user name")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://, for people's choices travel over it")
    return value.rstrip("/")


def _network(value: str) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError('must be a network, like "10.1.0.0/16" or "192.0.2.7"') from error
    least = 8 if network.version == 4 else 32
    if network.prefixlen < least:
        raise ValueError(f"is wider than /{least}: the relay would send mail for everybody there")
    return value


def _upstream_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("smtp", "smtp+starttls", "smtps") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError('must be "smtp://HOST:PORT", "smtp+starttls://HOST:PORT" or "smtps://HOST:PORT"')
    if parts.username or parts.password:
        raise ValueError("must not hold a login: use username and password_file")
    return value


def _upstream_urls(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("must not be empty")
    return [_upstream_url(url) for url in value]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _ledger_url(value: str) -> str:
    if not value.startswith(("sqlite:///", "postgresql://")) or value == "sqlite:///":
        raise ValueError('must be "sqlite:///FILE" or "postgresql://USER@HOST/DATABASE"')
    return value


def _mail_address(value: str) -> str:
    if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", value):
        raise ValueError('must be an e-mail address, like "privacy@example.org"')
    return value


Address = Annotated[str, AfterValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
NetworkText = Annotated[str, AfterValidator(_network)]
UpstreamUrl = Annotated[str, AfterValidator(_upstream_url)]
UpstreamUrls = Annotated[
    list[str],
    BeforeValidator(_listed),
    AfterValidator(_upstream_urls),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
LedgerUrl = Annotated[str, AfterValidator(_ledger_url)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]


class Organisation(Section):
    """Whose mail this is. One per installation."""

    name: str = Field(min_length=1, max_length=200, description="The controller named to recipients.")
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
    auth: Literal["networks"] = Field(default="networks", description="Who may send: trusted networks.")
    networks: list[NetworkText] = Field(
        default=["127.0.0.0/8", "::1/128"], min_length=1, description="Trusted addresses."
    )
    message_class: Literal["automated"] | None = Field(
        default=None, alias="class", description="automated: for printers and machines; nothing is ever tracked."
    )


class UpstreamSection(Section):
    """One mail server behind the relay."""

    url: UpstreamUrls = Field(
        description="smtp://, smtp+starttls:// or smtps://, with host and port; or several, tried in order."
    )
    senders: list[str] = Field(default=["*"], min_length=1, description="Globs over the sender's address.")
    username: str | None = Field(default=None, description="Service login at this server.")
    password_file: Path | None = Field(default=None, description="File with the service login's password.")
    insecure: bool = Field(default=False, description="Allow smtp:// to a server that is not on this machine.")
    connections: int = Field(default=40, ge=1, le=10_000, description="Connections open at once, of all workers.")
    messages_per_connection: int = Field(
        default=100, ge=1, le=100_000, description="Messages sent over one connection before it is closed."
    )


class RelaySection(Section):
    """The SMTP relay."""

    listener: list[ListenerSection] = Field(min_length=1, description="Where mail is handed in.")
    upstream: list[UpstreamSection] = Field(min_length=1, description="Where mail goes on to; the first match counts.")
    hostname: Domain | None = Field(
        default=None, description="How the relay calls itself; by default public_url's host."
    )
    max_message_bytes: int = Field(
        default=36_700_160, ge=65_536, le=1_073_741_824, description="Largest message taken."
    )
    received: bool = Field(default=True, description="Add one Received line.")
    processed_header: bool = Field(default=False, description="Loop marker for Exchange and Workspace round trips.")
    dkim_signed: Literal["untouched", "remove-own"] = Field(
        default="untouched", description="What to do with signed mail."
    )


class WebSection(Section):
    """The web application."""

    address: Address = Field(default="127.0.0.1:8080", description="HOST:PORT to listen on.")
    public_url: PublicUrl = Field(description="What goes into mail; https unless loopback.")
    former_urls: list[PublicUrl] = Field(default=[], description="Public URLs used before.")
    trusted_proxies: list[NetworkText] = Field(default=[], description="Proxies whose X-Forwarded-For counts.")
    metrics_address: Address | None = Field(default=None, description="HOST:PORT of the metrics page.")


class LedgerSection(Section):
    """Where consent, decisions and hits are kept."""

    url: LedgerUrl = Field(default="sqlite:///aboveboard.db", description="sqlite:///FILE or postgresql://…")
    key_file: Path = Field(default=Path("aboveboard.key"), description="Token and look-up keys; back it up.")
    head_file: Path | None = Field(default=None, description="Head of the consent chain; by default beside the ledger.")


class SystemMailSection(Section):
    """Mail that aboveboard itself sends."""

    sender: MailAddress = Field(alias="from", description="Its sender.")
    url: UpstreamUrl = Field(description="Where it is handed in.")
    username: str | None = Field(default=None, description="Login there.")
    password_file: Path | None = Field(default=None, description="File with the password.")


class RetentionSection(Section):
    """How long things are kept, in days; each has a cap."""

    recording_days: int = Field(default=30, ge=0, le=90, description="After sending, hits of a message are recorded.")
    hits_days: int = Field(default=90, ge=0, le=395, description="Hits.")
    messages_days: int = Field(
        default=90, ge=0, le=395, description="Sender, recipient and subject of tracked messages."
    )
    foreign_days: int = Field(default=90, ge=0, le=395, description="Other people's trackers found in messages.")
    decisions_days: int = Field(default=365, ge=0, le=1_095, description="Decisions about tracked messages.")
    consent_days: int = Field(default=365, ge=1, le=730, description="A grant counts, from when it was given.")


class Config(Section):
    """The whole file."""

    organisation: Organisation
    relay: RelaySection
    web: WebSection
    ledger: LedgerSection = LedgerSection()
    system_mail: SystemMailSection | None = None
    policy: PolicyModel = PolicyModel()
    retention: RetentionSection = RetentionSection()


class ConfigError(Exception):
    """The file is not right; ``problems`` holds one sentence per error, each beginning with its key path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path) -> Config:
    """Return the configuration in a file, with relative paths made absolute. Raises ConfigError."""
    return loads(read_text(path), path)


def read_text(path: Path) -> str:
    """Return what stands in a file. Raises ConfigError."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}; --config names another file."]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text."]) from error


def loads(text: str, path: Path) -> Config:
    """Return the configuration in a file's text, with paths relative to the file made absolute. Raises ConfigError."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}."]) from error
    return parse(content, path.absolute().parent)


def parse(content: dict[str, Any], base: Path) -> Config:
    """Return the configuration in a parsed file; relative paths are relative to ``base``. Raises ConfigError."""
    try:
        config = Config.model_validate(_absolute(_with_defaults(content), base))
    except ValidationError as error:
        raise ConfigError([sentence(one, content, _schema()) for one in error.errors(include_url=False)]) from error
    problems = [*_cross_checks(config), *(_remark(config, one) for one in _policy_problems(config))]
    if problems:
        raise ConfigError(problems)
    return config


_PATH_KEYS = frozenset({"certificate", "key", "password_file", "key_file", "head_file"})
_SQLITE = "sqlite:///"


def _with_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with the ledger's places written out, so that they too are relative to the file."""
    ledger = content.get("ledger", {})
    if not isinstance(ledger, dict):
        return content
    places = {"url": LedgerSection().url, "key_file": str(LedgerSection().key_file)}
    return {**content, "ledger": {**places, **ledger}}


def _absolute(value: Any, base: Path, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _absolute(inner, base, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_absolute(inner, base, key) for inner in value]
    if isinstance(value, str) and key in _PATH_KEYS:
        return str(base / value)
    if isinstance(value, str) and key == "url" and value.startswith(_SQLITE) and len(value) > len(_SQLITE):
        return _SQLITE + str(base / value.removeprefix(_SQLITE))
    return value


def _surroundings(config: Config) -> checks.Surroundings:
    return checks.Surroundings(
        domains=frozenset(canonical_domain(domain) for domain in config.organisation.domains),
        listeners={one.address: one.message_class == "automated" for one in config.relay.listener},
    )


def _policy_problems(config: Config) -> Iterator[checks.Remark]:
    policy = compile_policy(config.policy, config.organisation.domains)
    return checks.problems(policy, _surroundings(config))


def _remark(config: Config, remark: checks.Remark) -> str:
    """Return a remark about the policy as a sentence that names the rule it is about."""
    at = re.match(r"rule\[(\d+)\]", remark.path)
    rule = f' (rule "{config.policy.rule[int(at[1])].name}")' if at is not None else ""
    return f"policy.{remark.path}: {remark.text}{rule}."


def notes(config: Config) -> list[str]:
    """Return a sentence for everything in the file that is right and has no effect."""
    remarks = checks.notes(config.policy, _surroundings(config))
    return [*without_effect(config), *(_remark(config, one) for one in remarks)]


def _cross_checks(config: Config) -> list[str]:
    problems: list[str] = []
    seen: dict[str, str] = {}
    addresses = [(f"relay.listener[{at}].address", one.address) for at, one in enumerate(config.relay.listener)]
    addresses.append(("web.address", config.web.address))
    if config.web.metrics_address is not None:
        addresses.append(("web.metrics_address", config.web.metrics_address))
    for path, address in addresses:
        if address in seen:
            problems.append(f"{path}: {address} is in use already, by {seen[address]}.")
        seen[address] = path
    for at, listener in enumerate(config.relay.listener):
        problems += _listener_checks(f"relay.listener[{at}]", listener)
    for at, upstream in enumerate(config.relay.upstream):
        problems += _upstream_checks(f"relay.upstream[{at}]", upstream)
        problems += _loop_checks(f"relay.upstream[{at}]", upstream, config.relay.listener)
    if config.policy.vendor or config.policy.vendors_off:
        problems += (f"policy.{one}" for one in vendor_problems(config.policy.vendor, config.policy.vendors_off))
    return problems


def _loop_checks(path: str, upstream: UpstreamSection, listeners: list[ListenerSection]) -> list[str]:
    """Find an upstream that is this relay itself: it would connect to itself without end."""
    ports = {port for host, port in map(split_address, (one.address for one in listeners)) if _is_here(host)}
    here = [parts for parts in map(urlsplit, upstream.url) if is_loopback(parts.hostname or "")]
    same = any((parts.port or DEFAULT_PORTS[parts.scheme]) in ports for parts in here)
    return [f"{path}.url: is a listener of this relay; name the mail server behind it."] if same else []


def _is_here(host: str) -> bool:
    return is_loopback(host) or host in ("0.0.0.0", "::")  # noqa: S104  # an address to compare with


def _listener_checks(path: str, listener: ListenerSection) -> list[str]:
    problems = []
    for name, file in (("certificate", listener.certificate), ("key", listener.key)):
        if listener.tls == "none" and file is not None:
            problems.append(f'{path}.{name}: has no meaning with tls = "none".')
        elif listener.tls != "none" and file is None:
            problems.append(f'{path}.{name}: is missing; tls = "{listener.tls}" needs it.')
        elif file is not None and not file.is_file():
            problems.append(f"{path}.{name}: there is no file {file}.")
    return problems


def _upstream_checks(path: str, upstream: UpstreamSection) -> list[str]:
    problems = []
    plain = [parts for parts in map(urlsplit, upstream.url) if parts.scheme == "smtp"]
    if not all(is_loopback(parts.hostname or "") for parts in plain) and not upstream.insecure:
        problems.append(
            f'{path}.url: mail would travel in clear; use "smtp+starttls://" or "smtps://", or set insecure = true.'
        )
    if (upstream.username is None) != (upstream.password_file is None):
        problems.append(f"{path}: username and password_file belong together.")
    elif upstream.password_file is not None and not upstream.password_file.is_file():
        problems.append(f"{path}.password_file: there is no file {upstream.password_file}.")
    return problems


def without_effect(config: Config) -> list[str]:
    """Return a sentence for every setting in the file that this version does not act on yet."""
    waiting = {
        "web.trusted_proxies": bool(config.web.trusted_proxies),
        "relay.processed_header": config.relay.processed_header,
        "system_mail": config.system_mail is not None,
        "policy.ask": config.policy.ask != "never",
    }
    return [f"{path}: this version does not act on it yet." for path, present in waiting.items() if present]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema()}


def _schema() -> dict[str, Any]:
    return TypeAdapter(Config).json_schema(by_alias=True)
