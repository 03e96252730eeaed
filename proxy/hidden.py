"""What makes an image look like a pixel: it is too small to be seen or hidden, and its address tells recipients apart.

Looks are never proof (layouts are full of spacers and of pictures for one size of screen), so what is said here is only
ever reported (cases/trackers.md §4.2, tiers D and E).
"""

import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import unquote

from proxy.slices import Walk
from proxy.tags import TAGS_PER_STEP, VOID, all_tags

_TINY = 2
"""Pixels."""
_LENGTH = re.compile(r"\s*(\d{1,5})(?:\.\d*)?\s*(?:px)?\s*(?:!\s*important\s*)?", re.IGNORECASE)
_DECLARATION = re.compile(r"(?:^|;)\s*([a-z-]+)\s*:\s*([^;]*)")
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide\s*:\s*all"
    r"|opacity\s*:\s*0?\.?0*\s*(?:;|!|$)|(?:font-size|line-height)\s*:\s*0(?:px|pt|em|%)?\s*(?:;|!|$)"
    r"|max-(?:width|height)\s*:\s*[01](?:px)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{3,}"
    r"|clip\s*:\s*rect\(\s*[01](?:px)?\b)"
)
_HIDING_HINTS = (b"display", b"visibility", b"mso-hide", b"opacity", b"font-size", b"line-height", b"max-width",
                 b"max-height", b"hidden", b"clip", b"text-indent", b"left", b"top")  # fmt: skip

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
    spans: list[tuple[int, int]] = []
    stack: list[tuple[str, int]] = []
    open_names: Counter[str] = Counter()
    for number, tag in enumerate(all_tags(data), 1):
        if not number % TAGS_PER_STEP:
            yield
        if tag.conditional or tag.name in VOID:
            continue
        if not tag.closing:
            attributes = {name: one.text(data) for name, one in tag.attributes(data).items()}
            stack.append((tag.name, tag.end if hides(attributes) else -1))
            open_names[tag.name] += 1
        elif open_names[tag.name]:
            name = ""
            while name != tag.name:
                name, begun = stack.pop()
                open_names[name] -= 1
                if begun >= 0:
                    spans.append((begun, tag.start))
    spans += [(begun, len(data)) for _, begun in stack if begun >= 0]
    outermost: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not outermost or span[0] >= outermost[-1][1]:
            outermost.append(span)
    return outermost


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
