"""The words that every part of the product uses: purposes, classes, reasons, protections, verdicts, outcomes."""

from enum import StrEnum


class Purpose(StrEnum):
    """What a message may be tracked for; each is asked, allowed and refused on its own."""

    OPEN = "open"
    CLICK = "click"
    DETAIL = "detail"
    """Town and mail program of a hit; means nothing without one of the other two."""


class MessageClass(StrEnum):
    """What kind of message this is, the most restrictive first. Only an individual message may be tracked."""

    PROTECTED = "protected"
    AUTOMATED = "automated"
    LIST = "list"
    BULK = "bulk"
    GROUP = "group"
    INDIVIDUAL = "individual"


class Protection(StrEnum):
    """Why a message is protected: changing one byte would break it, or it is not mail for reading."""

    SIGNED = "signed"
    ENCRYPTED = "encrypted"
    CALENDAR = "calendar"
    REPORT = "report"
    TNEF = "tnef"
    DKIM = "dkim"


class Reason(StrEnum):
    """Why a purpose is off, in the order in which they are looked at; ``tracked`` when it is on."""

    ERROR = "error"
    UNPARSABLE = "unparsable"
    TOO_LARGE = "too_large"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    PROTECTED = "protected"
    AUTOMATED = "automated"
    LIST = "list"
    BULK = "bulk"
    GROUP = "group"
    INTERNAL = "internal"
    POLICY_OFF = "policy_off"
    RULE = "rule"
    SENDER_OFF = "sender_off"
    MESSAGE_OFF = "message_off"
    PLAIN_TEXT = "plain_text"
    EMPTY_BODY = "empty_body"
    SUPPRESSED = "suppressed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    NO_CONSENT = "no_consent"
    NOTHING_TO_TRACK = "nothing_to_track"
    TRACKED = "tracked"


REASON_ORDER: dict[Reason, int] = {reason: place for place, reason in enumerate(Reason)}


class ForeignTracking(StrEnum):
    """What happens to other people's trackers in a message, the mildest first."""

    KEEP = "keep"
    """They are not even looked for."""
    REPORT = "report"
    REMOVE = "remove"
    REFUSE = "refuse"
    """The message is refused at the end of DATA."""


class Verdict(StrEnum):
    """Who fetched a pixel or followed a link, as far as that is known. Nobody becomes a person by default."""

    PERSON = "person"
    PROXY = "proxy"
    SCANNER = "scanner"
    PREFETCH = "prefetch"
    SELF = "self"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What the upstream said to the message in the end."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The upstream went silent after the final dot: it may or may not have the message."""
