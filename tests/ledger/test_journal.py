"""The journal: a ledger that is restored from a backup forgets no refusal and undoes no erasure (A11).

The backups are copies of real SQLite files.
"""

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.consent import Act, Person
from ledger.database import prepare
from ledger.domains import METHOD
from ledger.journal import EVENT, Entry, Journal, JournalDamaged, head_entry, lost
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.recall import Recalled
from policies.consent import Assurance, State
from policies.words import Purpose
from tests.ledger.samples import BY_FOOTER, BY_MAILBOX, ON_PAPER, OPEN, TELLER, decided, now
from tests.ledger.samples import hit as sample_hit

ANN, BEN, CAT = "ann@client.example", "ben@client.example", "cat@client.example"


class Installation:
    """A ledger in a folder, with what belongs to it, and a backup of its database."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.database, self.backup = folder, folder / "aboveboard.db", folder / "backup"
        self.journal = folder / "aboveboard.db.journal"
        self.key_file, self.head_file = folder / "aboveboard.key", folder / "aboveboard.db.head"
        self.recalled = Recalled()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Ledger]:
        """Start as ``serve`` does: tables, keys, journal, and then whoever is served."""
        url = f"sqlite:///{self.database}"
        prepare(url, self.key_file)
        settings = LedgerSettings(url, self.head_file, TELLER, journal_file=self.journal)
        async with Ledger(settings, Keyring.load(self.key_file)) as ledger:
            self.recalled = await ledger.recall()
            yield ledger

    async def back_up(self) -> None:
        """Copy the database file, with everything in it."""
        async with self.started() as ledger:
            await ledger._database.settle()
        shutil.copy(self.database, self.backup)

    def restore(self) -> None:
        """Put the backup in the database's place, as docs/operations.md says."""
        for ending in ("-wal", "-shm"):
            self.database.with_name(self.database.name + ending).unlink(missing_ok=True)
        shutil.copy(self.backup, self.database)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation that has never been started."""
    return Installation(tmp_path)


async def agree(ledger: Ledger, *addresses: str) -> None:
    """Record grants."""
    for address in addresses:
        await ledger.grant(address, OPEN, ON_PAPER)


async def states(ledger: Ledger, *addresses: str) -> list[State | None]:
    """Return where people stand on the pixel."""
    return [(await ledger.standing(Person.of(ledger.keyring, address))).on(Purpose.OPEN).state for address in addresses]


async def granted(ledger: Ledger, address: str) -> bool:
    """Tell whether a grant counts."""
    return (await ledger.standing(Person.of(ledger.keyring, address))).granted(Purpose.OPEN, now())


async def test_refusals_and_erasures_survive_a_restore(installation: Installation) -> None:
    """A11: restore a backup, start, and who refused or was erased since is refused or erased again, hits and all."""
    async with installation.started() as ledger:
        await agree(ledger, ANN, BEN, CAT)
        message = decided(recipients=(BEN,))
        assert await ledger.record_decision(message)
        await ledger.record_hit(sample_hit(message.id))
    await installation.back_up()
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
        await ledger.erase(Person.of(ledger.keyring, BEN), BY_MAILBOX)
    installation.restore()

    async with installation.started() as ledger:
        assert Recalled(1 + len(Purpose)) == installation.recalled
        assert [State.WITHDRAWN, State.SUPPRESSED, State.GRANTED] == await states(ledger, ANN, BEN, CAT)
        assert {"messages": 0, "hits": 0} == await ledger.holdings(Person.of(ledger.keyring, BEN))
        assert [None] == list({one["address"] for one in await ledger.history(Person.of(ledger.keyring, BEN))})
        await ledger.anchor_again()
        assert [] == (await ledger.verify()).flaws


async def test_what_a_whole_domain_refused_is_gone_after_a_restore(installation: Installation) -> None:
    """A domain's refusal holds after a restore, and the hits that it had deleted are deleted again: its own only."""
    async with installation.started() as ledger:
        await agree(ledger, ANN, "dan@elsewhere.example")
        messages = [decided(recipients=(address,)) for address in (ANN, "dan@elsewhere.example")]
        for message in messages:
            assert await ledger.record_decision(message)
            await ledger.record_hit(sample_hit(message.id))
    await installation.back_up()
    async with installation.started() as ledger:
        await ledger.refuse_domain("client.example", Act("admin", METHOD, Assurance.ASSERTED, "x", "a letter"))
    installation.restore()

    async with installation.started() as ledger:
        assert Recalled(len(Purpose)) == installation.recalled
        assert [messages[1].id] == [one["message"] for one in await ledger.hits()]
        assert [State.REFUSED, State.GRANTED] == await states(ledger, ANN, "dan@elsewhere.example")


async def test_a_chain_that_was_cut_off_goes_on(installation: Installation) -> None:
    """Whoever deletes the last events and mends the head keeps nobody from refusing, and is seen all the same."""
    async with installation.started() as ledger:
        await agree(ledger, ANN, BEN)
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
    with closing(sqlite3.connect(installation.database)) as database, database:
        database.execute("DELETE FROM consent_event WHERE sequence > 1")
        database.execute("UPDATE chain_head SET sequence = 1, row_hash = (SELECT row_hash FROM consent_event)")

    async with installation.started() as ledger:
        assert Recalled(1) == installation.recalled
        await ledger.refuse(Person.of(ledger.keyring, BEN), OPEN, BY_FOOTER)
        assert [State.WITHDRAWN, State.REFUSED] == await states(ledger, ANN, BEN)
        assert not (await ledger.verify()).whole


async def test_a_second_restore_of_the_same_backup(installation: Installation) -> None:
    """What was said before the first restore, and between the two, holds after the second."""
    async with installation.started() as ledger:
        await agree(ledger, ANN, BEN, CAT)
    await installation.back_up()
    for address in (ANN, BEN):
        async with installation.started() as ledger:
            await ledger.refuse(Person.of(ledger.keyring, address), OPEN, BY_FOOTER)
        installation.restore()

    async with installation.started() as ledger:
        assert [State.WITHDRAWN, State.WITHDRAWN, State.GRANTED] == await states(ledger, ANN, BEN, CAT)


async def test_nothing_is_replayed_without_a_restore(installation: Installation) -> None:
    """Starting again, whatever was recorded, adds no event; a later agreement is not undone."""
    async with installation.started() as ledger:
        await agree(ledger, ANN)
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
        await ledger.grant(ANN, OPEN, BY_MAILBOX)
    async with installation.started() as ledger:
        assert Recalled() == installation.recalled
        assert await granted(ledger, ANN)
        assert 3 == (await ledger.verify()).events


async def test_after_a_restore_an_agreement_before_the_backup_still_stands(installation: Installation) -> None:
    """Only what was said after the backup is replayed: whoever refused and then agreed before it, agrees."""
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
        await ledger.grant(ANN, OPEN, BY_MAILBOX)
        await agree(ledger, BEN)
    await installation.back_up()
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, BEN), OPEN, BY_FOOTER)
    installation.restore()

    async with installation.started() as ledger:
        assert (True, False) == (await granted(ledger, ANN), await granted(ledger, BEN))


async def test_a_new_ledger_beside_an_old_journal(installation: Installation) -> None:
    """Where database and head are gone for good and a new one is begun with the old key, the refusals are there."""
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
    installation.database.unlink()
    installation.head_file.unlink()

    async with installation.started() as ledger:
        assert [State.REFUSED] == await states(ledger, ANN)


async def test_without_the_journal_no_grant_counts_until_somebody_decides(installation: Installation) -> None:
    """A11: a journal that is missing has all grants rest, those after it count; a decision, on record, ends that."""
    async with installation.started() as ledger:
        await agree(ledger, ANN)
    installation.journal.unlink()

    async with installation.started() as ledger:
        assert f"The journal {installation.journal} is missing." == installation.recalled.problem
        await ledger.grant(BEN, OPEN, BY_MAILBOX)
        assert (False, True) == (await granted(ledger, ANN), await granted(ledger, BEN))
        await ledger.go_on_without_journal("the disk is gone")
        assert await granted(ledger, ANN)
    async with installation.started() as ledger:
        assert (Recalled(), True) == (installation.recalled, await granted(ledger, ANN))


async def test_a_journal_that_comes_back_ends_the_rest(installation: Installation) -> None:
    """Whoever had only forgotten to put the journal back does so, and what was refused meanwhile gets into it."""
    async with installation.started() as ledger:
        await agree(ledger, ANN, BEN)
    aside = installation.journal.rename(installation.folder / "aside")
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, BEN), OPEN, BY_FOOTER)
    aside.rename(installation.journal)

    async with installation.started() as ledger:
        assert (Recalled(), True) == (installation.recalled, await granted(ledger, ANN))
        await ledger.refuse(Person.of(ledger.keyring, CAT), OPEN, BY_FOOTER)
        refused = [ledger.keyring.folded(address) for address in (BEN, CAT)]
        assert refused == [
            one.folded_hash for one in Journal(installation.journal, ledger.keyring).entries() if one.kind == EVENT
        ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b'"refused"', b'"granted"', id="altered"),
        pytest.param(b", 2] ", b", 9] ", id="renumbered"),
        pytest.param(b'["event"', b'["event', id="unreadable"),
    ],
)
async def test_a_journal_that_was_tampered_with(installation: Installation, before: bytes, after: bytes) -> None:
    """A line that was altered is named, and after a restore the journal does not count: all grants rest."""
    async with installation.started() as ledger:
        await agree(ledger, CAT)
    await installation.back_up()
    async with installation.started() as ledger:
        for address in (ANN, BEN):
            await ledger.refuse(Person.of(ledger.keyring, address), OPEN, BY_FOOTER)
        journal = Journal(installation.journal, ledger.keyring)
    content = installation.journal.read_bytes()
    assert before in content
    installation.journal.write_bytes(content.replace(before, after, 1))
    installation.restore()

    with pytest.raises(JournalDamaged):
        journal.entries()
    async with installation.started() as ledger:
        assert installation.recalled.problem is not None
        assert not await granted(ledger, CAT)


async def test_a_line_that_a_power_cut_left_half_written(installation: Installation) -> None:
    """Half a line at the end is taken off, and the refusal it was for is written again."""
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
        content = installation.journal.read_bytes()
        installation.journal.write_bytes(content[:-20])
        await ledger.refuse(Person.of(ledger.keyring, BEN), OPEN, BY_FOOTER)
        found = Journal(installation.journal, ledger.keyring).entries()

    assert [ledger.keyring.folded(one) for one in (ANN, BEN)] == [one.folded_hash for one in found if one.kind == EVENT]


async def test_the_journal_names_nobody(installation: Installation) -> None:
    """Promise 7: there are keyed hashes in the journal and no address."""
    async with installation.started() as ledger:
        await ledger.refuse(Person.of(ledger.keyring, ANN), OPEN, BY_FOOTER)
        keyed = ledger.keyring.folded(ANN)
    content = installation.journal.read_text()

    assert (True, False, 0o600) == (keyed in content, "ann" in content, installation.journal.stat().st_mode & 0o777)


def test_what_a_purge_removed_was_known() -> None:
    """A line older than the ledger's last purge was known to it, even where the event itself is gone."""
    at = now()
    entry = Entry(EVENT, 5, "a", at.isoformat(), "hash", "open", "refused", "asserted", 1)
    later = replace(entry, id="b", at=(at + timedelta(hours=2)).isoformat(), number=2)

    assert [later] == lost([entry, later], [], (at + timedelta(hours=1)).isoformat())


def heads(*sequences: int) -> list[Entry]:
    """Return lines that say how far the chain was."""
    return [head_entry((sequence, f"{sequence:064x}"), "2026-11-22T00:00:00Z") for sequence in sequences]


def test_two_that_begin_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relay and web that first start together leave one whole journal, whichever is interrupted by the other."""
    path, keyring = tmp_path / "journal", Keyring.throwaway()
    other, append = Journal(path, keyring), Journal._append

    def overtaken(self: Journal, entries: list[Entry], **how: bool) -> None:
        append(self, entries, **how)
        monkeypatch.setattr(Journal, "_append", append)
        other.begin(heads(1))

    monkeypatch.setattr(Journal, "_append", overtaken)
    Journal(path, keyring).begin(heads(1))
    assert [1] == [entry.sequence for entry in other.entries()]
    assert ["journal"] == [file.name for file in tmp_path.iterdir()]


def test_a_new_journal_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is on disk, too, before the ledger says that there is one: else all grants would rest."""
    path, synced = tmp_path / "journal", list[tuple[str, bool]]()

    def sync(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    Journal(path, Keyring.throwaway()).begin(heads(1))
    assert (str(tmp_path), True) == synced[-1]
