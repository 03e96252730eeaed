"""What the tests of the message engine share: fixtures, a Marks with fixed addresses, decisions, judges, the corpus."""

import os
from email import message_from_bytes
from pathlib import Path

import pytest

from policies import Decision, MessageClass, Purpose, Reason
from proxy.footer import Footer
from proxy.message import Message, Reading, read_message
from proxy.structure import read_structure

MAIL = Path(__file__).parent.parent / "mail"
CORPUS = Path(os.environ.get("ABOVEBOARD_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
FOOTER = Footer("Example GmbH")

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")


class FixedMarks:
    """Marks whose addresses are the same in every run; remembers what each link leads to."""

    def __init__(self, length: int = 0) -> None:
        self.targets: dict[int, str] = {}
        self.pixels = 0
        self._padding = "x" * length

    def pixel(self) -> str:
        """Return the address of the pixel."""
        self.pixels += 1
        return "https://mail.example.org/o/pixel.gif"

    def link(self, number: int, target: str) -> str:
        """Return an address that names the link's number only."""
        self.targets[number] = target
        return f"https://mail.example.org/l/link{number}{self._padding}"

    def stop(self) -> str:
        """Return the address of the page where the recipient refuses."""
        return "https://mail.example.org/stop/stop"


PIXEL = (
    b'<img src="https://mail.example.org/o/pixel.gif" width="1" height="1" alt="" border="0" '
    b'style="width:1px;height:1px;border:0">'
)


def decision(*purposes: Purpose) -> Decision:
    """Return a decision that allows exactly these purposes, whatever the message."""
    reasons = {purpose: Reason.TRACKED if purpose in purposes else Reason.NO_CONSENT for purpose in Purpose}
    reason = Reason.TRACKED if purposes else Reason.NO_CONSENT
    return Decision(MessageClass.INDIVIDUAL, reason, reasons, "000000000000")


EVERYTHING_ON = decision(*Purpose)


def fixture(name: str) -> bytes:
    """Return one of the messages in tests/mail."""
    return (MAIL / f"{name}.eml").read_bytes()


def names(ending: str = ".in.eml") -> list[str]:
    """Return the names of all fixtures that have the ending."""
    return sorted(path.name.removesuffix(ending) for path in MAIL.glob(f"*{ending}"))


def corpus_messages() -> list[Path]:
    """Return every message of the enmime corpus; none where it is not there."""
    return sorted((CORPUS / "enmime").rglob("*.raw"))


def read(raw: bytes, reading: Reading | None = None) -> Message:
    """Return the message read with the default settings."""
    return read_message(raw, reading or Reading())


def html_mail(
    html: bytes,
    content_type: bytes = b"text/html; charset=utf-8",
    encoding: bytes = b"7bit",
    more: bytes = b"",
) -> bytes:
    """Return a message of one HTML part; ``html`` is put in as it is, ``more`` are further header lines."""
    return (
        b"From: Max <max@example.org>\r\nTo: Ada <ada@client.example>\r\nSubject: Hello\r\n"
        + more
        + b"MIME-Version: 1.0"
        b"\r\nContent-Type: " + content_type + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + html
    )


def targets(html: bytes) -> list[str]:
    """Return where the wrappable links of an HTML body lead, in order."""
    return [link.target for body in read(html_mail(html)).bodies for link in body.links]


def leaves(raw: bytes) -> list[bytes]:
    """Return header and content of every leaf that is not an HTML body, in order, by our own spans."""
    parts = [entity.part for entity in read_structure(raw)]
    return [
        raw[part.start : part.end]
        for part in parts
        if not part.content_type.startswith("multipart/") and not (part.in_body and part.content_type == "text/html")
    ]


def bodies(raw: bytes) -> list[str]:
    """Return the text of every HTML part as the email package of the library decodes it."""
    found = []
    for part in message_from_bytes(raw).walk():
        if part.get_content_type() == "text/html":
            octets = part.get_payload(decode=True)
            assert isinstance(octets, bytes)
            found.append(octets.decode(part.get_content_charset("utf-8"), "surrogateescape"))
    return found
