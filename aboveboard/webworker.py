"""The web application, as a worker runs it."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

import uvicorn

from aboveboard import showing
from aboveboard.reload import Current, InForce
from aboveboard.sockets import BACKLOG
from aboveboard.webconnection import WebConnection
from aboveboard.worker import Follower, Ready, Task, opened
from ledger.ledger import Ledger
from web.app import build


class _WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: the worker has its own, and closes the ledger afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


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
            http=WebConnection,
            ws="none",
            # Paths hold tokens, and addresses of recipients have no business in a log.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            backlog=BACKLOG,
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
                # A letter under way may come to its end, or is tried again by whoever looks in ten minutes.
                posting.cancel()
                await asyncio.wait({posting})
