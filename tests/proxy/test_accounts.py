"""Accounts: local logins, mail goes upstream by the service's own credentials."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from ledger import passwords
from ledger.accounts import Account, Password
from ledger.ledger import Ledger
from proxy import accounts as accounts_module
from proxy import auth
from proxy.accounts import Accounts
from proxy.ownership import Ownership
from proxy.pool import Upstreams
from proxy.sasl import PLAIN, Credential
from proxy.server import Listener
from tests.proxy.sending import Sender, until
from tests.relaying import Running, open_ledger, running_relay
from tests.upstream import FakeUpstream

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LOGIN, SECRET = "alice@example.org", "secret words"
ACCEPTED = "250 2.0.0 Ok: queued as 4XYZ"


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here for the answer to a failed login."""
    monkeypatch.setattr(auth, "DELAYS", (0.0, 0.0, 0.0))


async def alice(ledger: Ledger) -> str:
    """Add an account with a password and an app password, and return the latter."""
    keyring, secret = ledger.keyring, passwords.new_app_password()
    chosen = Password("", None, passwords.hashed(keyring, SECRET.encode()), NOW)
    await ledger.add_account(Account(LOGIN, ("info@example.org", "*@shop.example"), NOW, (chosen,)))
    said = passwords.normalised(secret.encode())
    await ledger.add_app_password(
        LOGIN, Password("Phone", passwords.tag(keyring, said), passwords.hashed(keyring, said), NOW)
    )
    return secret


def plain(secret: str = SECRET, user: str = LOGIN) -> str:
    """Return AUTH PLAIN with its response."""
    return "AUTH PLAIN " + base64.b64encode(f"\0{user}\0{secret}".encode()).decode()


@asynccontextmanager
async def relay(folder: Path, upstream: FakeUpstream) -> AsyncIterator[Running]:
    """Run a relay with accounts, one of them alice's."""
    async with running_relay(folder, upstream.port, listener=Listener((), auth="accounts")) as running:
        yield running


async def test_account_sends_by_the_service(tmp_path: Path) -> None:
    """Password and app password let in, nothing of them is said upstream, and the account is the sender."""
    async with FakeUpstream() as upstream, relay(tmp_path, upstream) as running:
        app = await alice(running.ledger)
        for secret in (SECRET, app, app.upper().replace("-", " ")):
            async with Sender(running.port) as sender:
                assert "AUTH PLAIN LOGIN" in sender.offered
                assert "235 2.7.0 You are logged in" == await sender.say(plain(secret))
                assert ACCEPTED == await sender.message()
        # What was lately right is not compared again, and is right all the same; what is wrong is wrong.
        async with Sender(running.port) as sender:
            assert "535 5.7.8" == (await sender.say(plain("secret word")))[:9]
    assert 3 == len(upstream.messages)
    assert 0 == upstream.count("AUTH")


async def test_login_mechanism(tmp_path: Path) -> None:
    """LOGIN works as PLAIN does; tokens of others do not let in."""
    async with FakeUpstream() as upstream, relay(tmp_path, upstream) as running:
        await alice(running.ledger)
        async with Sender(running.port) as sender:
            assert "504" == (await sender.say("AUTH XOAUTH2"))[:3]
            assert "334 VXNlcm5hbWU6" == await sender.say("AUTH LOGIN")
            assert "334 UGFzc3dvcmQ6" == await sender.say(base64.b64encode(LOGIN.encode()).decode())
            assert "235" == (await sender.say(base64.b64encode(SECRET.encode()).decode()))[:3]


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("alice@example.org", "250"),
        ("ALICE+x@example.org", "250"),
        ("info@example.org", "250"),
        ("any@shop.example", "250"),
        ("", "250"),
        ("bob@example.org", "553"),
        ("alice@elsewhere.test", "553"),
    ],
)
async def test_s9_sender_belongs_to_the_account(tmp_path: Path, sender: str, expected: str) -> None:
    """S9: an account sends as itself and as the addresses given to it, and read receipts as nobody; else 553."""
    async with FakeUpstream() as upstream, relay(tmp_path, upstream) as running:
        await alice(running.ledger)
        async with Sender(running.port) as client:
            await client.say(plain())
            assert expected == (await client.say(f"MAIL FROM:<{sender}>"))[:3]


async def test_s10_author_belongs_to_the_account(tmp_path: Path) -> None:
    """S10: From and Sender name the account or an address given to it; a colleague's means 553."""
    async with FakeUpstream() as upstream, relay(tmp_path, upstream) as running:
        await alice(running.ledger)
        async with Sender(running.port) as sender:
            await sender.say(plain())
            await sender.envelope()
            assert "553 5.7.1" == (await sender.content(b"From: bob@example.org\r\n\r\nhi\r\n"))[:9]
            await sender.envelope()
            assert ACCEPTED == await sender.content(b"From: info@example.org\r\n\r\nhi\r\n")
    assert 1 == len(upstream.messages)


@pytest.mark.parametrize("user", ["bob@example.org", "alice"], ids=["nobody", "bare"])
async def test_unknown_login_hears_the_same(tmp_path: Path, user: str) -> None:
    """Whether there is an account cannot be told from the answer."""
    async with FakeUpstream() as upstream, relay(tmp_path, upstream) as running:
        await alice(running.ledger)
        async with Sender(running.port) as sender:
            answers = {await sender.say(plain("wrong", LOGIN)), await sender.say(plain("wrong", user))}
    assert {"535 5.7.8 User name or password is wrong"} == answers


async def test_removed_at_once(tmp_path: Path) -> None:
    """An app password, and an account, that are removed let nobody in any more, though they did a moment ago."""
    async with FakeUpstream() as upstream, relay(tmp_path, upstream) as running:
        app = await alice(running.ledger)
        codes = []
        codes.append(await _tried(running.port, app, SECRET))
        await running.ledger.remove_app_password(LOGIN, "Phone")
        codes.append(await _tried(running.port, app, SECRET))
        await running.ledger.remove_account(LOGIN)
        codes.append(await _tried(running.port, app, SECRET))
    assert [["235", "235"], ["535", "235"], ["535", "535"]] == codes


async def _tried(port: int, *secrets: str) -> list[str]:
    codes = []
    for secret in secrets:
        async with Sender(port) as sender:
            codes.append((await sender.say(plain(secret)))[:3])
    return codes


async def _codes(accounts: Accounts, *secrets: str) -> list[int]:
    async def nothing(challenge: str) -> bytes:
        return b""

    answers = [await accounts.verify(Credential(PLAIN, LOGIN, one.encode()), "", nothing) for one in secrets]
    return [answer.code for answer, _ in answers]


async def test_ledger_away_stops_no_mail(tmp_path: Path) -> None:
    """While the ledger is away accounts work as they were last seen; a process that never saw them says 454."""
    async with open_ledger(tmp_path) as ledger:
        await alice(ledger)
        accounts = Accounts(ledger, Upstreams([]), Ownership(("example.org",)))
        refreshing = asyncio.create_task(accounts.keep_fresh())
        await until(lambda: accounts._copy)
        refreshing.cancel()
        (tmp_path / "ledger.db").unlink()
        assert [235, 535] == await _codes(accounts, SECRET, "wrong")
        late = Accounts(ledger, Upstreams([]), Ownership(("example.org",)))
        with pytest.raises(Exception, match=r"4\.7\.0 Logins cannot be checked now"):
            await _codes(late, SECRET)


async def test_accounts_are_looked_at_again_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the accounts that fails is followed by another one."""
    monkeypatch.setattr(accounts_module, "REFRESH_SECONDS", 0.01)
    async with open_ledger(tmp_path) as ledger:
        await alice(ledger)
        accounts = Accounts(ledger, Upstreams([]), Ownership(("example.org",)))
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
            patch.setattr(ledger, "accounts", _no_thread)
            refreshing = asyncio.create_task(accounts.keep_fresh())
            await until(lambda: logged)
        await until(lambda: accounts._copy)
        refreshing.cancel()
    assert {"accounts.not_refreshed"} == {one["event"] for one in logged}


async def _no_thread() -> None:
    raise RuntimeError("can't start new thread")


async def test_process_that_starts_while_the_ledger_is_away(tmp_path: Path) -> None:
    """It goes by the copy that another process wrote: encrypted, for its owner only, and as new as the accounts."""
    file = tmp_path / "accounts"
    async with open_ledger(tmp_path) as ledger:
        await alice(ledger)
        ledger._settings = replace(ledger._settings, account_file=file)
        refreshing = asyncio.create_task(Accounts(ledger, Upstreams([]), Ownership(())).keep_fresh())
        await until(file.exists)
        refreshing.cancel()
        (tmp_path / "ledger.db").unlink()
        assert [235, 535] == await _codes(Accounts(ledger, Upstreams([]), Ownership(())), SECRET, "wrong")
        assert 0o600 == file.stat().st_mode & 0o777
        assert [] == [word for word in (b"alice", b"argon2", b"Phone") if word in file.read_bytes()]
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(Exception, match=r"4\.7\.0 Logins cannot be checked now"):
            await _codes(Accounts(ledger, Upstreams([]), Ownership(())), SECRET)


async def test_passwords_are_compared_beside_the_loop(tmp_path: Path) -> None:
    """While passwords are compared, others are served: the loop never stops for as long as one comparison takes."""
    async with open_ledger(tmp_path) as ledger:
        await alice(ledger)
        accounts = Accounts(ledger, Upstreams([]), Ownership(("example.org",)))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await _codes(accounts, *(f"wrong {number}" for number in range(3)))
        ticking.cancel()
    assert ticks > 100
