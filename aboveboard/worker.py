"""One worker: the relay or the web, on sockets that the parent bound. Ends when told to, or when the parent is gone."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn

from aboveboard import compose, post
from aboveboard.config import Config
from aboveboard.daily import every_day
from ledger.keys import Keyring
from ledger.ledger import Ledger
from proxy.relay import Relay
from proxy.server import Server
from web.app import build

DRAIN_SECONDS = 30.0

log = structlog.get_logger()

Ready = Callable[[], None]
Part = Callable[[Config, Sequence[socket.socket], Ready, asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Ledger]:
    """Open the ledger, and do what is done every day while it is open."""
    async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
        daily = asyncio.create_task(every_day(config, ledger))
        try:
            yield ledger
        finally:
            daily.cancel()


async def _relay(config: Config, sockets: Sequence[socket.socket], ready: Ready, stop: asyncio.Event) -> None:
    async with _opened(config) as ledger:
        server = Server(
            Relay(compose.conduct(config, ledger.keyring), ledger),
            compose.upstreams(config),
            config.relay.max_message_bytes,
            compose.hostname(config),
        )
        listeners = [compose.listener(at, section) for at, section in enumerate(config.relay.listener)]
        await server.listen(list(zip(sockets, listeners, strict=True)))
        ready()
        await stop.wait()
        await server.drain(DRAIN_SECONDS)


class _WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: the worker has its own, and closes the ledger afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


async def _web(config: Config, sockets: Sequence[socket.socket], ready: Ready, stop: asyncio.Event) -> None:
    async with _opened(config) as ledger:
        settings = uvicorn.Config(
            build(compose.site(config, ledger)),
            log_config=None,
            # Paths hold tokens, and addresses of recipients have no business in a log.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=10,
        )
        server = _WebServer(settings)
        serving = asyncio.create_task(server.serve(sockets=list(sockets)))
        sender = compose.sender(config)
        posting = asyncio.create_task(post.deliver(ledger, sender)) if sender is not None else None
        ready()
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        waiting.cancel()
        await serving
        if posting is not None:
            # A letter under way is tried again by whoever looks next; it was claimed for ten minutes.
            posting.cancel()


PARTS: dict[str, Part] = {"relay": _relay, "web": _web}


def run(part: str, config: Config, descriptors: Sequence[int], ready: int, life: int) -> None:
    """Run one part until SIGTERM, SIGINT, or the end of the parent.

    ``descriptors`` are the bound sockets; one byte is written to ``ready`` when clients are served; ``life`` is the
    end of a pipe that closes when the parent does.
    """
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    asyncio.run(_run(PARTS[part], config, sockets, ready, life))


async def _run(part: Part, config: Config, sockets: Sequence[socket.socket], ready: int, life: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def parent_gone() -> None:
        loop.remove_reader(life)
        stop.set()

    loop.add_reader(life, parent_gone)

    def say_ready() -> None:
        os.write(ready, b"r")
        os.close(ready)

    await part(config, sockets, say_ready, stop)
