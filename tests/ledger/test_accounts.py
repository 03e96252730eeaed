"""Accounts in the ledger: their passwords are kept so that nobody can read them, and found again."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger import passwords
from ledger.accountfile import AccountFile
from ledger.accounts import Account, AccountError, Password
from ledger.consent import Person
from ledger.keys import Keyring
from ledger.ledger import Ledger
from tests.relaying import open_ledger

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LOGIN = "alice@example.org"


def chosen(keyring: Keyring, secret: bytes) -> Password:
    """Return a password that people chose."""
    return Password("", None, passwords.hashed(keyring, secret), NOW)


def app(keyring: Keyring, label: str, secret: str) -> Password:
    """Return an app password."""
    said = secret.encode()
    kept = passwords.hashed(keyring, passwords.normalised(said))
    return Password(label, passwords.tag(keyring, said), kept, NOW)


async def labels(ledger: Ledger) -> list[str]:
    """Return what the account's passwords are for."""
    found = await ledger.account(LOGIN)
    return [] if found is None else [one.label for one in found.passwords]


async def test_account_is_found_however_it_is_spelled(tmp_path: Path) -> None:
    """An account comes back with its senders and passwords, by its login in any spelling; another one does not."""
    async with open_ledger(tmp_path) as ledger:
        password = chosen(ledger.keyring, b"secret words")
        await ledger.add_account(Account("Alice@example.org", ("info@*",), NOW, (password,)))
        expected = Account("Alice@example.org", ("info@*",), NOW, (password,))
        assert [expected] * 2 == [await ledger.account(LOGIN), await ledger.account("ALICE@Example.ORG")]
        assert await ledger.account("bob@example.org") is None
        assert [expected] == await ledger.accounts()


async def test_nothing_of_an_account_lies_open(tmp_path: Path) -> None:
    """Neither login, senders, labels nor passwords stand in any of the ledger's files."""
    async with open_ledger(tmp_path) as ledger:
        secret = passwords.new_app_password()
        await ledger.add_account(
            Account(LOGIN, ("info@shop.example",), NOW, (chosen(ledger.keyring, b"secret words"),))
        )
        await ledger.add_app_password(LOGIN, app(ledger.keyring, "Thunderbird", secret))
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    forms = [LOGIN, "info@shop", "secret words", "Thunderbird", secret, secret.replace("-", "")]
    forms += [base64.b64encode(form.encode()).decode() for form in forms]
    assert b"$argon2id$" in kept
    assert [] == [form for form in forms if form.encode() in kept]


async def test_app_passwords_come_and_go(tmp_path: Path) -> None:
    """Row 83: an account has app passwords, each with a name of its own, and loses them one by one or all at once."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.add_account(Account(LOGIN, (), NOW, (chosen(ledger.keyring, b"secret words"),)))
        for label in ("Phone", "Laptop"):
            await ledger.add_app_password(LOGIN, app(ledger.keyring, label, passwords.new_app_password()))
        with pytest.raises(AccountError, match="has an app password Phone already"):
            await ledger.add_app_password(LOGIN, app(ledger.keyring, "Phone", passwords.new_app_password()))
        await ledger.remove_app_password(LOGIN, "Phone")
        assert ["", "Laptop"] == sorted(await labels(ledger))
        with pytest.raises(AccountError, match="has no app password Phone"):
            await ledger.remove_app_password(LOGIN, "Phone")
        await ledger.remove_account(LOGIN)
        assert [] == await ledger.accounts()
        with pytest.raises(AccountError, match="There is no account"):
            await ledger.remove_account(LOGIN)


async def test_change_replaces_the_chosen_password_only(tmp_path: Path) -> None:
    """Another password and other senders take the place of those there were; app passwords stay."""
    async with open_ledger(tmp_path) as ledger:
        keyring = ledger.keyring
        await ledger.add_account(Account(LOGIN, (), NOW, (chosen(keyring, b"old secret"),)))
        await ledger.add_app_password(LOGIN, app(keyring, "Phone", passwords.new_app_password()))
        with pytest.raises(AccountError, match="already"):
            await ledger.add_account(Account(LOGIN, (), NOW))
        await ledger.change_account(Account(LOGIN, ("info@*",), NOW, (chosen(keyring, b"new secret"),)))
        found = await ledger.account(LOGIN)
    assert found is not None
    (kept,) = [one.kept for one in found.passwords if one.tag is None]
    assert (2, ("info@*",)) == (len(found.passwords), found.senders)
    assert (True, False) == (
        passwords.matches(keyring, kept, b"new secret"),
        passwords.matches(keyring, kept, b"old secret"),
    )


def test_password_needs_the_key_file() -> None:
    """What is kept of a password matches it by the key file it was made with, and by no other."""
    one, other = Keyring.throwaway(), Keyring.throwaway()
    kept = passwords.hashed(one, b"secret words")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (True, False, False) == (
        passwords.matches(one, kept, b"secret words"),
        passwords.matches(one, kept, b"secret word"),
        passwords.matches(other, kept, b"secret words"),
    )


def test_app_password_may_be_typed_in_other_ways() -> None:
    """App passwords are long and different, and dashes, spaces and capitals in them do not count."""
    secret = passwords.new_app_password()
    assert [5, 5, 5, 5] == [len(group) for group in secret.split("-")]
    assert secret != passwords.new_app_password()
    typed = secret.upper().replace("-", " ").encode()
    keyring = Keyring.throwaway()
    assert passwords.tag(keyring, secret.encode()) == passwords.tag(keyring, typed)
    assert passwords.normalised(secret.encode()) == passwords.normalised(typed)


async def test_account_is_in_its_owners_copy(tmp_path: Path) -> None:
    """Who asks for what is on record gets their account too, with what its passwords are for, and nobody else does."""
    async with open_ledger(tmp_path) as ledger:
        await ledger.add_account(Account(LOGIN, ("info@*",), NOW, (chosen(ledger.keyring, b"secret words"),)))
        copies = [await ledger.copy_of(Person.of(ledger.keyring, who)) for who in (LOGIN, "bob@example.org")]
    at = "2026-05-01T00:00:00.000000Z"
    expected = {"login": LOGIN, "senders": ["info@*"], "created_at": at, "passwords": [{"for": "", "created_at": at}]}
    assert [[expected], []] == [copy["accounts"] for copy in copies]


def test_copies_written_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers with one folder, whose processes have the same number, leave one whole copy and nothing else."""
    path, keyring = tmp_path / "accounts", Keyring.throwaway()
    seal = Keyring.seal_column

    def overtaken(self: Keyring, content: bytes, place: str) -> bytes:
        monkeypatch.setattr(Keyring, "seal_column", seal)
        AccountFile(path, keyring).write([])
        return seal(self, content, place)

    monkeypatch.setattr(Keyring, "seal_column", overtaken)
    AccountFile(path, keyring).write([])
    assert [] == AccountFile(path, keyring).read()
    assert ["accounts"] == [file.name for file in tmp_path.iterdir()]
