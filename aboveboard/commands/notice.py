"""`aboveboard notice`: what people are told before they agree, in versions that never change."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aboveboard import compose
from aboveboard.commands.shared import fail, load_config, read_text, with_ledger
from aboveboard.parameters import config_option, json_option
from ledger import notices
from ledger.ledger import Ledger, login


@click.group()
def notice() -> None:
    """Add and look up what people are told before they agree."""


@notice.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Go ahead though it ends agreements.")
@config_option
def add(file: Path, yes: bool, config_path: Path) -> None:
    """Put the notice in FILE in force: TOML, one table per language.

    Where it asks for something else than the one before, people who agreed to that one must be asked again.
    """
    config = load_config(config_path)
    content = read_text(file)

    async def work(ledger: Ledger) -> tuple[notices.Change, notices.Added | None]:
        teller, moment = compose.teller(config), datetime.now(UTC)
        change = await ledger.read(lambda connection: notices.change(connection, teller, content, moment))
        if change.ends_grants and change.standing and not yes:
            return change, None
        return change, await ledger.add_notice(content, login())

    change, added = with_ledger(config, work)
    if added is None:
        fail(
            f"This notice asks for something else than the one in force: it ends the agreements of {change.standing} "
            f"people, who must be asked again. Nothing was changed; call it again with --yes to go ahead."
        )
    effect = f"ends the agreements of {change.standing} people" if added.ends_grants else "leaves every agreement as is"
    click.echo(f"Version {added.version} is in force; it {effect}.")
    for one in added.notices:
        click.echo(f"  {one.id} {one.language} {one.title}")


@notice.command("list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path) -> None:
    """List every notice on record, newest first."""
    found = with_ledger(load_config(config_path), lambda ledger: ledger.notices())
    if as_json:
        click.echo(json.dumps([{**one, "body": json.loads(one["body"])} for one in found], indent=2))
        return
    for one in found:
        version = f"version {one['version']}" if one["version"] else "built in"
        title = json.loads(one["body"])["title"]
        click.echo(f"{one['id']} {one['language']} {version} {one['created_at']} by {one['created_by']}: {title}")


@notice.command()
@click.argument("notice_id", metavar="ID")
@config_option
def show(notice_id: str, config_path: Path) -> None:
    """Show a notice as people were shown it, with everything that is stored about them."""
    found = with_ledger(load_config(config_path), lambda ledger: ledger.notices())
    bodies: list[dict[str, Any]] = [json.loads(one["body"]) for one in found if one["id"] == notice_id]
    if not bodies:
        fail(f"There is no notice {notice_id}; `aboveboard notice list` names them.")
    click.echo(json.dumps(bodies[0], indent=2, ensure_ascii=False))
