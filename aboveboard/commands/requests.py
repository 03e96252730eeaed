"""`aboveboard requests`: what people asked for, until when it must be answered, and the answers."""

import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import compose, reminding
from aboveboard.commands.shared import load_config, print_rows, shown, with_ledger
from aboveboard.parameters import DAY, PERSON, TEXT, config_option, json_option
from aboveboard.settings import Config
from ledger import informing
from ledger import requests as cases
from ledger.ledger import Ledger


@click.group()
def requests() -> None:
    """Look after requests and complaints."""


@requests.command("list")
@click.option("--overdue", is_flag=True, help="Only what should have been done by today, people to inform included.")
@json_option
@config_option
def list_(overdue: bool, as_json: bool, config_path: Path) -> None:
    """List requests, the one that is due first before the others. That you looked is recorded."""

    async def fetch(ledger: Ledger) -> list[dict[str, Any]]:
        if overdue:
            return await reminding.overdue(load_config(config_path), ledger)
        return await ledger.read(lambda connection: cases.cases(connection, ledger.keyring))

    def line(one: dict[str, Any]) -> str:
        return f"{one['due_by']} {one['number'] or '-'} {one['kind']} {one['state']} {one['address'] or '(erased)'}"

    print_rows(config_path, "requests list", as_json, fetch, line)


@requests.command()
@click.argument("number", type=TEXT)
@json_option
@config_option
def show(number: str, as_json: bool, config_path: Path) -> None:
    """Show a request with what was written. That you looked is recorded."""

    async def work(ledger: Ledger) -> dict[str, Any]:
        return await ledger.read(lambda connection: cases.case(connection, ledger.keyring, number))

    found = with_ledger(load_config(config_path), work, act="requests show")
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(found)))


def _lines(case: dict[str, Any]) -> Iterator[str]:
    """Yield a case for a person to read; what somebody wrote on several lines cannot be taken for another field."""
    for key, value in case.items():
        first, *rest = ("-" if value is None else str(value)).splitlines() or [""]
        yield shown(f"{key}: {first}")
        yield from (shown(f"  {line}") for line in rest)


def _do(config: Config, act: str, ledger_work: Callable[[AsyncConnection, Ledger], Awaitable[None]]) -> None:
    with_ledger(config, lambda ledger: ledger.job(lambda connection: ledger_work(connection, ledger)), act=act)


@requests.command()
@click.argument("number", type=TEXT)
@config_option
def acknowledge(number: str, config_path: Path) -> None:
    """Note that the person knows that their request has arrived; with mail of our own they hear by letter."""
    config = load_config(config_path)
    _do(config, "requests acknowledge", lambda connection, _: cases.acknowledge(connection, number, datetime.now(UTC)))
    click.echo(f"Acknowledged: {number}.")


@requests.command()
@click.argument("number", type=TEXT)
@click.option("--text", type=TEXT, required=True, help="What the person is told.")
@config_option
def answer(number: str, text: str, config_path: Path) -> None:
    """Answer a request, and close it."""
    config = load_config(config_path)

    async def work(connection: AsyncConnection, ledger: Ledger) -> None:
        now = datetime.now(UTC)
        await cases.answer(connection, ledger.keyring, number, text, now, compose.calendar(config))

    _do(config, "requests answer", work)
    click.echo(f"Answered: {number}. {_by_letter(config)}")


@requests.command()
@click.argument("number", type=TEXT)
@click.option("--reason", type=TEXT, required=True, help="Why; the person is told.")
@click.option("--until", type=DAY, required=True, help="The new day, like 2026-03-31.")
@config_option
def extend(number: str, reason: str, until: date, config_path: Path) -> None:
    """Put an answer off, with a reason; by two months at most."""
    config = load_config(config_path)

    async def work(connection: AsyncConnection, ledger: Ledger) -> None:
        calendar, now = compose.calendar(config), datetime.now(UTC)
        await cases.extend(connection, ledger.keyring, number, reason, until, now, calendar)

    _do(config, "requests extend", work)
    click.echo(f"Put off until {until}: {number}. {_by_letter(config)}")


@requests.command()
@click.argument("address", type=PERSON)
@config_option
def informed(address: str, config_path: Path) -> None:
    """Note that a person was told, in some way of your own, what is on record about them."""
    now = datetime.now(UTC)
    _do(
        load_config(config_path),
        "requests informed",
        lambda connection, ledger: informing.was_informed(connection, ledger.keyring, address, now),
    )
    click.echo(f"Noted: {address} was informed.")


def _by_letter(config: Config) -> str:
    return (
        "The person hears by letter." if config.system_mail is not None else "There is no mail of our own: tell them."
    )
