"""`aboveboard audit`: what was decided, found and changed, for a person, a program or a spreadsheet."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from aboveboard.commands.shared import fail, load_config, shown, with_ledger
from aboveboard.parameters import DAY, TEXT, config_option, json_option
from aboveboard.settings import Config
from ledger.audit import Period
from ledger.ledger import Ledger

DAYS = 30
"""How long a report is over where nobody says."""
SECTIONS = {
    "decisions": "Decisions, by class and reason",
    "hits": "Hits, by purpose and verdict; a dash is fewer than five people's",
    "vendors": "Other people's trackers, by vendor",
    "senders": "Other people's trackers, by sender",
    "policy_versions": "Versions of the policy that ruled",
    "consent": "Consent events, by day",
    "accesses": "What administrators looked at and did",
}
_RUNS = tuple("=+-@\t\r\n＝＋－＠")
"""What a spreadsheet may take for the beginning of a formula (OWASP, CSV injection), in wide characters too."""


@click.command()
@click.option("--since", type=DAY, help="The first day, in UTC; by default 30 days are in the report.")
@click.option("--until", type=DAY, help="The last day, in UTC; by default today.")
@json_option
@click.option("--csv", "as_table", is_flag=True, help="Print CSV that no spreadsheet runs anything of.")
@click.option("--reveal", is_flag=True, help="Name senders instead of giving them pseudonyms; that is recorded.")
@click.option("--reason", type=TEXT, help="Why they are named; recorded, and needed with --reveal.")
@click.option("--policy", "version", type=TEXT, help="Print one version of the policy in full instead.")
@config_option
def audit(
    since: date | None,
    until: date | None,
    as_json: bool,
    as_table: bool,
    reveal: bool,
    reason: str | None,
    version: str | None,
    config_path: Path,
) -> None:
    """Report decisions, other people's trackers, versions of the policy, consent and accesses. It is recorded."""
    if as_json and as_table:
        raise click.UsageError("--json and --csv are two forms of one report: choose one.")
    if reveal != (reason is not None):
        raise click.UsageError("--reveal and --reason belong together.")
    last = until or datetime.now(UTC).date()
    period = Period(since or last - timedelta(days=DAYS - 1), last)
    if period.first > period.last:
        raise click.UsageError("--since is after --until.")
    config = load_config(config_path)
    if version is not None:
        _print_policy(config, version)
        return

    async def work(ledger: Ledger) -> dict[str, Any]:
        await ledger.record_access("audit --reveal" if reveal else "audit", reason)
        return await ledger.audit(period, reveal=reveal)

    report = with_ledger(config, work)
    if as_table:
        click.echo(as_csv(report), nl=False)
    else:
        click.echo(json.dumps(report, indent=2) if as_json else as_text(report))


def _print_policy(config: Config, version: str) -> None:
    found = with_ledger(config, lambda ledger: ledger.policy(version))
    if found is None:
        fail(f"No policy of version {version} has ruled here; `aboveboard audit` lists those that did.")
    click.echo(json.dumps(found, indent=2))
    if not found["unaltered"]:
        fail(f"The text on record is not the one that version {version} was named for: it was altered.")


def as_text(report: dict[str, Any]) -> str:
    """Return a report for a person to read."""
    lines = [f"From {report['since']} to {report['until']}, in UTC."]
    for name, title in SECTIONS.items():
        lines += ["", title]
        lines += _table(report[name]) if report[name] else ["  none"]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows as lines with aligned columns, and their keys above."""
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def _shown(value: Any) -> str:
    """Return a value without anything that a terminal would act on."""
    return "-" if value is None else shown(str(value))


def as_csv(report: dict[str, Any]) -> str:
    """Return a report as one table: a row says in its first cell which section it is of, and has cells for its keys."""
    rows = [{"section": name, **row} for name in SECTIONS for row in report[name]]
    columns = list(dict.fromkeys(["section", *(key for row in rows for key in row)]))
    page = io.StringIO()
    writer = csv.writer(page, quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([defused(row.get(column)) for column in columns] for row in rows)
    return page.getvalue()


def defused(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula: one that might be begins with an apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_RUNS) or text.lstrip().startswith(_RUNS) else text
