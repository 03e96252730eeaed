"""What the requirements say of a ledger in which nobody has agreed, and of what an agreement is about."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from ledger.consent import Person
from ledger.ledger import Ledger
from ledger.schema import consent_event, hit, message
from policies.words import Purpose, Reason
from tests.ledger.samples import BY_FOOTER, EVERYTHING, MAX, NOTICE, ON_PAPER, by_hand, decided, now
from tests.ledger.samples import hit as a_hit

UNTRACKED = [Reason.NO_CONSENT, Reason.REFUSED, Reason.EXPIRED, Reason.WITHDRAWN]


@pytest.mark.parametrize("reason", UNTRACKED)
async def test_row_50_nothing_is_stored_without_consent(ledger: Ledger, url: str, reason: Reason) -> None:
    """Row 50: whether, when, how often, from where and with what a message was opened: no column holds any of it."""
    if reason is not Reason.NO_CONSENT:
        await ledger.refuse(Person.of(ledger.keyring, MAX), EVERYTHING, BY_FOOTER)
    sent = decided(reason)
    assert await ledger.record_decision(sent)
    for purpose in (Purpose.OPEN, Purpose.CLICK):
        for minutes in (0, 5):
            await ledger.record_hit(
                a_hit(sent.id, purpose, link=1, place="shop.example/a", at=now() + timedelta(0, minutes))
            )

    with by_hand(url) as connection:
        assert 0 == connection.execute(select(func.count()).select_from(hit)).scalar_one()
        assert [None] == list(connection.execute(select(message.c.sealed)).scalars())
    assert {"id", "message_id", "purpose", "link", "verdict", "first_at", "last_at", "count", "sealed"} == {
        column.name for column in hit.columns
    }


async def test_row_55_an_agreement_is_about_tracking(ledger: Ledger, url: str) -> None:
    """Row 55: what is recorded names tracking as its purpose and consent as its ground, and nothing of marketing."""
    await ledger.grant(MAX, EVERYTHING, ON_PAPER)
    with by_hand(url) as connection:
        found = connection.execute(select(consent_event.c.purpose, consent_event.c.legal_basis)).all()
    assert [("open", "consent"), ("click", "consent"), ("detail", "consent")] == [tuple(row) for row in found]
    assert set(NOTICE.what) == {purpose.value for purpose in Purpose}
