"""Explaining and trying: the relay's own way of deciding and rewriting, without sending or recording anything."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from aboveboard import compose
from aboveboard.config import Config
from ledger.database import Place
from ledger.errors import LedgerError
from ledger.keys import Keyring
from ledger.reader import NOT_KNOWN, Known
from ledger.tokens import Marks, new_message_id
from policies.consent import Assurance, Consent, ConsentEvent, Standing, State
from policies.envelope import Envelope
from policies.words import Purpose
from proxy.relay import Examination, LookUp, examine, rewrite
from proxy.rewrite import Outgoing


async def _try(config: Config, raw: bytes, envelope: Envelope, look_up: LookUp) -> tuple[Examination, Outgoing]:
    """Decide and rewrite as the relay would, with tokens that are thrown away; the key file knows old ones."""
    conduct = compose.conduct(config, _keyring(config))
    examined = await examine(conduct, raw, envelope, look_up)
    marks = Marks(Keyring.throwaway(), conduct.public_url, new_message_id(), envelope.rcpt_to[0])
    return rewrite(conduct, examined, marks)


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

    _, outgoing = await _try(config, raw, envelope, look_up)
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
    examined, outgoing = await _try(config, raw, envelope, _look_up_in_ledger(config))
    decision = examined.decision
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
        "policy_version": decision.policy_version,
        "consent": list(decision.consent_events),
        "changes": [{"what": change.what, "count": change.count} for change in outgoing.changes],
        "refused": decision.refused,
        "foreign": [asdict(one) for one in outgoing.found],
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
            return await ledger.look_up(recipient, sender)

    return look_up


def as_text(answer: dict[str, Any]) -> str:
    """Return an explanation for a person to read."""
    lines = [f"class: {answer['class']}"]
    lines += [f"  because of {signal['signal']} ({signal['class']})" for signal in answer["signals"]]
    lines += [f"{purpose}: {'on' if answer[purpose] else 'off'} ({answer['reasons'][purpose]})" for purpose in Purpose]
    protected = f" ({answer['detail_of_protection']})" if answer["detail_of_protection"] else ""
    lines.append(f"reason: {answer['reason']}{protected}")
    lines += [f"rule: {name}" for name in answer["rules"]]
    lines += [f"consent event: {name}" for name in answer["consent"]]
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
    lines.append(f"policy version: {answer['policy_version']}")
    return "\n".join(lines)
