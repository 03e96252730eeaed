"""What happens to a message between the client's final dot and the upstream's: examined, decided, rewritten, recorded.

Never lose, never alter: whatever goes wrong on the way, the original bytes go on, untracked, with a reason.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Histogram

from ledger.decisions import DecidedMessage
from ledger.inviting import Invitation
from ledger.ledger import Ledger
from ledger.merge import Arrival
from ledger.reader import Known
from ledger.senders import Saved
from ledger.tally import Tally
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
from policies.address import canonical, domain_of
from policies.fingerprint import Fingerprint, fingerprint
from policies.tracker import OWN_VENDOR, FoundTracker
from policies.wish import NOTHING
from policies.words import ForeignTracking, Purpose
from proxy.footer import Footer
from proxy.header import TooLarge, Unparsable
from proxy.inviting import Way, invite, margin
from proxy.letter import letter
from proxy.message import Message, Reading, reading_message
from proxy.reply import Reply, ReplyError, reply
from proxy.report import finding_refused, refusal, vendor_names
from proxy.rewrite import Outgoing, tracking, untracked, untracking
from proxy.slices import Walk, at_once, in_slices
from proxy.trace import Marker, loops, received
from proxy.upstream import Connection, OutcomeUnknown
from proxy.wish import CONTROL_HEADER, message_wish, removals_unread, tag_stays, without_tag

MESSAGES = Tally(
    Counter("aboveboard_messages", "Messages passed on, by class and reason.", ["message_class", "reason"])
)
REPLIES = Tally(Counter("aboveboard_upstream_replies", "The upstream's final replies, by class of code.", ["kind"]))
FOREIGN = Tally(
    Counter(
        "aboveboard_foreign_trackers",
        "Trackers found in messages, by vendor, tier and action.",
        ["vendor", "tier", "action"],
    )
)
SECONDS = Histogram("aboveboard_prepare_seconds", "Time from the final dot to the first byte sent upstream.")

log = structlog.get_logger()

LookUp = Callable[[str, str], Awaitable[Known]]
"""Asked with a recipient's and the sender's address."""
RunLookup = Callable[[Fingerprint], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Conduct:
    """How messages are treated: everything that comes from the configuration."""

    policy: Policy
    reading: Reading
    footer: Footer
    public_url: str
    hostname: str
    received: bool = True
    marker: Marker | None = None
    """Put on every message, and known again on those that come back."""


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


async def examine(
    conduct: Conduct, raw: bytes, envelope: Envelope, look_up: LookUp, run_of: RunLookup | None = None
) -> Examination:
    """Return what is decided about a message. The ledger is asked only where there is exactly one recipient.

    Without ``run_of`` the message is looked at by itself, as if nothing like it had been sent.
    """
    message = await in_slices(reading_message(raw, conduct.reading))
    classification = classify(conduct.policy, message.facts, envelope)
    asked = message_wish(message.values(CONTROL_HEADER), message.subject, message.values("sensitivity"))
    if tag_stays(raw, message.fields):
        # A tag that would reach the recipient is no clear wish.
        asked = NOTHING
    now = datetime.now(UTC)
    found = _fingerprint(message, envelope, classification) if run_of is not None else None
    if run_of is None or found is None:
        consent, saved = await _known(envelope, look_up, now)
    else:
        (consent, saved), run = await asyncio.gather(_known(envelope, look_up, now), run_of(found))
        if run is None:
            # Whether it is one of many is not known, so nothing is known of it.
            consent = UNAVAILABLE
        else:
            classification = classify(conduct.policy, message.facts, envelope, run)
    wish = Wish(asked, saved)
    decision = decide(conduct.policy, message.facts, envelope, classification.message_class, wish, consent, now)
    return Examination(message, envelope, classification, wish, consent, decision, now)


def _fingerprint(message: Message, envelope: Envelope, classification: Classification) -> Fingerprint | None:
    """Return what look-alikes of the message are known by; None where it is not individual anyway, or says little."""
    if classification.message_class is not MessageClass.INDIVIDUAL:
        return None
    own = letter(message, [*envelope.rcpt_to, envelope.sender])
    return fingerprint(own) if own is not None else None


async def _known(envelope: Envelope, look_up: LookUp, now: datetime) -> tuple[Consent, Saved | None]:
    """Return where the one recipient stands, in every spelling that the envelope has, and what the sender saved.

    Nothing for several people, who are not tracked whatever is known of them.
    """
    if len(envelope.recipients) != 1:
        return Consent(), None
    first, *others = dict.fromkeys(canonical(address) for address in envelope.rcpt_to)
    if not others:
        known = await look_up(first, envelope.sender)
        return known.consent, known.saved
    # All at once: the ledger's patience is for the message, however many spellings its envelope has.
    several = await asyncio.gather(*(look_up(address, envelope.sender) for address in (first, *others)))
    return least([one.consent for one in several], now), several[-1].saved


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
    return at_once(rewriting(conduct, examined, marks, eight_bit=eight_bit, room=room))


def rewriting(
    conduct: Conduct, examined: Examination, marks: Marks, *, eight_bit: bool = True, room: int | None = None
) -> Walk[tuple[Examination, Outgoing]]:
    """Rewrite as ``rewrite`` does, in steps."""
    if not examined.decision.tracked:
        return examined, (yield from _as_decided(examined))
    try:
        outgoing = yield from tracking(examined.message, examined.decision, marks, conduct.footer, eight_bit=eight_bit)
        if room is not None and outgoing.size > room - margin(room):
            raise TooLarge("the rewritten message")
        if not any(change.what in ("pixel", "link") for change in outgoing.changes):
            raise TooLarge("every link would become too long")
    except Unparsable:
        examined = again(conduct, examined, Reason.UNPARSABLE)
    except TooLarge:
        examined = again(conduct, examined, Reason.TOO_LARGE)
    else:
        return examined, _told(outgoing, examined.decision)
    return examined, (yield from _as_decided(examined))


def _as_decided(examined: Examination) -> Walk[Outgoing]:
    """Walk to an untracked message: without other people's trackers where that is what was decided."""
    if examined.decision.refused:
        return Outgoing(examined.message.raw, found=(yield from finding_refused(examined.message)))
    outgoing = yield from untracking(examined.message, clean=examined.decision.removes_trackers)
    return _told(outgoing, examined.decision)


def _told(outgoing: Outgoing, decision: Decision) -> Outgoing:
    """Return a message with what is told of the trackers in it: nothing where policy keeps other people's."""
    if decision.foreign_tracking is not ForeignTracking.KEEP:
        return outgoing
    return replace(outgoing, found=tuple(one for one in outgoing.found if one.vendor == OWN_VENDOR))


@dataclass(slots=True)
class _Prepared:
    id: str
    envelope: Envelope
    decision: Decision
    subject: str
    content: bytes
    now: datetime
    found: tuple[FoundTracker, ...] = ()
    vendors: tuple[str, ...] = ()
    """Whose tools the message is refused because of."""
    invitation: Invitation | None = None
    """What the message asks its recipient."""


class Relay:
    """Carries messages from the client's final dot to the upstream's answer."""

    def __init__(self, conduct: Conduct, ledger: Ledger) -> None:
        self.conduct = conduct
        """In force for every message whose final dot comes from now on; may be replaced at any time."""
        self._ledger = ledger

    async def deliver(self, raw: bytes, envelope: Envelope, upstream: Connection, protocol: str) -> Reply:
        """Pass a message on and return the upstream's own answer to it, or ours where it gave none."""
        if loops(raw):
            await upstream.reset()
            return reply(554, "5.4.6 The message has been through too many servers; it goes round in a circle")
        # One conduct from here on: another may come into force at any moment, and no message is decided by a mix.
        conduct = self.conduct
        with SECONDS.time():
            prepared = await self._prepare(conduct, raw, envelope, upstream, protocol)
        self._count(prepared.found)
        if prepared.decision.refused:
            # Nothing of it may reach the upstream, which must be ready for another one.
            await upstream.reset()
            return await self._concluded(prepared, refusal(prepared.decision, prepared.vendors), Outcome.REFUSED)
        MESSAGES.count(prepared.decision.message_class, prepared.decision.reason)
        try:
            answer = await upstream.data(prepared.content)
        except OutcomeUnknown as unknown:
            return await self._concluded(prepared, unknown.reply, Outcome.UNKNOWN)
        except ReplyError as lost:
            return await self._concluded(prepared, lost.reply, Outcome.REFUSED)
        return await self._concluded(prepared, answer, Outcome.ACCEPTED if answer.positive else Outcome.REFUSED)

    async def _prepare(
        self, conduct: Conduct, raw: bytes, envelope: Envelope, upstream: Connection, protocol: str
    ) -> _Prepared:
        message_id = new_message_id()
        examined: Examination | None = None
        invitation: Invitation | None = None
        try:
            if conduct.marker is not None and conduct.marker.is_on(raw):
                return await _passed_before(conduct, message_id, raw, envelope, protocol)
            in_front = _in_front(conduct, raw)
            run_of = self._run_lookup(conduct, message_id, envelope)
            examined = await examine(conduct, raw, envelope, self._ledger.look_up, run_of)
            marks = Marks(self._ledger.keyring, conduct.public_url, message_id, envelope.rcpt_to[0])
            capabilities = upstream.capabilities
            final, outgoing = await in_slices(
                rewriting(conduct, examined, marks, eight_bit=capabilities.eight_bit, room=capabilities.size)
            )
            if final.decision.ask == "footer":
                way = Way(self._ledger, conduct.footer, conduct.public_url, capabilities)
                asking, invitation = await invite(way, final.message, final.decision, final.envelope, final.now)
                outgoing = _told(asking, final.decision) if asking is not None else outgoing
            prepared = _Prepared(
                message_id,
                envelope,
                final.decision,
                without_tag(final.message.subject),
                await in_slices(outgoing.putting_behind(_received(conduct, message_id, protocol) + in_front)),
                final.now,
                outgoing.found,
                vendor_names(final.message) if final.decision.refused else (),
                invitation,
            )
            if final.decision.tracked and not await self._ledger.record_decision(_decided(prepared)):
                final = again(conduct, final, Reason.LEDGER_UNAVAILABLE)
                outgoing, another = await in_slices(_as_decided(final)), new_message_id()
                content = await in_slices(outgoing.putting_behind(_received(conduct, another, protocol) + in_front))
                prepared = replace(prepared, decision=final.decision, content=content, id=another, found=outgoing.found)
        except Exception:
            # Whatever it was, the mail must not suffer: the original bytes go, and nothing is claimed of them.
            log.exception("relay.prepare_failed", message=message_id)
            if invitation is not None:
                self._ledger.not_invited(invitation)
            return _as_it_came(conduct, message_id, raw, envelope, examined, _received(conduct, message_id, protocol))
        return prepared

    def _run_lookup(self, conduct: Conduct, message_id: str, envelope: Envelope) -> RunLookup | None:
        """Return how to put a message into the merge window and hear of its run; None where nothing is to be counted.

        Of mail that only passes through, which is never tracked, no fingerprint is kept.
        """
        window = conduct.policy.model.merge_window
        if window == "off" or domain_of(envelope.sender) not in conduct.policy.domains:
            return None

        async def run_of(found: Fingerprint) -> int | None:
            now = datetime.now(UTC)
            arrival = Arrival(message_id, envelope.sender, envelope.rcpt_to[0], found, now, window)
            return await self._ledger.run_of(arrival)

        return run_of

    @staticmethod
    def _count(found: Sequence[FoundTracker]) -> None:
        for one in found:
            FOREIGN.count(one.vendor or "unknown", one.tier, one.action, amount=one.count)

    async def _concluded(self, prepared: _Prepared, answer: Reply, outcome: Outcome) -> Reply:
        """Return the answer, once it is on record. Whatever goes wrong there, what the upstream said is what counts."""
        try:
            await self._record(prepared, answer, outcome)
        except Exception:
            # To say anything else now would have the client send once more what has arrived.
            log.exception("relay.not_recorded", message=prepared.id)
        return answer

    async def _record(self, prepared: _Prepared, answer: Reply, outcome: Outcome) -> None:
        """Record how it ended: with the next commit for a tracked message, before the answer for an untracked one."""
        if not prepared.decision.refused:
            REPLIES.count(f"{answer.code // 100}xx")
        log.info(
            "relay.message",
            message=prepared.id,
            message_class=prepared.decision.message_class,
            reason=prepared.decision.reason,
            outcome=outcome,
            code=answer.code,
        )
        if prepared.invitation is not None:
            # Refused, it asked nobody; fallen silent upon, it may have.
            asked = self._ledger.not_invited if outcome is Outcome.REFUSED else self._ledger.invited
            asked(prepared.invitation)
        if prepared.decision.tracked:
            self._ledger.record_outcome(prepared.id, outcome)
        elif prepared.decision.reason is not Reason.LEDGER_UNAVAILABLE:
            await self._ledger.record_decision(_decided(prepared, outcome))


def _as_it_came(
    conduct: Conduct,
    message_id: str,
    raw: bytes,
    envelope: Envelope,
    examined: Examination | None,
    received: bytes,
) -> _Prepared:
    """Return the message as it came, without our control header where that can be taken out safely."""
    content, message_class = None, MessageClass.GROUP
    if examined is not None:
        try:
            content = untracked(examined.message).behind(received)
            message_class = examined.classification.message_class
        except Exception:
            log.exception("relay.control_header_kept", message=message_id)
    if content is None:
        content = Outgoing(raw, tuple(removals_unread(raw))).behind(received)
    decision = Decision(message_class, Reason.ERROR, dict.fromkeys(Purpose, Reason.ERROR), conduct.policy.version)
    return _Prepared(message_id, envelope, decision, "", content, datetime.now(UTC))


async def _passed_before(conduct: Conduct, message_id: str, raw: bytes, envelope: Envelope, protocol: str) -> _Prepared:
    """Return a message that has been through us already, and goes on as it is: everything was done the first time."""
    message = await in_slices(reading_message(raw, conduct.reading))
    message_class = classify(conduct.policy, message.facts, envelope).message_class
    off = Reason.MESSAGE_OFF
    decision = Decision(message_class, off, dict.fromkeys(Purpose, off), conduct.policy.version)
    content = Outgoing(raw).behind(_received(conduct, message_id, protocol))
    return _Prepared(message_id, envelope, decision, "", content, datetime.now(UTC))


def _received(conduct: Conduct, message_id: str, protocol: str) -> bytes:
    return received(conduct.hostname, message_id, protocol) if conduct.received else b""


def _in_front(conduct: Conduct, raw: bytes) -> bytes:
    return conduct.marker.line(raw) if conduct.marker is not None else b""


def _decided(prepared: _Prepared, outcome: Outcome = Outcome.PENDING) -> DecidedMessage:
    return DecidedMessage(
        prepared.id, prepared.decision, prepared.envelope, prepared.subject, prepared.now, outcome, prepared.found
    )
