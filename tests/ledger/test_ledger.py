"""The ledger as its users see it: what it answers when it cannot, and when it can again."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, inviting
from ledger import reader as reader_module
from ledger.batch import Batch
from ledger.chain import HeadFile
from ledger.consent import Person
from ledger.database import Place, prepare
from ledger.errors import LedgerUnavailable
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.patience import PATIENCE
from ledger.reader import NOT_KNOWN, Known
from ledger.schema import access, moment
from policies.footer import Language
from policies.words import Outcome, Purpose, Reason
from tests.ledger.samples import ANNA, BY_FOOTER, EVERYTHING, MAX, ON_PAPER, OPEN, TELLER, by_hand, decided, hit, now
from tests.postgresql import Cluster

ENOUGH = PATIENCE + 0.35
"""Seconds that something may take which ends with the ledger's patience, on a busy machine."""
PIXEL = hit("0" * 32)


async def timed(work: Awaitable[object]) -> tuple[object, float]:
    """Return what something answers and how long it took."""
    began = time.monotonic()
    return await work, time.monotonic() - began


async def answers(ledger: Ledger) -> list[object]:
    """Ask everything that mail and hits wait for, and return the answers; none may take longer than patience."""
    questions = [
        ledger.look_up(MAX, ANNA),
        ledger.record_decision(decided()),
        ledger.record_hit(PIXEL),
        ledger.tick(),
        ledger.answers(),
    ]
    found = [await timed(question) for question in questions]
    assert [] == [seconds for _, seconds in found if seconds > ENOUGH]
    return [answer for answer, _ in found]


async def told_and_right(ledger: Ledger) -> bool:
    """Tell whether consent is known, a decision is recorded, and nothing is in the way."""
    known, recorded, _, _, answered = await answers(ledger)
    return bool(known.consent.available and recorded and answered)  # type: ignore[attr-defined]


NO_ANSWER = [NOT_KNOWN, False, None, None, False]


@pytest.fixture
def file_url(tmp_path: Path, key_file: Path) -> str:
    """The URL of an empty SQLite ledger, for what happens to files only."""
    found = f"sqlite:///{tmp_path}/aboveboard.db"
    prepare(found, key_file)
    return found


@pytest.fixture
def path(file_url: str) -> Path:
    """The file of that ledger."""
    found = Place(file_url).sqlite
    assert found is not None
    return found


def opened(url: str, key_file: Path) -> Ledger:
    """Return another process's view of a ledger."""
    return Ledger(LedgerSettings(url, key_file.with_name("head"), TELLER), Keyring.load(key_file))


@contextmanager
def locked(url: str, seconds: float = 0.6) -> Iterator[None]:
    """Have another connection hold a lock for a while, so that no decision can be written."""
    held = threading.Event()
    lock = "BEGIN IMMEDIATE" if Place(url).sqlite else "LOCK TABLE message IN ACCESS EXCLUSIVE MODE"

    def hold() -> None:
        with by_hand(url) as connection:
            connection.exec_driver_sql(lock)
            held.set()
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    yield
    thread.join()


async def test_ledger_answers(ledger: Ledger) -> None:
    """A ledger that is there answers everything in time."""
    assert await told_and_right(ledger)


async def test_locked_ledger_lets_mail_go(ledger: Ledger, url: str) -> None:
    """A decision that cannot be written in time is not waited for, and no row says "tracked" of it afterwards."""
    one = decided()
    with locked(url, seconds=2.0):
        recorded, seconds = await timed(ledger.record_decision(one))
        assert recorded is False
        assert PATIENCE <= seconds <= ENOUGH
    await ledger.tick()
    await ledger.tick()

    assert [] == [found for found in await ledger.messages() if found["reason"] == Reason.TRACKED]
    assert await ledger.record_decision(decided())


async def test_locked_ledger_forgets_nothing_else(ledger: Ledger, url: str) -> None:
    """Untracked decisions and hits that come while the ledger is locked end with patience too, and never raise."""
    with locked(url):
        found = await asyncio.gather(
            timed(ledger.record_decision(decided(Reason.NO_CONSENT))),
            timed(ledger.record_hit(PIXEL)),
            timed(ledger.tick()),
        )
        assert [] == [seconds for _, seconds in found if seconds > ENOUGH]
    await ledger.tick()

    assert await told_and_right(ledger)


async def test_refusal_waits_for_a_lock(ledger: Ledger, url: str) -> None:
    """A refusal is worth waiting for: it is recorded when the lock goes."""
    with locked(url):
        await ledger.refuse(Person.of(ledger.keyring, MAX), OPEN, BY_FOOTER)

    assert "refused" == (await ledger.look_up(MAX, ANNA)).consent.on(Purpose.OPEN).state


async def test_outcome_waits_for_a_lock(ledger: Ledger, url: str) -> None:
    """What the upstream said is written when it can be; nobody waits for it."""
    one = decided()
    await ledger.record_decision(one)
    with locked(url):
        ledger.record_outcome(one.id, Outcome.ACCEPTED)
    await ledger.tick()
    await ledger.tick()

    assert ["accepted"] == [found["outcome"] for found in await ledger.messages()]


async def test_deleted_file_is_missed(file_url: str, path: Path, key_file: Path) -> None:
    """With its file deleted a running ledger answers nothing, in time, without an error, and makes no file."""
    async with opened(file_url, key_file) as ledger:
        await ledger.grant(MAX, EVERYTHING, ON_PAPER)
        assert await told_and_right(ledger)
        for file in path.parent.glob("aboveboard.db*"):
            file.unlink()

        assert NO_ANSWER == await answers(ledger)
        assert NO_ANSWER == await answers(ledger)
        ledger.record_outcome("0" * 32, Outcome.ACCEPTED)
        for refused in (ledger.grant(MAX, OPEN, ON_PAPER), ledger.messages(), ledger.verify()):
            with pytest.raises(LedgerUnavailable, match=r"The ledger's file is missing\."):
                await refused

    assert {"aboveboard.key", "head"} == {file.name for file in path.parent.iterdir()}


@pytest.mark.parametrize("asked_between", [True, False], ids=["missed", "not missed"])
async def test_file_put_back_works_again(file_url: str, path: Path, key_file: Path, asked_between: bool) -> None:
    """A file that was away for a while is used again, with everything in it, whether or not it was missed."""
    async with opened(file_url, key_file) as ledger:
        await ledger.grant(MAX, EVERYTHING, ON_PAPER)
        path.rename(path.with_name("elsewhere"))
        if asked_between:
            assert NO_ANSWER == await answers(ledger)
        path.with_name("elsewhere").rename(path)

        assert await told_and_right(ledger)
        assert (await ledger.look_up(MAX, ANNA)).consent.granted(Purpose.OPEN, now())
        await ledger.grant("eva@x.example", OPEN, ON_PAPER)
        assert (await ledger.verify()).whole


async def test_backup_put_in_its_place_works(file_url: str, path: Path, key_file: Path) -> None:
    """A backup that is put in the place of the file is used, and what it does not know of is noticed."""
    backup = path.with_name("backup")
    async with opened(file_url, key_file) as ledger:
        await ledger.grant(MAX, EVERYTHING, ON_PAPER)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        await ledger.refuse(Person.of(ledger.keyring, MAX), OPEN, BY_FOOTER)
        for file in path.parent.glob("aboveboard.db*"):
            file.unlink()
        assert NO_ANSWER == await answers(ledger)
        backup.rename(path)

        assert await told_and_right(ledger)
        assert "granted" == (await ledger.look_up(MAX, ANNA)).consent.on(Purpose.OPEN).state
        assert [4] == [flaw.sequence for flaw in (await ledger.verify()).flaws]


async def test_unmigrated_file_is_no_ledger(tmp_path: Path, key_file: Path, file_url: str) -> None:
    """A running ledger never migrates: an empty file is no ledger, and stays empty."""
    empty = tmp_path / "empty.db"
    empty.touch()
    async with opened(f"sqlite:///{empty}", key_file) as ledger:
        consent, recorded, *_ = await answers(ledger)
        assert (NOT_KNOWN, False) == (consent, recorded)

    with closing(sqlite3.connect(empty)) as connection:
        assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()


@pytest.mark.peer
async def test_silent_postgresql_lets_mail_go(
    postgresql_cluster: Cluster, postgresql_ledger_url: str, key_file: Path
) -> None:
    """A database that says nothing at all costs patience and no more, and works again when it speaks."""
    async with opened(postgresql_ledger_url, key_file) as ledger:
        assert await told_and_right(ledger)
        with postgresql_cluster.paused():
            assert NO_ANSWER == await answers(ledger)
            assert NO_ANSWER == await answers(ledger)
        await asyncio.sleep(0.1)

        assert await told_and_right(ledger)
        tracked = [found for found in await ledger.messages() if found["reason"] == Reason.TRACKED]
        assert 2 == len(tracked)


@pytest.mark.peer
async def test_silent_postgresql_keeps_no_login_waiting(
    postgresql_cluster: Cluster, postgresql_ledger_url: str, key_file: Path
) -> None:
    """Who logs in waits no longer for a database that says nothing than mail does, however often that is asked."""

    async def refused(asked: Awaitable[object]) -> None:
        with pytest.raises(LedgerUnavailable):
            await asked

    async with opened(postgresql_ledger_url, key_file) as ledger:
        assert await ledger.account(ANNA) is None
        with postgresql_cluster.paused():
            for asked in (ledger.account(ANNA), ledger.attempts("a", "n"), ledger.account(ANNA)):
                _, seconds = await timed(refused(asked))
                assert seconds < ENOUGH
        assert await ledger.account(ANNA) is None


async def test_questions_given_up_are_not_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """While the database stands still, who gave up waiting makes room; what finds none is refused at once."""
    monkeypatch.setattr(reader_module, "MOST_WAITING", 2)
    under_way, moving, batch = asyncio.Event(), asyncio.Event(), ledger._database.batch

    async def stand_still(work: Callable[[Batch], object], *, writes: bool) -> object:
        under_way.set()
        await moving.wait()
        return await batch(work, writes=writes)

    def ask() -> "asyncio.Future[Known]":
        return ledger._reader.ask(Person.of(ledger.keyring, MAX), (ledger.keyring.folded(ANNA),))

    monkeypatch.setattr(ledger._database, "batch", stand_still)
    first = ask()
    await under_way.wait()
    given_up, waiting = ask(), ask()
    refused = ask()
    given_up.cancel()
    last = ask()
    moving.set()
    with pytest.raises(LedgerUnavailable):
        await refused
    assert 3 == len(await asyncio.wait_for(asyncio.gather(first, waiting, last), 10))


@pytest.mark.peer
async def test_restarted_postgresql_works_again(
    postgresql_cluster: Cluster, postgresql_ledger_url: str, key_file: Path
) -> None:
    """Connections that the database has closed are noticed, and new ones are opened."""
    async with opened(postgresql_ledger_url, key_file) as ledger:
        assert await told_and_right(ledger)
        name = postgresql_cluster.name_in(postgresql_ledger_url)
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'"
        postgresql_cluster.execute(statement)
        await answers(ledger)

        assert await told_and_right(ledger)


async def test_refusal_elsewhere_holds_at_once(ledger: Ledger, settings: LedgerSettings, keyring: Keyring) -> None:
    """What one process records, every other one sees in its next look-up."""
    async with Ledger(settings, keyring) as other:
        await ledger.grant(MAX, OPEN, ON_PAPER)
        assert "granted" == (await other.look_up(MAX, ANNA)).consent.on(Purpose.OPEN).state
        await other.refuse(Person.of(keyring, MAX), OPEN, BY_FOOTER)
        assert "withdrawn" == (await ledger.look_up(MAX, ANNA)).consent.on(Purpose.OPEN).state


async def test_many_look_ups_at_once(ledger: Ledger) -> None:
    """Everybody who asks at the same moment gets their own answer."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    found = await asyncio.gather(*(ledger.look_up(f"p{at}@x.example" if at % 2 else MAX, ANNA) for at in range(200)))

    assert [at % 2 == 0 for at in range(200)] == [known.consent.granted(Purpose.OPEN, now()) for known in found]


async def test_closed_ledger_answers_nothing(settings: LedgerSettings, keyring: Keyring) -> None:
    """After the end nothing is waited for for ever, and nothing is raised where mail or a hit would hear it."""
    async with Ledger(settings, keyring) as ledger:
        under_way = asyncio.create_task(ledger.look_up(MAX, ANNA))
        await asyncio.sleep(0)

    assert not (await under_way).consent.granted(Purpose.OPEN, now())
    assert NOT_KNOWN == await ledger.look_up(MAX, ANNA)
    assert not await ledger.record_decision(decided())
    await ledger.record_hit(PIXEL)
    await ledger.tick()
    ledger.record_outcome("0" * 32, Outcome.ACCEPTED)
    ledger.void_decision("0" * 32, Reason.ERROR)
    with pytest.raises(LedgerUnavailable):
        await ledger.grant(MAX, OPEN, ON_PAPER)


async def test_closing_waits_for_what_was_handed_over(settings: LedgerSettings, keyring: Keyring) -> None:
    """An outcome that nobody waits for is on disk when the ledger is closed."""
    one = decided()
    async with Ledger(settings, keyring) as ledger:
        await ledger.record_decision(one)
        ledger.record_outcome(one.id, Outcome.ACCEPTED)

    async with Ledger(settings, keyring) as again:
        assert ["accepted"] == [found["outcome"] for found in await again.messages()]


async def test_closing_waits_for_who_was_just_asked(settings: LedgerSettings, keyring: Keyring) -> None:
    """A question that left in the last moment is in the chain, whose head the head file names, once all is closed."""
    one = inviting.prepare(keyring, MAX, Language.ENGLISH, "https://track.test", now())
    async with Ledger(settings, keyring) as ledger:
        assert await ledger.invite(one)
        ledger.invited(one)
    named = HeadFile(settings.head_file).read()
    async with Ledger(settings, keyring) as ledger:
        assert named == await ledger.read(chain.head)
        assert await ledger.history(Person.of(keyring, MAX))


async def test_the_end_leaves_nobody_reading(file_url: str, key_file: Path) -> None:
    """Who was cancelled in the middle of a statement is done when the ledger is closed; nothing else is running either.

    What was left would be cancelled once more at the end of the process, which then never came: the connection was
    stopped twice, and the second stop waited for a thread that was gone.
    """
    before = asyncio.all_tasks()
    async with opened(file_url, key_file) as ledger:
        reading = asyncio.create_task(ledger.read(count_slowly))
        await asyncio.sleep(0.1)
        reading.cancel()

    assert reading.cancelled()
    assert before == asyncio.all_tasks()


async def count_slowly(connection: AsyncConnection) -> None:
    """Have the database count for about half a second."""
    numbers = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2000000)"
    await connection.execute(text(f"{numbers} SELECT count(*) FROM number"))


async def test_a_tick_takes_a_commit(ledger: Ledger) -> None:
    """An answer that records nothing waits for its turn like one that does."""
    await asyncio.gather(*(ledger.record_hit(PIXEL) for _ in range(20)), *(ledger.tick() for _ in range(20)))

    assert [] == await ledger.hits()


async def test_access_is_recorded(ledger: Ledger, url: str) -> None:
    """Whoever looks at what is recorded is recorded: who, when and what for."""
    before = now()
    await ledger.record_access("messages")

    with by_hand(url) as connection:
        [row] = connection.execute(select(access))
    assert "messages" == row.action
    assert row.actor
    assert before <= moment(row.at) <= now() + timedelta(seconds=1)
