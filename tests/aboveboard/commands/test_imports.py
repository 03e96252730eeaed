"""`aboveboard consent import`: a file is right in every line, or nothing of it is taken in."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.aboveboard.calling import CONFIG, Command

POINT = '[[consent.point]]\nid = "fair"\ntitle = "Fair"\nwhere = "our stand"\nwording = "Yes"\nproof = "folder 7"\n'
HEAD = "address,purposes,date,evidence\n"
GOOD = "bob@customer.test,open click,2026-10-01,form 1\n"
BOB = ("consent", "show", "bob@customer.test", "--json")


@pytest.fixture(autouse=True)
def point(command: Command, tmp_path: Path) -> None:
    """A configuration file with a collection point."""
    (tmp_path / "aboveboard.toml").write_text(CONFIG + POINT)


def states(command: Command) -> list[str]:
    """Return the states of bob's events."""
    return [event["state"] for event in json.loads(command(*BOB).stdout)["events"]]


@pytest.mark.parametrize(
    ("content", "options", "landed"),
    [
        pytest.param(HEAD + GOOD, ("--point", "fair"), ["granted"] * 2, id="with a point"),
        pytest.param(HEAD + GOOD, (), ["imported_unproven"] * 2, id="without"),
        pytest.param("\ufeff" + (HEAD + GOOD).replace(",", ";"), ("--point", "fair"), ["granted"] * 2, id="Excel's"),
        pytest.param(HEAD + GOOD, ("--point", "fair", "--dry-run"), [], id="dry run"),
    ],
)
def test_62_what_lands_as_what(
    command: Command, tmp_path: Path, content: str, options: tuple[str, ...], landed: list[str]
) -> None:
    """Rows 58 and 62: what names a collection point is granted, anything else tracks nobody; the report says so."""
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    done = command("consent", "import", "a.csv", *options)

    assert (0, landed) == (done.exit_code, states(command))
    assert done.stdout.startswith("1 row, 2 agreements")
    assert f"  2 {landed[0] if landed else 'granted'}: " in done.stdout


WRONG = {
    "no address": ("nobody,open,2026-10-01,x\n", "address 'nobody' is not an e-mail address"),
    "more than an address": ("b@customer.test> SIZE=1,open,2026-10-01,x\n", "address 'b@customer.test> SIZE=1' is not"),
    "a route": ("@r.test:b@customer.test,open,2026-10-01,x\n", "address '@r.test:b@customer.test' is not"),
    "no purpose": ("b@customer.test,,2026-10-01,x\n", "purposes '' must be one or more of open, click, detail"),
    "unknown purpose": ("b@customer.test,read,2026-10-01,x\n", "purposes 'read' must be"),
    "no date": ("b@customer.test,open,,x\n", "date '' must be a day or a time"),
    "to come": ("b@customer.test,open,2999-01-01,x\n", "date '2999-01-01' is still to come"),
    "too few cells": ("b@customer.test,open\n", "has another number of cells than the first line"),
    "too many cells": ("b@customer.test,open,2026-10-01,x,y\n", "has another number of cells"),
    "too long": (f"b@customer.test,open,2026-10-01,{'x' * 2_001}\n", "evidence is longer than 2000 characters"),
    "open quote": ('b@customer.test,open,2026-10-01,"x\n', "unexpected end of data"),
}


@pytest.mark.parametrize(("row", "sentence"), WRONG.values(), ids=WRONG)
def test_one_wrong_line_and_nothing_lands(command: Command, tmp_path: Path, row: str, sentence: str) -> None:
    """A line that is not right is named by its number, and the others do not land without it."""
    (tmp_path / "a.csv").write_text(HEAD + GOOD + row)
    done = command("consent", "import", "a.csv", "--point", "fair")

    assert (1, "") == (done.exit_code, done.stdout)
    assert f"line 3: {sentence}" in done.stderr
    assert "Nothing was imported." in done.stderr
    assert [] == states(command)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("address,purposes\n", "line 1: the column date is missing.\n"),
        ("address,purposes,date,colour\n", "line 1: 'colour' is not a known column; known are address,"),
        ("address,purposes,date,date\n", "line 1: the column date is there twice.\n"),
        ('address,purposes,"date\n', "line 1: unexpected end of data.\n"),
        (f"address,purposes,date,{'x' * 200_000}\n", "line 1: field larger than field limit (131072).\n"),
    ],
)
def test_columns(command: Command, tmp_path: Path, head: str, sentence: str) -> None:
    """A column that is missing, unknown or there twice is named."""
    (tmp_path / "a.csv").write_text(head)
    done = command("consent", "import", "a.csv", "--point", "fair")

    assert 1 == done.exit_code
    assert sentence in done.stderr


def test_from_a_pipe(command: Command, tmp_path: Path) -> None:
    """What another program writes is taken in as it comes; it cannot be read twice."""
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as writer:
        writer.submit((tmp_path / "pipe").write_text, HEAD + GOOD)
        done = command("consent", "import", "pipe", "--point", "fair")

    assert (0, "", ["granted"] * 2) == (done.exit_code, done.stderr, states(command))


def test_an_unknown_point(command: Command, tmp_path: Path) -> None:
    """A collection point that is not in the configuration file is refused, and the known ones are named."""
    (tmp_path / "a.csv").write_text(HEAD + GOOD)
    done = command("consent", "import", "a.csv", "--point", "web")

    assert (1, "There is no [[consent.point]] with the id 'web'; there are: fair.\n") == (done.exit_code, done.stderr)


def test_an_import_rests_and_counts_again(command: Command, tmp_path: Path) -> None:
    """An administrator has an import rest, and count again; that they did is recorded."""
    (tmp_path / "a.csv").write_text(HEAD + GOOD)
    command("consent", "import", "a.csv", "--point", "fair")
    (listed,) = json.loads(command("consent", "batches", "--json").stdout)
    explain = ("explain", "m.eml", "--mail-from", "alice@example.org", "--rcpt", "bob@customer.test", "--json")
    reasons = []
    for step in ("suspend", "resume"):
        assert 0 == command("consent", step, listed["batch"]).exit_code
        assert 1 == command("consent", step, listed["batch"]).exit_code
        reasons.append(json.loads(command(*explain).stdout)["reasons"]["open"])

    assert ["no_consent", "tracked"] == reasons
    assert ("fair", 1, 2) == (listed["collection_point"], listed["rows"], listed["events"])
