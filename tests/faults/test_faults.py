"""Faults, in their short form: real processes, clients that keep account, and nothing lost whatever dies.

`make faults` runs the long form and prints the table. What is counted, and what must hold, is in account.py.
"""

import asyncio
from pathlib import Path

import pytest

from tests.faults.account import Account, Attempt, Row, letter
from tests.faults.run import NOT_MOUNTED, SHORT, everything, names
from tests.peers import require

ONE = letter("one", "alice@example.org", ("a@customer.test", "b@customer.test"))
COPY = {"id": "one", "to": list(ONE.recipients), "relay_id": "", "sha": ONE.sha, "tracked": False}


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """What came of every scenario, by its name."""
    found: dict[str, Row] = {}
    folder: Path = tmp_path_factory.mktemp("faults")
    asyncio.run(everything(folder, SHORT, lambda row: found.__setitem__(row.name, row)))
    return found


@pytest.mark.parametrize("name", names(SHORT))
def test_nothing_is_lost(rows: dict[str, Row], name: str) -> None:
    """S19, 168: what was acknowledged arrived, once and as it was; twice only where nobody said what became of it."""
    row = rows[name]
    if row.skipped == NOT_MOUNTED:
        pytest.skip(row.skipped)
    if row.skipped:
        require(row.skipped)
    assert row.sent > 0
    assert row.right, row


def attempt(reply: str) -> Attempt:
    """Return a try for both recipients that ended with a reply to the whole message."""
    return Attempt(reply, ONE.recipients, dot=True)


@pytest.mark.parametrize(
    ("attempts", "copies", "expected"),
    [
        pytest.param(["250 ok"], 1, (2, 2, 0, 0, 0), id="as it should be"),
        pytest.param(["250 ok"], 0, (2, 0, 0, 0, 2), id="acknowledged and missing is lost"),
        pytest.param(["", "250 ok"], 2, (2, 2, 2, 0, 0), id="twice, and nobody had said anything"),
        pytest.param(["451 4.4.2 ...; it may have the message", "250 ok"], 2, (2, 2, 2, 0, 0), id="twice, as was said"),
        pytest.param(["451 4.4.2 lost", "250 ok"], 2, (2, 2, 2, 2, 0), id="twice without a reason"),
        pytest.param(["451 4.4.2 lost"], 1, (0, 2, 0, 2, 0), id="there, and was said not to be"),
    ],
)
def test_the_account_adds_up(attempts: list[str], copies: int, expected: tuple[int, ...]) -> None:
    """The harness itself sees what is lost and what came twice, and when that had a reason."""
    account = Account("x")
    for reply in attempts:
        account.add(ONE, attempt(reply))
    row = account.row([COPY] * copies)
    assert expected == (row.accepted, row.delivered, row.doubled, row.unexplained, row.lost)


def test_altered_bytes_are_seen() -> None:
    """A message that arrives untracked with other bytes counts as altered, and the row as not right."""
    account = Account("x")
    account.add(ONE, attempt("250 ok"))
    row = account.row([{**COPY, "sha": "another"}])
    assert (1, False) == (row.altered, row.right)
