"""`aboveboard consent import` and the imports on record: `batches`, `suspend`, `resume`."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import agreements, compose
from aboveboard.agreements import AgreementsError
from aboveboard.commands.consent import consent
from aboveboard.commands.shared import fail, load_config, print_rows, with_ledger
from aboveboard.parameters import TEXT, config_option, json_option
from aboveboard.settings import Config
from ledger import chain, imports
from ledger import consent as consent_record
from ledger.imports import Agreement, Imported, Landing, Manner, Point, Progress
from ledger.ledger import Ledger, login
from ledger.notice import Notice
from policies.footer import Language

_SHOWN = 20
"""Errors that are named; of more, how many."""
_MEANING = {
    Landing.GRANTED: "count from now on",
    Landing.EXPIRED: "are on record, and over by their date",
    Landing.UNPROVEN: "are on record as unproven, and track nobody",
    Landing.REFUSED: "stay refused: the person said no",
    Landing.STANDING: "were on record already",
}


@consent.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--point", "point_id", default=None, help="The collection point; without one nobody is tracked.")
@click.option("--dry-run", is_flag=True, help="Say what would come of it, and write nothing.")
@config_option
def import_(file: Path, point_id: str | None, dry_run: bool, config_path: Path) -> None:
    """Take in agreements from a CSV file: address, purposes, date; optional: evidence, source, language.

    Everything is taken in, or nothing.
    """
    config = load_config(config_path)
    point = _point(config, point_id)
    try:
        rows = agreements.read(file, datetime.now(UTC))
    except AgreementsError as error:
        more = [f"… and {len(error.problems) - _SHOWN} more."] if len(error.problems) > _SHOWN else []
        fail(*error.problems[:_SHOWN], *more, "Nothing was imported.")
    # Where it goes must not be where the report goes; for whom nobody waits it is no line in a log either.
    with click.progressbar(
        length=len(rows), label="Agreements", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        act = None if dry_run else "consent import"
        done = with_ledger(
            config, lambda ledger: _run(config, ledger, rows, point, bar.update, dry_run=dry_run), act=act
        )
    for line in _report(done, len(rows), dry_run=dry_run):
        click.echo(line)


def _point(config: Config, point_id: str | None) -> Point | None:
    if point_id is None:
        return None
    found = config.consent.find(point_id)
    if found is None:
        known = ", ".join(point.id for point in config.consent.point) or "none"
        fail(f"There is no [[consent.point]] with the id {point_id!r}; there are: {known}.")
    return Point(found.id, found.where, found.wording, found.proof)


async def _run(
    config: Config, ledger: Ledger, rows: list[Agreement], point: Point | None, progress: Progress, *, dry_run: bool
) -> Imported:
    now = datetime.now(UTC)
    languages = {row.language or config.organisation.language for row in rows}
    url = config.web.public_url if config.system_mail is not None else None
    validity, language = compose.periods(config).consent, config.organisation.language

    def manner(notices: dict[Language, Notice]) -> Manner:
        return Manner(login(), notices, language, point, validity, url)

    async def said(connection: AsyncConnection) -> dict[Language, Notice]:
        return {one: await ledger.said(connection, one) for one in languages}

    if dry_run:
        built_in = {one: compose.teller(config).built_in(one) for one in languages}
        return await imports.try_rows(ledger, ledger.keyring, rows, manner(built_in), now, progress)
    how = manner(await ledger.job(said))
    done = await imports.import_rows(ledger, ledger.keyring, rows, how, now, progress)
    # The head file and the journal follow once, in the end.
    await ledger.append(chain.head)
    return done


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _report(done: Imported, rows: int, *, dry_run: bool) -> list[str]:
    trial = " (nothing was written)" if dry_run else ""
    agreed = sum(done.landed.values())
    lines = [f"{_counted(rows, 'row')}, {_counted(agreed, 'agreement')}{trial}:"]
    lines += [
        f"  {done.landed[landing]} {landing}: {_MEANING[landing]}." for landing in Landing if done.landed[landing]
    ]
    if done.letters:
        go = "would go" if dry_run else "go" if done.letters > 1 else "goes"
        lines.append(f"{_counted(done.letters, 'receipt')} {go} out by mail, each with a link to undo.")
    if done.batch is not None:
        lines.append(f"This import is {done.batch}; `aboveboard consent suspend` has it rest.")
    return lines


@consent.command()
@json_option
@config_option
def batches(as_json: bool, config_path: Path) -> None:
    """List imports, newest first, and which of them rest because somebody says they never agreed."""

    def line(one: dict[str, str]) -> str:
        rests = f", rests since {one['suspended_at']}" if one["suspended_at"] else ""
        point = one["collection_point"] or "without a collection point"
        rows = _counted(int(one["rows"]), "row") if one["rows"] else "not whole, counts for nobody"
        return f"{one['batch']} {one['imported_at']} by {one['imported_by']}: {point}, {rows}{rests}"

    print_rows(config_path, "consent batches", as_json, lambda ledger: ledger.read(imports.batches), line)


@consent.command()
@click.argument("batch", type=TEXT)
@config_option
def suspend(batch: str, config_path: Path) -> None:
    """Have the grants of an import rest, within a second everywhere."""

    async def work(ledger: Ledger) -> bool:
        return await ledger.job(lambda connection: consent_record.suspend(connection, batch, datetime.now(UTC)))

    if not with_ledger(load_config(config_path), work, act="consent suspend"):
        fail(f"There is no import {batch}, or it rests already; `aboveboard consent batches` lists them.")
    click.echo("The grants of this import do not count from now on.")


@consent.command()
@click.argument("batch", type=TEXT)
@config_option
def resume(batch: str, config_path: Path) -> None:
    """Have the grants of an import count again. Who said that they never agreed stays out of it."""

    async def work(ledger: Ledger) -> bool:
        return await ledger.job(lambda connection: consent_record.resume(connection, batch))

    if not with_ledger(load_config(config_path), work, act="consent resume"):
        fail(f"There is no import {batch} that rests; `aboveboard consent batches` lists them.")
    click.echo("The grants of this import count again.")
