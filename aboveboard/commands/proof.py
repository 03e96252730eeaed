"""`aboveboard consent export`, `anchor` and `proof`: what is on record, for somebody else to read or to keep."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import upkeep
from aboveboard.commands.consent import consent
from aboveboard.commands.shared import fail, load_config, with_ledger
from aboveboard.parameters import ADDRESS, config_option
from ledger import exports
from ledger import proof as proofs
from ledger.consent import Person
from ledger.ledger import Ledger

output_option = click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="A file, instead of the screen."
)


def _open(output: Path | None) -> TextIO:
    """Return where to write; a file is for its owner's eyes only. Ends the command where it cannot be written."""
    if output is None:
        return sys.stdout
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        fail(f"{output}: cannot be written: {error.strerror}.")
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")


@consent.command()
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@output_option
@config_option
def export(kind: str, output: Path | None, config_path: Path) -> None:
    """Write who agreed, who refused and who was asked: one line per person and purpose. That you did is recorded."""
    config = load_config(config_path)
    file = _open(output)

    async def work(ledger: Ledger) -> int:
        await ledger.record_access("consent export")
        return await ledger.read(lambda connection: _write(connection, ledger, kind, file))

    lines = with_ledger(config, work)
    file.flush()
    if output is not None:
        file.close()
        click.echo(f"{lines} lines are in {output}.")


async def _write(connection: AsyncConnection, ledger: Ledger, kind: str, file: TextIO) -> int:
    count = 0
    if kind == "csv":
        file.write(exports.as_csv(exports.COLUMNS))
    async for line in exports.standings(connection, ledger.keyring, datetime.now(UTC)):
        file.write(exports.as_csv(list(line.values())) if kind == "csv" else exports.as_json(line))
        count += 1
    return count


@consent.command()
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Add it to this file.")
@config_option
def anchor(file: Path | None, config_path: Path) -> None:
    """Write the head of the consent chain to a file, or mail it to the contact, so that no alteration goes unseen."""
    config = load_config(config_path)
    if file is None and config.system_mail is None:
        fail("There is no [system_mail] in the configuration; name a file with --file.")

    async def work(ledger: Ledger) -> proofs.Anchor:
        head = await ledger.read(lambda connection: proofs.anchor(connection, datetime.now(UTC)))
        await upkeep.give_away(config, ledger, head, file)
        return head

    try:
        head = with_ledger(config, work)
    except OSError as error:
        fail(f"{file}: cannot be written: {error.strerror}.")
    where = f"is in {file}" if file is not None else f"goes to {config.organisation.contact}"
    click.echo(f"Event {head.sequence}, {head.link}, {where}.")


@consent.command()
@click.argument("address", type=ADDRESS)
@output_option
@config_option
def proof(address: str, output: Path | None, config_path: Path) -> None:
    """Write one signed file that proves what a person said, and what was done by it. That you did is recorded."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> str:
        await ledger.record_access("consent proof")
        person, now = Person.of(ledger.keyring, address), datetime.now(UTC)
        found = await ledger.read(lambda connection: proofs.proof(connection, ledger.keyring, person, now))
        return json.dumps(found, indent=2, ensure_ascii=False)

    text = with_ledger(config, work)
    file = _open(output)
    file.write(text + "\n")
    file.flush()
    if output is not None:
        file.close()
        click.echo(f"The proof is in {output}; `aboveboard consent verify {output}` checks it.")
