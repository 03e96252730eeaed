"""What every command needs: the configuration, the ledger, and one clear sentence where something is wrong."""

import asyncio
import json
import sys
import unicodedata
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
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what steers a screen, turns text around or breaks lines, and has no shape of its own."""


def fail(*sentences: str) -> NoReturn:
    for sentence in sentences:
        click.echo(sentence, err=True)
    sys.exit(1)


def load_config(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        fail(*error.problems)


def read_text(path: Path) -> str:
    """Return what a file says that a command was given. Ends the command where it is no text."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        fail(f"{path}: cannot be read as UTF-8 text.")


def with_ledger(config: Config, work: Callable[[Ledger], Awaitable[Result]], *, act: str | None = None) -> Result:
    """Open the ledger, have the work done, and close it. Ends the command with one sentence where it fails.

    ``act`` names what an administrator does, or looks at: that they did is recorded first.
    """

    async def run() -> Result:
        await compose.make_ready(config)
        async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
            if act is not None:
                await ledger.record_access(act)
            return await work(ledger)

    try:
        return asyncio.run(run())
    except LedgerError as error:
        fail(str(error))


def shown(text: str) -> str:
    """Return text, which others may have written, without anything that a terminal would act on or hide."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in _UNSEEN else one for one in text)


Rows = list[dict[str, Any]]


def print_rows(
    config_path: Path, what: str, as_json: bool, fetch: Callable[[Ledger], Awaitable[Rows]], line: Callable[[Any], str]
) -> None:
    """Print what the ledger holds; that an administrator looked is recorded first."""
    found = with_ledger(load_config(config_path), fetch, act=what)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found:
            click.echo(shown(line(one)))
