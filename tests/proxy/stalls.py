"""A process with a worker's memory that takes a large message, measured step by step: ``python -m tests.proxy.stalls``.

A process of its own, for how soon memory comes depends on all that a process has ever had.
"""

import asyncio
import gc
import json
import smtplib
import socket
import sys
import threading
import time
from asyncio import Handle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.relay import LINK, MEGABYTE, PARAGRAPH, letter
from tests.relaying import running_relay

LIMIT = 0.02
"""Seconds of processor time, which other programs on the machine do not lengthen."""
TRIES = 3


def page(size: int) -> str:
    """Return a message that is nothing but a page with a link per 2.5 kB."""
    links = size // 2_500
    html = "".join(PARAGRAPH * (2_500 // len(PARAGRAPH)) + LINK.format(at) for at in range(links))
    head = "From: alice@example.org\nTo: bob@customer.test\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n"
    return f"{head}\n<html><body>{html}</body></html>\n"


@contextmanager
def sink() -> Iterator[int]:
    """Run a mail server that takes one message and looks at nothing, in a thread; yields its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def session(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"220 sink.test ESMTP\r\n")
            while said := connection.recv(4_096):
                if said.upper().startswith(b"EHLO"):
                    connection.sendall(b"250-sink.test\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n")
                elif said.upper().startswith(b"DATA"):
                    connection.sendall(b"354 go on\r\n")
                    end = b""
                    while not end.endswith(b"\r\n.\r\n"):
                        end = end[-4:] + connection.recv(1 << 20)
                    connection.sendall(b"250 2.0.0 taken\r\n")
                else:
                    connection.sendall(b"250 2.0.0 OK\r\n" * said.count(b"\r\n"))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=session, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


@contextmanager
def timing() -> Iterator[list[float]]:
    """Yield a list to which every step of this thread's event loop adds its seconds of processor time."""
    found: list[float] = []
    run, ours = Handle._run, threading.get_ident()

    def timed(handle: Handle) -> Any:
        if threading.get_ident() != ours:
            return run(handle)
        start = time.thread_time()
        try:
            return run(handle)
        finally:
            found.append(time.thread_time() - start)

    Handle._run = timed  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Handle._run = run  # type: ignore[method-assign]


def hand_in(port: int, content: bytes) -> None:
    """Send a message, with nothing of it done in the relay's thread."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.sendmail("alice@example.org", ["bob@customer.test"], content)


async def longest_step(port: int, content: bytes, steps: list[float]) -> float:
    """Hand a message in and return the longest step that the relay took meanwhile, in seconds."""
    handing_in = asyncio.create_task(asyncio.to_thread(hand_in, port, content))
    await asyncio.sleep(0)
    steps.clear()
    await handing_in
    return max(steps)


TEXTS = {
    "25 MB": lambda: letter(25 * MEGABYTE).replace("reader@", "bob@"),
    "a page of 2 MB": lambda: page(1_900_000),
}


async def measure(text: str, folder: Path) -> tuple[list[float], set[str]]:
    """Hand a message in, up to three times; return each time's longest step, and the reasons on record."""
    content, tries = text.replace("\n", "\r\n").encode(), list[float]()
    with sink() as port, timing() as steps:
        async with running_relay(folder, port, max_message_bytes=40_000_000) as running:
            await running.agree("bob@customer.test")
            # As the worker does: going through what was imported is not what is measured.
            gc.freeze()
            while not tries or (tries[-1] > LIMIT and len(tries) < TRIES):
                tries.append(await longest_step(running.port, content, steps))
            await running.ledger.tick()
            return tries, {one["reason"] for one in await running.ledger.messages()}


if __name__ == "__main__":
    seconds, reasons = asyncio.run(measure(TEXTS[sys.argv[1]](), Path(sys.argv[2])))
    print(json.dumps([min(seconds), sorted(reasons)]))
