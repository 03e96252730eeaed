"""The audit: what it counts over a period, that it names nobody unless asked to, and what it never tells."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import update

from ledger.audit import Period
from ledger.consent import Person
from ledger.decisions import DecidedMessage
from ledger.ledger import Ledger
from ledger.schema import access, stamp
from ledger.versions import PolicyVersion
from policies.tracker import FoundTracker
from policies.words import Purpose, Reason, Scope, Surface, Tier, TrackerAction
from tests.ledger.samples import ANNA, BY_FOOTER, EVERYTHING, MAX, ON_PAPER, OPEN, by_hand, decided, now

BEN = "ben@example.org"
TODAY = datetime.now(UTC).date()
ALWAYS = Period(date(2020, 1, 1), TODAY + timedelta(days=1))


def tracker(
    vendor: str | None = "mailtrack", action: TrackerAction = TrackerAction.REMOVED, count: int = 1
) -> FoundTracker:
    """Return trackers of one kind that were found in a message."""
    return FoundTracker(Scope.TOOL, vendor, Surface.IMAGE, Tier.A, action, "pixel.tracker.example", count)


def with_trackers(sender: str, *found: FoundTracker, ago: timedelta = timedelta(0)) -> DecidedMessage:
    """Return a message that nobody agreed to, and that held trackers."""
    return replace(decided(Reason.NO_CONSENT, sender=sender, ago=ago), found=found)


async def record(ledger: Ledger, *messages: DecidedMessage) -> None:
    """Record messages."""
    for one in messages:
        assert await ledger.record_decision(one)


async def section(ledger: Ledger, name: str, period: Period = ALWAYS, *, reveal: bool = False) -> list[dict[str, Any]]:
    """Return one section of the report."""
    found: list[dict[str, Any]] = (await ledger.audit(period, reveal=reveal))[name]
    return found


async def test_an_empty_ledger_has_an_empty_report(ledger: Ledger) -> None:
    """Nothing recorded: every section is there and empty."""
    report = await ledger.audit(Period(date(2026, 3, 1), date(2026, 3, 31)))
    assert {"since": "2026-03-01", "until": "2026-03-31"} == {key: report.pop(key) for key in ("since", "until")}
    assert {"decisions", "hits", "vendors", "senders", "policy_versions", "consent", "accesses"} == set(report)
    assert [[]] * 7 == list(report.values())


async def test_decisions_are_counted_by_class_and_reason(ledger: Ledger) -> None:
    """Every message of the period is counted once; one taken back counts as what it became."""
    voided = decided()
    await record(ledger, decided(), voided, decided(Reason.NO_CONSENT), decided(Reason.NO_CONSENT))
    await record(ledger, decided(Reason.GROUP, recipients=(MAX, BEN)), decided(Reason.REFUSED, ago=timedelta(days=9)))
    ledger.void_decision(voided.id, Reason.LEDGER_UNAVAILABLE)
    await ledger.tick()
    expected = [
        ("group", "group", 1),
        ("individual", "ledger_unavailable", 1),
        ("individual", "no_consent", 2),
        ("individual", "tracked", 1),
    ]
    week = Period(TODAY - timedelta(days=7), TODAY)
    assert expected == [tuple(row.values()) for row in await section(ledger, "decisions", week)]
    assert ("individual", "refused", 1) in [tuple(row.values()) for row in await section(ledger, "decisions")]


async def test_counts_outlive_the_messages(ledger: Ledger) -> None:
    """After untracked messages are purged their counts are still in the report."""
    await record(ledger, decided(Reason.BULK, ago=timedelta(days=20)))
    await ledger.purge()
    assert [] == await ledger.messages()
    assert [{"class": "individual", "reason": "bulk", "messages": 1}] == await section(ledger, "decisions")


async def test_trackers_are_counted_by_vendor(ledger: Ledger) -> None:
    """Messages and trackers are counted by vendor, scope, tier, action and class; without a vendor it is "unknown"."""
    await record(ledger, with_trackers(ANNA, tracker(count=2), tracker(None, TrackerAction.REPORTED)))
    await record(ledger, with_trackers(BEN, tracker(), tracker("hubspot", TrackerAction.UNWRAPPED, 7)))
    await record(ledger, with_trackers(BEN, tracker("old"), ago=timedelta(days=60)))
    found = await section(ledger, "vendors", Period(TODAY - timedelta(days=29), TODAY))
    assert sorted([
        ("hubspot", "tool", "A", "unwrapped", "individual", 1, 7),
        ("mailtrack", "tool", "A", "removed", "individual", 2, 3),
        ("unknown", "tool", "A", "reported", "individual", 1, 1),
    ]) == sorted(tuple(row.values()) for row in found)  # fmt: skip


async def test_senders_have_pseudonyms(ledger: Ledger) -> None:
    """One sender has one pseudonym, in every spelling and report, and no part of the address or its hash is in it."""
    await record(ledger, with_trackers(ANNA, tracker()), with_trackers(ANNA.upper(), tracker("hubspot")))
    await record(ledger, with_trackers(BEN, tracker()))
    first, again = await section(ledger, "senders"), await section(ledger, "senders")
    names = {row["sender"] for row in first}
    assert first == again
    assert 2 == len(names)
    assert {"mailtrack", "hubspot"} == {
        row["vendor"] for row in first if row["sender"] == ledger.keyring.pseudonym(ledger.keyring.folded(ANNA))
    }
    for name in names:
        prefix, _, digits = name.partition("-")
        assert ("sender", 8) == (prefix, len(digits))
        assert all(digits not in ledger.keyring.folded(address) for address in (ANNA, BEN))
    assert "example.org" not in str(first)


async def test_revealed_senders_have_their_addresses(ledger: Ledger) -> None:
    """Asked to, the report names the senders; the null sender as SMTP writes it."""
    await record(ledger, with_trackers(ANNA, tracker()), with_trackers(BEN, tracker()), with_trackers("", tracker()))
    assert {ANNA, BEN, "<>"} == {row["sender"] for row in await section(ledger, "senders", reveal=True)}


async def test_consent_is_counted_and_names_nobody(ledger: Ledger) -> None:
    """Events are counted by day, purpose and state."""
    await ledger.grant(MAX, (Purpose.OPEN, Purpose.CLICK), ON_PAPER)
    await ledger.grant(BEN, OPEN, ON_PAPER)
    await ledger.refuse(Person.of(ledger.keyring, MAX), EVERYTHING, BY_FOOTER)
    found = await section(ledger, "consent")
    assert [
        ("click", "granted", 1), ("click", "withdrawn", 1), ("detail", "refused", 1),
        ("open", "granted", 2), ("open", "withdrawn", 1),
    ] == [(row["purpose"], row["state"], row["events"]) for row in found]  # fmt: skip
    assert {now().date().isoformat()} == {row["day"] for row in found}


async def test_accesses_are_listed(ledger: Ledger, url: str) -> None:
    """Who looked at what, when, and why, within the period and in its order."""
    await ledger.record_access("messages")
    await ledger.record_access("audit --reveal", "works council, case 4")
    (actor,) = {row["actor"] for row in await section(ledger, "accesses")}
    found = [(row["action"], row["why"]) for row in await section(ledger, "accesses")]
    assert [("messages", None), ("audit --reveal", "works council, case 4")] == found
    assert actor
    with by_hand(url) as connection:
        connection.execute(update(access).values(at="2026-03-31T23:59:59.999999Z"))
    assert 2 == len(await section(ledger, "accesses", Period(date(2026, 3, 31), date(2026, 3, 31))))
    assert [] == await section(ledger, "accesses", Period(date(2026, 4, 1), date(2026, 4, 1)))
    assert [] == await section(ledger, "accesses", Period(date(2026, 3, 1), date(2026, 3, 30)))


async def test_versions_of_a_period_are_listed(ledger: Ledger) -> None:
    """The versions that began in a period are listed, and the one that ruled when it began."""
    march = datetime(2026, 3, 10, 12, tzinfo=UTC)
    for name, days in (("first", -60), ("ruling", -30), ("inside", 0), ("later", 60)):
        await ledger.record_policy(PolicyVersion(name, "[{}, []]", "root", march + timedelta(days=days)))
    found = await section(ledger, "policy_versions", Period(date(2026, 3, 1), date(2026, 3, 31)))
    assert ["ruling", "inside"] == [row["version"] for row in found]
    assert (stamp(march), stamp(march), "root") == tuple(
        found[1][key] for key in ("first_at", "last_began_at", "author")
    )
