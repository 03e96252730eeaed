"""`aboveboard serve`, `relay` and `web`."""

from pathlib import Path

import click

from aboveboard import logs
from aboveboard.commands.shared import fail
from aboveboard.config import ConfigError
from aboveboard.parameters import config_option, workers_option
from aboveboard.serve import Parent
from ledger.errors import LedgerError


def _serve(config_path: Path, parts: list[str], workers: int) -> None:
    logs.set_up(serving=True)
    try:
        Parent(config_path.absolute(), parts, workers).run()
    except ConfigError as error:
        fail(*error.problems)
    except LedgerError as error:
        fail(str(error))


@click.command()
@config_option
@workers_option
def serve(config_path: Path, workers: int) -> None:
    """Run relay and web."""
    _serve(config_path, ["relay", "web"], workers)


@click.command()
@config_option
@workers_option
def relay(config_path: Path, workers: int) -> None:
    """Run the relay only."""
    _serve(config_path, ["relay"], workers)


@click.command()
@config_option
@workers_option
def web(config_path: Path, workers: int) -> None:
    """Run the web application only."""
    _serve(config_path, ["web"], workers)
