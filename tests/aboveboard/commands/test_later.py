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


def imported(code: str) -> set[str]:
    """Return the modules that are imported once a new process has run some code."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


SERVING = {"aiosmtplib", "alembic", "jinja2", "proxy.message", "proxy.session", "psycopg", "starlette", "web.site"}
UNWANTED = {
    "--help": {"aboveboard.config", "ledger", "policies", "proxy", "pydantic", "sqlalchemy", "web"},
    "schema": {*SERVING, "ledger", "sqlalchemy"},
    "consent": SERVING,
}


@pytest.mark.parametrize("word", UNWANTED)
def test_no_command_imports_what_others_need(word: str) -> None:
    """Asking for help, for the schema, or about consent loads no web server, no mail server and no template."""
    called = f"from aboveboard.cli import main\nmain([{word!r}, '--help'], standalone_mode=False)"
    assert set() == imported(called) & UNWANTED[word]


PARTS = {
    "relayworker": {"alembic", "bs4", "jinja2", "psycopg", "starlette", "uvicorn", "web.site"},
    "webworker": {"aiosmtpd", "aiosmtplib", "alembic", "psycopg", "proxy.message", "proxy.rewrite", "proxy.session"},
}


@pytest.mark.parametrize("part", PARTS)
def test_no_worker_imports_what_the_other_needs(part: str) -> None:
    """A worker of the relay holds nothing of the web, and one of the web nothing that reads messages."""
    assert set() == imported(f"import aboveboard.{part}") & PARTS[part]
