"""Facts: what is known of a message without judging it. The relay finds them, the policy judges them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.label import FIELD, Label, parse_labels
from policies.words import Protection, Reason


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME entity as byte spans of the message: nothing is copied out of it.

    ``start`` to ``body`` is its header (the blank line included), ``body`` to ``end`` its content, without the line
    break that belongs to the boundary behind it (RFC 2046 §5.1.1).
    """

    start: int
    body: int
    end: int
    depth: int
    content_type: str
    charset: str
    encoding: str
    disposition: str
    named: bool
    """Has a file name, by Content-Type or Content-Disposition: an attachment, whatever else it says."""
    in_body: bool
    """Belongs to what a mail program shows as the message: not an attachment or inside one, no related resource."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What the writer of a message says, as words to compare: case-folded, names, numbers and addresses made alike."""

    subject: tuple[str, ...]
    words: tuple[str, ...]
    """Between greeting and closing, without signature, disclaimer and quoted history."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision and the classification look at."""

    size: int
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Header fields by lower-case name, unfolded; bytes that are not UTF-8 are kept as surrogates."""
    decoded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The values of the fields that hold encoded words (RFC 2047), as people read them."""
    addressed: tuple[str, ...] = ()
    """The addresses of To and Cc, as written there."""
    authors: tuple[str, ...] | None = None
    """The addresses of From; None where nobody has looked."""
    undisclosed: bool = False
    """To or Cc uses group syntax or names nobody, as in ``undisclosed-recipients:;``."""
    parts: tuple[Part, ...] = ()
    protection: Protection | None = None
    problem: Reason | None = None
    """``error``, ``unparsable`` or ``too_large`` where the message could not, or may not, be taken apart."""
    has_html: bool = False
    has_text: bool = False
    """The body has a text part that is not blank."""
    empty: bool = False
    """Nobody would see anything in the HTML body, or there is no body at all."""
    links: int = 0
    """How many links may be wrapped."""
    trackers: int = 0
    """How many trackers of the sender's own tools there are, beyond doubt."""

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of a header field, by lower-case name, in order."""
        return self.fields.get(name, ())

    def as_read(self, name: str) -> tuple[str, ...]:
        """Return every value of a header field as people read it, by lower-case name, in order."""
        return self.decoded.get(name) or self.values(name)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The Microsoft sensitivity labels that are set."""
        return parse_labels(self.as_read(FIELD)) if FIELD in self.fields else ()

    @property
    def has_attachment(self) -> bool | None:
        """Whether anything is attached; ``None`` where the message's structure is not known.

        A picture without that disposition is shown in the text, as logos are.
        """
        return any(_attached(part) for part in self.parts) if self.parts else None


# RFC 3156 §5 and RFC 8551 §3.5.3: how a message is signed, and nothing that somebody attached to it.
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})


def _attached(part: Part) -> bool:
    if part.content_type in _SIGNATURES:
        return False
    if part.disposition == "attachment":
        return True
    if part.content_type.startswith(("image/", "multipart/")):
        return False
    return part.named or not part.content_type.startswith("text/")
