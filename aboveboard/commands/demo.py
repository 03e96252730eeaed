"""`aboveboard demo`: everything on loopback, to try it."""

import click

from aboveboard.demo import run

PORT = click.IntRange(0, 65_535)


@click.command()
@click.option("--smtp-port", type=PORT, default=0, help="Port of the relay; by default any that is free.")
@click.option("--web-port", type=PORT, default=0, help="Port of the web pages.")
@click.option("--mailbox-port", type=PORT, default=0, help="Port of the mailbox page.")
def demo(smtp_port: int, web_port: int, mailbox_port: int) -> None:
    """Run everything on loopback, with an embedded mailbox as the upstream, and print the addresses to open."""
    run(smtp_port, web_port, mailbox_port)
