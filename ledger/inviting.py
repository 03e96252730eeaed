"""Inviting: the question below a message, reserved before the message leaves so that nobody is asked twice.

A row says that somebody is being asked; the events of the chain follow when the message has left. Where it did not
leave, the row is taken back, for nobody was asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import asking, chain, links
from ledger.batch import Batch, Statement
from ledger.consent import SUSPENDED_UP_TO
from ledger.keys import Keyring
from ledger.links import LinkKind
from ledger.notice import Notice
from ledger.schema import mailbox_link, meta, question, stamp
from policies.consent import PAUSE
from policies.footer import Language

WAY = "footer"
_ASKED = Statement(
    lambda words: select(question.c.folded_hash).where(
        words.among(question.c.folded_hash, "people"), question.c.asked_at > bindparam("since")
    )
)
_RESTING = Statement(lambda _: select(meta.c.value).where(meta.c.name == SUSPENDED_UP_TO))
_ASK = Statement(lambda _: insert(question))
_LINK = Statement(lambda _: insert(mailbox_link))
_NOT_ASKED = Statement(lambda _: delete(question).where(question.c.id == bindparam("gone")))
_NO_LINK = Statement(lambda _: delete(mailbox_link).where(mailbox_link.c.id == bindparam("gone")))


@dataclass(slots=True)
class Invitation:
    """A question to one person, with the link to its answer."""

    address: str
    language: Language
    at: datetime
    url: str
    question: dict[str, Any]
    """What is to be put on record: the question, and the link."""
    link: dict[str, Any] = field(repr=False)
    reserved: bool = False
    """Nobody else asks this person; the message may."""


def prepare(keyring: Keyring, address: str, language: Language, public_url: str, now: datetime) -> Invitation:
    """Return an invitation that is not on record yet; ``public_url`` is where links in mail lead."""
    row, token = links.new_row(keyring, LinkKind.ASK, address, now)
    asked = {"id": row["id"], "folded_hash": row["folded_hash"], "asked_at": stamp(now), "way": WAY}
    return Invitation(address, language, now, links.url_of(public_url, LinkKind.ASK, token), asked, row)


def reserve(batch: Batch, invitations: Sequence[Invitation]) -> None:
    """Put questions on record, but none to a person who was asked within six months, and say which those are.

    After a restore without its journal nobody is asked: they may have refused since.
    """
    # Two transactions do not see each other's rows: whoever asks a person does so alone.
    batch.lock(sorted({_number(one) for one in invitations}))
    for one in invitations:
        one.reserved = False
    if batch.rows(_RESTING, {}):
        return
    people = [one.question["folded_hash"] for one in invitations]
    asked = {row.folded_hash for row in batch.rows(_ASKED, {"people": people, "since": _since(invitations)})}
    for one in invitations:
        one.reserved = one.question["folded_hash"] not in asked
        asked.add(one.question["folded_hash"])
    reserved = [one for one in invitations if one.reserved]
    if reserved:
        batch.execute(_ASK, [one.question for one in reserved])
        batch.execute(_LINK, [{**one.link, "used_at": None} for one in reserved])


def _number(one: Invitation) -> int:
    return int.from_bytes(bytes.fromhex(one.question["folded_hash"])[:8], "big", signed=True)


def _since(invitations: Sequence[Invitation]) -> str:
    return stamp(min(one.at for one in invitations) - PAUSE)


def take_back(batch: Batch, invitations: Sequence[Invitation]) -> None:
    """Forget questions that nobody was asked, and their links."""
    gone = [{"gone": one.question["id"]} for one in invitations]
    batch.execute(_NOT_ASKED, gone)
    batch.execute(_NO_LINK, gone)


async def record(
    connection: AsyncConnection, keyring: Keyring, one: Invitation, notice: Notice
) -> tuple[int, str] | None:
    """Append the events of a question that has left, and return the chain's new head.

    None where the question is on record no more: whoever was erased meanwhile must not come back by it.
    """
    await chain.lock(connection)
    asked = select(question.c.id).where(question.c.id == one.question["id"])
    if (await connection.execute(asked)).first() is None:
        return None
    return await asking.append(connection, keyring, one.address, WAY, one.question["id"], notice, one.at)
