"""What makes an image look like a pixel: it is too small to be seen or hidden, and its address tells recipients apart.

Looks are never proof (layouts are full of spacers and of pictures for one size of screen), so what is said here is only
ever reported (cases/trackers.md §4.2, tiers D and E).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from urllib.parse import unquote

from proxy.slices import Walk
from proxy.tags import TAGS_PER_STEP, VOID, Tag, all_tags, some_tags, tag_skipper

_TINY = 2
"""Pixels."""
_LENGTH = re.compile(r"\s*(\d{1,5})(?:\.\d*)?\s*(?:px)?\s*(?:!\s*important\s*)?", re.IGNORECASE)
_DECLARATION = re.compile(r"(?:^|;)\s*([a-z-]+)\s*:\s*([^;]*)")
_COVERING = (
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide\s*:\s*all"
    r"|opacity\s*:\s*0?\.?0*\s*(?:;|!|$)|max-height\s*:\s*[01](?:px)?\s*(?:;|!|$)"
)
_COVERS = re.compile(rf"(?:^|;)\s*(?:{_COVERING})")
_HIDING = re.compile(
    rf"(?:^|;)\s*(?:{_COVERING}|(?:font-size|line-height)\s*:\s*0(?:px|pt|em|%)?\s*(?:;|!|$)"
    r"|max-width\s*:\s*[01](?:px)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{3,}"
    r"|clip\s*:\s*rect\(\s*[01](?:px)?\b)"
)
_HIDING_HINTS = (b"display", b"visibility", b"mso-hide", b"opacity", b"font-size", b"line-height", b"max-width",
                 b"max-height", b"hidden", b"clip", b"text-indent", b"left", b"top")  # fmt: skip
_FRAMES = "frameset"
"""Takes the place of the body: nothing behind it is shown either (WHATWG HTML §13.2.6.4.20 and 21)."""
_COVERING_TAGS = frozenset(
    {"template", "select", "datalist", "details", "dialog", "canvas", "audio", "video", "object", _FRAMES}
)
"""Elements whose content is shown nowhere, or only where something fails or somebody clicks.

Most end tags of elements around them do not end them in a browser (WHATWG HTML §13.2.4.2, §13.2.6.4.7); for those that
do, what follows is taken for hidden all the same.
"""
_COVERING_HINTS = (
    *(re.compile(b"<" + name.encode()) for name in sorted(_COVERING_TAGS)),
    re.compile(rb"hidden(?<=[\t\n\f\r \"'/]hidden)(?=[\t\n\f\r =>/])"),
    re.compile(rb"display\s*+:\s*+none"),
    re.compile(rb"visibility\s*+:\s*+(?:hidden|collapse)"),
    re.compile(rb"mso-hide\s*+:\s*+all"),
    re.compile(rb"opacity\s*+:\s*+\.?0"),
    re.compile(rb"max-height\s*+:\s*+[01](?![0-9])"),
)
"""What one of these elements, or a style that covers, begins with: one search for each is faster than one for all."""

_RUN = re.compile(r"[A-Za-z0-9_\-]{16,}")
_LONG_NUMBER = re.compile(r"(?<!\d)\d{10,}(?!\d)")
# "logo@2x.png" is a picture for fine screens.
_ADDRESS = re.compile(r"[\w.+-]@(?![1-9]x\b)[\w-]+\.[\w.-]*[a-z]", re.IGNORECASE)
_RECIPIENT_KEYS = frozenset({
    "u", "uid", "user", "userid", "user_id", "r", "rid", "rcpt", "recipient", "recipientid", "recipient_id", "e",
    "email", "mail", "sub", "subscriber", "subscriberid", "subscriber_id", "contact", "contactid", "contact_id",
    "lead", "member", "mc_eid", "_hsenc", "mkt_tok", "oly_enc_id", "vero_id", "token", "tid", "trk", "trackid",
    "tracking", "messageid", "message_id", "msgid", "mid",
})  # fmt: skip


_NAME = re.compile(rb"[a-z][^\t\n\f\r />]*+")
_FEW_NAMES = 8
_NEVER_OPEN = VOID | {"html", "body"}
"""Elements that nothing stands in; and two whose end tag leaves everything open that is (WHATWG HTML §13.2.6.4.7)."""
_NEVER_OPEN_NAMES = frozenset(name.encode() for name in _NEVER_OPEN)


def is_tiny(attributes: Mapping[str, str]) -> bool:
    """Tell whether an image is at most two pixels wide and high, as far as it says; a style counts before attributes.

    One dimension alone counts where the other is not said; ``1`` by ``100`` is layout.
    """
    style = attributes.get("style", "").lower()
    styled = _DECLARATION.findall(style) if "width" in style or "height" in style else ()
    sizes = {name: value for name, value in [*attributes.items(), *styled] if name in ("width", "height")}
    matches = [_LENGTH.fullmatch(size) for size in sizes.values() if size.strip()]
    return bool(matches) and all(match is not None and int(match[1]) <= _TINY for match in matches)


def hides(attributes: Mapping[str, str]) -> bool:
    """Tell whether an element is not to be seen by its own word."""
    return "hidden" in attributes or _HIDING.search(attributes.get("style", "").lower()) is not None


def finding_hidden(data: bytes) -> Walk[list[tuple[int, int]]]:
    """Walk to the content of every element that hides it, in order; one inside another is left out."""
    lowered = data.lower()
    if not any(hint in lowered for hint in _HIDING_HINTS):
        return []
    return (yield from _finding_content(data, all_tags(data), _hides))


def _hides(data: bytes, tag: Tag) -> bool:
    return hides({name: one.text(data) for name, one in tag.attributes(data).items()})


def _finding_content(
    data: bytes, tags: Iterable[Tag], is_meant: Callable[[bytes, Tag], bool], sealed: Set[str] = frozenset()
) -> Walk[list[tuple[int, int]]]:
    """Walk to the content of every element that is meant, in order; one inside another is left out.

    Elements that are ``sealed`` end with an end tag of their own, not with one of an element around them.
    """
    spans: list[tuple[int, int]] = []
    inside = False
    stack: list[tuple[str, int]] = []
    # One for the page, and one for every sealed element that is open, with itself and what is open in it.
    open_names: list[Counter[str]] = [Counter()]
    for number, tag in enumerate(tags, 1):
        if not number % TAGS_PER_STEP:
            yield
        if tag.conditional or tag.name in _NEVER_OPEN:
            continue
        if not tag.closing:
            begins = not inside and is_meant(data, tag)
            inside = inside or begins
            stack.append((tag.name, tag.end if begins else -1))
            if tag.name in sealed:
                open_names.append(Counter())
            open_names[-1][tag.name] += 1
        elif open_names[-1][tag.name] and tag.name != _FRAMES:
            name = ""
            while name != tag.name:
                name, begun = stack.pop()
                open_names[-1][name] -= 1
                if name in sealed:
                    open_names.pop()
                if begun >= 0:
                    spans.append((begun, tag.start))
                    inside = False
    return spans + [(begun, len(data)) for _, begun in stack if begun >= 0]


def finding_covers(markup: bytes) -> Walk[frozenset[bytes]]:
    """Walk to the names of the elements of a document that may cover what stands in them, by its markup.

    An empty name says that there is one whose name could not be told.
    """
    names: set[bytes] = set()
    for hint in _COVERING_HINTS:
        last = 0
        for number, match in enumerate(hint.finditer(markup), 1):
            tag, last = markup.rfind(b"<", last, match.start() + 1), match.start() + 1
            if tag != -1:
                name = _NAME.match(markup, tag + 1)
                names.add(name[0] if name is not None else b"")
            if not number % TAGS_PER_STEP:
                yield
        yield
    return frozenset(names - _NEVER_OPEN_NAMES)


def finding_covered(data: bytes, at: int, names: Set[bytes]) -> Walk[bool]:
    """Walk to whether nobody would see what is put at an offset: an element that covers its content is open there.

    ``names`` are those that ``finding_covers`` tells. Nothing that hides by the size of its text is meant, for what is
    put there has one of its own.
    """
    if b"" not in names and len(names) <= _FEW_NAMES:
        # Most are ended by an end tag of their own: then no other tag needs a look.
        seen = some_tags(data, tag_skipper(b"|".join(map(re.escape, sorted(names)))))
        # Of the others, at which it stops besides, some end tags would end what they do not.
        few = (tag if tag.name.encode("latin-1") in names else tag._replace(conditional=True) for tag in seen)
        if not _is_open(at, (yield from _finding_content(data, few, _covers))):
            return False
    return _is_open(at, (yield from _finding_content(data, all_tags(data), _covers, _COVERING_TAGS)))


def _is_open(at: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(begun <= at <= end for begun, end in spans)


def _covers(data: bytes, tag: Tag) -> bool:
    if tag.name in _COVERING_TAGS:
        return True
    attributes = tag.attributes(data)
    style = attributes.get("style")
    return "hidden" in attributes or (style is not None and _COVERS.search(style.text(data).lower()) is not None)


def has_token(url: str) -> bool:
    """Tell whether path or query of an address hold an e-mail address or something long that no person has written."""
    rest = unquote(_path_and_query(url))
    if _LONG_NUMBER.search(rest) is not None or _ADDRESS.search(rest) is not None:
        return True
    return any(_is_random(run) for run in _RUN.findall(rest))


def _is_random(run: str) -> bool:
    digits = sum(character.isdigit() for character in run)
    letters = sum(character.isalpha() for character in run)
    return digits >= 3 and letters >= 3 and len(set(run)) >= 8


def names_recipient(url: str) -> bool:
    """Tell whether an address tells recipients apart: by an e-mail address, or a usual key or a token in its query."""
    rest = _path_and_query(url)
    query = rest.partition("?")[2]
    if _ADDRESS.search(unquote(rest)) is not None:
        return True
    pairs = [pair.partition("=") for pair in query.split("&")]
    return any(
        (key.lower() in _RECIPIENT_KEYS and len(value) >= 4) or any(map(_is_random, _RUN.findall(value)))
        for key, _, value in pairs
    )


def _path_and_query(url: str) -> str:
    # Not urlsplit: it raises for some of what stands in mail.
    return url.partition("#")[0].partition("//")[2].partition("/")[2]
