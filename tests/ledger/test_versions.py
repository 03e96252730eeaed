"""Versions of the policy on record: what ruled, since when, by whom, and that nobody altered it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from ledger.ledger import Ledger
from ledger.schema import policy_version, stamp
from ledger.versions import PolicyVersion
from policies import PolicyModel, compile_policy
from policies.policy import canonical_text
from tests.ledger.samples import by_hand

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOMAINS = ["example.org"]


def version(model: PolicyModel, began_at: datetime = NOON, author: str = "root") -> PolicyVersion:
    """Return a policy as it comes into force."""
    return PolicyVersion(compile_policy(model, DOMAINS).version, canonical_text(model, DOMAINS), author, began_at)


STRICT, LOOSE = version(PolicyModel(open="never")), version(PolicyModel())


async def test_a_version_is_kept_in_full(ledger: Ledger) -> None:
    """What ruled can be read again, with its time and author, and its hash is the one it was named for."""
    await ledger.record_policy(STRICT)
    found = await ledger.policy(STRICT.version)

    assert found is not None
    assert ("never", "with-consent", DOMAINS) == (found["policy"]["open"], found["policy"]["click"], found["domains"])
    assert (stamp(NOON), stamp(NOON), "root") == (found["first_at"], found["last_began_at"], found["author"])
    assert found["unaltered"]
    assert found["sha256"].startswith(STRICT.version)


async def test_a_version_that_returns_keeps_its_beginning(ledger: Ledger) -> None:
    """A policy that rules again is one row: first time and author stay, the last beginning is the latest."""
    later = NOON + timedelta(hours=3)
    for began_at, author in ((NOON, "root"), (later, "ines"), (NOON, "ines")):
        await ledger.record_policy(version(PolicyModel(), began_at, author))
    found = await ledger.policy(LOOSE.version)

    assert found is not None
    assert (stamp(NOON), stamp(later), "root") == (found["first_at"], found["last_began_at"], found["author"])


async def test_a_version_altered_by_hand_is_noticed(ledger: Ledger, url: str) -> None:
    """A text that was changed in the database no longer has the hash it was named for."""
    await ledger.record_policy(STRICT)
    with by_hand(url) as connection:
        connection.execute(update(policy_version).values(content=LOOSE.content))
    found = await ledger.policy(STRICT.version)

    assert found is not None
    assert not found["unaltered"]


async def test_a_version_that_never_ruled_is_not_there(ledger: Ledger) -> None:
    """Nothing is said of a version that is not on record."""
    assert await ledger.policy("0123456789ab") is None
