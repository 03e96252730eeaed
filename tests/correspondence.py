"""Business letters, written by hand: honest ones, near-duplicates among them, and mail merges (tests/mail/letters)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "mail/letters"
LANGUAGES = ("english", "french", "german", "italian", "spanish")
SENDER = "sender@example.org"


@dataclass(frozen=True, slots=True)
class Sent:
    """One letter to one person."""

    kind: str
    """``single``; ``offer-…`` and ``cover-…`` are near-duplicates of those that say the same, by language."""
    recipient: str
    subject: str
    text: str
    name: str = ""
    html: bool = False

    def with_below(self, notice: str) -> "Sent":
        """Return the letter with something below it."""
        return Sent(self.kind, self.recipient, self.subject, f"{self.text}\n\n{notice}", self.name, self.html)

    def raw(self, *, html: bool | None = None, header: str = "") -> bytes:
        """Return it as a message, as text or as HTML."""
        as_html = self.html if html is None else html
        body = _page(self.text) if as_html else self.text
        to = f'"{self.name}" <{self.recipient}>' if self.name else self.recipient
        kind = "html" if as_html else "plain"
        lines = f"From: The sender <{SENDER}>\nTo: {to}\nSubject: {self.subject}\n{header}MIME-Version: 1.0\n"
        lines += f"Content-Type: text/{kind}; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}\n"
        return lines.replace("\n", "\r\n").encode()


def _page(text: str) -> str:
    paragraphs = "\n".join(f"<p style='margin:0'>{escape(one)}</p>" for one in text.split("\n\n"))
    # As mail programs write it: addresses are links, lines of a signature end with a break.
    paragraphs = re.sub(r"(https://\S+?)(?=[.,]?(?:\s|<))", r'<a href="\1">\1</a>', paragraphs)
    lines = paragraphs.replace("\n", "<br>\n").replace("</p><br>", "</p>")
    return f"<html><head><style>p {{ margin: 0 }}</style></head><body>\n{lines}\n</body></html>"


def _blocks(name: str) -> Iterator[tuple[str, str]]:
    for block in (FOLDER / f"{name}.txt").read_text("utf-8").split("%%\n"):
        first, _, rest = block.strip().partition("\n")
        yield first, rest.strip()


def notices() -> dict[str, str]:
    """Return legal notices of some 150 words, by language; ``unusual`` is one that begins like no other."""
    return dict(_blocks("notices"))


def honest() -> list[Sent]:
    """Return letters that people wrote one by one."""
    found = []
    for language in LANGUAGES:
        notice = notices()[language]
        for first, text in _blocks(language):
            kind, recipient, subject = first.split(" ", 2)
            kind = kind if kind in ("single", "disclaimer") else f"{language}-{kind}"
            found.append(Sent(kind, recipient, subject, text.replace("{notice}", notice)))
    return found


@dataclass(frozen=True, slots=True)
class Run:
    """One mail merge."""

    kind: str
    """What differs from one recipient to the next: ``name``, ``number`` (and links), ``personal`` (a paragraph)."""
    letters: tuple[Sent, ...]


def runs() -> list[Run]:
    """Return mail merges, of six to twelve letters each."""
    found = []
    for first, rest in _blocks("runs"):
        kind, form, subject = first.split(" ", 2)
        head, _, template = rest.partition("\n\n")
        letters = []
        for line in head.splitlines():
            values = [value.strip() for value in line.removeprefix(">").split("|")]
            recipient, name, extra, personal = (values + [""] * 2)[:4]
            said = {"name": name, "extra": extra, "personal": personal}
            letters.append(Sent(kind, recipient, subject.format(**said), template.format(**said), name, form == "html"))
        found.append(Run(kind, tuple(letters)))
    return found
