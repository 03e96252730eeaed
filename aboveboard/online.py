"""``check --online``: tries what the configuration promises, from this machine, and says what is wrong."""

import asyncio
import json
from urllib.error import URLError
from urllib.request import urlopen

from aboveboard import compose
from aboveboard.config import Config, ConfigError
from proxy.reply import ReplyError
from proxy.upstream import Connection, Route

_SECONDS = 10.0


async def try_everything(config: Config) -> list[str]:
    """Return one sentence for everything that does not work: certificates, upstreams, public_url."""
    problems: list[str] = []
    for at, section in enumerate(config.relay.listener):
        try:
            compose.listener(at, section)
        except ConfigError as error:
            problems += error.problems
    try:
        routes = compose.upstreams(config).routes
    except ConfigError as error:
        return [*problems, *error.problems]
    for at, route in enumerate(routes):
        problems += await _try_upstream(at, route)
    return problems + await asyncio.to_thread(_try_public_url, config.web.public_url)


async def _try_upstream(at: int, route: Route) -> list[str]:
    try:
        connection = await asyncio.wait_for(Connection.open(route), _SECONDS)
    except TimeoutError:
        return [f"relay.upstream[{at}].url: {route.host} port {route.port} does not answer."]
    except ReplyError as error:
        cause = error.__cause__
        return [f"relay.upstream[{at}].url: {route.host} port {route.port}: {cause or error}."]
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
