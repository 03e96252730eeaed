"""`aboveboard consent ask`, and renewal."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aboveboard import compose, upkeep
from aboveboard.config import load
from aboveboard.settings import Config
from ledger import outbox
from ledger.keys import Keyring
from ledger.ledger import Ledger
from ledger.outbox import Letter
from tests.aboveboard.calling import CONFIG, Command

MAIL = '[system_mail]\nfrom = "privacy@example.org"\nurl = "smtp://127.0.0.1:2525"\n'
BOB = "bob@customer.test"
GRANT = ("consent", "grant", BOB, "--purpose", "open", "--method", "paper", "--evidence", "form 12")


@pytest.fixture
def mailing(tmp_path: Path) -> Path:
    """A configuration file with which mail of our own is sent."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(CONFIG + MAIL)
    return path


def with_ledger(path: Path, work: Callable[[Config, Ledger], Awaitable[Any]]) -> Any:
    """Return what ``work`` returns, with the ledger that a configuration file names."""

    async def run() -> Any:
        config = load(path)
        async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
            return await work(config, ledger)

    return asyncio.run(run())


async def letters(_: Config, ledger: Ledger) -> list[Letter]:
    """Return the letters in the outbox."""
    found = []
    while (one := await ledger.job(lambda c: outbox.claim(c, ledger.keyring, datetime.now(UTC)))) is not None:
        found.append(one.letter)
    return found


def states(command: Command) -> list[str]:
    """Return the states of bob's events."""
    return [event["state"] for event in json.loads(command("consent", "show", BOB, "--json").stdout)["events"]]


def test_61_one_question_by_mail(command: Command, mailing: Path) -> None:
    """Rows 47 and 61: the question goes to the person, whose own mailbox must answer; nobody has agreed yet."""
    assert 0 == command("consent", "ask", BOB).exit_code

    (letter,) = with_ledger(mailing, letters)
    assert ("ask", BOB) == (letter.kind, letter.address)
    assert letter.values["url"].startswith("http://127.0.0.1:8080/join/")
    assert ["requested"] * 3 == states(command)


def test_no_second_question(command: Command, mailing: Path) -> None:
    """Whoever was asked is not asked again; the sentence says why."""
    command("consent", "ask", BOB)
    again = command("consent", "ask", BOB)

    assert (1, "This person was asked less than six months ago.\n") == (again.exit_code, again.stderr)


def test_not_after_a_refusal(command: Command, mailing: Path) -> None:
    """Whoever refused is not asked."""
    command("consent", "withdraw", BOB)
    asked = command("consent", "ask", BOB)

    assert (1, "This person refused less than six months ago.\n") == (asked.exit_code, asked.stderr)


def test_not_without_a_mail_server(command: Command) -> None:
    """Without [system_mail] nobody can be asked, and nothing is recorded as if they had been."""
    asked = command("consent", "ask", BOB)

    assert 1 == asked.exit_code
    assert "There is no [system_mail]" in asked.stderr
    assert [] == states(command)


@pytest.mark.parametrize(("ask", "expected"), [("never", 0), ("footer", 1)])
def test_renewal_is_a_question(command: Command, mailing: Path, ask: str, expected: int) -> None:
    """Where nobody is to be asked, nobody is asked to renew either."""
    mailing.write_text(f'{CONFIG}{MAIL}[policy]\nask = "{ask}"\n[retention]\nconsent_days = 20\n')
    command(*GRANT)

    assert {"letters": expected} == with_ledger(mailing, upkeep.renew)
