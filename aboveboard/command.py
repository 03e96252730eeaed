"""What commands share: failing with a sentence, loading the configuration, and working with the ledger."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from aboveboard import compose
from aboveboard.config import Config, ConfigError, load
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.ledger import Ledger

Result = TypeVar("Result")


def fail(*sentences: str) -> NoReturn:
    """End the command with exit 1, and a line on standard error for each sentence."""
    for sentence in sentences:
        click.echo(sentence, err=True)
    sys.exit(1)


def load_or_fail(path: Path) -> Config:
    """Return the configuration in a file; end the command with a sentence per error."""
    try:
        return load(path)
    except ConfigError as error:
        fail(*error.problems)


def with_ledger(config: Config, work: Callable[[Ledger], Awaitable[Result]]) -> Result:
    """Open the ledger, have the work done, and close it. Ends the command with one sentence where it fails."""

    async def run() -> Result:
        compose.make_ready(config)
        async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
            return await work(ledger)

    try:
        return asyncio.run(run())
    except LedgerError as error:
        fail(str(error))
