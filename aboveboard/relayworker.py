"""The relay, as a worker runs it."""

import asyncio
from collections.abc import Sequence

from aboveboard import compose, relaying
from aboveboard.logins import Logins
from aboveboard.reload import Current, InForce
from aboveboard.worker import DRAIN_SECONDS, Follower, Ready, Task, opened
from proxy.limits import Census
from proxy.relay import Relay
from proxy.server import Listener, Server


async def relay(task: Task, ready: Ready, stop: asyncio.Event) -> None:
    """Relay mail until told to stop, and then what sessions have begun."""
    in_force = InForce.read(task.place)
    config = in_force.config
    current = Current(config)
    async with opened(current) as ledger:
        relay = Relay(relaying.conduct(config, ledger.keyring), ledger)

        renewals = in_force.certificates

        async def adopt(fresh: InForce) -> None:
            nonlocal renewals
            relay.conduct = await asyncio.to_thread(relaying.conduct, fresh.config, ledger.keyring)
            logins.adopt(fresh.config)
            if fresh.certificates != renewals:
                await asyncio.to_thread(_renew, listeners)
                renewals = fresh.certificates

        census = Census.shared(task.census, task.workers, task.number)
        upstreams = relaying.upstreams(config, task.workers, census)
        logins = Logins(config, ledger, upstreams)
        server = Server(
            relay,
            upstreams,
            config.relay.max_message_bytes,
            compose.hostname(config),
            verifiers=logins.verifiers,
            limits=relaying.shared_limits(config),
            census=census,
        )
        listeners = [relaying.listener(at, section) for at, section in enumerate(config.relay.listener)]
        async with Follower(task.place, ledger, current, adopt).following(in_force), logins.running():
            await server.listen(list(zip(task.sockets, listeners, strict=True)))
            ready()
            await stop.wait()
            await server.drain(DRAIN_SECONDS)


def _renew(listeners: Sequence[Listener]) -> None:
    """Have listeners take up renewed certificates. Raises OSError where the files have changed once more."""
    for one in listeners:
        if one.certificate is not None:
            one.certificate.renew()
