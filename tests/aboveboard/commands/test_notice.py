"""`aboveboard notice`: adding and looking up what people are told."""

import json
from pathlib import Path

from tests.aboveboard.calling import Command
from tests.ledger.test_notice import own

GRANT = ("consent", "grant", "bob@customer.test", "--purpose", "open", "--method", "paper", "--evidence", "form 12")


def standing(command: Command) -> str:
    """Return whether a grant of bob's counts for a message to him."""
    words = ("explain", "m.eml", "--mail-from", "alice@example.org", "--rcpt", "bob@customer.test", "--json")
    reason: str = json.loads(command(*words).stdout)["reasons"]["open"]
    return reason


def test_73_a_new_purpose_ends_agreements(command: Command, tmp_path: Path) -> None:
    """Row 73: a notice that asks for something else ends agreements; it says how many, and wants --yes for that."""
    command(*GRANT)
    (tmp_path / "own.toml").write_text(own())

    asked = command("notice", "add", "own.toml")
    assert (1, "tracked") == (asked.exit_code, standing(command))
    assert "ends the agreements of 1 people" in asked.stderr

    done = command("notice", "add", "own.toml", "--yes")
    assert (0, "no_consent") == (done.exit_code, standing(command))
    assert done.stdout.startswith("Version 1 is in force; it ends the agreements of 1 people.\n")


def test_other_words_end_nothing(command: Command, tmp_path: Path) -> None:
    """A notice that says the same thing in other words leaves agreements as they are, and asks for no --yes."""
    (tmp_path / "own.toml").write_text(own())
    command("notice", "add", "own.toml")
    command(*GRANT)
    (tmp_path / "own.toml").write_text(own(title="What we record"))

    done = command("notice", "add", "own.toml")
    assert (0, "tracked") == (done.exit_code, standing(command))
    assert done.stdout.startswith("Version 2 is in force; it leaves every agreement as is.\n")


def test_71_a_notice_that_says_too_little_is_refused(command: Command, tmp_path: Path) -> None:
    """Row 71: without how long, nothing is put in force, and the sentence names what is missing."""
    (tmp_path / "own.toml").write_text(own(how_long=None))

    refused = command("notice", "add", "own.toml")
    assert (1, "", "en.how_long: is missing or empty; people must be told before they agree.\n") == (
        refused.exit_code,
        refused.stdout,
        refused.stderr,
    )
    assert "" == command("notice", "list").stdout


def test_69_a_notice_is_shown_with_what_is_stored(command: Command, tmp_path: Path) -> None:
    """Rows 56 and 69: every version stays on record, listed and shown with the fields that are stored."""
    (tmp_path / "own.toml").write_text(own())
    command("notice", "add", "own.toml")
    (listed,) = json.loads(command("notice", "list", "--json").stdout)
    shown = json.loads(command("notice", "show", listed["id"]).stdout)

    assert listed["body"] == shown
    assert ("Recording", 1) == (shown["title"], listed["version"])
    assert "date and time, first and last, and how often" in shown["stored"]["open"]
    assert listed["id"] in command("notice", "list").stdout


def test_a_notice_that_is_none(command: Command, tmp_path: Path) -> None:
    """An id of no notice, or a file that is no text, is one sentence and exit 1."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff")

    assert (1, "There is no notice x; `aboveboard notice list` names them.\n") == (
        (shown := command("notice", "show", "x")).exit_code,
        shown.stderr,
    )
    assert (1, "bytes.toml: cannot be read as UTF-8 text.\n") == (
        (added := command("notice", "add", "bytes.toml")).exit_code,
        added.stderr,
    )
