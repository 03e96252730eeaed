"""`aboveboard explain` and `rewrite`: what would be done with a message, and what would go out."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from aboveboard.commands.shared import fail, load_config
from aboveboard.explain import NoSuchListener, as_text, envelope_of, explain_message, rewrite_message
from aboveboard.parameters import ADDRESS, IP_ADDRESS, PURPOSES, config_option, json_option
from ledger.errors import LedgerError
from policies.envelope import Envelope
from policies.words import Purpose

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


@click.command()
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


@click.command()
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
