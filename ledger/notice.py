"""The notice: what people are told before they agree. One is built in, made from the ``[organisation]`` section."""

import hashlib
import json
from dataclasses import asdict, dataclass


def notice_id_of(body: str) -> str:
    """Return the id of a notice with this body: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice in one language: what is recorded, why, what for, how long, and by whom."""

    language: str
    controller: str
    contact: str
    privacy_url: str
    what: str
    why: str
    what_for: str
    how_long: str
    withdrawal: str

    @property
    def id(self) -> str:
        """Names exactly this wording: the first 16 hex digits of its SHA-256."""
        return notice_id_of(self.body)

    @property
    def body(self) -> str:
        """The notice as it is stored, JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


def built_in(controller: str, contact: str, privacy_url: str, hits_days: int = 90) -> Notice:
    """Return the notice that stands until the organisation writes its own; ``hits_days`` is how long hits are kept."""
    return Notice(
        language="en",
        controller=controller,
        contact=contact,
        privacy_url=privacy_url,
        what=(
            "The date and time when an image in a message to you is loaded (open), and when which of its links is "
            "followed, by host and path (click). No IP address, no device, no content of messages."
        ),
        why="You agreed to it. You need not agree, and nothing else depends on it.",
        what_for="The sender of a message sees when its images were loaded and which links were followed; nobody else.",
        how_long=(
            f"What is recorded of you for {hits_days} days. Your agreement counts for 12 months; the proof of it is "
            "kept as long as it may be needed."
        ),
        withdrawal=f"By the link at the end of every such message, or by writing to {contact}.",
    )
