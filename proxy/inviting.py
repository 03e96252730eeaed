"""Inviting: the question to its recipient below a message that is not tracked, where policy has it ask."""

from dataclasses import dataclass
from datetime import datetime

from ledger import inviting
from ledger.ledger import Ledger
from policies.decide import Decision
from policies.envelope import Envelope
from proxy.footer import Footer
from proxy.header import TooLarge, Unparsable
from proxy.message import Message
from proxy.rewrite import Invitation, Outgoing, untracking
from proxy.route import Capabilities
from proxy.slices import Walk, at_once, in_slices


@dataclass(frozen=True, slots=True)
class Way:
    """What an invitation needs on its way: where it is put on record, what it says, and what the upstream takes."""

    ledger: Ledger
    footer: Footer
    public_url: str
    upstream: Capabilities


async def invite(
    way: Way, message: Message, decision: Decision, envelope: Envelope, now: datetime
) -> tuple[Outgoing | None, inviting.Invitation | None]:
    """Return the message with a question to its one recipient, and the question, which is on record.

    Nothing where it cannot be put in, or where the person is being asked by another message.
    """
    one = inviting.prepare(way.ledger.keyring, envelope.rcpt_to[0], way.footer.language, way.public_url, now)
    can = way.upstream
    asking = await in_slices(putting_in(message, decision, way.footer, one.url, eight_bit=can.eight_bit, room=can.size))
    return (asking, one) if asking is not None and await way.ledger.invite(one) else (None, None)


def with_invitation(
    message: Message,
    decision: Decision,
    footer: Footer,
    url: str,
    *,
    eight_bit: bool = True,
    room: int | None = None,
) -> Outgoing | None:
    """Return an untracked message with the question to say yes or no at ``url``; None where it cannot be put in.

    ``room`` is the largest message the upstream takes, in bytes.
    """
    return at_once(putting_in(message, decision, footer, url, eight_bit=eight_bit, room=room))


def putting_in(
    message: Message, decision: Decision, footer: Footer, url: str, *, eight_bit: bool, room: int | None
) -> Walk[Outgoing | None]:
    """Walk to the message with the question in it as ``with_invitation`` does, in steps."""
    invitation = Invitation(decision, footer, url, eight_bit)
    try:
        outgoing = yield from untracking(message, clean=decision.removes_trackers, invitation=invitation)
    except (Unparsable, TooLarge, ValueError):
        return None
    return outgoing if room is None or outgoing.size <= room - margin(room) else None


def margin(room: int) -> int:
    """Return how far below its limit the upstream must be left: it counts trace fields and its own records too.

    Postfix's ``message_size_limit`` is on its queue file, a byte or two longer per line than the message.
    """
    return 4_096 + room // 50
