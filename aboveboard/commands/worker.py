"""The workers: what `serve` starts, one process each."""

from pathlib import Path
from typing import Any

import click

from aboveboard import logs
from aboveboard.commands.shared import fail
from aboveboard.config import ConfigError
from aboveboard.worker import Handover, run
from ledger.errors import LedgerError


def _run(part: str, given: Handover) -> None:
    """Run a part. A process imports one of the two: it is ready sooner, and smaller."""
    if part == "relay":
        from aboveboard.relayworker import relay

        run(relay, given)
    else:
        from aboveboard.webworker import web

        run(web, given)


@click.command(hidden=True)
@click.argument("part", type=click.Choice(["relay", "web"]))
@click.option("--in-force", "place", type=click.Path(path_type=Path), required=True)
@click.option("--sockets", required=True)
@click.option("--workers", type=int, required=True)
@click.option("--number", type=int, required=True)
@click.option("--census", type=int, required=True)
@click.option("--ready", type=int, required=True)
@click.option("--life", type=int, required=True)
def worker(part: str, sockets: str, **handed: Any) -> None:
    """Run one worker, on what the parent hands over."""
    logs.set_up(serving=True)
    try:
        _run(part, Handover(sockets=[int(number) for number in sockets.split(",")], **handed))
    except ConfigError as error:
        fail(*error.problems)
    except LedgerError as error:
        fail(str(error))
