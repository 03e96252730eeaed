"""The web application, as a worker runs it."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from aboveboard import showing
from aboveboard.reload import Current, InForce
from aboveboard.worker import Follower, Ready, Task, opened
from ledger.ledger import Ledger
from proxy.backlog import BACKLOG, ONE_AT_A_TIME
from web.app import build

# A tenth less of the processor for each pixel, and more of them at once; mail gains nothing from it.
new_loop = uvloop.new_event_loop


class _WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: the worker has its own, and closes the ledger afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections; asyncio has cut down the backlog of the sockets meanwhile."""
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(BACKLOG)


def _posting(ledger: Ledger, current: Current) -> Coroutine[None, None, None] | None:
    """Return what sends mail of our own, saying of the organisation what the file says then; None where none is sent.

    Raises ConfigError for a password file.
    """
    if current.config.system_mail is None:
        return None
    # Imported here: it brings along what speaks SMTP, and many installations send none.
    from aboveboard import post

    sender = post.sender_of(current.config, current.config.system_mail)
    return post.deliver(ledger, lambda: post.same_sender(sender, current.config))


async def web(task: Task, ready: Ready, stop: asyncio.Event) -> None:
    """Answer requests, and send mail of our own, until told to stop."""
    in_force = InForce.read(task.place)
    current = Current(in_force.config)
    async with opened(current) as ledger:
        app = build(showing.site(in_force.config, ledger, stale=in_force.stale))

        async def adopt(fresh: InForce) -> None:
            app.state.site = await asyncio.to_thread(showing.site, fresh.config, ledger, stale=fresh.stale)

        settings = uvicorn.Config(
            app,
            log_config=None,
            http="httptools",
            ws="none",
            # Paths hold tokens, and addresses of recipients have no business in a log.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            backlog=ONE_AT_A_TIME,
            timeout_graceful_shutdown=10,
        )
        # Imports what answers requests: whoever hears that we are ready must not wait for that.
        settings.load()
        server = _WebServer(settings)
        post = _posting(ledger, current)
        async with Follower(task.place, ledger, current, adopt).following(in_force):
            serving = asyncio.create_task(server.serve(sockets=list(task.sockets)))
            posting = asyncio.create_task(post) if post is not None else None
            ready()
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            waiting.cancel()
            await serving
            if posting is not None:
                # A letter under way is tried again by whoever looks next; it was claimed for ten minutes.
                posting.cancel()
