"""Trouble: a wrong call, files and screens; said in one sentence, whatever the command was doing."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
from click.exceptions import NoArgsIsHelpError


class WrongCall(click.ClickException):
    """A wrong call, said in one sentence; click's own takes four lines to say it."""

    exit_code = 2

    def __init__(self, error: click.UsageError) -> None:
        said = " ".join(error.format_message().split())
        command = error.ctx.command_path if error.ctx is not None else "aboveboard"
        super().__init__(f"{command}: {said}{'' if said.endswith(('.', '?')) else '.'}")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence."""
        click.echo(self.message, file=file, err=True)


class OneSentence(click.Group):
    """A group whose commands end with one sentence where they are called wrongly, or may not read or write."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Return the context of a call."""
        _have_streams()
        _print_utf_8()
        with _one_sentence():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        with _one_sentence():
            return super().invoke(ctx)


def _have_streams() -> None:
    """Have standard input, output and error be there, where the caller closed them (`2>&-`): empty, and read by nobody.

    Else every command that looks at one would end without a word, and a file or socket that is opened got its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # it stays open


def _print_utf_8() -> None:
    """Have what is printed be UTF-8, whatever the locale says.

    Proofs and copies are JSON (RFC 8259 §8.1), and nobody's name must end a command that cannot write it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except NoArgsIsHelpError:
        # A group called without a command prints its help.
        raise
    except click.UsageError as error:
        raise WrongCall(error) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            # Nobody reads on, as with `| head`: that is no error to speak of, and click ends quietly.
            raise
        what = error.filename if error.filename is not None else "What was to be written"
        click.echo(f"{what}: {error.strerror or error}.", err=True)
        sys.exit(1)
