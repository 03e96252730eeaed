"""The command. Errors are one clear sentence on standard error; exit 2 for a wrong call, 1 for a negative answer."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from aboveboard import compose, logs
from aboveboard.config import Config, ConfigError, json_schema, load, without_effect
from aboveboard.explain import as_text, explain_message, rewrite_message
from aboveboard.parameters import (
    ADDRESS,
    PURPOSE,
    PURPOSES,
    TEXT,
    config_option,
    json_option,
    limit_option,
    workers_option,
)
from ledger.consent import VALIDITY, Act, Person
from ledger.database import Place, match_keys, upgrade
from ledger.errors import LedgerError
from ledger.keys import KeyFile, Keyring
from ledger.ledger import Ledger
from ledger.tokens import sender_url
from policies.consent import Assurance
from policies.envelope import Envelope
from policies.words import Purpose

Result = TypeVar("Result")


def _fail(*sentences: str) -> NoReturn:
    for sentence in sentences:
        click.echo(sentence, err=True)
    sys.exit(1)


def _load(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        _fail(*error.problems)


def _with_ledger(config: Config, work: Callable[[Ledger], Awaitable[Result]]) -> Result:
    """Open the ledger, have the work done, and close it. Ends the command with one sentence where it fails."""

    async def run() -> Result:
        compose.make_ready(config)
        async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
            return await work(ledger)

    try:
        return asyncio.run(run())
    except LedgerError as error:
        _fail(str(error))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aboveboard")
def main() -> None:
    """An SMTP relay that tracks mail only where policy and the recipient's recorded consent allow it."""
    logs.set_up(serving=False)


def _serve(config_path: Path, parts: list[str], workers: int) -> None:
    from aboveboard.serve import Parent

    logs.set_up(serving=True)
    config = _load(config_path)
    try:
        Parent(config, config_path.absolute(), parts, workers).run()
    except ConfigError as error:
        _fail(*error.problems)
    except LedgerError as error:
        _fail(str(error))


@main.command()
@config_option
@workers_option
def serve(config_path: Path, workers: int) -> None:
    """Run relay and web."""
    _serve(config_path, ["relay", "web"], workers)


@main.command()
@config_option
@workers_option
def relay(config_path: Path, workers: int) -> None:
    """Run the relay only."""
    _serve(config_path, ["relay"], workers)


@main.command()
@config_option
@workers_option
def web(config_path: Path, workers: int) -> None:
    """Run the web application only."""
    _serve(config_path, ["web"], workers)


@main.command(hidden=True)
@click.argument("part", type=click.Choice(["relay", "web"]))
@config_option
@click.option("--sockets", required=True)
@click.option("--workers", type=int, required=True)
@click.option("--ready", type=int, required=True)
@click.option("--life", type=int, required=True)
def worker(part: str, config_path: Path, sockets: str, workers: int, ready: int, life: int) -> None:
    """Run one worker, on what the parent hands over."""
    from aboveboard.worker import run

    logs.set_up(serving=True)
    try:
        run(part, _load(config_path), [int(number) for number in sockets.split(",")], workers, ready, life)
    except ConfigError as error:
        _fail(*error.problems)
    except LedgerError as error:
        _fail(str(error))


@main.command()
@click.option("--smtp-port", type=int, default=0, help="Port of the relay; by default any that is free.")
@click.option("--web-port", type=int, default=0, help="Port of the web pages.")
@click.option("--mailbox-port", type=int, default=0, help="Port of the mailbox page.")
def demo(smtp_port: int, web_port: int, mailbox_port: int) -> None:
    """Run everything on loopback, with an embedded mailbox as the upstream, and print the addresses to open."""
    from aboveboard.demo import run

    run(smtp_port, web_port, mailbox_port)


@main.command()
@config_option
@click.option("--online", is_flag=True, help="Also try certificates, upstream and public_url.")
def check(config_path: Path, online: bool) -> None:
    """Check the configuration; every error is named by its key path."""
    from aboveboard.online import local_problems, try_everything

    config = _load(config_path)
    for sentence in without_effect(config):
        click.echo(f"note: {sentence}")
    problems = local_problems(config)
    if online:
        problems += asyncio.run(try_everything(config))
    if problems:
        _fail(*problems)
    click.echo(f"{config_path}: everything is in order.")


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


_message_options = [
    click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)),
    config_option,
    click.option("--mail-from", type=ADDRESS, required=True, help="The envelope sender; <> for the null sender."),
    click.option("--rcpt", type=ADDRESS, required=True, multiple=True, help="An envelope recipient; may be repeated."),
]


def _message_command(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_message_options):
        function = option(function)
    return function


def _raw(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


@main.command()
@_message_command
@json_option
def explain(file: Path, config_path: Path, mail_from: str, rcpt: tuple[str, ...], as_json: bool) -> None:
    """Say what would be done with a message, and why. Nothing is sent or recorded."""
    config = _load(config_path)
    try:
        answer = asyncio.run(explain_message(config, _raw(file), Envelope(mail_from, rcpt)))
    except LedgerError as error:
        _fail(str(error))
    click.echo(json.dumps(answer, indent=2) if as_json else as_text(answer))


@main.command()
@_message_command
@click.option(
    "--assume-consent", type=PURPOSES, default=frozenset(), help="Purposes to take as granted, like open,click."
)
def rewrite(
    file: Path, config_path: Path, mail_from: str, rcpt: tuple[str, ...], assume_consent: frozenset[Purpose]
) -> None:
    """Print the outgoing bytes of a message as if nobody had agreed, or with --assume-consent as if they had.

    Without the Received line; recorded consent is not looked up (explain does that), nothing is sent or recorded.
    """
    config = _load(config_path)
    outgoing = asyncio.run(rewrite_message(config, _raw(file), Envelope(mail_from, rcpt), assume_consent))
    try:
        sys.stdout.buffer.write(outgoing)
        sys.stdout.buffer.flush()
    except OSError as error:
        _fail(f"The message could not be written out: {error.strerror}.")


@main.group()
def consent() -> None:
    """Record and look up what people agreed to."""


@consent.command()
@click.argument("address", type=ADDRESS)
@click.option("--purpose", "purposes", type=PURPOSE, multiple=True, required=True, help="What was agreed to.")
@click.option("--method", type=TEXT, required=True, help="How it was given: paper, phone, form …")
@click.option("--evidence", default="", help="Where the proof is and what it says; a grant needs it.")
@config_option
def grant(address: str, purposes: tuple[str, ...], method: str, evidence: str, config_path: Path) -> None:
    """Record that a person agreed, with evidence of it."""
    config = _load(config_path)
    chosen = [purpose for purpose in Purpose if purpose.value in purposes]
    act = Act("admin", method, Assurance.ASSERTED, "recorded by an administrator", evidence)
    _with_ledger(config, lambda ledger: ledger.grant(address, chosen, act))
    click.echo(f"Recorded: {address} agreed to {', '.join(chosen)} (for {VALIDITY.days} days).")


@consent.command()
@click.argument("address", type=ADDRESS)
@click.option("--purpose", "purposes", type=PURPOSE, multiple=True, help="What is withdrawn; by default everything.")
@click.option("--method", default="admin_on_behalf", show_default=True, help="How it was said.")
@click.option("--keep-hits", is_flag=True, help="Keep the hits recorded so far.")
@config_option
def withdraw(address: str, purposes: tuple[str, ...], method: str, keep_hits: bool, config_path: Path) -> None:
    """Record that a person refuses or withdraws; holds at once, for sent messages too."""
    config = _load(config_path)
    chosen = [purpose for purpose in Purpose if purpose.value in purposes or not purposes]
    act = Act("admin", method, Assurance.ASSERTED, "recorded by an administrator")

    async def work(ledger: Ledger) -> bool:
        return await ledger.refuse(Person.of(ledger.keyring, address), chosen, act, keep_hits=keep_hits)

    if not _with_ledger(config, work):
        click.echo(f"Nothing new to record: {address} has refused {', '.join(chosen)} already.")
        return
    kept = "are kept" if keep_hits else "are deleted"
    click.echo(f"Recorded: {address} refuses {', '.join(chosen)}. Hits so far {kept}; only they can agree again.")


@consent.command()
@click.argument("address", type=ADDRESS)
@json_option
@config_option
def show(address: str, as_json: bool, config_path: Path) -> None:
    """Show where a person stands, and every event that led there."""
    config = _load(config_path)

    async def work(ledger: Ledger) -> dict[str, Any]:
        person = Person.of(ledger.keyring, address)
        standings = await ledger.standing(person)
        await ledger.record_access("consent show")
        states = {purpose.value: str(standings.on(purpose).state or "unknown") for purpose in Purpose}
        return {"address": address, "consent": states, "events": await ledger.history(person)}

    found = _with_ledger(config, work)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for purpose, state in found["consent"].items():
        click.echo(f"{purpose}: {state}")
    for event in found["events"]:
        proof = f", evidence: {event['evidence']}" if event["evidence"] else ""
        until = f", until {event['valid_until'][:10]}" if event["valid_until"] else ""
        how = f"by {event['actor']} ({event['method']}){until}{proof}"
        click.echo(f"  {event['time']} {event['purpose']} {event['state']} {how}")


@consent.command()
@config_option
def verify(config_path: Path) -> None:
    """Walk the chain of consent events and say whether anything was altered."""
    config = _load(config_path)
    found = _with_ledger(config, lambda ledger: ledger.verify())
    if not found.whole:
        _fail(*(flaw.text for flaw in found.flaws))
    click.echo(f"The chain is whole: {found.events} events.")


Rows = list[dict[str, Any]]


def _print_rows(
    config_path: Path, what: str, as_json: bool, fetch: Callable[[Ledger], Awaitable[Rows]], line: Callable[[Any], str]
) -> None:
    """Print what the ledger holds; that an administrator looked is recorded first."""

    async def work(ledger: Ledger) -> Rows:
        await ledger.record_access(what)
        return await fetch(ledger)

    found = _with_ledger(_load(config_path), work)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found:
            click.echo(line(one))


@main.command()
@json_option
@limit_option
@config_option
def messages(as_json: bool, limit: int | None, config_path: Path) -> None:
    """List messages and what was decided about them, newest first. That you looked is recorded."""

    def line(one: dict[str, Any]) -> str:
        who = f" {one['sender']} → {one['recipient']}: {one['subject']}" if one["recipient"] else ""
        return f"{one['decided_at']} {one['message']} {one['class']} {one['reason']} {one['outcome']}{who}"

    _print_rows(config_path, "messages", as_json, lambda ledger: ledger.messages(limit=limit), line)


@main.command()
@json_option
@limit_option
@config_option
def hits(as_json: bool, limit: int | None, config_path: Path) -> None:
    """List hits, newest first. That you looked is recorded."""

    def line(one: dict[str, Any]) -> str:
        target = f" {one['target']}" if one["target"] else ""
        return f"{one['first_at']} {one['message']} {one['purpose']} {one['verdict']} {one['count']}×{target}"

    _print_rows(config_path, "hits", as_json, lambda ledger: ledger.hits(limit=limit), line)


@main.command("sender-link")
@click.argument("address", type=ADDRESS)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How long the link is good.")
@config_option
def sender_link(address: str, days: int, config_path: Path) -> None:
    """Print the link where a sender sees what happened to their own messages."""
    config = _load(config_path)

    async def work(ledger: Ledger) -> str:
        await ledger.record_access("sender-link")
        return sender_url(ledger.keyring, config.web.public_url, address, days * 86_400)

    click.echo(_with_ledger(config, work))


@main.command()
@config_option
def purge(config_path: Path) -> None:
    """Apply the retention periods now; `serve` does it every day."""
    config = _load(config_path)
    removed = _with_ledger(config, lambda ledger: ledger.purge())
    click.echo(
        f"Removed: {removed['hits']} hits, {removed['untracked']} decisions of untracked messages, {removed['names']} "
        f"names and subjects, {removed['decisions']} decisions of tracked messages."
    )


@main.group()
def key() -> None:
    """Look after the key file."""


@key.command()
@config_option
def rotate(config_path: Path) -> None:
    """Take the next step of a token key rotation: make a new key known, then, called again, use it."""
    config = _load(config_path)
    path = config.ledger.key_file
    try:
        before = KeyFile.read(path)
        after = before.rotated()
        after.write(path)
    except FileNotFoundError:
        _fail(f"The key file {path} is missing.")
    except LedgerError as error:
        _fail(str(error))
    if after.pending is not None:
        click.echo(f"Key {after.pending} is known now and will be read. Run this again once every process has it.")
    else:
        click.echo(f"Key {after.sealing} is in use from now on. Older keys stay, for links in mail already sent.")


@main.group()
def db() -> None:
    """Look after the ledger's database."""


@db.command("upgrade")
@config_option
def db_upgrade(config_path: Path) -> None:
    """Bring the ledger's tables up to this version."""
    config = _load(config_path)
    try:
        place = Place(config.ledger.url)
        upgrade(place)
        match_keys(place, config.ledger.key_file)
    except LedgerError as error:
        _fail(str(error))
    click.echo("The ledger's tables are of this version.")
