"""`aboveboard check`: whether the configuration is right."""

import asyncio
from pathlib import Path

import click

from aboveboard import premises
from aboveboard.commands.shared import fail, load_config
from aboveboard.config import notes
from aboveboard.online import try_everything
from aboveboard.parameters import config_option


@click.command()
@config_option
@click.option("--online", is_flag=True, help="Also try certificates, upstream and public_url.")
def check(config_path: Path, online: bool) -> None:
    """Check the configuration; every error is named by its key path."""
    config = load_config(config_path)
    for sentence in [*notes(config), *asyncio.run(premises.notes(config))]:
        click.echo(f"note: {sentence}")
    problems = premises.problems(config)
    if online:
        found = asyncio.run(try_everything(config))
        problems += [one for one in found.problems if one not in problems]
        for sentence in found.notes:
            click.echo(f"note: {sentence}")
    if problems:
        fail(*problems)
    click.echo(f"{config_path}: everything is in order.")
