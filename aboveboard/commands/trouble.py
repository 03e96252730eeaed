"""Trouble with files and screens: said in one sentence, whatever the command was doing."""

import errno
import sys
from typing import Any

import click


class OneSentence(click.Group):
    """A group whose commands end with one sentence where the system does not let them read or write."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Nobody reads on, as with `| head`: that is no error to speak of, and click ends quietly.
                raise
            what = error.filename if error.filename is not None else "What was to be written"
            click.echo(f"{what}: {error.strerror or error}.", err=True)
            sys.exit(1)
