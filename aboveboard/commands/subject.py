"""`aboveboard subject`: one person's data, as a copy or gone."""

import json
from pathlib import Path
from typing import Any

import click

from aboveboard.commands.shared import load_config, with_ledger
from aboveboard.parameters import PERSON, config_option
from ledger.consent import Act, Person
from ledger.ledger import Ledger
from ledger.subject import Summary, as_csv
from policies.consent import Assurance

_REMOVED = {
    "consent_texts": "addresses and evidence of consent events",
    "messages": "messages to them",
    "hits": "hits",
    "sent": "names and subjects of messages they sent",
    "trackers_sent": "trackers found in those",
    "sender_settings": "settings for messages they send",
    "fingerprints": "fingerprints of messages",
    "links": "links mailed to them",
    "questions": "questions",
    "letters": "letters",
    "requests": "texts of requests",
}


@click.group()
def subject() -> None:
    """Copy or erase what is on record about one person."""


@subject.command()
@click.argument("address", type=PERSON)
@click.option("--csv", "form", flag_value="csv", help="As CSV, safe to open in a spreadsheet.")
@click.option("--json", "form", flag_value="json", default=True, help="As JSON, the exact form (the default).")
@config_option
def export(address: str, form: str, config_path: Path) -> None:
    """Print everything on record about a person. That you looked is recorded."""

    async def work(ledger: Ledger) -> dict[str, Any]:
        return await ledger.copy_of(Person.of(ledger.keyring, address))

    copy = with_ledger(load_config(config_path), work, act="subject export")
    click.echo(as_csv(copy) if form == "csv" else json.dumps(copy, indent=2), nl=form != "csv")


@subject.command()
@click.argument("address", type=PERSON)
@click.option("--yes", is_flag=True, help="Do it; it cannot be undone.")
@config_option
def erase(address: str, yes: bool, config_path: Path) -> None:
    """Remove everything about a person at once, but for the keyed hash by which nobody tracks them again."""
    if not yes:
        raise click.UsageError("This cannot be undone: say --yes.")
    act = Act("admin", "admin_on_behalf", Assurance.ASSERTED, "erased by an administrator")

    async def work(ledger: Ledger) -> Summary:
        return await ledger.erase(Person.of(ledger.keyring, address), act)

    summary = with_ledger(load_config(config_path), work, act="subject erase")
    counts = [f"{summary['removed'][name]} {words}" for name, words in _REMOVED.items()]
    click.echo(f"Removed: {', '.join(counts)}.")
    click.echo(
        f"Kept: {summary['kept']['consent_events']} consent events under a keyed hash, without address or text, so "
        "that the chain stays whole and the person is not tracked again."
    )
