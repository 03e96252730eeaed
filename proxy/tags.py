"""Tags: start tags, end tags and attribute values as byte spans, as the WHATWG tokenizer sees them (HTML §13.2.5).

It finds what the rewriter needs and never builds a tree. The bytes of a charset that contains ASCII are scanned as they
are: no markup character is ever part of another character there. One compiled pattern skips text and the tags nobody
asked for; possessive quantifiers keep it linear whatever the input.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from proxy.entities import decode_attribute
from proxy.slices import STEP_BYTES

_WS = rb"[\t\n\f\r ]"
# §13.2.5.32 to 39. A name may begin with "="; a value without quotes ends at white space or ">". An "=" that no value
# follows makes the whole tag fail, for then a quote is never closed and the tag runs to the end of the file.
_ATTRIBUTE = (
    rb"[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+|(?=>))"
    rb"|(?!" + _WS + rb"*+=))"
)
# The same for most tags that programs write, in fewer steps: where every "=" stands right behind a letter or digit, and
# its value right behind it, what else has no quote mark needs no closer look: ">" ends the tag.
_PLAIN = rb"[^>\"'=]*+(?:(?<=[A-Za-z0-9])=(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+)[^>\"'=]*+)*+(?=>)"
_INSIDE = rb"(?:(?=>)|" + _PLAIN + rb"|(?:[\t\n\f\r /]++|" + _ATTRIBUTE + rb")*+)"
_BEHIND_SIGN = rb"(/?)([A-Za-z][^\t\n\f\r />]*+)(" + _INSIDE + rb")>"
_ANY_TAG = rb"<" + _BEHIND_SIGN
_TAG = re.compile(_ANY_TAG)
_ATTRIBUTES = re.compile(
    rb"([^\t\n\f\r />][^\t\n\f\r />=]*+)"
    rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\t\n\f\r >\"'][^\t\n\f\r >]*+))?+)?+"
)


def _any_case(name: bytes) -> bytes:
    """Return a pattern of a name in any case: sets of two are tried much faster than letters under IGNORECASE."""
    return re.sub(rb"[a-z]", lambda letter: b"[" + letter[0] + letter[0].upper() + b"]", name)


RAW_TEXT = (b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
"""Elements whose content is text up to their end tag (§13.2.5.2 to 4; scripting is off in mail, so not noscript)."""
_RAW_END = {name.decode(): re.compile(rb"</" + _any_case(name) + rb"(?=[\t\n\f\r />])") for name in RAW_TEXT}
_RAW_NAMES = frozenset(_RAW_END) | {"plaintext"}
_SCRIPT = re.compile(rb"<!--(-?>)?|(-->)|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)
_COMMENT_END = re.compile(rb"--!?>")
_CONDITIONAL = re.compile(rb"<!--\[if\b[^\]>]*+\]>", re.IGNORECASE)


def _stopping(names: bytes) -> bytes:
    return _any_case(names) + rb"|[vV]:[^\t\n\f\r />]*+"


def skipper(names: bytes, closing: bytes = b"", *, quick: bytes = b"(?!)") -> re.Pattern[bytes]:
    """Return a pattern that runs over text and over every tag whose name is not one of ``names`` (alternatives).

    A "<" that begins no markup is text. ``closing`` are the names of end tags, where they are not the same; ``quick``
    is what names begin with that are none of either, so that most tags need no closer look. The tag at which it stops
    is matched with it, as ``_TAG`` does.
    """
    start, end = _stopping(names), _stopping(closing or names)
    rest = rb"[^\t\n\f\r />]*+(?:>|" + _INSIDE + rb">)"
    return re.compile(
        rb"[^<]*+(?:<(?:/?(?:" + quick + rb")" + rest + rb"|(?:/(?!(?:" + end + rb")[\t\n\f\r />])"
        rb"|(?!/|(?:" + start + rb")[\t\n\f\r />]))[A-Za-z]" + rest + rb"|(?![A-Za-z/!?])"
        rb")[^<]*+)*+(?:" + _ANY_TAG + rb")?+"
    )


def seeker(names: bytes, closing: bytes = b"", *, quick: bytes = b"(?!)") -> re.Pattern[bytes]:
    """Return a pattern that finds what ``skipper``'s stops at, in a plain page: there the rest needs no look at all."""
    start, end = _stopping(names), _stopping(closing or names)
    return re.compile(
        rb"<(?!/?(?:" + quick + rb"))(?=(?:" + start + rb"|/(?:" + end + rb"))[\t\n\f\r />]|!--)"
        rb"(?:" + _BEHIND_SIGN + rb")?+"
    )


_SKIP_NOTHING = re.compile(rb"[^<]*+(?:<(?![A-Za-z/!?])[^<]*+)*+(?:" + _ANY_TAG + rb")?+")


_ENDS_ATTRIBUTE = frozenset({b"\t", b"\n", b"\f", b"\r", b" ", b"/", b">"})
MAX_VALUE = 8_192
_MAX_ATTRIBUTES = 500
"""Of one tag; those behind them are left alone."""
_MAX_ESCAPES = 5_000
"""Of what may begin or end an escape, in one script."""


class Attribute(NamedTuple):
    """One attribute: its name in lower case and the span of its raw value, without quotes."""

    name: str
    start: int
    end: int

    def text(self, data: bytes) -> str:
        """Return the value with character references decoded; bytes above ASCII come back as latin-1.

        Of a value of more than ``MAX_VALUE`` bytes only the beginning: nobody has a use for the rest.
        """
        value = data[self.start : min(self.end, self.start + MAX_VALUE)].decode("latin-1")
        return decode_attribute(value) if "&" in value else value


class Tag(NamedTuple):
    """One start or end tag as the tokenizer emits it."""

    name: str
    start: int
    end: int
    inside: int
    """Where its attributes begin."""
    closing: bool
    conditional: bool
    """Stands inside one of Outlook's conditional comments."""

    def attributes(self, data: bytes) -> dict[str, Attribute]:
        """Return the attributes by name; of a name that occurs twice the first counts (§13.2.5.33)."""
        found: dict[str, Attribute] = {}
        for match in islice(_ATTRIBUTES.finditer(data, self.inside, self.end - 1), _MAX_ATTRIBUTES):
            name = match[1].lower().decode("latin-1")
            if name not in found:
                # The group that matched last is the value in its quotes, or the name where there is no value.
                group = match.lastindex or 1
                start, end = match.span(group) if group > 1 else (match.end(), match.end())
                found[name] = Attribute(name, start, end)
        return found

    def spans(self, data: bytes, name: str) -> list[tuple[int, int]]:
        """Return what would have to go for the tag to be without an attribute: every one of that name.

        White space in front goes with it, for the next one brings its own; where that does not, it stays.
        """
        found = []
        for match in islice(_ATTRIBUTES.finditer(data, self.inside, self.end - 1), _MAX_ATTRIBUTES):
            if match[1].lower() == name.encode("latin-1"):
                goes_on = data[match.end() : match.end() + 1] not in _ENDS_ATTRIBUTE
                found.append((match.start() - (not goes_on and data[match.start() - 1] in b"\t\n\f\r "), match.end()))
        return found


@dataclass(slots=True)
class Scanner:
    data: bytes
    pattern: re.Pattern[bytes]
    stops: Iterator[int] = field(default_factory=lambda: iter(()))
    """Offsets of a "<" at which to stop too, in order, whatever tag begins there."""
    stop: int = -1
    complete: bool = True
    seeking: bool = False
    """The pattern is a ``seeker``'s."""

    def tags(self, at: int, end: int, conditional: bool = False) -> Iterator[Tag]:
        """Yield the tags that the pattern stops at. Clears ``complete`` where the input ends inside something.

        Where there is none for long, an end tag without a name is yielded now and then, so that no step is long.
        """
        data, following = self.data, self.pattern.search if self.seeking else self.pattern.match
        skipped = 0
        while True:
            while self.stop < at:
                self.stop = next(self.stops, len(data))
            limit = min(self.stop, end)
            match = following(data, at, limit)
            if match is None or match[2] is None:
                at = limit if match is None else match.start() if self.seeking else match.end()
                if at >= end:
                    return
                # A stop, or something else than a tag. A stop that stands inside a tag has cut it short, so that it
                # was not skipped: it is yielded whole.
                match = _TAG.match(data, at, end)
                if match is None:
                    next_at = self._past_markup(at, end)
                    inner = _CONDITIONAL.match(data, at, end)
                    # A comment that is never closed shows nothing to anybody.
                    if inner is not None and not conditional and self.complete:
                        yield from self._inside_conditional(inner.end(), max(inner.end(), next_at - 3))
                    skipped += 1
                    pauses = at == self.stop or not skipped % _SKIPPED_PER_TAG
                    at = next_at
                    if pauses and at < end:
                        yield Tag("", at, at, at, True, conditional)
                    continue
            slash, name, after = match[1], match[2].lower().decode("latin-1"), match.end()
            yield Tag(name, match.start(1) - 1, after, match.start(3), bool(slash), conditional)
            at = self._past_raw_text(name, after, end) if name in _RAW_NAMES and not slash else after

    def _inside_conditional(self, at: int, end: int) -> Iterator[Tag]:
        inner = Scanner(self.data, self.pattern, self.stops, self.stop, seeking=self.seeking)
        yield from inner.tags(at, end, True)
        self.stop = inner.stop

    def _past_markup(self, at: int, end: int) -> int:
        """Return the offset behind the comment, declaration or bogus comment at ``at``, or the end of the input.

        A stop may also be at a "<" that is text.
        """
        data = self.data
        if data.startswith(b"<!--", at):
            # §13.2.5.43 and 44: "<!-->" and "<!--->" are empty comments.
            for empty in (b">", b"->"):
                if data.startswith(empty, at + 4, end):
                    return at + 4 + len(empty)
            match = _COMMENT_END.search(data, at + 4, end)
            found = match.end() if match else -1
        elif data[at + 1] in b"!?" or (data[at + 1] == 0x2F and not data[at + 2 : at + 3].isalpha()):
            found = data.find(b">", at, end) + 1 or -1
        elif data[at + 1] != 0x2F and not data[at + 1 : at + 2].isalpha():
            return at + 1
        else:
            # A tag that is never closed: the tokenizer drops it and all that follows (§13.2.5.8 to 40).
            found = -1
        if found == -1:
            self.complete = False
            return end
        return found

    def _past_raw_text(self, name: str, at: int, end: int) -> int:
        """Return where the content of a raw-text element ends."""
        found: int | None = None
        if name == "script":
            found = _script_end(self.data, at, end)
        elif name != "plaintext":
            match = _RAW_END[name].search(self.data, at, end)
            found = match.start() if match else None
        if found is None:
            self.complete = False
            return end
        return found


def _script_end(data: bytes, at: int, end: int) -> int | None:
    """Return where a script's end tag begins; between "<!--", "<script" and "-->" one does not count (§13.2.5.15).

    None where there is none, or more of these than any script has.
    """
    escaped = 0
    for match in islice(_SCRIPT.finditer(data, at, end), _MAX_ESCAPES):
        if match[0].startswith(b"<!--"):
            # "<!-->" and "<!--->" open and close at once; inside, their "-->" closes all the same (§13.2.5.22).
            escaped = 0 if match[1] else escaped or 1
        elif match[2] is not None:
            escaped = 0
        elif match[3]:
            if escaped < 2:
                return match.start()
            escaped = 1
        elif escaped:
            escaped = 2
    return None


TAGS_PER_STEP = 16
_SKIPPED_PER_TAG = 32
"""Comments and declarations, one behind another, that take as long as some tags."""

_OPEN_REFERENCE = re.compile(rb"&#?[A-Za-z0-9]{0,32}\Z")


def removal(data: bytes, start: int, end: int) -> tuple[int, int, bytes]:
    """Return the edit that takes markup out, with a space where what stood in front would join with what follows.

    A "<" in the text would begin a tag or a comment, and "&" a character reference.
    """
    joins = data[start - 1 : start] == b"<" or (
        data[end : end + 1].isalnum() and _OPEN_REFERENCE.search(data, max(0, start - 34), start) is not None
    )
    return start, end, b" " if joins else b""


VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "image", "input", "keygen",
    "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
"""Elements that have no content and no end tag (§13.3, and what tree construction makes one)."""


_ENDED = re.compile(rb"<(?:[!?]|/[^A-Za-z])|" + _ANY_TAG + rb"\Z")


def ends_with(piece: bytes) -> bool:
    """Tell whether what begins with this piece of markup, up to a ">", ends with that, as far as it could be a tag."""
    return _ENDED.match(piece + b">") is not None


def all_tags(data: bytes, start: int = 0) -> Iterator[Tag]:
    """Yield every tag of the document, or from an offset on, the ones in conditional comments included."""
    return Scanner(data, _SKIP_NOTHING, _pauses(data)).tags(start, len(data))


def tag_skipper(names: bytes) -> re.Pattern[bytes]:
    """Return a pattern for ``some_tags`` by which only tags of these names, alternatives, and raw text are seen."""
    return skipper(names + b"|plaintext|" + b"|".join(RAW_TEXT))


def some_tags(data: bytes, skip: re.Pattern[bytes]) -> Iterator[Tag]:
    """Yield the tags that the pattern does not run over, the ones in conditional comments included, and a few more."""
    return Scanner(data, skip, _pauses(data)).tags(0, len(data))


def _pauses(data: bytes) -> Iterator[int]:
    """Yield a "<" of a long document now and then, so that ``TAGS_PER_STEP`` of them are a step."""
    between = STEP_BYTES // TAGS_PER_STEP
    for end in range(STEP_BYTES, len(data), between):
        at = data.rfind(b"<", end - between, end)
        if at != -1:
            yield at
