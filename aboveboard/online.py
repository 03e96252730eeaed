"""``check --online``: tries what the configuration promises out there, and says what is wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aboveboard import autoconfig, certificates, post, premises, published, relaying
from aboveboard.certificates import Pair
from aboveboard.config import ConfigError
from aboveboard.settings import Config
from aboveboard.trial import Failed, Server, Trial
from aboveboard.values import is_loopback
from ledger.database import Place, check_version
from ledger.errors import LedgerError
from policies.address import canonical_domain
from proxy.route import Host, Route

_SECONDS = 10.0
_PASSED = frozenset({"PLAIN", "LOGIN", "XOAUTH2"})
"""Mechanisms that a listener with pass-through can offer."""


@dataclass(slots=True)
class Findings:
    """What was found, in sentences that begin with a key path."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What works, and is to be known."""
    logins: list[bool] = field(default_factory=list)
    """Of every upstream that answered: does it take logins that could pass through?"""

    def add(self, other: "Findings") -> None:
        """Take in what was found elsewhere."""
        self.problems += other.problems
        self.notes += other.notes
        self.logins += other.logins


async def try_everything(config: Config) -> Findings:
    """Return what is found out there: certificates as mail programs see them, servers, ledger, public_url."""
    findings = _certificates(config)
    try:
        tries = [*_upstreams(config), *_system_mail(config)]
    except ConfigError as error:
        findings.problems += error.problems
        tries = []
    for found in await asyncio.gather(*(asyncio.to_thread(one) for one in tries)):
        findings.add(found)
    passing = any(one.auth == "pass-through" for one in config.relay.listener)
    if passing and findings.logins and not any(findings.logins):
        findings.problems.append(
            'relay.upstream: no server takes logins, which people with auth = "pass-through" are to use there; name '
            "the port where mail programs hand in mail."
        )
    findings.problems += await asyncio.to_thread(_postgresql, config)
    findings.problems += await asyncio.to_thread(published.problems, config)
    return findings


def _postgresql(config: Config) -> list[str]:
    """Find whether PostgreSQL answers with the tables of this version; those of SQLite ``serve`` sees to itself."""
    try:
        place = Place(config.ledger.url)
        if place.sqlite is None:
            check_version(place)
    except LedgerError as error:
        return [f"ledger.url: {error}"]
    return []


def _certificates(config: Config) -> Findings:
    findings, hosts = Findings(), _hosts(config)
    for at in range(len(config.relay.listener)):
        pair = premises.pair(config, at)
        if isinstance(pair, Pair):
            findings.problems += certificates.problems(pair, hosts)
            findings.notes += certificates.notes(pair, hosts)
    return findings


def _hosts(config: Config) -> list[str]:
    """Return the names by which mail programs come to the listeners, as far as the file says them."""
    if config.autoconfig is not None:
        hosts = [server.host for server in autoconfig.outgoing(config, config.autoconfig)]
    else:
        hosts = [canonical_domain(config.relay.hostname)] if config.relay.hostname is not None else []
    return [host for host in dict.fromkeys(hosts) if not is_loopback(host)]


def _upstreams(config: Config) -> list[Callable[[], Findings]]:
    return [
        _Upstream(config, f"relay.upstream[{at}]", route, host)
        for at, route in enumerate(relaying.upstreams(config).routes)
        for host in route.hosts
    ]


def _system_mail(config: Config) -> list[Callable[[], Findings]]:
    if config.system_mail is None:
        return []
    route = post.sender_of(config, config.system_mail).route
    return [_Upstream(config, "system_mail", route, route.hosts[0])]


@dataclass(frozen=True, slots=True)
class _Upstream:
    """One mail server to try: name, connection, TLS, what it offers, login."""

    config: Config
    path: str
    route: Route
    host: Host

    def __call__(self) -> Findings:
        """Try it; for a thread."""
        findings = Findings()
        server = Server(self.host.name, self.host.port, self.host.tls)
        with Trial(server, self.route.local_hostname, _SECONDS) as trial:
            try:
                self._talk(trial, findings)
            except Failed as error:
                findings.problems.append(self._sentence(f"{error.what}; {error.remedy}"))
        return findings

    def _sentence(self, text: str, key: str = "url") -> str:
        return f"{self.path}.{key}: {self.host.name} port {self.host.port}: {text}."

    def _talk(self, trial: Trial, findings: Findings) -> None:
        trial.resolve()
        trial.connect()
        extensions = trial.greet()
        if trial.secure():
            # RFC 3207 §4.2: what was offered before TLS counts no more.
            extensions = trial.greet()
        if self.route.username is not None and self.route.password is not None:
            try:
                trial.login(self.route.username, self.route.password)
            except Failed as error:
                findings.problems.append(self._sentence(f"{error.what}; {error.remedy}", "username"))
        findings.add(self._offered(extensions))
        trial.quit()

    def _offered(self, extensions: dict[str, str]) -> Findings:
        """Judge what it offers by what the relay is to pass on."""
        findings = Findings()
        if self.path == "system_mail":
            return findings
        findings.logins.append(not _PASSED.isdisjoint(extensions.get("auth", "").upper().split()))
        size, largest = extensions.get("size", ""), self.config.relay.max_message_bytes
        if size.isdigit() and 0 < int(size) < largest:
            findings.notes.append(
                self._sentence(f"takes messages of {size} bytes, relay.max_message_bytes is {largest}")
            )
        if "8bitmime" not in extensions:
            findings.notes.append(self._sentence("does not offer 8BITMIME, so mail programs have to encode more"))
        return findings
