"""``check``, and ``check --online``: tries what the configuration promises, and says what is wrong."""

import asyncio
import json
from urllib.error import URLError
from urllib.request import urlopen

from aboveboard import compose
from aboveboard.config import ConfigError
from aboveboard.settings import Config
from ledger.database import Place
from ledger.errors import LedgerError
from ledger.keys import KeyFile
from proxy.reply import ReplyError
from proxy.route import Host, Route
from proxy.upstream import Connection

_SECONDS = 10.0


def local_problems(config: Config) -> list[str]:
    """Return one sentence for everything on this machine that would stop `serve`: certificates, ledger driver, keys."""
    problems: list[str] = []
    for at, section in enumerate(config.relay.listener):
        try:
            compose.listener(at, section)
        except ConfigError as error:
            problems += error.problems
    try:
        Place(config.ledger.url)
    except LedgerError as error:
        problems.append(f"ledger.url: {error}")
    try:
        KeyFile.read(config.ledger.key_file)
    except FileNotFoundError:
        # Made at the first start, unless the ledger has been written with one: serve sees to that.
        return problems
    except LedgerError as error:
        problems.append(f"ledger.key_file: {error}")
    return problems


async def try_everything(config: Config) -> list[str]:
    """Return one sentence for everything out there that does not work: upstreams, system mail, public_url."""
    problems: list[str] = []
    try:
        routes = compose.upstreams(config).routes
    except ConfigError as error:
        return [*problems, *error.problems]
    for at, route in enumerate(routes):
        for host in route.hosts:
            problems += await _try_server(f"relay.upstream[{at}]", route, host)
    try:
        sender = compose.sender(config)
    except ConfigError as error:
        problems += error.problems
    else:
        if sender is not None:
            problems += await _try_server("system_mail", sender.route, sender.route.hosts[0])
    return problems + await asyncio.to_thread(_try_public_url, config.web.public_url)


async def _try_server(path: str, route: Route, host: Host) -> list[str]:
    try:
        connection = await asyncio.wait_for(Connection.reach(route, host), _SECONDS)
    except TimeoutError:
        return [f"{path}.url: {host.name} port {host.port} does not answer."]
    except ReplyError as error:
        cause = error.__cause__
        return [f"{path}.url: {host.name} port {host.port}: {cause or error}."]
    await connection.quit()
    return []


def _try_public_url(public_url: str) -> list[str]:
    try:
        with urlopen(f"{public_url}/health", timeout=_SECONDS) as answer:  # noqa: S310  # checked to be http or https
            json.load(answer)
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        return [
            f"web.public_url: {public_url}/health does not answer as it should ({why}); links in mail would not work."
        ]
    return []
