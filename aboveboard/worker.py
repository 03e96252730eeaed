"""One worker: the relay or the web, on sockets that the parent bound. Ends when told to, or when the parent is gone."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog
import uvicorn

from aboveboard import compose
from aboveboard.config import Config
from ledger.errors import LedgerUnavailable
from ledger.keys import Keyring
from ledger.ledger import Ledger
from proxy.relay import Relay
from proxy.server import Server
from web.app import build

DRAIN_SECONDS = 30.0

log = structlog.get_logger()

PURGE_SECONDS = 86_400.0

Ready = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What the parent hands over to a worker."""

    config: Config
    sockets: Sequence[socket.socket]
    workers: int
    """How many workers do the same."""


Part = Callable[[Task, Ready, asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Ledger]:
    """Open the ledger, and apply the retention periods now and every day while it is open."""
    async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
        purging = asyncio.create_task(_purge_daily(ledger))
        try:
            yield ledger
        finally:
            purging.cancel()


async def _purge_daily(ledger: Ledger) -> None:
    while True:
        try:
            removed = await ledger.purge()
        except LedgerUnavailable as error:
            log.warning("ledger.not_purged", why=str(error))
        else:
            if any(removed.values()):
                log.info("ledger.purged", **removed)
        await asyncio.sleep(PURGE_SECONDS)


async def _relay(task: Task, ready: Ready, stop: asyncio.Event) -> None:
    config = task.config
    async with _opened(config) as ledger:
        server = Server(
            Relay(compose.conduct(config, ledger.keyring), ledger),
            compose.upstreams(config, task.workers),
            config.relay.max_message_bytes,
            compose.hostname(config),
        )
        listeners = [compose.listener(at, section) for at, section in enumerate(config.relay.listener)]
        await server.listen(list(zip(task.sockets, listeners, strict=True)))
        ready()
        await stop.wait()
        await server.drain(DRAIN_SECONDS)


class _WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: the worker has its own, and closes the ledger afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


async def _web(task: Task, ready: Ready, stop: asyncio.Event) -> None:
    async with _opened(task.config) as ledger:
        settings = uvicorn.Config(
            build(compose.site(task.config, ledger)),
            log_config=None,
            http="httptools",
            ws="none",
            # Paths hold tokens, and addresses of recipients have no business in a log.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=10,
        )
        server = _WebServer(settings)
        serving = asyncio.create_task(server.serve(sockets=list(task.sockets)))
        ready()
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        waiting.cancel()
        await serving


PARTS: dict[str, Part] = {"relay": _relay, "web": _web}


def run(part: str, config: Config, descriptors: Sequence[int], workers: int, ready: int, life: int) -> None:
    """Run one part until SIGTERM, SIGINT, or the end of the parent.

    ``descriptors`` are the bound sockets; ``workers`` is how many run the same part; one byte is written to ``ready``
    when clients are served; ``life`` is the end of a pipe that closes when the parent does.
    """
    # What is imported by now stays: looking through it for garbage again and again would hold everybody up.
    gc.freeze()
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    asyncio.run(_run(PARTS[part], Task(config, sockets, workers), ready, life))


async def _run(part: Part, task: Task, ready: int, life: int) -> None:
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

    await part(task, say_ready, stop)
