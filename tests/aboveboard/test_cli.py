"""The command, called as a person calls it: what it prints, where, and its exit code."""

import errno
import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from aboveboard.cli import main
from aboveboard.config import ConfigError
from aboveboard.sockets import bind
from tests.aboveboard.calling import CONFIG, EVIDENCE, GRANT, MESSAGE, Command


def test_check(command: Command, tmp_path: Path) -> None:
    """check exits 0 for a right file; else it exits 1 and names the error on standard error."""
    assert 0 == command("check").exit_code
    (tmp_path / "note.toml").write_text(CONFIG + '[policy.groups]\nsales = ["*@example.org"]\n')
    noted = command("check", "--config", "note.toml")
    assert (0, "note: policy.groups.sales: is a group that no rule names.") == (
        noted.exit_code,
        noted.stdout.splitlines()[0],
    )
    (tmp_path / "bad.toml").write_text(CONFIG + "[policy]\nopne = 1\n")
    bad = command("check", "--config", "bad.toml")
    assert (1, "", 'policy.opne: is not a known key (did you mean "open"?).\n') == (
        bad.exit_code,
        bad.stdout,
        bad.stderr,
    )


def test_check_says_that_nobody_can_log_in(command: Command, tmp_path: Path) -> None:
    """check says how to add an account as long as a listener wants one and there is none, and begins no ledger."""
    text = CONFIG.replace('"127.0.0.1:1587"', '"127.0.0.1:1587"\nauth = "accounts"')
    (tmp_path / "aboveboard.toml").write_text(text)
    note = (
        'note: relay.listener[0].auth: there is no account yet, so nobody can log in; add one with "aboveboard account '
    )
    for _ in range(2):
        noted = command("check")
        assert (0, True) == (noted.exit_code, noted.stdout.startswith(note))
    assert not (tmp_path / "aboveboard.key").exists()
    assert not (tmp_path / "aboveboard.db").exists()
    assert 0 == command("account", "add", "alice@example.org", "--app-password", "Thunderbird").exit_code
    assert "note:" not in command("check").stdout
    assert 0 == command("account", "remove", "alice@example.org").exit_code
    assert command("check").stdout.startswith(note)


def test_wrong_call(command: Command) -> None:
    """A wrong call is exit 2."""
    assert [2, 2, 2, 2] == [
        command("nonsense").exit_code,
        command("explain", "m.eml").exit_code,
        command("consent", "grant", "not an address", "--purpose", "open", "--method", "x").exit_code,
        command("rewrite", *MESSAGE, "--assume-consent", "everything").exit_code,
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nonsense",), "main: No such command 'nonsense'"),
        (("--nonsense",), "main: No such option '--nonsense'."),
        (
            GRANT[:3],
            "main consent grant: Missing option '--purpose'. Choose from: open, click, detail.",
        ),
        (("subject", "erase", "bob@customer.test"), "main subject erase: This cannot be undone: say --yes."),
    ],
    ids=["command", "option", "missing", "unsure"],
)
def test_a_wrong_call_is_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    """What is wrong with a call stands alone on standard error, on one line."""
    answer = CliRunner().invoke(main, list(words))
    assert (2, "", 1) == (answer.exit_code, answer.stdout, len(answer.stderr.splitlines()))
    assert answer.stderr.startswith(sentence)


@pytest.mark.parametrize("words", [(), ("consent",)], ids=["aboveboard", "a group"])
def test_a_group_without_a_command_helps(words: tuple[str, ...]) -> None:
    """Whoever calls a group alone reads what there is in it."""
    answer = CliRunner().invoke(main, list(words))
    assert 2 == answer.exit_code
    assert "Commands:" in answer.stderr


def test_grant_and_show(command: Command) -> None:
    """A grant is recorded with its evidence and shown again; the address's case matters for a grant."""
    assert 0 == command(*GRANT, *EVIDENCE).exit_code
    shown = json.loads(command("consent", "show", "bob@customer.test", "--json").stdout)
    assert {"open": "granted", "click": "granted", "detail": "unknown"} == shown["consent"]
    assert ["form 12", "form 12"] == [event["evidence"] for event in shown["events"]]
    other = json.loads(command("consent", "show", "Bob@customer.test", "--json").stdout)
    assert {"unknown"} == set(other["consent"].values())
    assert "open: granted" in command("consent", "show", "bob@customer.test").stdout


def test_grant_needs_evidence(command: Command) -> None:
    """Without evidence a grant is refused with one sentence, and nothing is recorded."""
    refused = command(*GRANT)
    assert (1, "") == (refused.exit_code, refused.stdout)
    assert 1 == refused.stderr.count("\n")
    assert "The chain is whole: 0 events." in command("consent", "verify").stdout


def test_grant_after_a_refusal(command: Command) -> None:
    """After a refusal, in whatever case, an administrator's grant is refused."""
    command(*GRANT, *EVIDENCE)
    assert 0 == command("consent", "withdraw", "BOB@customer.test").exit_code
    assert 1 == command(*GRANT, *EVIDENCE).exit_code
    shown = json.loads(command("consent", "show", "bob@customer.test", "--json").stdout)
    assert {"open": "withdrawn", "click": "withdrawn", "detail": "refused"} == shown["consent"]
    assert "withdrawn" == json.loads(command("explain", *MESSAGE, "--json").stdout)["reason"]


def test_verify_finds_an_alteration(command: Command) -> None:
    """verify fails, and names the row, after a row was altered by hand."""
    command(*GRANT, *EVIDENCE)
    assert 0 == command("consent", "verify").exit_code
    connection = sqlite3.connect("aboveboard.db")
    with connection:
        connection.execute("UPDATE consent_event SET purpose = 'detail' WHERE sequence = 2")
    connection.close()
    found = command("consent", "verify")
    assert (1, "Event 2 was altered.\n") == (found.exit_code, found.stderr)


def test_looking_is_recorded(command: Command) -> None:
    """messages and hits print JSON, and that an administrator looked is on record."""
    assert ("[]\n", "[]\n") == (command("messages", "--json").stdout, command("hits", "--json").stdout)
    connection = sqlite3.connect("aboveboard.db")
    looked = sorted(row[0] for row in connection.execute("SELECT action FROM access"))
    connection.close()
    assert ["hits", "messages"] == looked


def test_key_rotation(command: Command) -> None:
    """key rotate takes two steps, and says which was taken."""
    assert 1 == command("key", "rotate").exit_code
    command("db", "upgrade")
    assert "Key 2 is known now" in command("key", "rotate").stdout
    assert "Key 2 is in use from now on" in command("key", "rotate").stdout
    assert "Key 3 is known now" in command("key", "rotate").stdout


def test_another_key_file_stops_everything(command: Command, tmp_path: Path) -> None:
    """With a missing or another key file nothing works on, and one sentence says why."""
    command(*GRANT, *EVIDENCE)
    key = (tmp_path / "aboveboard.key").read_bytes()
    (tmp_path / "aboveboard.key").unlink()
    missing = command("consent", "verify")
    assert (1, True) == (missing.exit_code, "is missing" in missing.stderr)
    assert not (tmp_path / "aboveboard.key").exists()
    assert 1 == command("serve").exit_code
    checked = command("check")
    assert (1, True) == (checked.exit_code, checked.stderr.startswith("ledger.key_file: The key file "))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/aboveboard.toml").write_text(CONFIG)
    command("db", "upgrade", "--config", "other/aboveboard.toml")
    (tmp_path / "aboveboard.key").write_bytes((tmp_path / "other/aboveboard.key").read_bytes())
    assert "is not the one this ledger was written with" in command("consent", "verify").stderr
    assert "is not the one this ledger was written with" in command("check").stderr
    (tmp_path / "aboveboard.key").write_bytes(key)
    assert [0, 0] == [command("consent", "verify").exit_code, command("check").exit_code]


@pytest.mark.parametrize(
    "words", [("check",), ("db", "upgrade"), ("db", "restored"), ("consent", "verify")], ids=" ".join
)
def test_a_ledger_that_is_gone_is_not_begun_anew(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Promise 6: where consent was recorded and the file is missing, no command makes an empty one in its place."""
    command(*GRANT, *EVIDENCE)
    for file in tmp_path.glob("aboveboard.db*"):
        if not file.name.endswith((".head", ".journal")):
            file.unlink()
    answer = command(*words)
    assert (1, True) == (answer.exit_code, "is missing, and consent was recorded in it" in answer.stderr)
    assert not (tmp_path / "aboveboard.db").exists()


def test_sender_link(command: Command) -> None:
    """sender-link prints an address of the sender's pages."""
    assert command("sender-link", "alice@example.org").stdout.startswith("http://127.0.0.1:8080/mail/")


def test_config_by_environment(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$ABOVEBOARD_CONFIG names the file where --config does not."""
    (tmp_path / "aboveboard.toml").rename(tmp_path / "elsewhere.toml")
    assert 1 == command("check").exit_code
    monkeypatch.setenv("ABOVEBOARD_CONFIG", str(tmp_path / "elsewhere.toml"))
    assert 0 == command("check").exit_code


def test_a_port_in_use(command: Command, tmp_path: Path) -> None:
    """serve says which setting cannot be listened on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "aboveboard.toml").write_text(CONFIG.replace("1587", str(port)))
        answer = command("serve")
    assert 1 == answer.exit_code
    assert (
        f"relay.listener[0].address: 127.0.0.1:{port} cannot be listened on: Address already in use.\n" == answer.stderr
    )


def test_a_port_that_is_the_superusers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not listen on a port below 1024 hears what it takes."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:587 cannot be listened on: .*CAP_NET_BIND_SERVICE\.$"):
        bind("relay.listener[0].address", "127.0.0.1:587")


def test_a_missing_ledger_is_not_begun_anew(command: Command, tmp_path: Path) -> None:
    """With consent on record and the file gone, commands stop with a sentence and make no new one."""
    command(*GRANT, *EVIDENCE)
    command("consent", "withdraw", "bob@customer.test")
    (tmp_path / "aboveboard.db").rename(tmp_path / "away.db")
    for words in (("consent", "show", "bob@customer.test"), (*GRANT, *EVIDENCE), ("messages",), ("purge",)):
        answer = command(*words)
        assert (1, True) == (answer.exit_code, "put it back from a backup" in answer.stderr)
    assert not (tmp_path / "aboveboard.db").exists()
    (tmp_path / "away.db").rename(tmp_path / "aboveboard.db")
    assert 1 == command(*GRANT, *EVIDENCE).exit_code


def test_withdrawing_twice(command: Command) -> None:
    """A second withdrawal says that there is nothing new to record."""
    assert "Recorded" in command("consent", "withdraw", "bob@customer.test").stdout
    again = command("consent", "withdraw", "bob@customer.test")
    assert (0, True) == (again.exit_code, again.stdout.startswith("Nothing new to record"))


def test_files_are_their_owners_alone(command: Command, tmp_path: Path) -> None:
    """Ledger, key file and head file can be read by their owner only."""
    command(*GRANT, *EVIDENCE)
    found = {
        file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.glob("aboveboard.*") if file.suffix != ".toml"
    }
    assert {"aboveboard.db", "aboveboard.key", "aboveboard.db.head"} <= set(found)
    assert {"0o600"} == set(found.values())


def test_rotating_keeps_the_rights_of_the_key_file(command: Command, tmp_path: Path) -> None:
    """A key file that a group may read, as the service does, may still be read by it after a rotation."""
    command("db", "upgrade")
    (tmp_path / "aboveboard.key").chmod(0o640)
    command("key", "rotate")
    assert 0o640 == (tmp_path / "aboveboard.key").stat().st_mode & 0o777


def test_damaged_key_file(command: Command, tmp_path: Path) -> None:
    """check and everything else name a key file that is damaged."""
    (tmp_path / "aboveboard.key").write_text("{")
    assert "is damaged: put it back from a backup" in command("check").stderr
    assert "is damaged: put it back from a backup" in command("messages").stderr


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE notice SET body = '{}'", "was altered"),
        ("DELETE FROM notice", "The notice that event 1 relies on is missing or another one."),
        ("UPDATE consent_event SET method = x'00ff' WHERE sequence = 1", "Event 1 was altered."),
        ("UPDATE consent_personal SET sealed = 'abc' WHERE sequence = 2", "The personal part of event 2 was altered."),
    ],
    ids=["notice altered", "notice gone", "another type", "another type beside"],
)
def test_verify_finds_what_sqlite_allows(command: Command, statement: str, sentence: str) -> None:
    """verify names an altered notice and columns of another type, each with a sentence."""
    command(*GRANT, *EVIDENCE)
    connection = sqlite3.connect("aboveboard.db")
    with connection:
        connection.execute(statement)
    connection.close()
    found = command("consent", "verify")
    assert (1, True) == (found.exit_code, sentence in found.stderr)


def test_a_quoted_spelling_is_the_same_person(command: Command) -> None:
    """After a refusal a grant for the same mailbox in quotes is refused too."""
    command("consent", "withdraw", "q@customer.test")
    again = command("consent", "grant", '"q"@customer.test', "--purpose", "open", "--method", "paper", *EVIDENCE)
    assert 1 == again.exit_code


def test_a_copy_and_an_erasure(command: Command, tmp_path: Path) -> None:
    """Rows 75 and 78: subject export prints a person's data, erase needs --yes, and both are on record."""
    command(*GRANT, *EVIDENCE)
    copy = json.loads(command("subject", "export", "bob@customer.test").stdout)
    table = command("subject", "export", "bob@customer.test", "--csv").stdout
    asked = command("subject", "erase", "bob@customer.test")
    erased = command("subject", "erase", "bob@customer.test", "--yes")
    left = command("subject", "export", "bob@customer.test").stdout
    with closing(sqlite3.connect(tmp_path / "aboveboard.db", isolation_level=None)) as connection:
        actions = [row[0] for row in connection.execute("SELECT action FROM access ORDER BY at")]

    assert ["form 12", "form 12"] == [event["evidence"] for event in copy["consent_events"]]
    assert '"consent_events","1","evidence","form 12"' in table
    assert (2, 0, 0) == (asked.exit_code, erased.exit_code, command("consent", "verify").exit_code)
    assert "Removed: 2 addresses and evidence of consent events" in erased.stdout
    assert ("bob@" not in left, "form 12" not in left) == (True, True)
    assert ["consent grant", *["subject export"] * 2, "subject erase", "subject export"] == actions


def test_restoring(command: Command, tmp_path: Path) -> None:
    """A11: after a restore `db restored` says what was refused since; without the journal it wants a decision."""
    command(*GRANT, *EVIDENCE)
    with closing(sqlite3.connect(tmp_path / "aboveboard.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = (tmp_path / "aboveboard.db").read_bytes()
    command("consent", "withdraw", "bob@customer.test")
    for ending in ("-wal", "-shm"):
        (tmp_path / f"aboveboard.db{ending}").unlink(missing_ok=True)
    (tmp_path / "aboveboard.db").write_bytes(backup)
    restored = command("db", "restored")
    assert (0, "Said again from the journal: 3 refusals and erasures. The head file is in step.\n") == (
        restored.exit_code,
        restored.stdout,
    )
    assert 0 == command("consent", "verify").exit_code
    assert (
        "withdrawn" == json.loads(command("consent", "show", "bob@customer.test", "--json").stdout)["consent"]["open"]
    )

    (tmp_path / "aboveboard.db.journal").unlink()
    asked = command("db", "restored")
    assert (1, True) == (asked.exit_code, "--without-journal --reason TEXT" in asked.stderr)
    assert 2 == command("db", "restored", "--without-journal").exit_code
    assert 0 == command("db", "restored", "--without-journal", "--reason", "disk lost").exit_code
    assert 0 == command("db", "restored").exit_code
    with closing(sqlite3.connect(tmp_path / "aboveboard.db", isolation_level=None)) as connection:
        (kept,) = connection.execute("SELECT value FROM meta WHERE name = 'restored_without_journal'").fetchone()
    assert "disk lost" == json.loads(kept)["reason"]
