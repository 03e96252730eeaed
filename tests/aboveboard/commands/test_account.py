"""`aboveboard account`: logins of the relay's own."""

import json
import re

import pytest
from click.testing import CliRunner, Result

from aboveboard.cli import main
from tests.aboveboard.calling import Command

LOGIN = "alice@example.org"


def add(*words: str, password: str = "secret words") -> Result:
    """Call `account add` with a password on standard input."""
    entered = f"{password}\n".encode(errors="surrogateescape")
    return CliRunner().invoke(main, ("account", "add", LOGIN, *words), input=entered)


def listed(command: Command) -> list[dict[str, object]]:
    """Return the accounts without their times."""
    found = json.loads(command("account", "list", "--json").stdout)
    return [
        {
            "login": one["login"],
            "senders": one["senders"],
            "password": one["password"],
            "app_passwords": [each["name"] for each in one["app_passwords"]],
        }
        for one in found
    ]


def test_account_is_added_listed_and_removed(command: Command) -> None:
    """An account is added with a password from standard input, listed with what it may, and removed."""
    added = add("--sender", "info@example.org", "--sender", "*@shop.example")
    assert (0, "The account alice@example.org is there.\n", "") == (added.exit_code, added.stdout, added.stderr)
    line = "alice@example.org: password; may send as info@example.org, *@shop.example\n"
    assert line == command("account", "list").stdout
    assert "The account alice@example.org is gone.\n" == command(
        "account", "remove", "Alice@Example.ORG"
    ).stdout.replace("Alice@Example.ORG", LOGIN)
    assert [] == listed(command)


def test_app_passwords(command: Command) -> None:
    """App passwords are made and shown once, alone on standard output; an account may have them only."""
    made = [add("--app-password", name) for name in ("Phone", "Laptop")]
    assert [0, 0] == [one.exit_code for one in made]
    assert all(re.fullmatch("([a-z2-7]{5}-){3}[a-z2-7]{5}\n", one.stdout) for one in made)
    assert made[0].stdout != made[1].stdout
    expected = {"login": LOGIN, "senders": [], "password": False, "app_passwords": ["Phone", "Laptop"]}
    assert [expected] == listed(command)
    assert 0 == command("account", "remove", LOGIN, "--app-password", "Phone").exit_code
    assert [{**expected, "app_passwords": ["Laptop"]}] == listed(command)


def test_change_keeps_senders(command: Command) -> None:
    """Another password leaves senders as they are unless others are named."""
    add("--sender", "info@example.org")
    assert "The account alice@example.org has another password.\n" == add("--change", password="other words").stdout
    assert [["info@example.org"]] == [one["senders"] for one in listed(command)]
    add("--change", "--sender", "sales@example.org", password="other words")
    assert [["sales@example.org"]] == [one["senders"] for one in listed(command)]


@pytest.mark.parametrize(
    ("before", "words", "password", "code", "sentence"),
    [
        ((), (), "short", 1, "The password must have 8 to 1024 characters."),
        ((), (), "", 1, "The password must have 8 to 1024 characters."),
        ((), (), "ge\udcfcheime W\udcf6rter", 1, "The password is not UTF-8.\n"),
        (
            (),
            ("--sender", "example.org"),
            "secret words",
            2,
            '"example.org" matches no address; write "*@example.org".',
        ),
        (
            (),
            ("--change",),
            "secret words",
            1,
            "There is no account alice@example.org; `aboveboard account list` names them.",
        ),
        (("add",), (), "secret words", 1, "There is an account alice@example.org already."),
        ((), ("--change", "--app-password", "x"), "secret words", 2, "--change asks for a password"),
    ],
    ids=["short", "none", "latin-1", "no-address", "change-nobody", "twice", "both"],
)
def test_what_cannot_be(
    command: Command, before: tuple[str, ...], words: tuple[str, ...], password: str, code: int, sentence: str
) -> None:
    """What does not go together is one sentence, and changes nothing."""
    if before:
        add()
    done = add(*words, password=password)
    assert (code, "") == (done.exit_code, done.stdout)
    assert sentence in done.stderr
    assert len(before) == len(listed(command))


def test_password_is_no_argument(command: Command) -> None:
    """There is no way to give a password as an argument, where every user of the machine would see it."""
    assert 2 == command("account", "add", LOGIN, "secret words").exit_code
    assert 2 == command("account", "add", LOGIN, "--password", "secret words").exit_code


def test_removing_what_is_not_there(command: Command) -> None:
    """A login without an account, and an app password that is not there, are named."""
    assert (
        "There is no account bob; `aboveboard account list` names them.\n" == command("account", "remove", "bob").stderr
    )
    add()
    removed = command("account", "remove", LOGIN, "--app-password", "Phone")
    assert (1, "The account alice@example.org has no app password Phone.\n") == (removed.exit_code, removed.stderr)


def test_looking_is_recorded(command: Command) -> None:
    """That an administrator listed the accounts is on record."""
    command("account", "list")
    report = json.loads(command("audit", "--json").stdout)
    assert "accounts" in [row["action"] for row in report["accesses"]]
