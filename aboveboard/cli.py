"""The command. Errors are one clear sentence on standard error; exit 2 for a wrong call, 1 for a negative answer.

Each command is imported when it is called: what serves mail is not loaded to print a schema, nor the other way round.
"""

import click

from aboveboard import logs
from aboveboard.commands.later import later
from aboveboard.commands.trouble import OneSentence


@click.group(cls=OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aboveboard")
def main() -> None:
    """An SMTP relay that tracks mail only where policy and the recipient's recorded consent allow it."""
    logs.set_up(serving=False)


@later(main)
def serve() -> click.Command:
    """Run relay and web."""
    from aboveboard.commands.serving import serve

    return serve


@later(main)
def relay() -> click.Command:
    """Run the relay only."""
    from aboveboard.commands.serving import relay

    return relay


@later(main)
def web() -> click.Command:
    """Run the web application only."""
    from aboveboard.commands.serving import web

    return web


@later(main, hidden=True)
def worker() -> click.Command:
    """Run one worker, on what the parent hands over."""
    from aboveboard import metricfiles

    # Whatever counts something makes its files as soon as it is imported.
    metricfiles.reserve()
    from aboveboard.commands.worker import worker

    return worker


@later(main)
def demo() -> click.Command:
    """Run everything on loopback, with an embedded mailbox as the upstream, and print the addresses to open."""
    from aboveboard.commands.demo import demo

    return demo


@later(main)
def check() -> click.Command:
    """Check the configuration; every error is named by its key path."""
    from aboveboard.commands.check import check

    return check


@later(main)
def schema() -> click.Command:
    """Print the JSON Schema of the configuration file, for editors."""
    from aboveboard.commands.schema import schema

    return schema


@later(main)
def explain() -> click.Command:
    """Say what would be done with a message, and why. Nothing is sent or recorded."""
    from aboveboard.commands.message import explain

    return explain


@later(main)
def rewrite() -> click.Command:
    """Print the outgoing bytes of a message as if nobody had agreed, or with --assume-consent as if they had."""
    from aboveboard.commands.message import rewrite

    return rewrite


@later(main)
def send_test() -> click.Command:
    """Prove a set-up from the outside: hand in one message as a mail program would."""
    from aboveboard.commands.sendtest import send_test

    return send_test


@later(main)
def consent() -> click.Command:
    """Record and look up what people agreed to."""
    from aboveboard.commands import domains, imports, proof  # noqa: F401  # each adds commands of its own to the group
    from aboveboard.commands.consent import consent

    return consent


@later(main)
def notice() -> click.Command:
    """Add and look up what people are told before they agree."""
    from aboveboard.commands.notice import notice

    return notice


@later(main)
def subject() -> click.Command:
    """Copy or erase what is on record about one person."""
    from aboveboard.commands.subject import subject

    return subject


@later(main)
def requests() -> click.Command:
    """Look after requests and complaints."""
    from aboveboard.commands.requests import requests

    return requests


@later(main)
def account() -> click.Command:
    """Add, list and remove logins of the relay's own."""
    from aboveboard.commands.account import account

    return account


@later(main)
def audit() -> click.Command:
    """Report decisions, other people's trackers, versions of the policy, consent and accesses. It is recorded."""
    from aboveboard.commands.audit import audit

    return audit


@later(main)
def messages() -> click.Command:
    """List messages and what was decided about them, newest first. That you looked is recorded."""
    from aboveboard.commands.records import messages

    return messages


@later(main)
def hits() -> click.Command:
    """List hits, newest first. That you looked is recorded."""
    from aboveboard.commands.records import hits

    return hits


@later(main)
def sender_link() -> click.Command:
    """Print the link where a sender sees what happened to their own messages."""
    from aboveboard.commands.records import sender_link

    return sender_link


@later(main)
def purge() -> click.Command:
    """Apply the retention periods now, and say what was removed; `serve` does it every hour."""
    from aboveboard.commands.records import purge

    return purge


@later(main)
def key() -> click.Command:
    """Look after the key file."""
    from aboveboard.commands.records import key

    return key


@later(main)
def db() -> click.Command:
    """Look after the ledger's database."""
    from aboveboard.commands.records import db

    return db
