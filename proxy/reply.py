"""SMTP replies as values (RFC 5321 §4.2), and the errors that carry one across a boundary."""

from typing import NamedTuple


class Reply(NamedTuple):
    """A reply: its code and its lines, each with an enhanced code (RFC 3463) where it is ours."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        """Tell whether the command was carried out."""
        return 200 <= self.code < 300

    def wire(self) -> bytes:
        """Return the reply as it is sent, with its last line break."""
        *before, last = self.lines
        text = "".join(f"{self.code}-{line}\r\n" for line in before) if before else ""
        return f"{text}{self.code} {last}\r\n".encode("utf-8", "surrogateescape")


def reply(code: int, *lines: str) -> Reply:
    """Return a reply of one or more lines."""
    return Reply(code, lines)


class ReplyError(Exception):
    """What is being done ends with this reply to the client; the text is public, the cause stays with us."""

    def __init__(self, answer: Reply, *, close: bool = False, read_on: bool = False) -> None:
        super().__init__(answer.lines[-1])
        self.reply = answer
        self.close = close
        """The connection ends with it."""
        self.read_on = read_on
        """The client is in the middle of a message, and has more to send before it looks for an answer."""
