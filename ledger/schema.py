"""The tables. Times are ISO 8601 text in UTC with microseconds, so that both databases sort and show them alike.

Every column that could lead to a person is keyed (``…_hash``: HMAC) or sealed (``sealed``: encrypted for its row).
"""

from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

REVISION = "0007"
"""The last of ``migrations/versions``, which leaves the tables as they stand here."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

chain_head = Table(
    "chain_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("row_hash", String(64), nullable=False),
)

consent_event = Table(
    "consent_event",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(36), nullable=False, unique=True),
    Column("schema_version", String(32), nullable=False),
    Column("exact_hash", String(64)),
    Column("folded_hash", String(64), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("state", String(32), nullable=False),
    Column("event_time", String(27), nullable=False),
    Column("recorded_at", String(27), nullable=False),
    Column("actor_kind", String(32), nullable=False),
    Column("method", String(64), nullable=False),
    Column("expression", Text, nullable=False),
    Column("notice_id", String(64)),
    Column("language", String(16), nullable=False),
    Column("assurance", String(32), nullable=False),
    Column("legal_basis", String(32), nullable=False),
    Column("valid_until", String(27)),
    Column("withdrawal", Text, nullable=False),
    Column("collection_point", String(64)),
    Column("batch", String(32)),
    Column("request", String(32)),
    Column("personal_hash", String(64), nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("row_hash", String(64), nullable=False),
    Index("consent_event_by_person", "folded_hash", "sequence"),
    Index("consent_event_by_batch", "batch"),
)

consent_personal = Table(
    "consent_personal",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("language", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("created_by", String(128), nullable=False, server_default="system"),
)

import_batch = Table(
    "import_batch",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("collection_point", String(64)),
    Column("imported_at", String(27), nullable=False),
    Column("imported_by", String(128), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("suspended_at", String(27)),
)

chain_checkpoint = Table(
    "chain_checkpoint",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("row_hash", String(64), nullable=False),
    Column("cut_at", String(27), nullable=False),
    Column("kept", BigInteger, nullable=False),
    Column("kept_digest", String(64), nullable=False),
    Column("signature", String(64), nullable=False),
)

mailbox_link = Table(
    "mailbox_link",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("folded_hash", String(64), nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("expires_at", String(27), nullable=False),
    Column("used_at", String(27)),
    Column("sealed", LargeBinary, nullable=False),
    Index("mailbox_link_by_person", "folded_hash", "created_at"),
)

question = Table(
    "question",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("folded_hash", String(64), nullable=False),
    Column("asked_at", String(27), nullable=False),
    Column("way", String(16), nullable=False),
    Index("question_by_person", "folded_hash", "asked_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("folded_hash", String(64), nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("due_at", String(27), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("sent_at", String(27)),
    Column("sealed", LargeBinary),
    Index("outbox_by_due", "state", "due_at"),
    Index("outbox_by_person", "folded_hash", "created_at"),
)

request_case = Table(
    "request_case",
    metadata,
    Column("number", String(16), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("folded_hash", String(64), nullable=False),
    Column("opened_at", String(27), nullable=False),
    Column("acknowledge_by", String(10)),
    Column("acknowledged_at", String(27)),
    Column("due_by", String(10), nullable=False),
    Column("extended_at", String(27)),
    Column("answered_at", String(27)),
    Column("state", String(16), nullable=False),
    Column("batch", String(32)),
    Column("sealed", LargeBinary),
    Index("request_case_by_due", "state", "due_by"),
    Index("request_case_by_person", "folded_hash"),
)

message = Table(
    "message",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("decided_at", String(27), nullable=False, index=True),
    Column("class", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("detail", String(16)),
    Column("rules", Text, nullable=False),
    Column("policy_version", String(16), nullable=False),
    Column("consent_events", Text, nullable=False),
    Column("recipients", Integer, nullable=False),
    Column("sender_hash", String(64), nullable=False),
    Column("exact_hash", String(64)),
    Column("folded_hash", String(64)),
    Column("outcome", String(16), nullable=False),
    Column("sealed", LargeBinary),
    Index("message_by_sender", "sender_hash", "decided_at"),
    Index("message_by_person", "folded_hash"),
)

decision_count = Table(
    "decision_count",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("class", String(16), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

hit = Table(
    "hit",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("message_id", String(32), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("link", Integer, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("first_at", String(27), nullable=False),
    Column("last_at", String(27), nullable=False),
    Column("count", Integer, nullable=False),
    Column("sealed", LargeBinary),
    Index("hit_by_message", "message_id", "purpose", "link"),
    Index("hit_by_time", "first_at"),
)

hit_count = Table(
    "hit_count",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("verdict", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

foreign_tracker = Table(
    "foreign_tracker",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("message_id", String(32), nullable=False, index=True),
    Column("at", String(27), nullable=False, index=True),
    Column("class", String(16), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("vendor", String(64)),
    Column("surface", String(16), nullable=False),
    Column("tier", String(1), nullable=False),
    Column("action", String(32), nullable=False),
    Column("host", String(253), nullable=False),
    Column("count", Integer, nullable=False),
    Column("sender_hash", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("foreign_tracker_by_vendor", "vendor", "at"),
    Index("foreign_tracker_by_sender", "sender_hash", "at"),
)

look_alike = Table(
    "look_alike",
    metadata,
    Column("message_id", String(32), primary_key=True),
    Column("sender_hash", String(64), nullable=False),
    Column("recipient_hash", String(64), nullable=False),
    Column("at", String(27), nullable=False),
    Column("bulk", Boolean, nullable=False),
    Column("sketch", LargeBinary, nullable=False),
    Index("look_alike_by_sender", "sender_hash", "at"),
    Index("look_alike_by_time", "at"),
)

access = Table(
    "access",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", String(27), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("reason", Text),
)

policy_version = Table(
    "policy_version",
    metadata,
    Column("version", String(16), primary_key=True),
    Column("first_at", String(27), nullable=False),
    Column("last_began_at", String(27), nullable=False),
    Column("author", String(128), nullable=False),
    Column("content", Text, nullable=False),
)

sender_setting = Table(
    "sender_setting",
    metadata,
    Column("sender_hash", String(64), primary_key=True),
    Column("open", Boolean, nullable=False),
    Column("click", Boolean, nullable=False),
    Column("changed_at", String(27), nullable=False),
)


account = Table(
    "account",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("folded_hash", String(64), nullable=False, unique=True),
    Column("created_at", String(27), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

account_password = Table(
    "account_password",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False, index=True),
    Column("created_at", String(27), nullable=False),
    Column("tag", String(16)),
    Column("hash", String(128), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

login_attempt = Table(
    "login_attempt",
    metadata,
    Column("account_hash", String(32), primary_key=True),
    Column("network_hash", String(32), primary_key=True),
    Column("secret_hash", String(32), primary_key=True),
    Column("at", String(27), nullable=False),
    Index("login_attempt_by_network", "network_hash", "at"),
    Index("login_attempt_by_time", "at"),
)


@lru_cache(maxsize=64)
def stamp(moment: datetime) -> str:
    """Return an aware time as the ledger writes it. Many rows are of one moment, so the last ones are kept."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment(text: str) -> datetime:
    """Return the aware time that ``stamp`` wrote."""
    return datetime.fromisoformat(text)
