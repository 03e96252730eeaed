"""The account: what was handed in, what the clients heard of it, what arrived, and what does not add up.

Counted are deliveries, one per message and recipient. A recipient is *accepted* when a client heard 250 to RCPT and to
the message. An attempt is *unheard* when its final dot was sent and nobody said what became of it: no reply at all, or
that the upstream gave none (451 4.4.2). Only then may a message arrive once more.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.upstream import Copy

DID_NOT_CONFIRM = "it may have the message"


@dataclass(frozen=True)
class Letter:
    """A message to be handed in."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def sha(self) -> str:
        """The hash of its bytes."""
        return hashlib.sha256(self.content).hexdigest()


def letter(id_: str, sender: str, recipients: tuple[str, ...], size: int = 0) -> Letter:
    """Return a message of HTML with a link; from ``size`` bytes on mostly an attachment."""
    head = (
        f"From: {sender}\r\nTo: {', '.join(recipients)}\r\nSubject: {id_}\r\nX-Account: {id_}\r\n"
        "Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n"
    )
    html = 'Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>Hello, here is\r\n<a href="https://'
    html += 'customer.test/offer?a=1&amp;b=2">our offer</a>.\r\n.a line that begins with a dot\r\n</body></html>\r\n'
    if not size:
        return Letter(id_, sender, recipients, (head + html).encode())
    line = "QUJD" * 19 + "\r\n"
    attached = f"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{line * (size // 78)}"
    mixed = f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{html}{attached}--b--\r\n"
    return Letter(id_, sender, recipients, (head + mixed).encode())


@dataclass(frozen=True)
class Attempt:
    """One try to hand a message in, as the client saw it."""

    reply: str
    """The reply to the message, or what ended the try before that; empty where nothing was heard."""
    accepted: tuple[str, ...] = ()
    """The recipients whose RCPT got 250."""
    refused: tuple[str, ...] = ()
    """Those whose RCPT got 5xx."""
    dot: bool = False
    """All of the message was sent."""
    cut: bool = False
    """The connection was lost, without a word, after a recipient had been accepted."""
    seconds: float = 0.0
    """From the final dot to the reply."""

    @property
    def taken(self) -> bool:
        """Tell whether the message was acknowledged."""
        return self.dot and self.reply.startswith("2")

    @property
    def unheard(self) -> bool:
        """Tell whether it may have arrived although nobody said so."""
        return self.dot and (not self.reply or DID_NOT_CONFIRM in self.reply)


@dataclass
class Row:
    """One line of the table."""

    name: str
    sent: int = 0
    accepted: int = 0
    refused: int = 0
    delivered: int = 0
    doubled: int = 0
    unexplained: int = 0
    """Arrived once more although every attempt had been answered."""
    lost: int = 0
    """Acknowledged, and not there."""
    altered: int = 0
    """Arrived, untracked, with other bytes than were handed in."""
    tries: int = 0
    cut: int = 0
    slowest: float = 0.0
    """The longest time from a final dot to its reply, in seconds."""
    wrong: list[str] = field(default_factory=list)
    """What else did not hold."""
    skipped: str = ""
    """Why it could not be done here."""

    @property
    def right(self) -> bool:
        """Tell whether everything that must hold did: nothing lost, altered, left over or doubled without a reason."""
        adds_up = self.sent == self.accepted + self.refused
        return adds_up and not (self.lost or self.altered or self.unexplained or self.wrong)


class Account:
    """Everything that the clients of one scenario did and heard."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.letters: dict[str, Letter] = {}
        self.attempts: dict[str, list[Attempt]] = {}

    def add(self, sent: Letter, attempt: Attempt) -> None:
        """Put an attempt on the account."""
        self.letters[sent.id] = sent
        self.attempts.setdefault(sent.id, []).append(attempt)

    def row(self, record: Iterable[Copy], wrong: Iterable[str] = ()) -> Row:
        """Return what became of everything, by what the upstream has on record."""
        copies: Counter[tuple[str, str]] = Counter()
        row = Row(self.name, wrong=list(wrong))
        for one in record:
            if one["id"] in self.letters:
                copies.update((one["id"], recipient) for recipient in one["to"])
                row.altered += not one["tracked"] and one["sha"] != self.letters[one["id"]].sha
        for sent in self.letters.values():
            for recipient in sent.recipients:
                self._count(row, sent.id, recipient, copies[sent.id, recipient])
        attempts = [one for several in self.attempts.values() for one in several]
        row.tries, row.cut = len(attempts), sum(one.cut for one in attempts)
        row.slowest = max((one.seconds for one in attempts), default=0.0)
        return row

    def _count(self, row: Row, id_: str, recipient: str, copies: int) -> None:
        attempts = self.attempts[id_]
        accepted = sum(one.taken and recipient in one.accepted for one in attempts)
        unheard = sum(one.unheard and recipient in one.accepted for one in attempts)
        row.sent += 1
        row.accepted += bool(accepted)
        row.refused += not accepted and any(
            recipient in one.refused or (one.reply.startswith("5") and recipient in one.accepted) for one in attempts
        )
        row.delivered += copies > 0
        row.doubled += max(0, copies - 1)
        row.unexplained += max(0, copies - accepted - unheard)
        row.lost += accepted > 0 and copies == 0
