"""What the ledger holds, and looking after it: messages, hits, the sender's link, purging, keys, tables."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from aboveboard import compose
from aboveboard.commands.shared import fail, load_config, print_rows, with_ledger
from aboveboard.parameters import PERSON, TEXT, config_option, json_option, limit_option
from ledger.database import Place, match_keys, see_that_it_is_there, upgrade
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.keys import rotate as rotate_keys
from ledger.ledger import Ledger
from ledger.recall import Recalled
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
@click.argument("address", type=PERSON)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How long the link is good.")
@config_option
def sender_link(address: str, days: int, config_path: Path) -> None:
    """Print the link where a sender sees what happened to their own messages."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> str:
        return sender_url(ledger.keyring, config.web.public_url, address, days * 86_400)

    click.echo(with_ledger(config, work, act="sender-link"))


_PURGED = {
    "hits": "hits",
    "untracked": "decisions of untracked messages",
    "names": "names and subjects",
    "decisions": "decisions of tracked messages",
    "trackers": "other people's trackers",
    "cases": "requests",
    "accesses": "notes of who looked",
    "logins": "failed logins",
    "events": "consent events",
    "links": "mailed links",
    "letters": "notes of mail that was sent",
}


@click.command()
@json_option
@config_option
def purge(as_json: bool, config_path: Path) -> None:
    """Apply the retention periods now, and say what was removed; `serve` does it every hour."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> dict[str, int]:
        return {**await ledger.purge(), "events": await ledger.purge_events()}

    removed = with_ledger(config, work)
    if as_json:
        click.echo(json.dumps(removed, indent=2))
        return
    stays = removed.pop("counts")
    click.echo(f"Removed: {', '.join(f'{count} {_PURGED.get(what, what)}' for what, count in removed.items())}.")
    click.echo(f"Of the hits {stays} {'count stays' if stays == 1 else 'counts stay'}, which name nobody.")


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
        after = rotate_keys(path)
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
        if compose.begun(config):
            see_that_it_is_there(place)
        upgrade(place)
        match_keys(place, config.ledger.key_file)
    except LedgerError as error:
        fail(str(error))
    click.echo("The ledger's tables are of this version.")


@db.command("restored")
@click.option("--without-journal", is_flag=True, help="The journal is lost: have the grants count all the same.")
@click.option("--reason", type=TEXT, help="Why; kept on record.")
@config_option
def db_restored(without_journal: bool, reason: str | None, config_path: Path) -> None:
    """Say that the ledger was restored from a backup: refusals and erasures made since are said again."""
    if without_journal != (reason is not None):
        raise click.UsageError("--without-journal and --reason belong together.")
    config = load_config(config_path)

    async def work() -> Recalled:
        found = await compose.make_ready(config)
        async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
            await ledger.record_access("db restored")
            if reason is not None and found.problem is not None:
                await ledger.go_on_without_journal(reason)
            if reason is not None or found.problem is None:
                await ledger.anchor_again()
        return found

    try:
        found = asyncio.run(work())
    except LedgerError as error:
        fail(str(error))
    if found.problem is not None and reason is None:
        fail(f"{found.problem} Put it back, or say --without-journal --reason TEXT; until then no grant counts.")
    click.echo(f"Said again from the journal: {found.replayed} refusals and erasures. The head file is in step.")
