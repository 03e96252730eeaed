"""Relaying: what the configuration means to the relay."""

import ipaddress

from aboveboard import compose
from aboveboard.config import ConfigError
from aboveboard.settings import Config, ListenerSection, UpstreamSection
from ledger.keys import Keyring
from ledger.tokens import OwnTokens
from policies.address import canonical_domain
from policies.glob import url_pattern
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


def conduct(config: Config, keyring: Keyring) -> Conduct:
    """Return how messages are treated; by the keyring our own old marks are known."""
    ours = frozenset(canonical_domain(domain) for domain in config.organisation.domains)
    own_urls = [config.web.public_url, *config.web.former_urls]
    rules = link_rules(config.policy.visible_url_links, config.policy.never_wrap, own_urls)
    tokens = OwnTokens(keyring)
    return Conduct(
        policy=compose.policy(config),
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
        hostname=compose.hostname(config),
        received=config.relay.received,
        marker=Marker(compose.hostname(config), keyring) if config.relay.processed_header else None,
    )


def watch(config: Config, tokens: OwnTokens) -> Watch | None:
    """Return what counts as other people's tracker; None where policy has nobody look for any."""
    policy = config.policy
    said = policy.foreign_tracking
    if {said.individual, said.group, said.bulk} == {ForeignTracking.KEEP}:
        return None
    return Watch(
        rules=load_rules(policy.vendor, policy.vendors_off),
        allowed=url_pattern(policy.foreign_allowed),
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


def upstreams(config: Config, workers: int = 1, census: Census | None = None) -> Upstreams:
    """Return the upstream routes, in order, for one of several workers, who count together in the census.

    Raises ConfigError where a password cannot be read.
    """
    name = compose.hostname(config)
    routes = [_route(at, section, name, workers) for at, section in enumerate(config.relay.upstream)]
    return Upstreams(routes, census or Census.alone())


def _route(at: int, section: UpstreamSection, name: str, workers: int) -> Route:
    password = compose.password(f"relay.upstream[{at}]", section)
    # The upstream counts the connections of all workers together.
    limits = Limits(max(1, section.connections // workers), section.messages_per_connection)
    return parse_route(section.url, section.senders, name, section.username, password, limits)


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
