"""The command. Errors are one clear sentence on standard error; exit 2 for a wrong call, 1 for a negative answer."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aboveboard import logs
from aboveboard.commands import domains as _domains  # noqa: F401  # adds its commands to `consent`
from aboveboard.commands import imports as _imports  # noqa: F401  # adds its commands to `consent`
from aboveboard.commands import proof as _proof  # noqa: F401  # and so does this
from aboveboard.commands import records
from aboveboard.commands.account import account
from aboveboard.commands.audit import audit
from aboveboard.commands.consent import consent
from aboveboard.commands.notice import notice
from aboveboard.commands.requests import requests
from aboveboard.commands.sendtest import send_test
from aboveboard.commands.shared import fail, load_config
from aboveboard.commands.subject import subject
from aboveboard.config import ConfigError, json_schema, notes
from aboveboard.explain import NoSuchListener, as_text, envelope_of, explain_message, rewrite_message
from aboveboard.parameters import (
    ADDRESS,
    IP_ADDRESS,
    PURPOSES,
    config_option,
    json_option,
    workers_option,
)
from ledger.errors import LedgerError
from policies.envelope import Envelope
from policies.words import Purpose


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aboveboard")
def main() -> None:
    """An SMTP relay that tracks mail only where policy and the recipient's recorded consent allow it."""
    logs.set_up(serving=False)


def _serve(config_path: Path, parts: list[str], workers: int) -> None:
    from aboveboard.serve import Parent

    logs.set_up(serving=True)
    try:
        Parent(config_path.absolute(), parts, workers).run()
    except ConfigError as error:
        fail(*error.problems)
    except LedgerError as error:
        fail(str(error))


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
@click.option("--in-force", "place", type=click.Path(path_type=Path), required=True)
@click.option("--sockets", required=True)
@click.option("--workers", type=int, required=True)
@click.option("--number", type=int, required=True)
@click.option("--census", type=int, required=True)
@click.option("--ready", type=int, required=True)
@click.option("--life", type=int, required=True)
def worker(part: str, sockets: str, **handed: Any) -> None:
    """Run one worker, on what the parent hands over."""
    from aboveboard.worker import Handover, run

    logs.set_up(serving=True)
    try:
        run(part, Handover(sockets=[int(number) for number in sockets.split(",")], **handed))
    except ConfigError as error:
        fail(*error.problems)
    except LedgerError as error:
        fail(str(error))


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
    from aboveboard import premises
    from aboveboard.online import try_everything

    config = load_config(config_path)
    for sentence in [*notes(config), *asyncio.run(premises.notes(config))]:
        click.echo(f"note: {sentence}")
    problems = premises.problems(config)
    if online:
        found = asyncio.run(try_everything(config))
        problems += [one for one in found.problems if one not in problems]
        for sentence in found.notes:
            click.echo(f"note: {sentence}")
    if problems:
        fail(*problems)
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
@click.option("--listener", default="", help="The listener it would come in by, as in the file; for rules about that.")
@click.option("--client", type=IP_ADDRESS, default="", help="The IP address it would come from; for rules about that.")
@json_option
def explain(
    file: Path, config_path: Path, mail_from: str, rcpt: tuple[str, ...], listener: str, client: str, as_json: bool
) -> None:
    """Say what would be done with a message, and why. Nothing is sent or recorded."""
    config = load_config(config_path)
    try:
        envelope = envelope_of(config, mail_from, rcpt, listener, client)
        answer = asyncio.run(explain_message(config, _raw(file), envelope))
    except (NoSuchListener, LedgerError) as error:
        fail(str(error))
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
    config = load_config(config_path)
    outgoing = asyncio.run(rewrite_message(config, _raw(file), Envelope(mail_from, rcpt), assume_consent))
    try:
        sys.stdout.buffer.write(outgoing)
        sys.stdout.buffer.flush()
    except OSError as error:
        fail(f"The message could not be written out: {error.strerror}.")


for command in (
    send_test,
    consent,
    notice,
    subject,
    requests,
    account,
    audit,
    records.messages,
    records.hits,
    records.sender_link,
    records.purge,
    records.key,
    records.db,
):
    main.add_command(command)
