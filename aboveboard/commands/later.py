"""Commands that are imported when they are called: each needs a part of the program, and help needs none of it."""

import gc
from collections.abc import Callable
from typing import Any

import click

Load = Callable[[], click.Command]


class Later(click.Command):
    """Stands for a command in its group; the command itself, and what it needs, is imported once somebody calls it."""

    def __init__(self, name: str, load: Load, *, hidden: bool) -> None:
        super().__init__(name, help=load.__doc__, hidden=hidden)
        self.load = load

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the command's own context: from here on, help included, the command itself answers."""
        # Nothing that an import makes is garbage: looking for some is a tenth of the time that it takes.
        gc.disable()
        try:
            command = self.load()
        finally:
            gc.enable()
        return command.make_context(info_name, args, parent, **extra)


def later(group: click.Group, *, hidden: bool = False) -> Callable[[Load], Load]:
    """Add the command that a function imports and returns; the function's docstring is the command's line of help."""

    def add(load: Load) -> Load:
        group.add_command(Later(load.__name__.strip("_").replace("_", "-"), load, hidden=hidden))
        return load

    return add
