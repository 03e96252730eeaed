"""The command where something is wrong: one clear sentence, nothing done, and nothing hidden from whoever reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.aboveboard.calling import EML, Command

FULL = Path("/dev/full")
BOB = "bob@customer.test"
GRANT = ("--purpose", "open", "--method", "paper", "--evidence")
ESCAPES = "form 12\x1b[2J\nopen: refused\u202e"


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("proof", BOB), ("export", "--format", "csv")], ids=["proof", "export"])
def test_a_full_disk_is_one_sentence(command: Command, words: tuple[str, ...]) -> None:
    """A file that cannot be written is said in one sentence."""
    done = command("consent", *words, "--output", str(FULL))
    assert (1, "", "What was to be written: No space left on device.\n") == (done.exit_code, done.stdout, done.stderr)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_screen_that_takes_nothing(command: Command, tmp_path: Path) -> None:
    """The same where it is standard output, in a process of its own."""
    command("consent", "grant", BOB, *GRANT, "form 12")
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aboveboard", "consent", "show", BOB],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (1, "What was to be written: No space left on device.\n") == (done.returncode, done.stderr)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("--help",), ("--version",), ("consent", "export")], ids=" ".join)
def test_a_screen_that_takes_nothing_of_much(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The same where it is help, and where more is printed of the ledger than is held back: it is not the ledger's."""
    command("consent", "grant", BOB, *GRANT, "form 12" * 10_000)
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aboveboard", *words],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (1, "What was to be written: No space left on device.\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        ("consent show bob@customer.test", "2>&-", 0),
        ("consent show bob@customer.test", ">&- 2>&- <&-", 0),
        ("consent export", ">&-", 0),
        ("rewrite m.eml --mail-from alice@example.org --rcpt bob@customer.test", ">&-", 0),
        ("account add anna", "<&- 2>/dev/null", 1),
        ("nonsense", "2>&-", 2),
    ],
)
def test_what_a_caller_closed(command: Command, tmp_path: Path, words: str, closed: str, code: int) -> None:
    """A command does what it is to do where standard input, output or error is closed; nobody hears what it says."""
    command("consent", "grant", BOB, *GRANT, "form 12")
    (tmp_path / "m.eml").write_bytes(EML)
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m aboveboard {words} {closed}', sys.executable],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (code, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_screen_of_another_alphabet(command: Command, tmp_path: Path, encoding: str) -> None:
    """A proof with more than the locale's letters in it is printed whole, and verifies."""
    command("consent", "grant", BOB, *GRANT, "☐ Formular für März")
    done = subprocess.run(
        [sys.executable, "-m", "aboveboard", "consent", "proof", BOB],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (0, b"") == (done.returncode, done.stderr)
    assert "☐ Formular für März" in done.stdout.decode("utf-8")
    (tmp_path / "proof.json").write_bytes(done.stdout)
    assert 0 == command("consent", "verify", str(tmp_path / "proof.json")).exit_code


@pytest.mark.parametrize(
    "words",
    [
        ("consent", "grant", "{}", *GRANT, "form 12"),
        ("consent", "withdraw", "{}"),
        ("consent", "show", "{}"),
        ("consent", "proof", "{}"),
        ("subject", "erase", "{}", "--yes"),
        ("requests", "informed", "{}"),
        ("sender-link", "{}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("address", ["", "<>", "postmaster"], ids=["nothing", "null sender", "no domain"])
def test_nobody_is_no_person(command: Command, words: tuple[str, ...], address: str) -> None:
    """What is no address of a person is a wrong call, and nothing is recorded about it."""
    done = command(*(word.replace("{}", address) for word in words))
    assert (2, "") == (done.exit_code, done.stdout)
    assert "is not the e-mail address of a person, like jane@example.org." in done.stderr


@pytest.mark.parametrize("address", [f"{BOB}> SIZE=1", f"@relay.example:{BOB}"], ids=["parameters", "a route"])
def test_an_address_and_nothing_more(command: Command, address: str) -> None:
    """What is more than an address, as the relay hears it, is not cut down to one."""
    done = command("consent", "withdraw", address)
    assert (2, "") == (done.exit_code, done.stdout)
    assert f"{address!r} is not an e-mail address." in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("account", "remove", "anna", "--app-password", "\udcff"),
        ("consent", "grant", BOB, *GRANT, "\udcff"),
        ("demo", "--smtp-port", "65536"),
        ("audit", "--policy", "\udcff"),
        ("consent", "suspend", "\udcff"),
        ("consent", "resume", "\udcff"),
        ("requests", "show", "\udcff"),
        ("requests", "answer", "\udcff", "--text", "Yes"),
        ("messages", "--limit", str(2**63)),
        ("hits", "--limit", str(2**31)),
    ],
    ids=ascii,
)
def test_what_no_database_holds_is_a_wrong_call(command: Command, words: tuple[str, ...]) -> None:
    """Bytes that are no text, and numbers without end, are wrong calls; no database is asked about them."""
    done = command(*words)
    assert (2, "", 1) == (done.exit_code, done.stdout, len(done.stderr.splitlines()))


@pytest.mark.parametrize("words", [("grant", "--purpose", "open", "--evidence", "form 12"), ("withdraw",)])
@pytest.mark.parametrize(("method", "why"), [("x" * 65, "not be longer than 64"), (" ", "not be empty")])
def test_a_method_is_a_word(command: Command, words: tuple[str, ...], method: str, why: str) -> None:
    """How something was said is a word that every database holds: another one is a wrong call."""
    done = command("consent", words[0], BOB, *words[1:], "--method", method)
    assert (2, "") == (done.exit_code, done.stdout)
    assert f"must {why}" in done.stderr


def test_what_others_wrote_does_nothing_to_a_screen(command: Command) -> None:
    """Evidence with control characters is shown without them, on one line; JSON has it as it is."""
    command("consent", "grant", BOB, *GRANT, ESCAPES)
    shown = command("consent", "show", BOB).stdout
    assert "form 12\ufffd[2J\ufffdopen: refused\ufffd" in shown
    assert "open: refused" not in shown.splitlines()
    (event,) = json.loads(command("consent", "show", BOB, "--json").stdout)["events"]
    assert ESCAPES == event["evidence"]


def test_a_file_that_is_deep_is_no_proof(command: Command, tmp_path: Path) -> None:
    """JSON that goes on inwards for ever is refused like any other that is none."""
    command("consent", "grant", BOB, *GRANT, "form 12")
    (tmp_path / "deep.json").write_text("[" * 200_000)
    done = command("consent", "verify", "deep.json")
    assert (1, "The file is no JSON.\n") == (done.exit_code, done.stderr)


def test_a_byte_order_mark_is_no_error(command: Command, tmp_path: Path) -> None:
    """Anchors and proofs that an editor on Windows kept are what they were."""
    command("consent", "grant", BOB, *GRANT, "form 12")
    command("consent", "anchor", "--file", "heads")
    command("consent", "proof", BOB, "--output", "proof.json")
    for name in ("heads", "proof.json"):
        (tmp_path / name).write_text((tmp_path / name).read_text("utf-8"), "utf-8-sig")
    assert 0 == command("consent", "verify", "--anchors", "heads").exit_code
    assert 0 == command("consent", "verify", "proof.json").exit_code


@pytest.mark.parametrize("day", ["0001-01-05", "1969-12-31", "9999-12-31"])
def test_days_at_the_ends_of_time(command: Command, day: str) -> None:
    """A day that others cannot be counted from is a wrong call."""
    done = command("audit", "--until", day)
    assert 2 == done.exit_code
    assert f"'{day}' is too far away." in done.stderr


def test_91_what_an_administrator_did_is_on_record(command: Command, tmp_path: Path) -> None:
    """Row 91: whoever records, takes back, brings along or answers something for others is named in the audit."""
    (tmp_path / "a.csv").write_text("address,purposes,date\neve@customer.test,open,2026-01-01\n")
    for words in (
        ("consent", "grant", BOB, *GRANT, "form 12"),
        ("consent", "withdraw", BOB),
        ("consent", "refuse", "--domain", "client.example", "--reason", "letter"),
        ("consent", "lift", "--domain", "client.example", "--reason", "letter"),
        ("consent", "import", "a.csv", "--dry-run"),
        ("consent", "import", "a.csv"),
        ("requests", "informed", BOB),
    ):
        assert 0 == command(*words).exit_code
    report = json.loads(command("audit", "--json").stdout)
    did = ["consent grant", "consent withdraw", "consent refuse", "consent lift", "consent import", "requests informed"]
    assert [*did, "audit"] == [row["action"] for row in report["accesses"]]
    assert {True} == {bool(row["actor"]) for row in report["accesses"]}
