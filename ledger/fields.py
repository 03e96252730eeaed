"""Fields: what every column of the ledger is to a person, and what people are told is stored about them.

Every column of the schema has its mark here; a test fails on one that has none. What a notice lists as stored is made
from this table, so that the list and the truth cannot part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.footer import Language
from policies.words import Purpose


class Mark(StrEnum):
    """What a column is to the person whom a row is about."""

    PERSONAL = "personal"
    """Says something of a person in itself; sealed, and deleted by an erasure."""
    KEYED = "keyed"
    """A keyed hash, or an id that leads to a row that has one: tells nothing without the key file."""
    ABOUT = "about"
    """What happened to, or was said by, the person behind a keyed hash."""
    HARMLESS = "harmless"
    """Nothing about a recipient."""


MARKS: dict[str, Mark] = {
    "meta.name": Mark.HARMLESS,
    "meta.value": Mark.HARMLESS,
    "chain_head.id": Mark.HARMLESS,
    "chain_head.sequence": Mark.HARMLESS,
    "chain_head.row_hash": Mark.KEYED,
    "chain_checkpoint.sequence": Mark.HARMLESS,
    "chain_checkpoint.row_hash": Mark.KEYED,
    "chain_checkpoint.cut_at": Mark.HARMLESS,
    "chain_checkpoint.kept": Mark.HARMLESS,
    "chain_checkpoint.kept_digest": Mark.KEYED,
    "chain_checkpoint.signature": Mark.KEYED,
    "consent_event.sequence": Mark.HARMLESS,
    "consent_event.id": Mark.KEYED,
    "consent_event.schema_version": Mark.HARMLESS,
    "consent_event.exact_hash": Mark.KEYED,
    "consent_event.folded_hash": Mark.KEYED,
    "consent_event.purpose": Mark.ABOUT,
    "consent_event.state": Mark.ABOUT,
    "consent_event.event_time": Mark.ABOUT,
    "consent_event.recorded_at": Mark.ABOUT,
    "consent_event.actor_kind": Mark.ABOUT,
    "consent_event.method": Mark.ABOUT,
    "consent_event.expression": Mark.HARMLESS,
    "consent_event.notice_id": Mark.HARMLESS,
    "consent_event.language": Mark.ABOUT,
    "consent_event.assurance": Mark.ABOUT,
    "consent_event.legal_basis": Mark.HARMLESS,
    "consent_event.valid_until": Mark.ABOUT,
    "consent_event.withdrawal": Mark.HARMLESS,
    "consent_event.collection_point": Mark.ABOUT,
    "consent_event.batch": Mark.KEYED,
    "consent_event.request": Mark.KEYED,
    "consent_event.personal_hash": Mark.KEYED,
    "consent_event.previous_hash": Mark.KEYED,
    "consent_event.row_hash": Mark.KEYED,
    "consent_personal.sequence": Mark.HARMLESS,
    "consent_personal.sealed": Mark.PERSONAL,
    "notice.id": Mark.HARMLESS,
    "notice.language": Mark.HARMLESS,
    "notice.body": Mark.HARMLESS,
    "notice.created_at": Mark.HARMLESS,
    "notice.version": Mark.HARMLESS,
    "notice.created_by": Mark.HARMLESS,
    "import_batch.id": Mark.KEYED,
    "import_batch.collection_point": Mark.HARMLESS,
    "import_batch.imported_at": Mark.HARMLESS,
    "import_batch.imported_by": Mark.HARMLESS,
    "import_batch.rows": Mark.HARMLESS,
    "import_batch.suspended_at": Mark.HARMLESS,
    "mailbox_link.id": Mark.KEYED,
    "mailbox_link.kind": Mark.ABOUT,
    "mailbox_link.folded_hash": Mark.KEYED,
    "mailbox_link.created_at": Mark.ABOUT,
    "mailbox_link.expires_at": Mark.ABOUT,
    "mailbox_link.used_at": Mark.ABOUT,
    "mailbox_link.sealed": Mark.PERSONAL,
    "question.id": Mark.KEYED,
    "question.folded_hash": Mark.KEYED,
    "question.asked_at": Mark.ABOUT,
    "question.way": Mark.ABOUT,
    "outbox.id": Mark.KEYED,
    "outbox.kind": Mark.ABOUT,
    "outbox.folded_hash": Mark.KEYED,
    "outbox.created_at": Mark.ABOUT,
    "outbox.due_at": Mark.HARMLESS,
    "outbox.attempts": Mark.HARMLESS,
    "outbox.state": Mark.HARMLESS,
    "outbox.sent_at": Mark.ABOUT,
    "outbox.sealed": Mark.PERSONAL,
    "request_case.number": Mark.KEYED,
    "request_case.kind": Mark.ABOUT,
    "request_case.folded_hash": Mark.KEYED,
    "request_case.opened_at": Mark.ABOUT,
    "request_case.acknowledge_by": Mark.HARMLESS,
    "request_case.acknowledged_at": Mark.HARMLESS,
    "request_case.due_by": Mark.HARMLESS,
    "request_case.extended_at": Mark.HARMLESS,
    "request_case.answered_at": Mark.HARMLESS,
    "request_case.state": Mark.ABOUT,
    "request_case.batch": Mark.KEYED,
    "request_case.sealed": Mark.PERSONAL,
    "message.id": Mark.KEYED,
    "message.decided_at": Mark.ABOUT,
    "message.class": Mark.ABOUT,
    "message.reason": Mark.ABOUT,
    "message.reasons": Mark.ABOUT,
    "message.detail": Mark.HARMLESS,
    "message.rules": Mark.HARMLESS,
    "message.policy_version": Mark.HARMLESS,
    "message.consent_events": Mark.KEYED,
    "message.recipients": Mark.HARMLESS,
    "message.sender_hash": Mark.KEYED,
    "message.exact_hash": Mark.KEYED,
    "message.folded_hash": Mark.KEYED,
    "message.outcome": Mark.HARMLESS,
    "message.sealed": Mark.PERSONAL,
    "hit_count.day": Mark.HARMLESS,
    "hit_count.purpose": Mark.HARMLESS,
    "hit_count.verdict": Mark.HARMLESS,
    "hit_count.count": Mark.HARMLESS,
    "decision_count.day": Mark.HARMLESS,
    "decision_count.class": Mark.HARMLESS,
    "decision_count.reason": Mark.HARMLESS,
    "decision_count.count": Mark.HARMLESS,
    "hit.id": Mark.KEYED,
    "hit.message_id": Mark.KEYED,
    "hit.purpose": Mark.ABOUT,
    "hit.link": Mark.ABOUT,
    "hit.verdict": Mark.ABOUT,
    "hit.first_at": Mark.ABOUT,
    "hit.last_at": Mark.ABOUT,
    "hit.count": Mark.ABOUT,
    "hit.sealed": Mark.PERSONAL,
    # About the sender and their tools; no recipient stands there.
    "foreign_tracker.id": Mark.HARMLESS,
    "foreign_tracker.message_id": Mark.KEYED,
    "foreign_tracker.at": Mark.HARMLESS,
    "foreign_tracker.class": Mark.HARMLESS,
    "foreign_tracker.scope": Mark.HARMLESS,
    "foreign_tracker.vendor": Mark.HARMLESS,
    "foreign_tracker.surface": Mark.HARMLESS,
    "foreign_tracker.tier": Mark.HARMLESS,
    "foreign_tracker.action": Mark.HARMLESS,
    "foreign_tracker.host": Mark.HARMLESS,
    "foreign_tracker.count": Mark.HARMLESS,
    "foreign_tracker.sender_hash": Mark.KEYED,
    "foreign_tracker.sealed": Mark.PERSONAL,
    "look_alike.message_id": Mark.KEYED,
    "look_alike.sender_hash": Mark.KEYED,
    "look_alike.recipient_hash": Mark.KEYED,
    "look_alike.at": Mark.ABOUT,
    "look_alike.bulk": Mark.ABOUT,
    "look_alike.sketch": Mark.KEYED,
    "access.id": Mark.HARMLESS,
    "access.at": Mark.HARMLESS,
    "access.actor": Mark.HARMLESS,
    "access.action": Mark.HARMLESS,
    "access.reason": Mark.HARMLESS,
    "policy_version.version": Mark.HARMLESS,
    "policy_version.first_at": Mark.HARMLESS,
    "policy_version.last_began_at": Mark.HARMLESS,
    "policy_version.author": Mark.HARMLESS,
    "policy_version.content": Mark.HARMLESS,
    "sender_setting.sender_hash": Mark.KEYED,
    "sender_setting.open": Mark.HARMLESS,
    "sender_setting.click": Mark.HARMLESS,
    "sender_setting.changed_at": Mark.HARMLESS,
    # About people who send; no recipient stands there.
    "account.id": Mark.KEYED,
    "account.folded_hash": Mark.KEYED,
    "account.created_at": Mark.HARMLESS,
    "account.sealed": Mark.PERSONAL,
    "account_password.id": Mark.KEYED,
    "account_password.account_id": Mark.KEYED,
    "account_password.created_at": Mark.HARMLESS,
    "account_password.tag": Mark.KEYED,
    "account_password.hash": Mark.KEYED,
    "account_password.sealed": Mark.PERSONAL,
    "login_attempt.account_hash": Mark.KEYED,
    "login_attempt.network_hash": Mark.KEYED,
    "login_attempt.secret_hash": Mark.KEYED,
    "login_attempt.at": Mark.HARMLESS,
}
"""By ``table.column``."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that is stored about a person, in the words that they are told it in, and where it lies."""

    columns: tuple[str, ...]
    purposes: frozenset[Purpose]
    words: Mapping[Language, str]


_OPEN, _CLICK = frozenset({Purpose.OPEN}), frozenset({Purpose.CLICK})
_EN, _DE, _FR, _ES, _IT = Language.ENGLISH, Language.GERMAN, Language.FRENCH, Language.SPANISH, Language.ITALIAN

TOLD: tuple[Told, ...] = (
    Told(
        ("message.sealed", "message.decided_at", "message.outcome"),
        _OPEN | _CLICK,
        {
            _EN: "sender, your address, subject and time of the message, and whether it was delivered",
            _DE: "Absender, Ihre Adresse, Betreff und Zeit der Nachricht, und ob sie zugestellt wurde",
            _FR: "expéditeur, votre adresse, objet et heure du message, et s'il a été remis",
            _ES: "remitente, su dirección, asunto y hora del mensaje, y si fue entregado",
            _IT: "mittente, il Suo indirizzo, oggetto e ora del messaggio, e se è stato consegnato",
        },
    ),
    Told(
        ("hit.purpose", "hit.first_at", "hit.last_at", "hit.count"),
        _OPEN | _CLICK,
        {
            _EN: "date and time, first and last, and how often",
            _DE: "Datum und Uhrzeit, zum ersten und letzten Mal, und wie oft",
            _FR: "date et heure, première et dernière fois, et combien de fois",
            _ES: "fecha y hora, primera y última vez, y cuántas veces",
            _IT: "data e ora, prima e ultima volta, e quante volte",
        },
    ),
    Told(
        ("hit.verdict",),
        _OPEN | _CLICK,
        {
            _EN: "whether it was a program or a mail provider, as far as that can be told",
            _DE: "ob es ein Programm oder ein Mailanbieter war, soweit das erkennbar ist",
            _FR: "si c'était un programme ou un fournisseur de messagerie, autant qu'on puisse le savoir",
            _ES: "si fue un programa o un proveedor de correo, en la medida en que se pueda saber",
            _IT: "se era un programma o un fornitore di posta, per quanto si possa sapere",
        },
    ),
    Told(
        ("hit.link", "hit.sealed"),
        _CLICK,
        {
            _EN: "which link: its number in the message, its host and path, nothing behind a question mark",
            _DE: "welcher Link: seine Nummer in der Nachricht, Rechnername und Pfad, nichts hinter einem Fragezeichen",
            _FR: "quel lien : son numéro dans le message, son hôte et son chemin, rien après un point d'interrogation",
            _ES: "qué enlace: su número en el mensaje, su servidor y su ruta, nada tras un signo de interrogación",
            _IT: "quale link: il numero nel messaggio, il server e il percorso, nulla dopo un punto interrogativo",
        },
    ),
)


def stored_about(purpose: Purpose, language: Language) -> tuple[str, ...]:
    """Return what is stored where a person agrees to a purpose, in words; nothing for one that stores nothing yet."""
    return tuple(told.words[language] for told in TOLD if purpose in told.purposes)
