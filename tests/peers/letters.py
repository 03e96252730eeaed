"""What the clients send: text, HTML with an attachment, and 8-bit text."""

from dataclasses import dataclass
from pathlib import Path

from tests.e2e.letters import html_body, letter

TEXT = "Guten Tag!\n\n.a line that begins with a dot\n..and another\n.\n-- \nAlice\n"
EIGHT_BIT = "Sch\u00f6ne Gr\u00fc\u00dfe aus K\u00f6ln,\nmit 20 \u20ac und \U0001f40e.\n"
HEADER = """\
From: {sender}
To: {to}
Subject: {subject}
Message-ID: <{subject}@example.org>
Date: Mon, 02 Nov 2026 10:00:00 +0100
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to send. Its subject is found nowhere else."""

    kind: str
    """``text``, ``html`` or ``8bit``."""
    sender: str
    recipient: str
    subject: str

    @property
    def content(self) -> bytes:
        """The message as a program has it that writes messages itself; lines end with CRLF."""
        if self.kind == "html":
            written = letter(self.recipient, self.subject)
            return written.replace(b"<alice@example.org>", f"<{self.sender}>".encode())
        header = HEADER.format(sender=self.sender, to=self.recipient, subject=self.subject)
        if self.kind == "8bit":
            header += "Content-Transfer-Encoding: 8bit\n"
        return f"{header}\n{self.body}".replace("\n", "\r\n").encode()

    @property
    def body(self) -> str:
        """The text, for a program that puts the message together; its lines end with LF."""
        if self.kind == "html":
            return html_body().decode("iso-8859-1").replace("\r\n", "\n")
        return EIGHT_BIT if self.kind == "8bit" else TEXT

    def file(self, folder: Path, ending: str = "\r\n") -> Path:
        """Write the message to a file, with an ending for its lines."""
        made = folder / f"{self.subject}.eml"
        made.write_bytes(self.content.replace(b"\r\n", ending.encode()))
        return made
