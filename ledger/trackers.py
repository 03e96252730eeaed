"""Other people's trackers on record: what was found in which message, and what was done about it.

By scope, vendor, surface, tier and host, never the full address. The sender is an employee whose tool it may be: by
keyed hash, and sealed, for the audit. No recipient and no subject.
"""

import json
import secrets
from typing import Any

from sqlalchemy import insert

from ledger.batch import Batch, Statement
from ledger.decisions import DecidedMessage
from ledger.keys import Keyring
from ledger.schema import foreign_tracker, stamp


def to_rows(keyring: Keyring, decided: DecidedMessage) -> list[dict[str, Any]]:
    """Return the rows for what was found in a message."""
    return [
        {
            "id": (row_id := secrets.token_hex(16)),
            "message_id": decided.id,
            "at": stamp(decided.decided_at),
            "class": decided.decision.message_class.value,
            "scope": one.scope.value,
            "vendor": one.vendor,
            "surface": one.surface.value,
            "tier": one.tier.value,
            "action": one.action.value,
            "host": one.host,
            "count": one.count,
            "sender_hash": keyring.folded(decided.envelope.sender),
            "sealed": keyring.seal_column(
                json.dumps({"sender": decided.envelope.sender}, ensure_ascii=False).encode("utf-8", "replace"),
                f"foreign_tracker/{row_id}",
            ),
        }
        for one in decided.found
    ]


_INSERT = Statement(lambda _: insert(foreign_tracker))


def record(batch: Batch, rows: list[dict[str, Any]]) -> None:
    """Write the rows of several messages."""
    batch.execute(_INSERT, rows)


def sender_of(keyring: Keyring, row: Any) -> str:
    """Return the sender of a row, opened; whoever asks has that recorded."""
    sender: str = json.loads(keyring.open_column(row.sealed, f"foreign_tracker/{row.id}"))["sender"]
    return sender
