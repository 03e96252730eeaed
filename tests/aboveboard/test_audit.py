"""The audit by its command: its forms, that it is recorded, and that no cell of its CSV is a formula."""

import asyncio
import csv
import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from aboveboard import compose
from aboveboard.commands.audit import SECTIONS, as_csv, as_text, defused
from aboveboard.config import load
from ledger.decisions import DecidedMessage
from ledger.keys import Keyring
from ledger.tokens import new_message_id
from ledger.versions import PolicyVersion
from policies import Decision, Envelope, MessageClass, Purpose, Reason
from policies.policy import canonical_text
from policies.tracker import FoundTracker
from policies.words import Scope, Surface, Tier, TrackerAction
from tests.aboveboard.calling import Command

FOUND = FoundTracker(Scope.TOOL, "mailtrack", Surface.IMAGE, Tier.A, TrackerAction.REMOVED, "pixel.tracker.example", 1)
ALICE = "=alice@example.org"
"""An address that a spreadsheet would run."""


@pytest.fixture
def command(command: Command, config: Path) -> Command:
    """Run the command in an installation with one message on record, which held a tracker, and one policy."""
    asyncio.run(_fill(config))
    return command


async def _fill(path: Path) -> None:
    config = load(path)
    await compose.make_ready(config)
    decision = Decision(MessageClass.GROUP, Reason.GROUP, dict.fromkeys(Purpose, Reason.GROUP), "v1")
    envelope, now = Envelope(ALICE, ("bob@customer.test", "carol@customer.test")), datetime.now(UTC)
    message = DecidedMessage(new_message_id(), decision, envelope, "Our offer", now, found=(FOUND,))
    content = canonical_text(config.policy, config.organisation.domains)
    async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
        assert await ledger.record_decision(message)
        await ledger.record_policy(PolicyVersion(compose.policy(config).version, content, "root", now))


def accesses(folder: Path) -> list[tuple[str, str | None]]:
    """Return what is on record of administrators' looking."""
    with closing(sqlite3.connect(folder / "aboveboard.db")) as database:
        return list(database.execute("SELECT action, reason FROM access ORDER BY at"))


def test_text_for_a_person(command: Command) -> None:
    """Without options the last 30 days are reported, section by section, with a pseudonym for the sender."""
    answer = command("audit")
    assert 0 == answer.exit_code
    for words in ("Decisions, by class and reason", "group  group   1", "mailtrack", "sender-", "root"):
        assert words in answer.stdout
    assert "alice" not in answer.stdout


def test_json_for_a_program(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """--json is the same report, with its period."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2099, 1, 2, 12, tzinfo=tz)

    monkeypatch.setattr("aboveboard.commands.audit.datetime", Later)
    report = json.loads(command("audit", "--json", "--since", "2020-01-01").stdout)
    assert ("2020-01-01", "2099-01-02") == (report["since"], report["until"])
    assert [{"class": "group", "reason": "group", "messages": 1}] == report["decisions"]
    assert ["audit"] == [row["action"] for row in report["accesses"]]
    assert [] == json.loads(command("audit", "--json", "--until", "2020-01-01").stdout)["decisions"]


def test_a_look_is_recorded_before_anything_is_shown(command: Command, tmp_path: Path) -> None:
    """Every report is on record; one that names senders with the reason, and without a reason there is none."""
    assert 0 == command("audit").exit_code
    assert 2 == command("audit", "--reveal").exit_code
    assert 2 == command("audit", "--reveal", "--reason", "  ").exit_code
    assert [("audit", None)] == accesses(tmp_path)
    answer = command("audit", "--reveal", "--reason", "complaint 17")
    assert ALICE in answer.stdout
    assert ("audit --reveal", "complaint 17") == accesses(tmp_path)[-1]


def test_nothing_is_shown_that_cannot_be_recorded(command: Command, tmp_path: Path) -> None:
    """Where the ledger takes no record of the look, nobody is named, and exit is 1."""
    with closing(sqlite3.connect(tmp_path / "aboveboard.db")) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON access BEGIN SELECT RAISE(ABORT, 'full'); END")
    answer = command("audit", "--reveal", "--reason", "complaint 17")
    assert (1, "") == (answer.exit_code, answer.stdout)
    assert "The ledger does not answer" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "--csv"),
        ("--reason", "why"),
        ("--since", "2026-02-30"),
        ("--since", "yesterday"),
        ("--since", "2026-03-02", "--until", "2026-03-01"),
    ],
    ids=" ".join,
)
def test_wrong_calls(command: Command, words: tuple[str, ...]) -> None:
    """A wrong call is exit 2, with one sentence that begins with the command."""
    answer = command("audit", *words)
    assert 2 == answer.exit_code
    (sentence,) = answer.stderr.splitlines()
    assert sentence.startswith("main audit: ")


def test_a_policy_in_full(command: Command, tmp_path: Path) -> None:
    """--policy prints a version that ruled; one that did not is exit 1, and so is one that was altered."""
    version = compose.policy(load(tmp_path / "aboveboard.toml")).version
    found = json.loads(command("audit", "--policy", version).stdout)
    assert (version, "root", "with-consent", True) == (
        found["version"], found["author"], found["policy"]["open"], found["unaltered"],
    )  # fmt: skip
    assert 1 == command("audit", "--policy", "0123456789ab").exit_code
    with closing(sqlite3.connect(tmp_path / "aboveboard.db")) as database, database:
        database.execute("UPDATE policy_version SET content = replace(content, 'with-consent', 'never')")
    answer = command("audit", "--policy", version)
    assert 1 == answer.exit_code
    assert "it was altered" in answer.stderr


def cells(text: str) -> list[str]:
    """Return every cell of a CSV page."""
    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


def test_csv_is_one_table(command: Command) -> None:
    """Every row has a cell for every column, and says in the first which section it is of."""
    rows = list(csv.DictReader(io.StringIO(command("audit", "--csv").stdout, newline="")))
    assert {"decisions", "vendors", "senders", "policy_versions", "accesses"} == {row["section"] for row in rows}
    assert [("group", "group", "1", "")] == [
        (row["class"], row["reason"], row["messages"], row["vendor"]) for row in rows if row["section"] == "decisions"
    ]


FORMULAS = [
    '=HYPERLINK("http://evil.example")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1",
    "＝1", "＋1", "－1", "＠1",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a3_no_cell_is_a_formula(text: str) -> None:
    """A3: whatever stands in a cell, and in whatever section, no spreadsheet runs it."""
    assert f"'{text}" == defused(text)
    report = {name: [{"actor": text, "why": text}] for name in SECTIONS}
    found = cells(as_csv(report))
    assert [] == [cell for cell in found if cell.strip()[:1] in set("=+-@＝＋－＠")]
    assert f"'{text}" in found


def test_a3_a_revealed_sender_is_no_formula(command: Command) -> None:
    """A3: an address that begins like a formula is defused, where a person chose it."""
    answer = command("audit", "--csv", "--reveal", "--reason", "=1+1")
    assert {f"'{ALICE}", "'=1+1"} <= set(cells(answer.stdout))


@pytest.mark.parametrize("value", [None, 0, 17, "sender-7f3a9c01", "2026-03-01", "a=b", "a-b"])
def test_what_is_no_formula_stays(value: object) -> None:
    """A cell that no spreadsheet would run is as it was."""
    assert ("" if value is None else str(value)) == defused(value)


def test_text_moves_no_terminal() -> None:
    """Control characters in what people wrote do not reach the terminal."""
    report: dict[str, Any] = {"since": "2026-03-01", "until": "2026-03-02", **{name: [] for name in SECTIONS}}
    report["accesses"] = [{"at": "t", "actor": "root", "action": "audit --reveal", "why": "\x1b[2Jhello\r\n"}]
    text = as_text(report)
    assert "\x1b" not in text
    assert "hello" in text
