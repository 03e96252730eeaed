"""Commands that are imported when they are called."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from aboveboard.cli import main
from aboveboard.commands.later import Later

LATER = {name: command for name, command in main.commands.items() if isinstance(command, Later)}


def test_every_command_is_imported_later() -> None:
    """No command of the whole is imported before it is called."""
    assert LATER == main.commands


@pytest.mark.parametrize("name", LATER)
def test_line_of_help_is_the_commands_own(name: str) -> None:
    """What help says of a command, without it, is how the command's own help begins; what is hidden stays hidden."""
    loaded = LATER[name].load()

    assert loaded.name == name
    assert (loaded.help or "").partition("\n")[0] == LATER[name].help
    assert loaded.hidden == LATER[name].hidden


@pytest.mark.parametrize("name", LATER)
def test_help_of_a_command_is_its_own(name: str) -> None:
    """`--help` after a command lists that command's options, under its name."""
    whole = CliRunner().invoke(main, [name, "--help"], prog_name="aboveboard")
    own = CliRunner().invoke(
        LATER[name].load(), ["--help"], prog_name=f"aboveboard {name}", help_option_names=["-h", "--help"]
    )

    assert (0, own.output) == (whole.exit_code, whole.output)


UNWANTED = {
    "--help": ("aboveboard.config", "ledger", "policies", "proxy", "pydantic", "sqlalchemy", "web"),
    "schema": ("jinja2", "ledger", "proxy.message", "proxy.session", "sqlalchemy", "starlette", "web.site"),
    "consent": (
        "aiosmtplib",
        "alembic",
        "jinja2",
        "proxy.message",
        "proxy.session",
        "psycopg",
        "starlette",
        "web.site",
    ),
}


@pytest.mark.parametrize("word", UNWANTED)
def test_no_command_imports_what_others_need(word: str) -> None:
    """Asking for help, for the schema, or about consent loads no web server, no mail server and no template."""
    code = f"import sys\nfrom aboveboard.cli import main\nmain([{word!r}], standalone_mode=False)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [] == [name for name in done.stdout.splitlines()[-1].split() if name in UNWANTED[word]]


PARTS = {
    "relayworker": ("alembic", "bs4", "jinja2", "starlette", "uvicorn", "web"),
    "webworker": ("aiosmtpd", "aiosmtplib", "alembic", "proxy.message", "proxy.session", "proxy.rewrite"),
}


@pytest.mark.parametrize("part", PARTS)
def test_no_worker_imports_what_the_other_needs(part: str) -> None:
    """A worker of the relay holds nothing of the web, and one of the web nothing that reads messages."""
    code = f"import sys, aboveboard.{part}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [] == [name for name in done.stdout.split() if name in PARTS[part]]
