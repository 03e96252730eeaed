"""Explaining and trying: the relay's own way of deciding and rewriting, without sending or recording anything."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from aboveboard import compose, relaying
from aboveboard.settings import Config
from ledger import inviting
from ledger.database import Place
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.reader import NOT_KNOWN, Known
from ledger.tokens import Marks, new_message_id
from policies.consent import Assurance, Consent, ConsentEvent, Standing, State
from policies.envelope import Envelope
from policies.lowering import lowerings
from policies.sentence import sentence
from policies.words import Purpose
from proxy.inviting import with_invitation
from proxy.relay import Conduct, Examination, LookUp, examine, rewrite
from proxy.rewrite import Outgoing

PATIENCE = 10.0
"""Seconds to wait for the ledger: whoever asks why can wait longer than a message."""


class NoSuchListener(Exception):
    """The configuration has no such listener; says which there are."""


def envelope_of(config: Config, mail_from: str, rcpt: tuple[str, ...], listener: str, client: str) -> Envelope:
    """Return the envelope of a message that came in by a listener from a client; empty where that is not said.

    Raises NoSuchListener.
    """
    listeners = {one.address: one.message_class == "automated" for one in config.relay.listener}
    if listener and listener not in listeners:
        raise NoSuchListener(f"--listener: there is no {listener} in the file, only {', '.join(listeners)}.")
    return Envelope(mail_from, rcpt, automated=listeners.get(listener, False), listener=listener, client=client)


async def _try(conduct: Conduct, raw: bytes, envelope: Envelope, look_up: LookUp) -> tuple[Examination, Outgoing]:
    """Decide and rewrite as the relay would, with tokens that are thrown away; the key file knows old ones."""
    examined = await examine(conduct, raw, envelope, look_up)
    thrown_away, address = Keyring.throwaway(), envelope.rcpt_to[0]
    examined, outgoing = rewrite(conduct, examined, Marks(thrown_away, conduct.public_url, new_message_id(), address))
    if examined.decision.ask == "footer":
        one = inviting.prepare(thrown_away, address, conduct.footer.language, conduct.public_url, examined.now)
        outgoing = with_invitation(examined.message, examined.decision, conduct.footer, one.url) or outgoing
    return examined, outgoing


def _keyring(config: Config) -> Keyring:
    """Return the installation's keyring; where there is none, no mark can be one of ours."""
    try:
        return Keyring.load(config.ledger.key_file)
    except LedgerError:
        return Keyring.throwaway()


async def rewrite_message(config: Config, raw: bytes, envelope: Envelope, assumed: frozenset[Purpose]) -> bytes:
    """Return the outgoing bytes, with the assumed purposes taken as granted. Needs no ledger and no key."""

    async def look_up(*_: str) -> Known:
        return Known(assumed_consent(assumed))

    _, outgoing = await _try(relaying.conduct(config, _keyring(config)), raw, envelope, look_up)
    return outgoing.raw


def assumed_consent(purposes: frozenset[Purpose]) -> Consent:
    """Return a consent that grants the purposes, as if it had just been given."""
    now = datetime.now(UTC)
    return Consent(
        {
            purpose: Standing(
                ConsentEvent(
                    "assumed", 0, purpose, State.GRANTED, Assurance.ASSERTED, now, now + timedelta(days=1), exact=True
                )
            )
            for purpose in purposes
        }
    )


async def explain_message(config: Config, raw: bytes, envelope: Envelope) -> dict[str, Any]:
    """Return what would be done with a message and why, in the product's words (DESIGN.md §3)."""
    conduct = relaying.conduct(config, _keyring(config))
    examined, outgoing = await _try(conduct, raw, envelope, _look_up_in_ledger(config))
    decision = examined.decision
    # What is refused does not go on, so nothing in it is changed.
    changes = outgoing.changes if decision.refusal is None else ()
    return {
        "class": decision.message_class.value,
        **{purpose.value: decision.allows(purpose) for purpose in Purpose},
        "reason": decision.reason.value,
        "detail_of_protection": decision.detail.value if decision.detail else None,
        "reasons": {purpose.value: reason.value for purpose, reason in decision.reasons.items()},
        "signals": [
            {"class": signal.message_class.value, "signal": signal.name} for signal in examined.classification.signals
        ],
        "rules": list(decision.rules),
        "lowered": [asdict(one) for one in lowerings(conduct.policy, decision)],
        "refusal": decision.refusal,
        "policy_version": decision.policy_version,
        "consent": list(decision.consent_events),
        "consent_events": [_event(one) for one in _relied_on(examined)],
        "changes": [{"what": change.what, "count": change.count} for change in changes],
        "refused": decision.refused,
        "foreign": [asdict(one) for one in outgoing.found],
        "sentence": sentence(decision.reason, decision.reasons),
    }


def _relied_on(examined: Examination) -> list[ConsentEvent]:
    """Return the consent events that the decision relied on, in its order."""
    standings = (examined.consent.on(purpose).event for purpose in Purpose)
    events = {event.id: event for event in standings if event is not None}
    return [events[name] for name in examined.decision.consent_events]


def _event(event: ConsentEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "purpose": event.purpose.value,
        "state": event.state.value,
        "at": event.at.isoformat(),
        "valid_until": event.valid_until.isoformat() if event.valid_until is not None else None,
        "domain": event.domain,
    }


def _look_up_in_ledger(config: Config) -> LookUp:
    async def look_up(recipient: str, sender: str) -> Known:
        sqlite = Place(config.ledger.url).sqlite
        if sqlite is not None and not sqlite.exists() and not config.ledger.key_file.exists():
            # Nothing has ever been recorded here, so nobody has agreed; looking must not make a ledger.
            return Known(Consent())
        try:
            keyring = Keyring.load(config.ledger.key_file)
        except LedgerError:
            return NOT_KNOWN
        async with compose.ledger(config, keyring) as ledger:
            return await ledger.look_up(recipient, sender, PATIENCE)

    return look_up


def as_text(answer: dict[str, Any]) -> str:
    """Return an explanation for an administrator to read."""
    lines = [f"class: {answer['class']}"]
    lines += [f"  because of {signal['signal']} ({signal['class']})" for signal in answer["signals"]]
    lines += [f"{purpose}: {'on' if answer[purpose] else 'off'} ({answer['reasons'][purpose]})" for purpose in Purpose]
    protected = f" ({answer['detail_of_protection']})" if answer["detail_of_protection"] else ""
    lines.append(f"reason: {answer['reason']}{protected}")
    lines += [f"rule: {one['rule']}: {_taken_away(one)}" for one in answer["lowered"]]
    lines += [_consent_line(event) for event in answer["consent_events"]]
    if answer["refusal"] is not None:
        lines.append(f"refused: 550 5.7.1 {answer['refusal']}")
    lines += [f"change: {change['what']} ×{change['count']}" for change in answer["changes"]]
    for one in answer["foreign"]:
        whose = one["vendor"] or "unknown"
        lines.append(
            f"tracker: {one['action']}, {whose} ({one['scope']}, {one['surface']}, tier {one['tier']}) ×{one['count']}"
        )
    if answer["refused"]:
        lines.append("change: none, the message is refused")
    elif not answer["changes"]:
        lines.append("change: none, the message goes on as it came")
    lines.append(f"the sender reads: {answer['sentence']}")
    lines.append(f"policy version: {answer['policy_version']}")
    return "\n".join(lines)


def _taken_away(lowered: dict[str, Any]) -> str:
    """Return what a rule took away, as the file says it."""
    said = [f"{key} = {value}" for key, value in lowered.items() if key != "rule" and value is not None]
    return ", ".join(said) or "nothing that was not so already"


def _consent_line(event: dict[str, Any]) -> str:
    until = f", until {event['valid_until'][:10]}" if event["valid_until"] else ""
    whose = " by the whole domain" if event["domain"] else ""
    return f"consent: {event['purpose']} {event['state']}{whose} on {event['at'][:10]}{until} (event {event['id']})"
