"""Foreign trackers in a text part: links that stand there whole, and the glyph that Streak leaves behind."""

import re
from collections.abc import Iterator, Sequence

from policies.words import Scope, Surface, Tier, TrackerAction
from proxy.charset import codec_name
from proxy.history import finding_history_in_text
from proxy.links import addresses_in_text, is_whole
from proxy.slices import Walk, each
from proxy.trackers import Finding, TrackedLink, Watch, link_findings

_GLYPH = "\u1427"
"""Streak's white glyph (case 6 of cases/trackers.md), which programs that make a text part out of HTML take along."""
_STREAK = ("div", {"hspace": "streak-pt-mark"})


def finding_in_text(
    data: bytes, charset: str, watch: Watch, unsubscribe: frozenset[str] = frozenset(), *, joined: bool = False
) -> Walk[tuple[Finding, ...]]:
    """Walk to the foreign trackers of a text part, in order.

    ``charset`` contains ASCII. ``joined`` says that a line that ends in a space goes on in the next (RFC 3676 §4.1).
    """
    links: list[Finding] = []
    if b"://" in data:
        history = yield from finding_history_in_text(data)
        for found in _links(data, history, watch, unsubscribe, joined=joined):
            links += found
            yield
    yield
    glyphs = yield from each(_glyphs(data, charset, watch))
    return tuple(sorted([*links, *glyphs], key=lambda finding: finding.start))


def _links(
    data: bytes, history: int, watch: Watch, unsubscribe: frozenset[str], *, joined: bool
) -> Iterator[Sequence[Finding]]:
    """Yield what is found of each address: nothing of most."""
    for match in addresses_in_text(data):
        url = match[0].decode("ascii") if match is not None else ""
        if match is None or watch.link(url) is None:
            yield ()
            continue
        line_start = data.rfind(b"\n", 0, match.start()) + 1
        is_quoted = data.startswith(b">", line_start) or match.start() >= history
        scope = Scope.QUOTED if is_quoted else Scope.TOOL
        link = TrackedLink(url, match.start(), match.end(), scope)
        goes_on = joined and data.startswith((b" \r\n", b" \n"), match.end())
        whole = not goes_on and is_whole(data, match)
        yield tuple(link_findings(watch, link, unsubscribe, _ascii if whole else _unknown))


def _ascii(url: str) -> bytes | None:
    return url.encode("ascii") if re.fullmatch(r"[!-;=?-~]+", url) else None


def _unknown(url: str) -> None:
    """Write nothing: half an address decodes to half a destination."""


def _glyphs(data: bytes, charset: str, watch: Watch) -> Iterator[Finding]:
    """Yield the lines that hold nothing but Streak's glyph."""
    try:
        glyph = _GLYPH.encode(codec_name(charset or "us-ascii") or "us-ascii")
    except (UnicodeError, LookupError):
        return
    if glyph not in data:
        return
    match = watch.rules.element(*_STREAK)
    if match is None:
        return
    for line in re.finditer(rb"^[ \t]*+" + re.escape(glyph) + rb"[ \t]*+(\r?\n|\r?\Z)", data, re.MULTILINE):
        start, end = line.span()
        if _goes_on(data, start):
            # RFC 3676 §4.2: the paragraph before it would run on into what comes after it.
            end = line.start(1)
        yield Finding(
            Scope.TOOL,
            match.vendor,
            match.name,
            Surface.ELEMENT,
            Tier.C,
            "",
            start,
            TrackerAction.REMOVED,
            ((start, end, b""),),
        )


def _goes_on(data: bytes, start: int) -> bool:
    """Tell whether the line in front ends in a space, and so is not the last of its paragraph in format=flowed."""
    before = data[max(0, start - 6) : start].removesuffix(b"\n").removesuffix(b"\r")
    return before.endswith(b" ") and not before.endswith(b"\n-- ") and before != b"-- "
