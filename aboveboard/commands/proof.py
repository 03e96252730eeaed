"""`aboveboard consent export`, `anchor`, `proof` and `verify`: what is on record, for others to keep and to check."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import upkeep
from aboveboard.commands.consent import consent
from aboveboard.commands.shared import fail, load_config, read_text, with_ledger
from aboveboard.parameters import PERSON, config_option
from ledger import exports
from ledger import proof as proofs
from ledger.anchor import Anchor, Comparison, Head, compare
from ledger.anchor import anchor as head_of
from ledger.anchor import read as anchor_in
from ledger.chain import Verification
from ledger.consent import Person
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.ledger import Ledger

output_option = click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="A file, instead of the screen."
)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open where to write; a file is for its owner's eyes only. Ends the command where it cannot be written."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        fail(f"{output}: cannot be written: {error.strerror}.")
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        if output.is_file():
            # One that was there may have been open to others.
            os.fchmod(descriptor, 0o600)
        yield file


@consent.command()
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@output_option
@config_option
def export(kind: str, output: Path | None, config_path: Path) -> None:
    """Write who agreed, who refused and who was asked: one line per person and purpose. That you did is recorded."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> int:
        with _opened(output) as file:
            return await ledger.read(lambda connection: _write(connection, ledger, kind, file))

    try:
        lines = with_ledger(config, work, act="consent export")
    except _Unwritable as trouble:
        raise trouble.error from trouble
    if output is not None:
        click.echo(f"{lines} lines are in {output}.")


class _Unwritable(Exception):
    """A line could not be written out; the ledger, in whose transaction it is read, takes an OSError for its own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


async def _write(connection: AsyncConnection, ledger: Ledger, kind: str, file: TextIO) -> int:
    def put(text: str) -> None:
        try:
            file.write(text)
        except OSError as error:
            raise _Unwritable(error) from error

    count = 0
    if kind == "csv":
        put(exports.as_csv(exports.COLUMNS))
    async for line in exports.standings(connection, ledger.keyring, datetime.now(UTC)):
        put(exports.as_csv(list(line.values())) if kind == "csv" else exports.as_json(line))
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

    async def work(ledger: Ledger) -> Anchor:
        head = await ledger.read(lambda connection: head_of(connection, datetime.now(UTC)))
        await upkeep.give_away(config, ledger, head, file)
        return head

    try:
        head = with_ledger(config, work)
    except OSError as error:
        fail(f"{file}: cannot be written: {error.strerror}.")
    where = f"is in {file}" if file is not None else f"goes to {config.organisation.contact}"
    click.echo(f"Event {head.sequence}, {head.link}, {where}.")


@consent.command()
@click.argument("address", type=PERSON)
@output_option
@config_option
def proof(address: str, output: Path | None, config_path: Path) -> None:
    """Write one signed file that proves what a person said, and what was done by it. That you did is recorded."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> str:
        person, now = Person.of(ledger.keyring, address), datetime.now(UTC)
        found = await ledger.read(lambda connection: proofs.proof(connection, ledger.keyring, person, now))
        return json.dumps(found, indent=2, ensure_ascii=False)

    text = with_ledger(config, work, act="consent proof")
    with _opened(output) as file:
        file.write(text + "\n")
    if output is not None:
        click.echo(f"The proof is in {output}; `aboveboard consent verify {output}` checks it.")


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@consent.command()
@click.argument("file", type=_FILE, required=False)
@click.option("--anchors", type=_FILE, help="Heads that were kept, as `anchor` writes them: a line for each.")
@config_option
def verify(file: Path | None, anchors: Path | None, config_path: Path) -> None:
    """Walk the chain of consent events and say whether anything was altered; or check FILE, a proof."""
    if file is not None and anchors is not None:
        raise click.UsageError("A proof and anchors are checked one after the other.")
    config = load_config(config_path)
    if file is not None:
        _verify_proof(file, config.ledger.key_file)
        return
    kept = _read_anchors(anchors) if anchors is not None else []

    async def work(ledger: Ledger) -> tuple[Verification, Comparison]:
        return await ledger.verify(), await ledger.read(lambda connection: compare(connection, kept))

    chain, said = with_ledger(config, work)
    if not chain.whole or said.flaws:
        fail(*(flaw.text for flaw in chain.flaws), *said.flaws)
    click.echo(f"The chain is whole: {chain.events} events.")
    if anchors is not None:
        gone = f"; {said.purged} are of events that a purge removed since" if said.purged else ""
        click.echo(f"{said.agreeing} of {len(kept)} anchors agree with it{gone}.")


def _read_anchors(file: Path) -> list[Head]:
    """Return the anchors in a file. Ends the command where a line is none, or where there is none at all."""
    found = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if line.strip():
            head = anchor_in(line)
            if head is None:
                fail(f"{file}, line {number}: no anchor as `aboveboard consent anchor` writes it.")
            found.append(head)
    if not found:
        fail(f"{file}: holds no anchor.")
    return found


def _verify_proof(file: Path, key_file: Path) -> None:
    try:
        flaws = proofs.check(Keyring.load(key_file), read_text(file))
    except LedgerError as error:
        fail(str(error))
    if flaws:
        fail(*flaws)
    click.echo("The proof is as it was made, with this key file.")
