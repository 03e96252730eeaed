"""The sentence that a sender reads about a message: why it is not tracked, or what they will see of it.

Whether a person refused is nobody's business but theirs (DESIGN.md §1, promise 7): everything that has to do with
consent says the very same.
"""

from collections.abc import Mapping

from policies.words import Purpose, Reason

NO_CONSENT = "No agreement to be tracked is on record for this person."

_UNTRACKED = {
    Reason.ERROR: "Something went wrong here; the message went out exactly as you sent it.",
    Reason.UNPARSABLE: "The message is built in a way that cannot be changed safely.",
    Reason.TOO_LARGE: "The message is too large.",
    Reason.LEDGER_UNAVAILABLE: "Consent could not be looked up at that moment.",
    Reason.PROTECTED: "Signed, encrypted, calendar and similar messages are never changed.",
    Reason.AUTOMATED: "Automatic messages are never tracked.",
    Reason.LIST: "Newsletters and mailing lists are never tracked.",
    Reason.BULK: "Bulk mail is never tracked.",
    Reason.GROUP: "Mail to several people, or to a shared mailbox, is never tracked.",
    Reason.INTERNAL: "Mail to colleagues is not tracked.",
    Reason.POLICY_OFF: "Your organisation has switched this off.",
    Reason.RULE: "A rule of your organisation excludes this message.",
    Reason.SENDER_OFF: "You have switched tracking off.",
    Reason.MESSAGE_OFF: "You switched it off for this message.",
    Reason.PLAIN_TEXT: "Plain text messages are not tracked.",
    Reason.EMPTY_BODY: "The message has nothing to see in it.",
    Reason.SUPPRESSED: NO_CONSENT,
    Reason.REFUSED: NO_CONSENT,
    Reason.WITHDRAWN: NO_CONSENT,
    Reason.EXPIRED: NO_CONSENT,
    Reason.NO_CONSENT: NO_CONSENT,
    Reason.NOTHING_TO_TRACK: "There is nothing in the message that could be tracked.",
}


def sentence(reason: Reason, reasons: Mapping[Purpose, Reason]) -> str:
    """Return what the sender of a message reads: ``reason`` is the message's, ``reasons`` are those of its purposes."""
    if reason is not Reason.TRACKED:
        return _UNTRACKED[reason]
    opened, followed = (reasons.get(purpose) is Reason.TRACKED for purpose in (Purpose.OPEN, Purpose.CLICK))
    if opened and followed:
        return "You see when images in the message are loaded and which of its links are followed."
    if opened:
        return "You see when images in the message are loaded, and nothing of its links."
    return "You see which links of the message are followed, and nothing of its images."
