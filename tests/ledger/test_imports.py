"""Imports: agreements collected elsewhere, and what is done where one of them is in doubt."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, consent, imports, notices, outbox, requests
from ledger.calendar import Calendar
from ledger.consent import Act, Person
from ledger.database import Database
from ledger.imports import Agreement, Imported, Landing, Manner, Point
from ledger.ledger import Ledger
from ledger.requests import CaseKind
from policies.consent import Assurance
from policies.footer import Language
from policies.words import Purpose
from tests.ledger.samples import BY_FOOTER, EVERYTHING, MAX, NOTICE, OPEN, by_hand, now

ANNE, BEN = "anne@customer.test", "ben@customer.test"
BOTH = (Purpose.OPEN, Purpose.CLICK)
FAIR = Point("fair", "our stand", "Yes, you may", "folder 7")
YEAR = timedelta(days=365)
NEVER = Act("data_subject", "preference_page", Assurance.MAILBOX_PROVEN, "I never agreed")


def rows(*addresses: str, ago: timedelta = timedelta(days=10)) -> list[Agreement]:
    """Return a file in which these people agreed to be told of opens and clicks."""
    return [Agreement(line, address, BOTH, now() - ago, "form") for line, address in enumerate(addresses, 2)]


async def bring(ledger: Ledger, found: list[Agreement], point: Point | None = FAIR, url: str | None = None) -> Imported:
    """Import a file."""
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))
    manner = Manner("root", {Language.ENGLISH: NOTICE}, Language.ENGLISH, point, letters_url=url)
    done = await imports.import_rows(ledger, ledger.keyring, found, manner, now())
    await ledger.append(chain.head)
    return done


async def granted(ledger: Ledger, address: str) -> list[str]:
    """Return what somebody is tracked for."""
    found = await ledger.standing(Person.of(ledger.keyring, address))
    assert found.available
    return [purpose.value for purpose in Purpose if found.granted(purpose, now())]


async def never_agreed(ledger: Ledger, address: str) -> str | None:
    """Have somebody say that they never agreed, and return the import that is in doubt."""
    batches: list[str | None] = []

    async def work(connection: AsyncConnection) -> tuple[int, str] | None:
        person = Person.of(ledger.keyring, address)
        head, batch = await consent.invalidate(connection, ledger.keyring, person, NEVER, NOTICE, now())
        batches.append(batch)
        return head

    await ledger.append(work)
    return batches[0]


async def test_58_with_a_collection_point_they_are_grants(ledger: Ledger) -> None:
    """Row 58: the point's words and proof go into every event, with the row of the file; it counts from its date."""
    done = await bring(ledger, rows(ANNE))
    event = (await ledger.history(Person.of(ledger.keyring, ANNE)))[0]

    assert ["open", "click"] == await granted(ledger, ANNE)
    assert Counter({Landing.GRANTED: 2}) == done.landed
    assert ("asserted", "Yes, you may", "form; folder 7; row 2 of the file", "our stand", "fair", done.batch) == tuple(
        event[key] for key in ("assurance", "expression", "evidence", "source", "collection_point", "batch")
    )
    assert (now() - timedelta(days=10) + YEAR).date().isoformat() == event["valid_until"][:10]
    assert (now() - timedelta(days=10)).date().isoformat() == event["time"][:10]
    assert [] == (await ledger.verify()).flaws


async def test_62_without_one_they_track_nobody(ledger: Ledger) -> None:
    """Row 62, A9: what nobody can prove is on record and counts for nothing, and a second time adds nothing."""
    done = await bring(ledger, rows(ANNE), None)
    again = await bring(ledger, rows(ANNE), None)

    assert [] == await granted(ledger, ANNE)
    assert (Counter({Landing.UNPROVEN: 2}), Counter({Landing.STANDING: 2})) == (done.landed, again.landed)
    assert again.batch is None


async def test_who_refused_stays_refused(ledger: Ledger) -> None:
    """A refusal holds against any import, purpose by purpose and for every spelling."""
    await ledger.refuse(Person(ledger.keyring.folded(ANNE)), OPEN, BY_FOOTER)
    done = await bring(ledger, rows(ANNE.upper(), BEN))

    assert Counter({Landing.GRANTED: 3, Landing.REFUSED: 1}) == done.landed
    assert ["click"] == await granted(ledger, ANNE.upper())


async def test_the_same_file_again_changes_nothing(ledger: Ledger) -> None:
    """What is on record already, or twice in the file, is not recorded again; a later date renews."""
    found = rows(ANNE)
    await bring(ledger, found * 2)
    again = await bring(ledger, found)
    later = await bring(ledger, rows(ANNE, ago=timedelta(days=1)))

    assert Counter({Landing.STANDING: 2}) == again.landed
    assert Counter({Landing.GRANTED: 2}) == later.landed
    states = [event["state"] for event in await ledger.history(Person.of(ledger.keyring, ANNE))]
    assert ["granted", "granted", "renewed", "renewed"] == states


@pytest.mark.parametrize("apart", [1, imports._SLICE], ids=["together", "in another slice"])
async def test_the_latest_of_several_dates_counts(ledger: Ledger, apart: int) -> None:
    """Of several rows about one person the one with the latest date counts, wherever it stands in the file."""
    old, new = rows(ANNE, ago=YEAR * 2), rows(ANNE, ago=timedelta(days=3))
    between = rows(*(f"person{at}@customer.test" for at in range(apart - 1)))
    done = await bring(ledger, [*old, *between, *new, *old])
    event = (await ledger.history(Person.of(ledger.keyring, ANNE)))[-1]

    assert ["open", "click"] == await granted(ledger, ANNE)
    assert (2, 2) == (done.landed[Landing.EXPIRED], done.landed[Landing.STANDING])
    assert (now() - timedelta(days=3) + YEAR).date().isoformat() == event["valid_until"][:10]


async def test_what_is_over_is_over(ledger: Ledger) -> None:
    """An agreement that is older than a grant may be is on record, and tracks nobody."""
    done = await bring(ledger, rows(ANNE, ago=YEAR + timedelta(days=1)), url="https://track.example.org")

    assert (Counter({Landing.EXPIRED: 2}), 0) == (done.landed, done.letters)
    assert [] == await granted(ledger, ANNE)


async def test_every_grant_has_a_receipt(ledger: Ledger, url: str) -> None:
    """With a mail server, everybody whose grant was brought along hears of it, with a link that takes it back."""
    # A person may have a row for each purpose, and hears of both at once.
    found = [replace(row, purposes=(one,)) for row in rows(ANNE, BEN) for one in BOTH]
    done = await bring(ledger, found, url="https://track.example.org")

    with by_hand(url) as connection:
        letters = connection.exec_driver_sql("SELECT COUNT(*) FROM outbox").scalar_one()
        links = connection.exec_driver_sql("SELECT COUNT(*) FROM mailbox_link WHERE kind = 'undo'").scalar_one()
    assert (2, 2, 2) == (done.letters, letters, links)


async def test_a_dry_run_writes_nothing(ledger: Ledger) -> None:
    """Trying tells what importing would do, and leaves no trace."""
    manner = Manner("root", {Language.ENGLISH: NOTICE}, Language.ENGLISH, FAIR)
    done = await imports.try_rows(ledger, ledger.keyring, rows(ANNE, BEN), manner, now())

    assert Counter({Landing.GRANTED: 4}) == done.landed
    assert [] == await ledger.read(imports.batches)
    assert [] == await ledger.history(Person.of(ledger.keyring, ANNE))


async def test_more_than_a_slice(ledger: Ledger) -> None:
    """However many rows there are, they are one import, and the chain is whole."""
    done = await bring(ledger, rows(*(f"person{at}@customer.test" for at in range(1_001))))

    assert Counter({Landing.GRANTED: 2_002}) == done.landed
    assert [(1_001, 2_002)] == [(one["rows"], one["events"]) for one in await ledger.read(imports.batches)]
    assert [] == (await ledger.verify()).flaws


async def test_i_never_agreed(ledger: Ledger) -> None:
    """One person who never agreed puts the whole import in doubt: nobody in it is tracked until that is decided."""
    batch = (await bring(ledger, rows(ANNE, BEN))).batch
    assert batch is not None
    assert batch == await never_agreed(ledger, ANNE)
    assert ([], []) == (await granted(ledger, ANNE), await granted(ledger, BEN))

    assert await ledger.job(lambda connection: consent.resume(connection, batch))
    assert ([], ["open", "click"]) == (await granted(ledger, ANNE), await granted(ledger, BEN))
    assert [] == (await ledger.verify()).flaws


async def test_i_never_agreed_to_what_is_unproven(ledger: Ledger) -> None:
    """It can be said of an import that counts for nothing, too; a second time adds nothing."""
    batch = (await bring(ledger, rows(ANNE), None)).batch
    for _ in range(2):
        assert batch == await never_agreed(ledger, ANNE)

    states = [event["state"] for event in await ledger.history(Person.of(ledger.keyring, ANNE))]
    assert ["imported_unproven"] * 2 + ["invalidated"] * 2 == states


async def test_i_never_agreed_to_nothing(ledger: Ledger) -> None:
    """Of somebody who is not known, or has refused, there is nothing to invalidate."""
    await ledger.refuse(Person(ledger.keyring.folded(MAX)), EVERYTHING, BY_FOOTER)

    assert [None, None] == [await never_agreed(ledger, address) for address in (MAX, BEN)]


@pytest.mark.parametrize("address", [ANNE, BEN])
async def test_suspending_twice(ledger: Ledger, address: str) -> None:
    """An import that rests is not put to rest again, and only one that rests counts again."""
    batch = (await bring(ledger, rows(address))).batch
    assert batch is not None
    found = [await ledger.job(lambda c: consent.suspend(c, batch, now())) for _ in range(2)]
    found += [await ledger.job(lambda c: consent.resume(c, batch)) for _ in range(2)]

    assert [True, False, True, False] == found


def manner(url: str | None = None) -> Manner:
    """Return how files are taken in here."""
    return Manner("root", {Language.ENGLISH: NOTICE}, Language.ENGLISH, FAIR, letters_url=url)


def many(count: int) -> list[Agreement]:
    """Return a file of many people."""
    return rows(*(f"person{number}@customer.test" for number in range(count)))


async def test_all_count_at_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a file is taken in nobody in it is tracked; in the end everybody is, and the chain has no gap."""
    monkeypatch.setattr(imports, "_SLICE", 3)
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))
    found, counting = many(10), list[int]()

    async def look() -> None:
        counting.append(sum([bool(await granted(ledger, one.address)) for one in found]))

    class Watched:
        """The ledger, looked at after every transaction."""

        read = ledger.read

        async def job(self, work: Any) -> Any:
            result = await ledger.job(work)
            await look()
            return result

    done = await imports.import_rows(Watched(), ledger.keyring, found, manner(), now())
    assert ([0] * 4 + [10], 20) == (counting, done.landed[Landing.GRANTED])
    await ledger.append(chain.head)
    assert [] == (await ledger.verify()).flaws


async def test_what_breaks_off_counts_for_nobody(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of which only a part was taken in tracks nobody, and cannot be made to count; again can."""
    monkeypatch.setattr(imports, "_SLICE", 3)
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))

    def break_off(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await imports.import_rows(ledger, ledger.keyring, many(10), manner("http://x"), now(), break_off)
    (broken,) = await ledger.read(imports.batches)
    assert (0, 6) == (broken["rows"], broken["events"])
    assert not await ledger.job(lambda connection: consent.resume(connection, broken["batch"]))
    assert [] == await granted(ledger, "person0@customer.test")
    assert 0 == await ledger.read(outbox.waiting)
    again = await imports.import_rows(ledger, ledger.keyring, many(10), manner("http://x"), now())
    assert (20, 10) == (again.landed[Landing.GRANTED], await ledger.read(outbox.waiting))
    assert ["open", "click"] == await granted(ledger, "person0@customer.test")


@pytest.mark.parametrize("times", [1, 99], ids=["once", "all the time"])
async def test_somebody_speaks_in_between(ledger: Ledger, times: int) -> None:
    """What is said between looking and writing holds: a refusal counts, and the chain stays whole."""
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))

    class Interrupted:
        """The ledger, where somebody refuses after every look."""

        job = ledger.job
        left = times

        async def read(self, work: Any) -> Any:
            result = await ledger.read(work)
            if self.left:
                self.left -= 1
                person = Person.of(ledger.keyring, ANNE if self.left == times - 1 else f"{self.left}@customer.test")
                await ledger.refuse(person, OPEN, BY_FOOTER)
            return result

    done = await imports.import_rows(Interrupted(), ledger.keyring, rows(ANNE, BEN), manner(), now())
    assert Counter({Landing.GRANTED: 3, Landing.REFUSED: 1}) == done.landed
    assert (["click"], ["open", "click"]) == (await granted(ledger, ANNE), await granted(ledger, BEN))
    assert [] == (await ledger.verify()).flaws


async def test_one_that_is_doubted_while_it_is_taken_in_goes_on_resting(ledger: Ledger) -> None:
    """Where somebody said meanwhile that they never agreed, the import does not begin to count."""
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))

    class Doubted:
        """The ledger, where ANNE speaks up as soon as she is on record."""

        read = ledger.read
        asked = False

        async def job(self, work: Any) -> Any:
            result = await ledger.job(work)
            if not self.asked:
                self.asked = True
                await ledger.never_agreed(ANNE, NEVER)
            return result

    await imports.import_rows(Doubted(), ledger.keyring, rows(ANNE, BEN), manner(), now())
    assert ([], []) == (await granted(ledger, ANNE), await granted(ledger, BEN))
    (batch,) = await ledger.read(imports.batches)
    assert batch["suspended_at"]
    assert await ledger.job(lambda connection: consent.resume(connection, batch["batch"]))
    assert ([], ["open", "click"]) == (await granted(ledger, ANNE), await granted(ledger, BEN))


async def test_one_that_is_doubted_at_the_moment_it_ends_goes_on_resting(ledger: Ledger, database: Database) -> None:
    """Of two transactions, one in which somebody never agreed and one that ends the import, one waits for the other."""
    await ledger.job(lambda connection: notices.keep(connection, NOTICE, now()))
    person = Person.of(ledger.keyring, ANNE)

    class Doubted:
        """The ledger, where ANNE is about to be on record with her doubt when the import ends."""

        read = ledger.read
        jobs = 0

        async def job(self, work: Any) -> Any:
            self.jobs += 1
            if self.jobs == 1:
                return await ledger.job(work)
            async with database.writing() as connection:
                await consent.invalidate(connection, ledger.keyring, person, NEVER, NOTICE, now())
                (batch,) = await imports.batches(connection)
                await requests.open_case(
                    connection, ledger.keyring, CaseKind.INVALID_GRANT, person, ANNE, "x", now(), Calendar(),
                    batch["batch"],
                )  # fmt: skip
                ending = asyncio.ensure_future(ledger.job(work))
                await asyncio.wait({ending}, timeout=0.2)
            return await ending

    await imports.import_rows(Doubted(), ledger.keyring, rows(ANNE, BEN), manner(), now())
    assert ([], []) == (await granted(ledger, ANNE), await granted(ledger, BEN))
