"""`aboveboard consent export`, `anchor`, `proof` and `verify FILE`."""

import csv
import json
import stat
from pathlib import Path

import pytest

from aboveboard import upkeep
from tests.aboveboard.calling import CONFIG, Command
from tests.aboveboard.commands.test_consent import BOB, GRANT, MAIL, letters, with_ledger


def test_60_export(command: Command, tmp_path: Path) -> None:
    """Row 60: the export says who agreed, as lines of JSON, or as CSV in a file for its owner's eyes alone."""
    command(*GRANT)
    (line,) = [json.loads(one) for one in command("consent", "export").stdout.splitlines()]
    (tmp_path / "a.csv").touch(0o644)
    done = command("consent", "export", "--format", "csv", "--output", "a.csv")
    (row,) = list(csv.DictReader((tmp_path / "a.csv").read_text("utf-8").splitlines()))

    assert (BOB, "open", "granted") == (line["address"], line["purpose"], line["state"])
    assert line == row
    assert ("1 lines are in a.csv.\n", 0o600) == (done.stdout, stat.S_IMODE((tmp_path / "a.csv").stat().st_mode))


def test_proof_and_its_check(command: Command, tmp_path: Path) -> None:
    """A proof is one file that `verify` finds right, and wrong once anything in it is changed."""
    command(*GRANT)
    assert 0 == command("consent", "proof", BOB, "--output", "p.json").exit_code
    assert (0, "The proof is as it was made, with this key file.\n") == (
        (right := command("consent", "verify", "p.json")).exit_code,
        right.stdout,
    )
    changed = (tmp_path / "p.json").read_text().replace("form 12", "form 13")
    (tmp_path / "p.json").write_text(changed)
    wrong = command("consent", "verify", "p.json")
    assert (1, "The file was altered: its content is not that of its SHA-256.\n") == (wrong.exit_code, wrong.stderr)


def test_anchor_to_a_file(command: Command, tmp_path: Path) -> None:
    """Each call adds the head to the file; it is the row hash of the newest event."""
    command(*GRANT)
    for _ in range(2):
        assert 0 == command("consent", "anchor", "--file", "heads.txt").exit_code
    heads = [line.split()[1:] for line in (tmp_path / "heads.txt").read_text().splitlines()]
    proof = json.loads(command("consent", "proof", BOB).stdout)

    assert [["1", proof["events"][0]["row_hash"]]] * 2 == heads


def test_kept_anchors_are_checked(command: Command, tmp_path: Path) -> None:
    """`verify --anchors` says how many heads agree, and which event is another one now, although the chain is whole."""
    command(*GRANT)
    command("consent", "anchor", "--file", "heads.txt")
    right = command("consent", "verify", "--anchors", "heads.txt")
    (tmp_path / "heads.txt").write_text(f"1 {'0' * 64}\n")
    wrong = command("consent", "verify", "--anchors", "heads.txt")

    assert (0, "The chain is whole: 1 events.\n1 of 1 anchors agree with it.\n") == (right.exit_code, right.stdout)
    altered = "Event 1 is another one than its anchor names: it, or what came before it, was altered.\n"
    assert (1, altered) == (wrong.exit_code, wrong.stderr)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\nhead\n", "heads.txt, line 2: no anchor as `aboveboard consent anchor` writes it.\n"),
        (b"\n", "heads.txt: holds no anchor.\n"),
        (b"\xff", "heads.txt: cannot be read as UTF-8 text.\n"),
    ],
    ids=["other text", "empty", "no text"],
)
def test_a_file_without_anchors(command: Command, tmp_path: Path, content: bytes, sentence: str) -> None:
    """What is no file of anchors is said to be none: an empty one must not look like a check."""
    (tmp_path / "heads.txt").write_bytes(content)
    done = command("consent", "verify", "--anchors", "heads.txt")

    assert (1, sentence) == (done.exit_code, done.stderr)


def test_anchor_needs_somewhere_to_go(command: Command) -> None:
    """Without a file and without a mail server there is nowhere to write it."""
    done = command("consent", "anchor")

    assert (1, "There is no [system_mail] in the configuration; name a file with --file.\n") == (
        done.exit_code,
        done.stderr,
    )


@pytest.mark.parametrize(("setting", "mails", "lines"), [("mail", 1, 0), ("heads.txt", 0, 1)])
def test_the_anchor_is_given_away_once_a_day(
    command: Command, tmp_path: Path, setting: str, mails: int, lines: int
) -> None:
    """`consent.anchor` has the head mailed to the contact, or added to a file, by the first process that day."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(f'{CONFIG}{MAIL}[consent]\nanchor = "{setting}"\n')
    command(*GRANT)
    done = [with_ledger(path, upkeep.anchor) for _ in range(2)]
    anchors = [one for one in with_ledger(path, letters) if one.kind == "anchor"]

    assert [{"anchors": 1}, {"anchors": 0}] == done
    assert ["privacy@example.org"] * mails == [one.address for one in anchors]
    file = tmp_path / "heads.txt"
    assert lines == (len(file.read_text().splitlines()) if file.exists() else 0)
