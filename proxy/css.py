"""Style sheets: the addresses that they fetch, each with the span of the declaration or ``@import`` it stands in.

Tokenised as CSS Syntax Module Level 3 §4 does, as far as needed: comments, strings, ``url()``, escapes and brackets.
Nothing is parsed into rules; where the text ends inside a string, a comment or a bracket, what is open is left alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{1,6})(?:\r\n|[ \t\r\n\f])?|(\r\n|[\r\n\f])|(.))", re.DOTALL)
_STRING = r"\"(?:[^\"\\\r\n\f]|\\(?:\r\n|[\s\S]))*+\"|'(?:[^'\\\r\n\f]|\\(?:\r\n|[\s\S]))*+'"
_TOKEN = re.compile(
    rf"(?P<comment>/\*(?:[^*]|\*(?!/))*+\*/)"
    rf"|(?P<string>{_STRING})"
    r"|(?P<url>url\([ \t\r\n\f]*+(?![\"' \t\r\n\f])"
    r"(?P<bare>(?:[^\"'()\\\s]|\\[0-9A-Fa-f]{1,6}[ \t]?|\\[^\r\n\f])*+)[ \t\r\n\f]*+\))"
    r"|(?P<import>@import(?![\w-]))"
    r"|(?P<fetches>(?:url|(?:-webkit-)?image-set|(?:-webkit-)?cross-fade)\()"
    r"|(?P<open>[(\[])|(?P<close>[)\]])|(?P<begin>\{)|(?P<end>\})|(?P<semicolon>;)"
    r"|(?P<escape>\\.)|(?P<broken>[\"'\\]|/\*)",
    re.IGNORECASE,
)
_TOKENS_PER_STEP = 256
# An identifier that ends in "url" is no url().
_IDENTIFIER = re.compile(r"[\w-]\Z")


@dataclass(frozen=True, slots=True)
class Fetch:
    """An address that a sheet fetches, and the span of what would have to go for it not to be fetched."""

    url: str
    start: int
    end: int


@dataclass(slots=True)
class _Reader:
    text: str
    start: int = 0
    """Where the current declaration or statement begins, its white space included."""
    importing: int | None = None
    brackets: list[bool] = field(default_factory=list)
    """The brackets that are open; whether strings in them are addresses."""
    pending: list[str] = field(default_factory=list)

    def fetches(self) -> Iterator[Fetch | None]:
        """Yield what the sheet fetches, in order, and None now and then."""
        at = tokens = 0
        while (match := _TOKEN.search(self.text, at)) is not None:
            at = match.end()
            kind = match.lastgroup or ""
            if kind in ("url", "fetches") and _IDENTIFIER.search(self.text, max(0, match.start() - 1), match.start()):
                kind, at = "open", match.start() + match[0].index("(") + 1
            if kind == "broken":
                return
            yield from self._see(kind, match, at)
            tokens += 1
            if not tokens % _TOKENS_PER_STEP:
                yield None
        if not self.brackets:
            yield from self._settle(len(self.text))

    def _see(self, kind: str, match: re.Match[str], end: int) -> Iterator[Fetch]:
        if kind == "url":
            self.pending.append(_unescaped(match["bare"]))
        elif kind == "string" and (self.importing is not None or any(self.brackets)):
            self.pending.append(_unescaped(match[0][1:-1]))
        elif kind == "import" and not self.brackets:
            self.importing = match.start()
        elif kind in ("open", "fetches"):
            self.brackets.append(kind == "fetches")
        elif kind == "close" and self.brackets:
            self.brackets.pop()
        elif kind == "semicolon" and not self.brackets:
            yield from self._settle(end)
            self._begin(end)
        elif kind == "end":
            # A closing brace ends what was left open inside it.
            self.brackets.clear()
            yield from self._settle(match.start())
            self._begin(end)
        elif kind == "begin" and not self.brackets:
            # What stood before it was a selector or the head of an at-rule.
            self.pending.clear()
            self._begin(end)

    def _begin(self, at: int) -> None:
        self.start, self.importing = at, None

    def _settle(self, end: int) -> Iterator[Fetch]:
        start = self.importing if self.importing is not None else self.start
        for url in self.pending:
            yield Fetch(url, start, end)
        self.pending.clear()


def fetches(text: str) -> Iterator[Fetch | None]:
    """Yield every address that a style sheet, or the value of a style attribute, fetches. Linear in its input.

    None is yielded too, so that no step is long.
    """
    return _Reader(text).fetches()


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[3] or ""
    number = int(match[1], 16)
    return chr(number) if 0 < number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"
