"""Attempts to log in, and accounts, on either database."""

from datetime import UTC, datetime, timedelta

from ledger import passwords
from ledger.accounts import Account, Password
from ledger.attempts import SUCCESS, Attempt
from ledger.ledger import Ledger

NOW = datetime.now(UTC).replace(microsecond=0)


def attempt(secret: str, *, account: str = "a", network: str = "n", ago: int = 0) -> Attempt:
    """Return an attempt some minutes ago."""
    return Attempt(account, network, secret, NOW - timedelta(minutes=ago))


async def test_attempts_are_found_by_account_and_by_network(ledger: Ledger) -> None:
    """Those of the last day are found by either, newest first; the same secret again is one, with the later time."""
    tried = [
        attempt("1", ago=9),
        attempt("2", network="m", ago=8),
        attempt("3", account="b", ago=7),
        attempt("4", account="b", network="m", ago=6),
        attempt("5", ago=24 * 60 + 1),
        attempt("1", ago=5),
    ]
    assert [True] * 6 == [await ledger.record_attempt(one) for one in tried]
    assert [attempt("1", ago=5), tried[2], tried[1]] == await ledger.attempts("a", "n")
    assert [] == await ledger.attempts("c", "k")


async def test_success_ends_failures_of_the_same_pair(ledger: Ledger) -> None:
    """A login that works forgets what failed as this account from this network, and nothing else."""
    for one in (attempt("1", ago=2), attempt("2", ago=2), attempt("3", network="m", ago=1)):
        await ledger.record_attempt(one)
    assert await ledger.record_attempt(attempt(SUCCESS))
    assert [attempt(SUCCESS), attempt("3", network="m", ago=1)] == await ledger.attempts("a", "n")


async def test_account_comes_back(ledger: Ledger) -> None:
    """An account is found with all its passwords, or with none, and in the list of all."""
    keyring = ledger.keyring
    kept = [Password(name, "tag" if name else None, passwords.NOBODYS, NOW + timedelta(seconds=at))
            for at, name in enumerate(("", "Phone", "Laptop"))]  # fmt: skip
    alice = Account("alice@example.org", ("info@*",), NOW, tuple(kept))
    bob = Account("bob", (), NOW)
    for one in (bob, alice):
        await ledger.add_account(one)
    assert [alice, bob, None] == [await ledger.account(login) for login in ("Alice@example.org", "bob", "carol")]
    assert [alice, bob] == await ledger.accounts()
    assert not passwords.matches(keyring, passwords.NOBODYS, b"")
