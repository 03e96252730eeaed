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


class Scope(StrEnum):
    """Whose a tracker is that was found in a message."""

    TOOL = "tool"
    """Put in by a tool of the sender's."""
    QUOTED = "quoted"
    """Somebody else's, in quoted history."""
    OWN = "own"
    """Our own, of an earlier message."""


class Tier(StrEnum):
    """How good the evidence is that something tracks, the best first. Only A to C are ever taken out."""

    A = "A"
    """Our own mark: its token opens."""
    B = "B"
    """A vendor's address."""
    C = "C"
    """A vendor's element, whatever the address in it."""
    D = "D"
    """Looks like a pixel, or a vendor's address that others may have too."""
    E = "E"
    """A visible image whose address names the recipient."""


class Surface(StrEnum):
    """Where in a message a tracker stands."""

    IMAGE = "image"
    SRCSET = "srcset"
    BACKGROUND = "background"
    CSS = "css"
    SHEET = "sheet"
    """A ``link`` element: style sheet, prefetch, preload, icon."""
    MEDIA = "media"
    FRAME = "frame"
    """Frames, plug-ins and scripts."""
    REFRESH = "refresh"
    ELEMENT = "element"
    LINK = "link"


class TrackerAction(StrEnum):
    """What was done about a tracker that was found."""

    REMOVED = "removed"
    UNWRAPPED = "unwrapped"
    """The link leads to its destination without a detour."""
    REPORTED = "reported"
    OPAQUE = "opaque"
    """A link whose destination only the tracker knows; it stays."""
    UNDECODABLE = "undecodable"
    """A link whose destination could not be read; it stays."""
    UNSTRIPPABLE_SIGNED = "unstrippable_signed"
    """It stays, for the message is signed or encrypted."""
    REFUSED = "refused"
    """The message was refused because of it."""


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
    """The upstream went silent after the final dot, or our own process died: it may or may not have the message."""
