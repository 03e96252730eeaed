"""What every command needs: the configuration, the ledger, and one clear sentence where something is wrong."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from aboveboard import compose
from aboveboard.config import ConfigError, load
from aboveboard.settings import Config
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.ledger import Ledger

Result = TypeVar("Result")


def fail(*sentences: str) -> NoReturn:
    for sentence in sentences:
        click.echo(sentence, err=True)
    sys.exit(1)


def load_config(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        fail(*error.problems)


def with_ledger(config: Config, work: Callable[[Ledger], Awaitable[Result]]) -> Result:
    """Open the ledger, have the work done, and close it. Ends the command with one sentence where it fails."""

    async def run() -> Result:
        await compose.make_ready(config)
        async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
            return await work(ledger)

    try:
        return asyncio.run(run())
    except LedgerError as error:
        fail(str(error))


Rows = list[dict[str, Any]]


def print_rows(
    config_path: Path, what: str, as_json: bool, fetch: Callable[[Ledger], Awaitable[Rows]], line: Callable[[Any], str]
) -> None:
    """Print what the ledger holds; that an administrator looked is recorded first."""

    async def work(ledger: Ledger) -> Rows:
        await ledger.record_access(what)
        return await fetch(ledger)

    found = with_ledger(load_config(config_path), work)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found:
            click.echo(line(one))
