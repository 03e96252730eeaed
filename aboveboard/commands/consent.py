"""`aboveboard consent`: recording and looking up what people agreed to."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard.commands.shared import fail, load_config, shown, with_ledger
from aboveboard.parameters import PERSON, PURPOSE, WORD, WRITABLE, config_option, json_option
from ledger import asking
from ledger.consent import Act, Person, words
from ledger.ledger import Ledger
from policies.consent import Assurance
from policies.words import Purpose


@click.group()
def consent() -> None:
    """Record and look up what people agreed to."""


@consent.command()
@click.argument("address", type=PERSON)
@click.option("--purpose", "purposes", type=PURPOSE, multiple=True, required=True, help="What was agreed to.")
@click.option("--method", type=WORD, required=True, help="How it was given: paper, phone, form …")
@click.option("--evidence", type=WRITABLE, default="", help="Where the proof is and what it says; a grant needs it.")
@config_option
def grant(address: str, purposes: tuple[str, ...], method: str, evidence: str, config_path: Path) -> None:
    """Record that a person agreed, with evidence of it."""
    config = load_config(config_path)
    chosen = [purpose for purpose in Purpose if purpose.value in purposes]
    act = Act("admin", method, Assurance.ASSERTED, "recorded by an administrator", evidence)
    with_ledger(config, lambda ledger: ledger.grant(address, chosen, act), act="consent grant")
    click.echo(f"Recorded: {address} agreed to {', '.join(chosen)} (for {config.retention.consent_days} days).")


@consent.command()
@click.argument("address", type=PERSON)
@click.option("--purpose", "purposes", type=PURPOSE, multiple=True, help="What is withdrawn; by default everything.")
@click.option("--method", type=WORD, default="admin_on_behalf", show_default=True, help="How it was said.")
@click.option("--keep-hits", is_flag=True, help="Keep the hits recorded so far.")
@config_option
def withdraw(address: str, purposes: tuple[str, ...], method: str, keep_hits: bool, config_path: Path) -> None:
    """Record that a person refuses or withdraws; holds at once, for sent messages too."""
    config = load_config(config_path)
    chosen = [purpose for purpose in Purpose if purpose.value in purposes or not purposes]
    act = Act("admin", method, Assurance.ASSERTED, "recorded by an administrator")

    async def work(ledger: Ledger) -> bool:
        return await ledger.refuse(Person.of(ledger.keyring, address), chosen, act, keep_hits=keep_hits)

    if not with_ledger(config, work, act="consent withdraw"):
        click.echo(f"Nothing new to record: {address} has refused {', '.join(chosen)} already.")
        return
    kept = "are kept" if keep_hits else "are deleted"
    click.echo(f"Recorded: {address} refuses {', '.join(chosen)}. Hits so far {kept}; only they can agree again.")


@consent.command()
@click.argument("address", type=PERSON)
@json_option
@config_option
def show(address: str, as_json: bool, config_path: Path) -> None:
    """Show where a person stands, and every event that led there."""
    config = load_config(config_path)

    async def work(ledger: Ledger) -> dict[str, Any]:
        person = Person.of(ledger.keyring, address)
        standings, events = await ledger.standing(person), await ledger.history(person, wider=True)
        return {"address": address, "consent": words(standings, events, datetime.now(UTC)), "events": events}

    found = with_ledger(config, work, act="consent show")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for purpose, state in found["consent"].items():
        click.echo(f"{purpose}: {state}")
    for event in found["events"]:
        proof = f", evidence: {event['evidence']}" if event["evidence"] else ""
        until = f", until {event['valid_until'][:10]}" if event["valid_until"] else ""
        how = f"by {event['actor']} ({event['method']}){until}{proof}"
        click.echo(shown(f"  {event['time']} {event['purpose']} {event['state']} {how}"))


@consent.command()
@click.argument("address", type=PERSON)
@config_option
def ask(address: str, config_path: Path) -> None:
    """Ask a person for their agreement by one mail, no more often than every six months."""
    config = load_config(config_path)
    if config.system_mail is None:
        fail("There is no [system_mail] in the configuration, so nobody can be asked by mail.")

    async def work(ledger: Ledger) -> None:
        async def ask_in(connection: AsyncConnection) -> tuple[int, str]:
            said, url = await ledger.said(connection, config.organisation.language), config.web.public_url
            asked = await asking.ask_by_mail(connection, ledger.keyring, address, said, url, datetime.now(UTC))
            return asked.head

        await ledger.append(ask_in)

    with_ledger(config, work, act="consent ask")
    click.echo(f"The question to {address} is in the outbox; `serve` sends it. The answer comes by their own mailbox.")
