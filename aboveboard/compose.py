"""Composition: what the configuration means to the parts."""

import ipaddress
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from aboveboard import autoconfig
from aboveboard.config import ConfigError
from aboveboard.post import Sender
from aboveboard.settings import Config, ListenerSection, SystemMailSection, UpstreamSection
from ledger.calendar import Calendar
from ledger.chain import HeadFile
from ledger.database import Place, prepare
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.notice import Teller
from ledger.recall import Recalled
from ledger.retention import Periods
from ledger.tokens import OwnTokens
from policies import Policy, compile_policy
from policies.address import canonical_domain
from policies.glob import pattern
from policies.words import ForeignTracking
from proxy.certificates import ServerCertificate
from proxy.footer import Footer
from proxy.limits import Census, SharedLimits
from proxy.links import link_rules, own_place
from proxy.message import Reading
from proxy.pool import Upstreams
from proxy.relay import Conduct
from proxy.route import Limits, Route, parse_route
from proxy.server import Listener
from proxy.trace import Marker
from proxy.trackers import Watch
from proxy.vendors import load_rules
from web.site import Point, Site


def hostname(config: Config) -> str:
    """Return how the relay calls itself in SMTP: as configured, else the public URL's host (RFC 5321 §4.1.3)."""
    if config.relay.hostname is not None:
        return config.relay.hostname
    host = urlsplit(config.web.public_url).hostname or "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def policy(config: Config) -> Policy:
    """Return the policy that the configuration amounts to."""
    return compile_policy(config.policy, config.organisation.domains)


def conduct(config: Config, keyring: Keyring) -> Conduct:
    """Return how messages are treated; by the keyring our own old marks are known."""
    ours = frozenset(canonical_domain(domain) for domain in config.organisation.domains)
    own_urls = [config.web.public_url, *config.web.former_urls]
    rules = link_rules(config.policy.visible_url_links, config.policy.never_wrap, own_urls)
    tokens = OwnTokens(keyring)
    return Conduct(
        policy=policy(config),
        reading=Reading(
            links=rules,
            max_bytes=config.relay.max_message_bytes,
            plain_text_links=config.policy.plain_text_links,
            tokens=tokens,
            watch=watch(config, tokens),
            removable_signatures=ours if config.relay.dkim_signed == "remove-own" else frozenset(),
        ),
        footer=footer(config),
        public_url=config.web.public_url,
        hostname=hostname(config),
        received=config.relay.received,
        marker=Marker(hostname(config), keyring) if config.relay.processed_header else None,
    )


def watch(config: Config, tokens: OwnTokens) -> Watch | None:
    """Return what counts as other people's tracker; None where policy has nobody look for any."""
    policy = config.policy
    said = policy.foreign_tracking
    if {said.individual, said.group, said.bulk} == {ForeignTracking.KEEP}:
        return None
    return Watch(
        rules=load_rules(policy.vendor, policy.vendors_off),
        allowed=pattern(policy.foreign_allowed),
        own_domains=frozenset(canonical_domain(domain) for domain in config.organisation.domains),
        own_hosts=frozenset(map(own_place, [config.web.public_url, *config.web.former_urls])),
        tokens=tokens,
    )


def footer(config: Config) -> Footer:
    """Return what the footers of tracked messages say."""
    return Footer(
        config.organisation.name,
        config.organisation.language,
        config.policy.footer.own_texts(),
        top_if_long=config.policy.footer.position == "top-if-long",
    )


def teller(config: Config) -> Teller:
    """Return what every notice says of the organisation."""
    organisation, retention = config.organisation, config.retention
    return Teller(
        organisation.name,
        organisation.contact,
        organisation.privacy_url,
        hits_days=retention.hits_days,
        consent_days=retention.consent_days,
    )


def ledger(config: Config, keyring: Keyring) -> Ledger:
    """Return the ledger, not yet opened."""
    return Ledger(
        LedgerSettings(
            url=config.ledger.url,
            head_file=head_file(config),
            teller=teller(config),
            periods=periods(config),
            letters_url=config.web.public_url if config.system_mail is not None else None,
            calendar=calendar(config),
            journal_file=journal_file(config),
            account_file=config.ledger.account_file or _beside_the_ledger(config, ".accounts"),
        ),
        keyring,
    )


def periods(config: Config) -> Periods:
    """Return how long things are kept."""
    retention = config.retention
    return Periods(
        recording=timedelta(days=retention.recording_days),
        hits=timedelta(days=retention.hits_days),
        messages=timedelta(days=retention.messages_days),
        decisions=timedelta(days=retention.decisions_days),
        foreign=timedelta(days=retention.foreign_days),
        cases=timedelta(days=retention.cases_days),
        access=timedelta(days=retention.access_days),
        consent=timedelta(days=retention.consent_days),
        consent_events=timedelta(days=retention.consent_events_days),
    )


def calendar(config: Config) -> Calendar:
    """Return until when requests must be answered."""
    said = config.requests
    return Calendar(
        said.acknowledge_working_days,
        said.complaint_days,
        said.answer_days,
        said.uk_acknowledge_days,
        frozenset(said.holidays),
        letters=config.system_mail is not None,
    )


async def make_ready(config: Config) -> Recalled:
    """Make the ledger ready for use: its tables, its keys, and what its journal knows better after a restore.

    Raises LedgerError, and LedgerMissing where it must not be begun anew.
    """
    head = HeadFile(head_file(config)).read()
    prepare(config.ledger.url, config.ledger.key_file, begun=head is not None and head[0] > 0)
    async with ledger(config, Keyring.load(config.ledger.key_file)) as opened:
        return await opened.recall()


def head_file(config: Config) -> Path:
    """Return where the head of the consent chain is written: as configured, else beside ledger or key file."""
    return config.ledger.head_file or _beside_the_ledger(config, ".head")


def journal_file(config: Config) -> Path:
    """Return where refusals and erasures are written once more: as configured, else beside ledger or key file."""
    return config.ledger.journal_file or _beside_the_ledger(config, ".journal")


def _beside_the_ledger(config: Config, ending: str) -> Path:
    beside = Place(config.ledger.url).sqlite or config.ledger.key_file
    return beside.with_name(beside.name + ending)


def upstreams(config: Config, workers: int = 1, census: Census | None = None) -> Upstreams:
    """Return the upstream routes, in order, for one of several workers, who count together in the census.

    Raises ConfigError where a password cannot be read.
    """
    name = hostname(config)
    routes = [_route(at, section, name, workers) for at, section in enumerate(config.relay.upstream)]
    return Upstreams(routes, census or Census.alone())


def _route(at: int, section: UpstreamSection, name: str, workers: int) -> Route:
    password = _password(f"relay.upstream[{at}]", section)
    # The upstream counts the connections of all workers together.
    limits = Limits(max(1, section.connections // workers), section.messages_per_connection)
    return parse_route(section.url, section.senders, name, section.username, password, limits)


def _password(path: str, section: UpstreamSection | SystemMailSection) -> str | None:
    """Return the password of a service login, if it has one. Raises ConfigError where it cannot be read."""
    if section.password_env is not None:
        password = os.environ.get(section.password_env)
        if not password:
            raise ConfigError([f"{path}.password_env: the environment has no {section.password_env}."])
        return password
    if section.password_file is None:
        return None
    try:
        return section.password_file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}.password_file: cannot be read."]) from error


def shared_limits(config: Config) -> SharedLimits:
    """Return how many connections and bytes there may be at once in all workers."""
    said = config.relay
    return SharedLimits(said.max_connections, said.max_connections_per_client, said.max_bytes_in_flight)


def listener(at: int, section: ListenerSection) -> Listener:
    """Return how a listening address treats its clients. Raises ConfigError where its certificate does not load."""
    proof = certificate(at, section)
    return Listener(
        networks=tuple(ipaddress.ip_network(network) for network in section.networks),
        tls=section.tls,
        tls_context=proof.context if proof is not None else None,
        certificate=proof,
        automated=section.message_class == "automated",
        auth=section.auth,
        balancers=tuple(ipaddress.ip_network(network) for network in section.proxy_protocol_from),
        normalises=section.bare_newlines == "normalise",
        address=section.address,
    )


def certificate(at: int, section: ListenerSection) -> ServerCertificate | None:
    """Return the certificate of a listener; None where it has none. Raises ConfigError where it does not load."""
    if section.certificate is None or section.key is None:
        return None
    try:
        return ServerCertificate(section.certificate, section.key)
    except OSError as error:
        raise ConfigError([f"relay.listener[{at}].certificate: certificate and key do not load: {error}."]) from error


def site(config: Config, opened: Ledger, *, stale: bool = False) -> Site:
    """Return what the web application shows and where it stands; ``stale`` where the file is not what is in force."""
    return Site(
        ledger=opened,
        organisation=config.organisation.name,
        contact=config.organisation.contact,
        privacy_url=config.organisation.privacy_url,
        public_url=config.web.public_url,
        teller=teller(config),
        policy=policy(config),
        stale=stale,
        language=config.organisation.language,
        mails=config.system_mail is not None,
        points={point.id: Point(point.title, point.wording) for point in config.consent.point if point.public},
        validity=periods(config).consent,
        trusted_proxies=tuple(ipaddress.ip_network(network) for network in config.web.trusted_proxies),
        autoconfig=autoconfig.told(config),
    )


def sender(config: Config) -> Sender | None:
    """Return who writes mail of our own; None where none is to be sent. Raises ConfigError for a password file."""
    section = config.system_mail
    if section is None:
        return None
    password = _password("system_mail", section)
    return Sender(
        config.organisation.name,
        config.organisation.contact,
        config.organisation.privacy_url,
        config.web.public_url,
        section.sender,
        parse_route(section.url, ["*"], hostname(config), section.username, password),
    )


def same_sender(sender: Sender, config: Config) -> Sender:
    """Return a sender that says of the organisation what the configuration says now, and hands in where it did."""
    organisation = config.organisation
    return replace(
        sender, organisation=organisation.name, contact=organisation.contact, privacy_url=organisation.privacy_url
    )
