"""The receipt: what a person gets by mail for every grant, whoever recorded it. After ISO/IEC TS 27560:2023."""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, links, outbox
from ledger.consent import Person
from ledger.keys import Keyring
from ledger.links import LinkKind
from ledger.notice import Notice
from ledger.outbox import Letter
from ledger.schema import consent_event, mailbox_link, moment
from ledger.schema import notice as notice_table
from ledger.schema import outbox as outbox_table
from ledger.tokens import stop_url
from policies.consent import GRANTS, Assurance, State
from policies.footer import Language
from policies.words import Purpose

Row = Mapping[str, Any]
_STATES = {State.GRANTED: "given", State.RENEWED: "renewed"}
"""Our words, in those of the standard."""


def content(address: str, rows: Sequence[Row], notice: Notice) -> dict[str, Any]:
    """Return a receipt for the events in ``rows`` (columns of ``consent_event``), with every mandatory field.

    The standard's fields stand here under its own names, the table of consent.md C1 in its order.
    """
    return {
        "schema_version": chain.SCHEMA_VERSION,
        "receipt_id": str(uuid.uuid4()),
        "pii_principal_id": address,
        "privacy_notice": {"id": notice.id, "version": notice.version, "title": notice.title},
        "language": notice.language,
        "pii_controllers": [
            {
                "party_id": notice.privacy_url,
                "party_name": notice.controller,
                "party_address": notice.privacy_url,
                "party_contact": notice.contact,
                "party_type": "controller",
            }
        ],
        "storage_locations": notice.storage_location,
        "retention_period": notice.how_long,
        "jurisdiction": "as the GDPR asks, wherever the person is",
        "recipients": notice.recipients,
        "withdrawal_method": notice.withdrawal,
        "authority": notice.authority,
        "lawful_basis": "consent",
        "consents": [_one(row, notice) for row in rows],
    }


def _one(row: Row, notice: Notice) -> dict[str, Any]:
    begun, until = moment(row["event_time"]), moment(row["valid_until"])
    return {
        "record_id": row["id"],
        "purpose": row["purpose"],
        "purpose_description": notice.what_for[row["purpose"]],
        "pii_information": list(notice.stored[row["purpose"]]),
        "pii_type": notice.what[row["purpose"]],
        "event_time": row["event_time"],
        "validity_duration": f"P{(until - begun).days}D",
        "valid_until": row["valid_until"],
        "entity_id": row["actor_kind"],
        "event_type": row["method"],
        "event_state": _STATES[State(row["state"])],
        "collection_point": row["collection_point"],
        "expression": row["expression"],
    }


def new_letter(
    keyring: Keyring, public_url: str, address: str, rows: Sequence[Row], notice: Notice, now: datetime
) -> tuple[Letter, dict[str, Any] | None]:
    """Return the letter with a receipt, and the row of the link in it that takes back what somebody else recorded.

    Whoever agreed by their own mailbox is led to the page that every message leads to, and needs no such link.
    """
    link, undo_url = None, stop_url(keyring, public_url, address)
    if any(row["assurance"] != Assurance.MAILBOX_PROVEN.value for row in rows):
        undone = {"purposes": [row["purpose"] for row in rows]}
        link, token = links.new_row(keyring, LinkKind.UNDO, address, now, undone)
        undo_url = links.url_of(public_url, LinkKind.UNDO, token)
    values = {
        "purposes": ", ".join(purpose for purpose in Purpose if purpose in {row["purpose"] for row in rows}),
        "notice": notice.id,
        "until": min(row["valid_until"] for row in rows)[:10],
        "undo_url": undo_url,
        "json": json.dumps(content(address, rows, notice), ensure_ascii=False),
    }
    return Letter("receipt", address, Language(notice.language), values), link


async def put(
    connection: AsyncConnection, keyring: Keyring, public_url: str, address: str, after: int, now: datetime
) -> None:
    """Put one receipt into the outbox for what was granted to an address after event ``after``, in this transaction.

    ``public_url`` is where links in mail lead. Where nothing was granted, there is nothing to receipt.
    """
    statement = select(consent_event).where(
        consent_event.c.exact_hash == Person.of(keyring, address).exact_hash,
        consent_event.c.sequence > after,
        consent_event.c.state.in_([state.value for state in GRANTS]),
    )
    rows = [dict(row._mapping) for row in await connection.execute(statement.order_by(consent_event.c.sequence))]
    if not rows:
        return
    said = select(notice_table.c.body).where(notice_table.c.id == rows[-1]["notice_id"])
    notice = Notice.of_body((await connection.execute(said)).scalar_one())
    letter, link = new_letter(keyring, public_url, address, rows, notice, now)
    await put_many(connection, [link] if link is not None else [], [outbox.new_row(keyring, letter, now)])


async def put_many(connection: AsyncConnection, link_rows: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Put letters into the outbox, and the links in them on record, with one statement each."""
    if link_rows:
        await connection.execute(insert(mailbox_link), link_rows)
    if rows:
        await connection.execute(insert(outbox_table), rows)
