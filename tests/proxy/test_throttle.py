"""The throttle: guessing is slowed down, by distinct secrets, and people are never locked out for ever."""

import asyncio
import base64
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.attempts import SUCCESS, Attempt
from ledger.ledger import Ledger
from ledger.schema import login_attempt, stamp
from proxy import auth
from proxy import throttle as module
from proxy.auth import Login, Throttled
from proxy.reply import Reply, ReplyError, reply
from proxy.sasl import PLAIN, Ask, Credential
from proxy.server import Listener
from proxy.throttle import FREE_OF_NETWORK, LONGEST_WAIT, Throttle, network_of, wait_for
from tests.proxy.sending import Sender, until
from tests.relaying import open_ledger, running_relay
from tests.upstream import FakeUpstream

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOME, CAFE = "203.0.113.9", "198.51.100.4"


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here for the answer to a failed login."""
    monkeypatch.setattr(auth, "DELAYS", (0.0, 0.0, 0.0))


class _Somebody:
    """A login that there is."""

    address = "alice@example.org"

    def source(self, sender: str) -> None:
        """Have no upstream."""

    def check_author(self, content: bytes) -> None:
        """Find nothing."""

    def end(self) -> None:
        """Hold nothing."""


class Judge:
    """Knows one password of every account, and counts who asks."""

    mechanisms = (PLAIN,)

    def __init__(self, answer: Reply | None = None, *, raises: bool = False) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.right = b"right"
        self._answer = answer
        self._raises = raises
        self.gate = asyncio.Event()
        self.gate.set()

    async def verify(self, credential: Credential, client: str, ask: Ask) -> tuple[Reply, Login | None]:
        """Say whether it is the right one."""
        self.asked.append((credential.user, credential.secret))
        await self.gate.wait()
        if self._answer is not None and self._raises:
            raise ReplyError(self._answer)
        if self._answer is not None:
            return self._answer, None
        right = credential.secret == self.right
        return (reply(235, "ok"), _Somebody()) if right else (reply(535, "no"), None)  # type: ignore[return-value]


async def nobody_asks(challenge: str) -> bytes:
    """Fail: no challenge is to come."""
    raise AssertionError(challenge)


async def attempt(throttle: Throttle, secret: str, client: str = HOME, user: str = "alice@example.org") -> int:
    """Try to log in and return the code of the answer."""
    try:
        answer, _ = await throttle.verify(Credential(PLAIN, user, secret.encode()), client, nobody_asks)
    except ReplyError as error:
        return error.reply.code
    return answer.code


@pytest.mark.parametrize(
    ("before", "expected"),
    [([], 0), ([1], 0), ([1, 1], 0), ([2, 1, 1], 29), ([3, 2, 1, 1], 59), ([9, 8, 7, 1, 1, 1], 239), ([1] * 30, 899)],
    ids=["none", "one", "two", "three", "four", "six", "many"],
)
def test_wait_doubles_up_to_a_limit(before: list[int], expected: int) -> None:
    """After three wrong secrets there is a wait from the latest on, twice as long for each more, 15 minutes at most."""
    earlier = [Attempt("a", "n", str(at), NOW - timedelta(seconds=seconds)) for at, seconds in enumerate(before)]
    assert timedelta(seconds=expected) == max(timedelta(), wait_for(Attempt("a", "n", "new", NOW), earlier))


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(days=1_500)], ids=["minutes", "years"])
async def test_a_clock_that_was_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """What failed while the clock was ahead keeps nobody waiting once it is right again, here and in other workers."""
    now = datetime.now(UTC)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return now + ahead

    async with open_ledger(tmp_path) as ledger:
        throttle = Throttle(Judge(), ledger)
        with monkeypatch.context() as patch:
            patch.setattr(module, "datetime", Ahead)
            assert [535] * 3 + [454] == [await attempt(throttle, secret) for secret in ("a", "b", "c", "d")]
        assert 535 == await attempt(Throttle(Judge(reply(535, "asked")), ledger), "a")
        assert 235 == await attempt(Throttle(Judge(), ledger), "right")
        assert 235 == await attempt(throttle, "right")


def wrong(account: str, network: str, count: int, ago: timedelta = timedelta(seconds=1)) -> list[Attempt]:
    """Return so many wrong secrets."""
    return [Attempt(account, network, f"{account}{network}{number}", NOW - ago) for number in range(count)]


@pytest.mark.parametrize(
    ("before", "waits"),
    [
        (wrong("a", "elsewhere", 500), False),
        (wrong("a", "elsewhere", 500) + wrong("a", "n", 1), True),
        (wrong("a", "elsewhere", 500) + wrong("a", "n", 1, LONGEST_WAIT), False),
        (wrong("b", "n", 9), False),
        ([*wrong("b", "n", 3), *wrong("c", "n", 3), *wrong("d", "n", 4)], True),
        ([*wrong("b", "n", 100), Attempt("a", "n", SUCCESS, NOW)], False),
        ([*wrong("a", "n", 9), Attempt("a", "n", SUCCESS, NOW)], False),
        ([*wrong("a", "n", 10), Attempt("a", "n", SUCCESS, NOW)], True),
        (wrong("a", "n", 3)[:1] * 9, False),
        ([Attempt("a", "n", "new", NOW)] * 9, False),
    ],
    ids=[
        "other-network", "this-one-too", "long-ago", "few-of-network", "many-of-network", "known-there", "known-few",
        "known-many", "same-again", "itself",
    ],
)  # fmt: skip
def test_who_waits(before: list[Attempt], waits: bool) -> None:
    """A network without failures never waits; one that sprays accounts does, save for who logged in from there."""
    assert waits == (wait_for(Attempt("a", "n", "new", NOW), before) > timedelta())


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("", ""),
    ],
)
def test_network_of(client: str, expected: str) -> None:
    """A network is what one customer usually has."""
    assert expected == network_of(client)


async def test_s12_right_password_from_another_network_works(tmp_path: Path) -> None:
    """S12: an account that is under attack can be used from a network that never failed, and from there again after."""
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        throttle = Throttle(judge, ledger)
        assert [535] * 3 + [454] * 47 == [await attempt(throttle, f"guess {number}") for number in range(50)]
        assert 3 == len(judge.asked)
        assert (454, 235, 235) == (
            await attempt(throttle, "right"),
            await attempt(throttle, "right", CAFE),
            await attempt(throttle, "right", CAFE),
        )


async def test_the_same_wrong_password_is_one(tmp_path: Path) -> None:
    """A program that tries an old password for ever asks once in two minutes, and keeps nobody else there waiting."""
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        throttle = Throttle(judge, ledger)
        assert [535] * 100 == [await attempt(throttle, "old password") for _ in range(100)]
        assert (235, 235) == (
            await attempt(throttle, "right"),
            await attempt(throttle, "right", user="bob@example.org"),
        )
    assert [b"old password", b"right", b"right"] == [secret for _, secret in judge.asked]


async def test_many_at_once_ask_a_few_times(tmp_path: Path) -> None:
    """S13: of a hundred guesses at the same moment no more ask than one after the other would."""
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        judge.gate.clear()
        throttle = Throttle(judge, ledger)
        tasks = [asyncio.create_task(attempt(throttle, f"guess {number}")) for number in range(100)]
        done, _ = await asyncio.wait(tasks, timeout=5.0, return_when=asyncio.FIRST_COMPLETED)
        assert {454} == {task.result() for task in done}
        judge.gate.set()
        assert 3 == sorted(await asyncio.gather(*tasks)).count(535)
    assert 3 == len(judge.asked)


async def test_an_office_logs_in_at_once(tmp_path: Path) -> None:
    """Of many people of one network who log in at the same moment nobody is refused for what none of them did."""
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        judge.gate.clear()
        throttle = Throttle(judge, ledger)
        people = [f"person{number}@example.org" for number in range(40)]
        tasks = [asyncio.create_task(attempt(throttle, "right", user=user)) for user in people]
        await until(lambda: len(judge.asked) == FREE_OF_NETWORK)
        judge.gate.set()
        assert {235} == set(await asyncio.gather(*tasks))


async def test_guesses_at_many_accounts_at_once(tmp_path: Path) -> None:
    """Of guesses at many accounts from one network at the same moment no more ask than one after the other would."""
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        judge.gate.clear()
        throttle = Throttle(judge, ledger)
        people = [f"person{number}@example.org" for number in range(40)]
        tasks = [asyncio.create_task(attempt(throttle, "guess", user=user)) for user in people]
        await until(lambda: len(judge.asked) == FREE_OF_NETWORK)
        judge.gate.set()
        answers = await asyncio.gather(*tasks)
        assert (FREE_OF_NETWORK, 40 - FREE_OF_NETWORK) == (answers.count(535), answers.count(454))
    assert FREE_OF_NETWORK == len(judge.asked)


async def test_other_attempts_under_way_are_waited_for_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for attempts of others that nobody decides is put off in the end."""
    monkeypatch.setattr(module, "DECIDED_SECONDS", 0.1)
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        judge.gate.clear()
        throttle = Throttle(judge, ledger)
        people = [f"person{number}@example.org" for number in range(FREE_OF_NETWORK)]
        tasks = [asyncio.create_task(attempt(throttle, "right", user=user)) for user in people]
        await until(lambda: len(judge.asked) == FREE_OF_NETWORK)
        assert 454 == await attempt(throttle, "right")
        judge.gate.set()
        assert {235} == set(await asyncio.gather(*tasks))


async def test_who_hangs_up_is_counted(tmp_path: Path) -> None:
    """Guesses whose client goes away before the answer count all the same."""
    async with open_ledger(tmp_path) as ledger:
        judge = Judge()
        judge.gate.clear()
        throttle = Throttle(judge, ledger)
        for number in range(3):
            task = asyncio.create_task(attempt(throttle, f"guess {number}"))
            await until(lambda number=number: len(judge.asked) > number)
            task.cancel()
            await asyncio.wait({task})
        assert 454 == await attempt(throttle, "guess more")


async def test_workers_know_of_each_other(tmp_path: Path) -> None:
    """What one worker saw fail slows down another, and what succeeded ends that."""
    async with open_ledger(tmp_path) as ledger:
        one, other = Throttle(Judge(), ledger), Throttle(Judge(), ledger)
        assert [535] * 3 == [await attempt(one, f"guess {number}") for number in range(3)]
        assert 454 == await attempt(other, "right")
        await _later(ledger, timedelta(minutes=1))
        assert 235 == await attempt(other, "right")
        await asyncio.gather(*other._background)
        assert [SUCCESS] == [one.secret for one in await _kept(ledger)]
        assert (535, 535, 535, 535) == tuple([await attempt(one, f"another {number}") for number in range(4)])


async def _later(ledger: Ledger, passed: timedelta) -> None:
    """Have all attempts happen earlier."""
    kept = await _kept(ledger)

    async def work(connection):  # type: ignore[no-untyped-def]
        for one in kept:
            at = stamp(one.at - passed)
            await connection.execute(
                login_attempt.update().where(login_attempt.c.secret_hash == one.secret).values(at=at)
            )

    await ledger.job(work)


async def _kept(ledger: Ledger) -> list[Attempt]:
    keyring = ledger.keyring
    return await ledger.attempts(keyring.attempt("account", b"alice@example.org"), "")


async def test_ledger_away(tmp_path: Path) -> None:
    """Without the ledger, logins work and guesses are counted by the process alone."""
    async with open_ledger(tmp_path) as ledger:
        (tmp_path / "ledger.db").unlink()
        judge = Judge()
        throttle = Throttle(judge, ledger)
        assert 235 == await attempt(throttle, "right", CAFE)
        assert [535] * 3 + [454] * 3 == [await attempt(throttle, f"guess {number}") for number in range(6)]


async def test_ledger_away_and_the_same_wrong_password(tmp_path: Path) -> None:
    """Without the ledger too it asks once, and hears the same words; who changes to it is let in after a success."""
    async with open_ledger(tmp_path) as ledger:
        (tmp_path / "ledger.db").unlink()
        judge = Judge()
        throttle = Throttle(judge, ledger)
        old = Credential(PLAIN, "alice@example.org", b"old password")
        said = [(await throttle.verify(old, HOME, nobody_asks))[0] for _ in range(9)]
        assert ([reply(535, "no")] * 9, 1) == (said, len(judge.asked))
        assert 235 == await attempt(throttle, "right")
        judge.right = b"old password"
        assert 235 == await attempt(throttle, "old password")


@pytest.mark.parametrize(
    ("code", "raises"), [(454, False), (421, False), (504, False), (451, True)], ids=["454", "421", "504", "raised"]
)
async def test_what_says_nothing_of_the_password_is_not_counted(tmp_path: Path, code: int, raises: bool) -> None:
    """An upstream that is busy or away, or takes no such mechanism, says nothing of the password."""
    async with open_ledger(tmp_path) as ledger:
        throttle = Throttle(Judge(reply(code, "not now"), raises=raises), ledger)
        assert [code] * 20 == [await attempt(throttle, f"secret {number}") for number in range(20)]
        assert [] == await _kept(ledger)


async def test_attempts_are_keyed_and_gone_after_a_day(tmp_path: Path) -> None:
    """Rows hold keyed hashes only, and upkeep removes them after 24 hours."""
    async with open_ledger(tmp_path) as ledger:
        await attempt(Throttle(Judge(), ledger), "my old secret")
        assert 1 == len(await _kept(ledger))
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert [] == [word for word in (b"alice@", b"203.0.113", b"my old secret") if word in kept]
        await _later(ledger, timedelta(hours=23))
        assert 0 == (await ledger.purge())["logins"]
        await _later(ledger, timedelta(hours=1, minutes=1))
        assert 1 == (await ledger.purge())["logins"]
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as database:
        assert [(0,)] == database.execute("SELECT count(*) FROM login_attempt").fetchall()


async def test_s13_flood_reaches_the_upstream_a_few_times(tmp_path: Path) -> None:
    """S13: 50 bad logins on 17 connections make three AUTH commands, and the client is told to try later."""
    upstream = FakeUpstream(extensions=("AUTH PLAIN",), logins={"alice@example.org": "right"})
    listener = Listener((), auth="pass-through")
    answers: list[str] = []
    async with upstream, running_relay(tmp_path, upstream.port, listener=listener) as running:
        for connection in range(17):
            async with Sender(running.port) as sender:
                for number in range(3):
                    said = base64.b64encode(f"\0alice@example.org\0{connection} {number}".encode()).decode()
                    answers.append((await sender.say(f"AUTH PLAIN {said}"))[:9])
                    assert "530" == (await sender.say("MAIL FROM:<alice@example.org>"))[:3]
    assert ["535 5.7.8"] * 3 + ["454 4.7.0"] * 48 == answers
    assert 3 == upstream.count("AUTH")


async def test_throttled_tries_end_the_connection_too(tmp_path: Path) -> None:
    """S12: tries that nobody was asked about count among the three of a connection."""
    upstream = FakeUpstream(extensions=("AUTH PLAIN",), logins={"alice@example.org": "right"})
    listener = Listener((), auth="pass-through")
    async with upstream, running_relay(tmp_path, upstream.port, listener=listener) as running:
        async with Sender(running.port) as sender:
            codes = [(await sender.say(_plain(str(number))))[:3] for number in range(4)]
        assert ["535", "535", "535", "421"] == codes
        async with Sender(running.port) as sender:
            codes = [(await sender.say(_plain(str(number))))[:3] for number in range(4, 8)]
        assert ["454", "454", "454", "421"] == codes


def _plain(secret: str) -> str:
    return "AUTH PLAIN " + base64.b64encode(f"\0alice@example.org\0{secret}".encode()).decode()


def test_throttled_is_temporary() -> None:
    """What a throttled client hears is a reply of the kind that mail programs do not take for a wrong password."""
    assert issubclass(Throttled, ReplyError)
