"""What happens to a message between the client's final dot and the upstream's: examined, decided, rewritten, recorded.

Never lose, never alter: whatever goes wrong on the way, the original bytes go on, untracked, with a reason.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime

import structlog
from prometheus_client import Counter, Histogram

from ledger.decisions import DecidedMessage
from ledger.ledger import Ledger
from ledger.tokens import Marks, new_message_id
from policies import (
    UNAVAILABLE,
    Classification,
    Consent,
    Decision,
    Envelope,
    MessageClass,
    Outcome,
    Policy,
    Reason,
    Wish,
    classify,
    decide,
    least,
)
from policies.address import canonical
from policies.wish import NOTHING
from policies.words import Purpose
from proxy.footer import Footer
from proxy.header import TooLarge, Unparsable
from proxy.message import Message, Reading, read_message
from proxy.reply import Reply, ReplyError, reply
from proxy.rewrite import Outgoing, tracked, untracked
from proxy.transfer import splice
from proxy.upstream import Connection, OutcomeUnknown
from proxy.wish import CONTROL_HEADER, message_wish, removals_unread, tag_stays, without_tag

MAX_RECEIVED = 50
"""More Received fields than this are a loop (RFC 5321 §6.3). Mail at submission has made a few hops at most."""

MESSAGES = Counter("aboveboard_messages", "Messages passed on, by class and reason.", ["message_class", "reason"])
REPLIES = Counter("aboveboard_upstream_replies", "The upstream's final replies, by class of code.", ["kind"])
SECONDS = Histogram("aboveboard_prepare_seconds", "Time from the final dot to the first byte sent upstream.")

log = structlog.get_logger()

ConsentLookup = Callable[[str], Awaitable[Consent]]


@dataclass(frozen=True, slots=True)
class Conduct:
    """How messages are treated: everything that comes from the configuration."""

    policy: Policy
    reading: Reading
    footer: Footer
    public_url: str
    hostname: str
    received: bool = True


@dataclass(frozen=True, slots=True)
class Examination:
    """A message and everything that was concluded about it."""

    message: Message
    envelope: Envelope
    classification: Classification
    wish: Wish
    consent: Consent
    decision: Decision
    now: datetime


async def examine(conduct: Conduct, raw: bytes, envelope: Envelope, consent_of: ConsentLookup) -> Examination:
    """Return what is decided about a message. Consent is looked up only where there is exactly one recipient."""
    message = read_message(raw, conduct.reading)
    classification = classify(conduct.policy, message.facts, envelope)
    wish = Wish(message_wish(message.values(CONTROL_HEADER), message.subject, message.values("sensitivity")))
    if tag_stays(raw, message.fields):
        # A tag that would reach the recipient is no clear wish.
        wish = Wish(NOTHING)
    now = datetime.now(UTC)
    consent = await _consent(envelope, consent_of, now)
    decision = decide(conduct.policy, message.facts, envelope, classification.message_class, wish, consent, now)
    return Examination(message, envelope, classification, wish, consent, decision, now)


async def _consent(envelope: Envelope, consent_of: ConsentLookup, now: datetime) -> Consent:
    """Return where the one recipient stands, in every spelling that the envelope has; nothing for several people."""
    if len(envelope.recipients) != 1:
        return Consent()
    spellings = dict.fromkeys(canonical(address) for address in envelope.rcpt_to)
    return least([await consent_of(address) for address in spellings], now)


def again(conduct: Conduct, examined: Examination, problem: Reason) -> Examination:
    """Return the examination decided anew, with a problem that came up after the first decision."""
    facts, consent = examined.message.facts, examined.consent
    if problem is Reason.LEDGER_UNAVAILABLE:
        consent = UNAVAILABLE
    else:
        facts = replace(facts, problem=problem)
    message_class = examined.classification.message_class
    decision = decide(conduct.policy, facts, examined.envelope, message_class, examined.wish, consent, examined.now)
    return replace(examined, decision=decision)


def rewrite(
    conduct: Conduct, examined: Examination, marks: Marks, *, eight_bit: bool = True, room: int | None = None
) -> tuple[Examination, Outgoing]:
    """Return what goes on, and the examination it goes by, which changes where rewriting turns out not to be possible.

    ``room`` is the largest message the upstream takes, in bytes, by its own word.
    """
    if not examined.decision.tracked:
        return examined, untracked(examined.message)
    try:
        outgoing = tracked(examined.message, examined.decision, marks, conduct.footer, eight_bit=eight_bit)
        if room is not None and len(outgoing.raw) > room - _margin(room):
            raise TooLarge("the rewritten message")
        if not any(change.what in ("pixel", "link") for change in outgoing.changes):
            raise TooLarge("every link would become too long")
    except Unparsable:
        return again(conduct, examined, Reason.UNPARSABLE), untracked(examined.message)
    except TooLarge:
        return again(conduct, examined, Reason.TOO_LARGE), untracked(examined.message)
    return examined, outgoing


def _margin(room: int) -> int:
    """Return how far below its limit the upstream must be left: it counts trace fields and its own records too.

    Postfix's ``message_size_limit`` is on its queue file, a byte or two longer per line than the message.
    """
    return 4_096 + room // 50


@dataclass(frozen=True, slots=True)
class _Prepared:
    id: str
    envelope: Envelope
    decision: Decision
    subject: str
    content: bytes
    now: datetime


class Relay:
    """Carries messages from the client's final dot to the upstream's answer."""

    def __init__(self, conduct: Conduct, ledger: Ledger) -> None:
        self.conduct = conduct
        self._ledger = ledger

    async def deliver(self, raw: bytes, envelope: Envelope, upstream: Connection, protocol: str) -> Reply:
        """Pass a message on and return the upstream's own answer to it, or ours where it gave none."""
        if _loops(raw):
            return reply(554, "5.4.6 The message has been through too many servers; it goes round in a circle")
        with SECONDS.time():
            prepared = await self._prepare(raw, envelope, upstream)
        MESSAGES.labels(prepared.decision.message_class, prepared.decision.reason).inc()
        content = self._received(prepared.id, protocol) + prepared.content
        try:
            answer = await upstream.data(content)
        except OutcomeUnknown as unknown:
            return await self._concluded(prepared, unknown.reply, Outcome.UNKNOWN)
        except ReplyError as lost:
            return await self._concluded(prepared, lost.reply, Outcome.REFUSED)
        return await self._concluded(prepared, answer, Outcome.ACCEPTED if answer.positive else Outcome.REFUSED)

    async def _prepare(self, raw: bytes, envelope: Envelope, upstream: Connection) -> _Prepared:
        message_id = new_message_id()
        examined: Examination | None = None
        try:
            examined = await examine(self.conduct, raw, envelope, self._ledger.consent_of)
            marks = Marks(self._ledger.keyring, self.conduct.public_url, message_id, envelope.rcpt_to[0])
            capabilities = upstream.capabilities
            examined, outgoing = rewrite(
                self.conduct, examined, marks, eight_bit=capabilities.eight_bit, room=capabilities.size
            )
            prepared = _Prepared(
                message_id,
                envelope,
                examined.decision,
                without_tag(examined.message.subject),
                outgoing.raw,
                examined.now,
            )
            if examined.decision.tracked and not await self._ledger.record_decision(_decided(prepared)):
                examined = again(self.conduct, examined, Reason.LEDGER_UNAVAILABLE)
                prepared = replace(
                    prepared, decision=examined.decision, content=untracked(examined.message).raw, id=new_message_id()
                )
        except Exception:
            # Whatever it was, the mail must not suffer: the original bytes go, and nothing is claimed of them.
            log.exception("relay.prepare_failed", message=message_id)
            return self._as_it_came(message_id, raw, envelope, examined)
        return prepared

    def _as_it_came(self, message_id: str, raw: bytes, envelope: Envelope, examined: Examination | None) -> _Prepared:
        """Return the message as it came, without our control header where that can be taken out safely."""
        content, subject = splice(raw, removals_unread(raw)), ""
        message_class = MessageClass.GROUP
        if examined is not None:
            try:
                content, message_class = untracked(examined.message).raw, examined.classification.message_class
            except Exception:
                log.exception("relay.control_header_kept", message=message_id)
        decision = Decision(
            message_class, Reason.ERROR, dict.fromkeys(Purpose, Reason.ERROR), self.conduct.policy.version
        )
        return _Prepared(message_id, envelope, decision, subject, content, datetime.now(UTC))

    def _received(self, message_id: str, protocol: str) -> bytes:
        """Return our trace field (RFC 5321 §4.4), on one line. It never names the client."""
        if not self.conduct.received:
            return b""
        now = format_datetime(datetime.now(UTC))
        return f"Received: by {self.conduct.hostname} with {protocol} id {message_id}; {now}\r\n".encode("ascii")

    async def _concluded(self, prepared: _Prepared, answer: Reply, outcome: Outcome) -> Reply:
        """Record how it ended: with the next commit for a tracked message, before the answer for an untracked one."""
        REPLIES.labels(f"{answer.code // 100}xx").inc()
        log.info(
            "relay.message",
            message=prepared.id,
            message_class=prepared.decision.message_class,
            reason=prepared.decision.reason,
            outcome=outcome,
            code=answer.code,
        )
        if prepared.decision.tracked:
            self._ledger.record_outcome(prepared.id, outcome)
        elif prepared.decision.reason is not Reason.LEDGER_UNAVAILABLE:
            await self._ledger.record_decision(_decided(prepared, outcome))
        return answer


def _decided(prepared: _Prepared, outcome: Outcome = Outcome.PENDING) -> DecidedMessage:
    return DecidedMessage(prepared.id, prepared.decision, prepared.envelope, prepared.subject, prepared.now, outcome)


def _loops(raw: bytes) -> bool:
    """Tell whether the message has more trace fields than any honest way makes."""
    end = raw.find(b"\r\n\r\n")
    header = raw[: end if end != -1 else len(raw)].lower()
    return header.count(b"\nreceived:") + header.startswith(b"received:") > MAX_RECEIVED
