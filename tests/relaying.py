"""A relay in the test's own event loop, on a free port, with a real ledger and a fake upstream."""

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.consent import Act
from ledger.database import prepare
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.notice import Teller
from policies import PolicyModel, Purpose, compile_policy
from policies.consent import Assurance
from proxy.accounts import Accounts
from proxy.auth import Verifier
from proxy.footer import Footer
from proxy.limits import SHARED_LIMITS, Census, SharedLimits
from proxy.links import link_rules
from proxy.message import Reading
from proxy.ownership import Alias, Ownership
from proxy.passthrough import PassThrough
from proxy.pool import Upstreams
from proxy.relay import Conduct, Relay
from proxy.route import LIMITS, Limits, parse_route
from proxy.server import IDLE_SECONDS, Listener, Server
from proxy.throttle import Throttle

PUBLIC_URL = "http://track.test:8080"
ASKED = 1
"""The connection on which the relay asks, when it starts, what the upstream can do."""
PAPER = Act("admin", "paper", Assurance.ASSERTED, "recorded by an administrator", "form 12, signed")


def conduct(policy: PolicyModel | None = None) -> Conduct:
    """Return the conduct of an organisation whose domain is example.org."""
    return Conduct(
        policy=compile_policy(policy or PolicyModel(), ["example.org"]),
        reading=Reading(links=link_rules(False, [], [PUBLIC_URL])),
        footer=Footer("Example GmbH"),
        public_url=PUBLIC_URL,
        hostname="relay.test",
    )


@dataclass
class Running:
    """A relay that runs: where, and what belongs to it."""

    port: int
    server: Server
    ledger: Ledger
    database: Path

    async def agree(self, address: str, *purposes: Purpose) -> None:
        """Record that a person agreed."""
        await self.ledger.grant(address, purposes or (Purpose.OPEN, Purpose.CLICK), PAPER)


@asynccontextmanager
async def open_ledger(folder: Path) -> AsyncIterator[Ledger]:
    """Open a new SQLite ledger in a folder."""
    url = f"sqlite:///{folder}/ledger.db"
    prepare(url, folder / "keys")
    teller = Teller("Example GmbH", "privacy@example.org", "https://example.org/privacy")
    settings = LedgerSettings(url, folder / "head", teller)
    async with Ledger(settings, Keyring.load(folder / "keys")) as ledger:
        yield ledger


@asynccontextmanager
async def running_relay(
    folder: Path,
    upstream_port: int,
    *,
    settings: Conduct | None = None,
    max_message_bytes: int = 10_000_000,
    other_hosts: tuple[str, ...] = (),
    scheme: str = "smtp",
    limits: Limits = LIMITS,
    idle_seconds: float = IDLE_SECONDS,
    aliases: tuple[Alias, ...] = (),
    shared: SharedLimits = SHARED_LIMITS,
    listener: Listener | None = None,
    host: str = "127.0.0.1",
    census: Census | None = None,
) -> AsyncIterator[Running]:
    """Run a relay in front of the upstream on a port; other hosts, as URLs, are tried before it.

    ``listener`` takes the place of one for everybody on this machine; both sides are on ``host``. With a ``census`` it
    is one of several workers, as far as connections to the upstream go.
    """
    async with open_ledger(folder) as ledger:
        relay = Relay(settings or conduct(), ledger)
        upstreams = Upstreams(
            [
                parse_route(
                    [*other_hosts, f"{scheme}://{f'[{host}]' if ':' in host else host}:{upstream_port}"],
                    ["*"],
                    "relay.test",
                    limits=limits,
                )
            ],
            census or Census.alone(),
        )
        ownership = Ownership(("example.org",), aliases)
        verifiers: dict[str, Verifier] = {
            "pass-through": Throttle(PassThrough(upstreams, ownership), ledger),
            "accounts": Throttle(Accounts(ledger, upstreams, ownership), ledger),
        }
        server = Server(
            relay, upstreams, max_message_bytes, "relay.test", idle_seconds, limits=shared, verifiers=verifiers
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, 0), family=family)
        bound.setblocking(False)
        await server.listen([(bound, listener or Listener((ipaddress.ip_network("127.0.0.0/8"),)))])
        try:
            yield Running(bound.getsockname()[1], server, ledger, folder / "ledger.db")
        finally:
            await server.drain(2.0)
