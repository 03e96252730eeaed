"""What tests of the ledger are made of: acts, decisions, hits, and a hand in the database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from ledger.consent import Act
from ledger.database import Place
from ledger.decisions import DecidedMessage
from ledger.hits import Hit
from ledger.notice import Teller
from ledger.tokens import new_message_id
from policies.consent import Assurance
from policies.decide import Decision
from policies.envelope import Envelope
from policies.words import MessageClass, Purpose, Reason, Verdict

TELLER = Teller("Example GmbH", "privacy@example.org", "https://example.org/privacy")
NOTICE = TELLER.built_in()
ANNA = "anna@example.org"
"""The sender."""
MAX = "Max@client.example"
"""The recipient."""
OPEN = (Purpose.OPEN,)
EVERYTHING = tuple(Purpose)
ON_PAPER = Act("admin", "paper", Assurance.ASSERTED, "recorded by an administrator", "folder 7, page 12")
WITHOUT_EVIDENCE = Act("admin", "phone", Assurance.ASSERTED, "recorded by an administrator", " ")
BY_MAILBOX = Act("data_subject", "doi_link", Assurance.MAILBOX_PROVEN, "Yes, I agree")
BY_FOOTER = Act("data_subject", "footer_link", Assurance.TOKEN_POSSESSION, "Stop tracking")


def now() -> datetime:
    """Return the time as the ledger sees it."""
    return datetime.now(UTC)


def decided(
    reason: Reason = Reason.TRACKED,
    *,
    reasons: Mapping[Purpose, Reason] | None = None,
    sender: str = ANNA,
    recipients: tuple[str, ...] = (MAX,),
    subject: str = "Our offer",
    ago: timedelta = timedelta(0),
) -> DecidedMessage:
    """Return a message as decided, by default tracked for everything."""
    decision = Decision(
        MessageClass.INDIVIDUAL if len(recipients) == 1 else MessageClass.GROUP,
        reason,
        reasons or dict.fromkeys(Purpose, reason),
        "policy-1",
        rules=("a rule",),
        consent_events=("an event",),
    )
    return DecidedMessage(new_message_id(), decision, Envelope(sender, recipients), subject, now() - ago)


def hit(
    message_id: str,
    purpose: Purpose = Purpose.OPEN,
    *,
    link: int = 0,
    place: str = "",
    verdict: Verdict = Verdict.UNKNOWN,
    at: datetime | None = None,
) -> Hit:
    """Return a hit, by default of a pixel just now."""
    return Hit(message_id, purpose, at or now(), verdict, link, place)


@contextmanager
def by_hand(url: str) -> Iterator[Connection]:
    """Open a transaction as somebody does who has the database but not the program; committed in the end."""
    engine = create_engine(Place(url).url("sqlite"), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()
