"""Exports: everybody on record with where they stand. Row 60: who agreed, and who did not."""

import json
from datetime import timedelta
from typing import Any

import pytest

from ledger import consent, exports
from ledger.cells import plain
from ledger.consent import Act, Person
from ledger.domains import METHOD
from ledger.ledger import Ledger
from policies.consent import Assurance
from tests.ledger.samples import BY_FOOTER, BY_MAILBOX, EVERYTHING, MAX, ON_PAPER, OPEN, now
from tests.ledger.test_asking import ask
from tests.ledger.test_imports import ANNE, BEN, bring, rows

YEAR = timedelta(days=365)


async def exported(ledger: Ledger, later: timedelta = timedelta(0)) -> dict[tuple[str, str], str]:
    """Return the state of everybody by address and purpose."""

    async def work(connection: Any) -> list[dict[str, Any]]:
        return [line async for line in exports.standings(connection, ledger.keyring, now() + later)]

    return {(line["address"], line["purpose"]): line["state"] for line in await ledger.read(work)}


async def test_60_every_state_is_told_apart(ledger: Ledger) -> None:
    """Row 60: agreed, over, resting, unproven, only asked, refused: each is its own state, and nobody else is there."""
    batch = (await bring(ledger, rows(ANNE))).batch
    assert batch is not None
    await bring(ledger, rows(BEN), None)
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ask(ledger, "asked@customer.test")
    await ledger.refuse(Person(ledger.keyring.folded("gone@customer.test")), OPEN, BY_FOOTER)

    everybody = {
        (ANNE, "open"): "granted",
        (ANNE, "click"): "granted",
        (BEN, "open"): "imported_unproven",
        (BEN, "click"): "imported_unproven",
        (MAX, "open"): "granted",
        ("asked@customer.test", "open"): "requested",
        ("", "open"): "refused",
    }
    assert everybody == await exported(ledger)
    await ledger.job(lambda connection: consent.suspend(connection, batch, now()))
    resting = dict.fromkeys([(ANNE, "open"), (ANNE, "click")], "suspended")
    assert everybody | resting == await exported(ledger)
    over = await exported(ledger, YEAR + timedelta(days=1))
    assert ("expired", "refused") == (over[MAX, "open"], over["", "open"])


async def test_a_refusal_is_told_for_every_spelling(ledger: Ledger) -> None:
    """Whoever refused without saying how they are spelled has refused in every spelling on record."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    await ledger.refuse(Person(ledger.keyring.folded(MAX)), EVERYTHING, BY_FOOTER)

    assert {"withdrawn", "refused"} == set((await exported(ledger)).values())


async def test_a_line_says_what_counts(ledger: Ledger) -> None:
    """Where the whole domain has refused, the line is about that refusal, not about the grant that it ended."""
    await ledger.grant(MAX, OPEN, ON_PAPER)
    domain = MAX.partition("@")[2]
    await ledger.refuse_domain(domain, Act("admin", METHOD, Assurance.ASSERTED, "all", "letter of 3 May", "root"))

    async def work(connection: Any) -> list[dict[str, Any]]:
        return [line async for line in exports.standings(connection, ledger.keyring, now())]

    (line,) = [one for one in await ledger.read(work) if one["address"] == MAX]
    assert ("refused", METHOD, "", "letter of 3 May") == tuple(
        line[name] for name in ("state", "method", "until", "evidence")
    )


async def test_more_than_a_slice(ledger: Ledger) -> None:
    """However many there are, each is there once."""
    await bring(ledger, rows(*(f"person{at}@customer.test" for at in range(450))))

    assert 900 == len(await exported(ledger))


@pytest.mark.parametrize("cell", ["=1+1", "+49", "-1", "@SUM", "\tx", "\rx", "＝1", "＋1", "－1", "＠x"])
def test_a_spreadsheet_calculates_nothing(cell: str) -> None:
    """What would be a formula is text, and comes back as it was."""
    written = exports.as_csv([cell])

    assert written.lstrip('"').startswith("'")
    assert cell == plain(f"'{cell}")


async def test_lines_of_json(ledger: Ledger) -> None:
    """A line holds where the agreement came from, and what proves it."""
    await ledger.grant(MAX, OPEN, BY_MAILBOX)

    async def work(connection: Any) -> list[str]:
        return [exports.as_json(line) async for line in exports.standings(connection, ledger.keyring, now())]

    (text,) = await ledger.read(work)
    line = json.loads(text)
    assert list(exports.COLUMNS) == list(line)
    assert (MAX, "open", "granted", "doi_link", "mailbox_proven") == tuple(
        line[name] for name in ("address", "purpose", "state", "method", "assurance")
    )
