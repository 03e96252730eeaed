"""Requests by the command, and the letters that are written while the ledger is open."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aboveboard import compose
from aboveboard.config import load
from aboveboard.reminding import remind
from ledger.keys import Keyring
from ledger.requests import CaseKind
from tests.aboveboard.calling import CONFIG, EVIDENCE, GRANT, Command
from tests.ledger.samples import ON_PAPER, OPEN

SYSTEM_MAIL = '[system_mail]\nfrom = "privacy@example.org"\nurl = "smtp://127.0.0.1:25"\n'
BOB = "bob@customer.test"


async def opened(config: Path) -> str:
    """Open a complaint and return its number."""
    loaded = load(config)
    await compose.make_ready(loaded)
    async with compose.ledger(loaded, Keyring.load(loaded.ledger.key_file)) as ledger:
        return await ledger.open_case(CaseKind.COMPLAINT, BOB, "You track me")


def backdate(folder: Path) -> None:
    """Let everything that was asked or recorded be long ago."""
    with closing(sqlite3.connect(folder / "aboveboard.db", isolation_level=None)) as connection:
        connection.execute("UPDATE request_case SET due_by = '2020-01-01', acknowledge_by = '2020-01-01'")
        connection.execute("UPDATE consent_event SET recorded_at = '2020-01-01T00:00:00.000000Z'")


@pytest.fixture
def number(config: Path) -> str:
    """The number of an open complaint."""
    return asyncio.run(opened(config))


def test_from_list_to_answer(command: Command, number: str, tmp_path: Path) -> None:
    """Rows 80 to 82: a case is listed, shown, put off and answered; a wrong number is one sentence."""
    listed = json.loads(command("requests", "list", "--json").stdout)
    assert [(number, "complaint", "open", BOB)] == [
        (one["number"], one["kind"], one["state"], one["address"]) for one in listed
    ]
    assert "text: You track me" in command("requests", "show", number).stdout
    assert 0 == command("requests", "acknowledge", number).exit_code
    late = command("requests", "extend", number, "--reason", "x", "--until", "2099-01-01")
    assert (1, True) == (late.exit_code, "can be put off to a day after" in late.stderr)
    unclear = command("requests", "extend", number, "--reason", "x", "--until", "31.3.2099")
    assert (2, True) == (unclear.exit_code, "'31.3.2099' is not a day, like 2026-03-31." in unclear.stderr)
    answered = command("requests", "answer", number, "--text", "We stopped")
    assert "There is no mail of our own: tell them." in answered.stdout
    assert "answer: We stopped" in command("requests", "show", number).stdout
    none = command("requests", "answer", "nonsense", "--text", "x")
    assert (1, "There is no request with the number nonsense.\n") == (none.exit_code, none.stderr)
    with closing(sqlite3.connect(tmp_path / "aboveboard.db", isolation_level=None)) as connection:
        actions = {row[0] for row in connection.execute("SELECT action FROM access")}
    did = {"requests acknowledge", "requests extend", "requests answer"}
    assert {"requests list", "requests show"} | did == actions


def test_the_overdue_list(command: Command, number: str, tmp_path: Path) -> None:
    """Rows 70 and 81: what should have been done stands on the list until it is: requests, and people to inform."""
    command(*GRANT, *EVIDENCE)
    assert [] == json.loads(command("requests", "list", "--overdue", "--json").stdout)
    backdate(tmp_path)
    listed = json.loads(command("requests", "list", "--overdue", "--json").stdout)
    assert [(number, "complaint"), (None, "inform")] == [(one["number"], one["kind"]) for one in listed]
    assert f"2020-01-31 - inform open {BOB}" in command("requests", "list", "--overdue").stdout
    command("requests", "informed", BOB)
    command("requests", "answer", number, "--text", "Done")
    assert "" == command("requests", "list", "--overdue").stdout


async def test_letters(config: Path, tmp_path: Path) -> None:
    """Rows 70 and 81: with mail of our own whoever must be told is, once, and the organisation hears once a day."""
    without_mail = load(config)
    config.write_text(CONFIG + SYSTEM_MAIL)
    await opened(config)
    loaded = load(config)
    async with compose.ledger(without_mail, Keyring.load(loaded.ledger.key_file)) as ledger:
        # Nobody could be sent a receipt then.
        await ledger.grant(BOB, OPEN, ON_PAPER)
    async with compose.ledger(loaded, Keyring.load(loaded.ledger.key_file)) as ledger:
        backdate(tmp_path)
        done = [await remind(loaded, ledger) for _ in range(2)]
    with closing(sqlite3.connect(tmp_path / "aboveboard.db", isolation_level=None)) as connection:
        kinds = sorted(row[0] for row in connection.execute("SELECT kind FROM outbox"))

    assert [{"informed": 1, "overdue": 1}, {"informed": 0, "overdue": 0}] == done
    assert ["case", "informed", "overdue"] == kinds


def test_what_a_person_wrote_cannot_be_taken_for_a_field(command: Command, config: Path) -> None:
    """Lines of what somebody wrote are set in, and what steers a screen is not in them."""

    async def write() -> str:
        loaded = load(config)
        await compose.make_ready(loaded)
        async with compose.ledger(loaded, Keyring.load(loaded.ledger.key_file)) as ledger:
            return await ledger.open_case(CaseKind.COMPLAINT, BOB, "Stop\nstate: answered\x1b[8m")

    shown = command("requests", "show", asyncio.run(write()).lower()).stdout.splitlines()
    at = shown.index("text: Stop")
    assert "  state: answered\ufffd[8m" == shown[at + 1]
    assert "state: open" in shown
    assert {"answered_at: -", "answer: -"} <= set(shown)
