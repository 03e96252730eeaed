"""What the ledger holds, and looking after it: messages, hits, the sender's link, purging, keys, tables."""

from pathlib import Path
from typing import Any

import click

from aboveboard.commands.shared import fail, load_config, print_rows, with_ledger
from aboveboard.parameters import ADDRESS, config_option, json_option, limit_option
from ledger.database import Place, match_keys, upgrade
from ledger.errors import LedgerError
from ledger.keys import KeyFile
from ledger.ledger import Ledger
from ledger.tokens import sender_url


@click.command()
@json_option
@limit_option
@config_option
def messages(as_json: bool, limit: int | None, config_path: Path) -> None:
    """List messages and what was decided about them, newest first. That you looked is recorded."""

    def line(one: dict[str, Any]) -> str:
        who = f" {one['sender']} → {one['recipient']}: {one['subject']}" if one["recipient"] else ""
        return f"{one['decided_at']} {one['message']} {one['class']} {one['reason']} {one['outcome']}{who}"

    print_rows(config_path, "messages", as_json, lambda ledger: ledger.messages(limit=limit), line)


@click.command()
@json_option
@limit_option
@config_option
def hits(as_json: bool, limit: int | None, config_path: Path) -> None:
    """List hits, newest first. That you looked is recorded."""

    def line(one: dict[str, Any]) -> str:
        target = f" {one['target']}" if one["target"] else ""
        return f"{one['first_at']} {one['message']} {one['purpose']} {one['verdict']} {one['count']}×{target}"

    print_rows(config_path, "hits", as_json, lambda ledger: ledger.hits(limit=limit), line)


@click.command("sender-link")
@click.argument("address", type=ADDRESS)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How long the link is good.")
@config_option
def sender_link(address: str, days: int, config_path: Path) -> None:
    """Print the link where a sender sees what happened to their own messages."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> str:
        await ledger.record_access("sender-link")
        return sender_url(ledger.keyring, config.web.public_url, address, days * 86_400)

    click.echo(with_ledger(config, work))


@click.command()
@config_option
def purge(config_path: Path) -> None:
    """Apply the retention periods now; `serve` does it every day."""
    config = load_config(config_path)
    removed = with_ledger(config, lambda ledger: ledger.purge())
    click.echo(
        f"Removed: {removed['hits']} hits, {removed['untracked']} decisions of untracked messages, {removed['names']} "
        f"names and subjects, {removed['decisions']} decisions of tracked messages, "
        f"{removed['trackers']} other people's trackers."
    )


@click.group()
def key() -> None:
    """Look after the key file."""


@key.command()
@config_option
def rotate(config_path: Path) -> None:
    """Take the next step of a token key rotation: make a new key known, then, called again, use it."""
    config = load_config(config_path)
    path = config.ledger.key_file
    try:
        before = KeyFile.read(path)
        after = before.rotated()
        after.write(path)
    except FileNotFoundError:
        fail(f"The key file {path} is missing.")
    except LedgerError as error:
        fail(str(error))
    if after.pending is not None:
        click.echo(f"Key {after.pending} is known now and will be read. Run this again once every process has it.")
    else:
        click.echo(f"Key {after.sealing} is in use from now on. Older keys stay, for links in mail already sent.")


@click.group()
def db() -> None:
    """Look after the ledger's database."""


@db.command("upgrade")
@config_option
def db_upgrade(config_path: Path) -> None:
    """Bring the ledger's tables up to this version."""
    config = load_config(config_path)
    try:
        place = Place(config.ledger.url)
        upgrade(place)
        match_keys(place, config.ledger.key_file)
    except LedgerError as error:
        fail(str(error))
    click.echo("The ledger's tables are of this version.")
