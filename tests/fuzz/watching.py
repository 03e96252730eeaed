"""What must hold of a message that other people's trackers are taken out of: they go, and nothing else does.

What the engine says that it took out is believed only where it stands in the message and looks like what it is said to
be.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import unquote

from policies.words import Surface
from proxy.body import Body
from proxy.message import Message, Reading, read_message
from proxy.rewrite import untracked
from proxy.structure import read_structure
from proxy.trackers import Finding
from proxy.transfer import Edit
from proxy.vendors import shipped_vendors
from tests.fuzz.reading import decoded, decoded_attribute, expect, fields, parts, payload, shape, unread

_TAGS = re.compile(rb"<[^<>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^<>\"']*)*>")
_GLYPHS = frozenset({b"", "\u1427".encode(), b"&#5159;", b"&#x1427;"})


def foreign_shapes() -> list[bytes]:
    """Return what vendors' programs write, made of the samples in their rules."""
    found: list[str] = []
    for vendor in shipped_vendors():
        for mark in vendor.mark:
            for hit in mark.hit:
                url = escape(hit)
                found += [f'<img src="{url}" width=1>', f"<IMG alt=x SRC='{url}'>"] if "image" in mark.on else []
                found += [f'<p style="color:red;background:url({url})">x</p>'] if "css" in mark.on else []
                found += [f"<style>p {{ background: url('{hit}') }}</style>"] if "css" in mark.on else []
                found += [f'<a href="{url}">go</a>', f"<a href={url}>go</a>", f"{hit}\r\n"] if "link" in mark.on else []
        for element in vendor.element:
            found += [f"{hit}</{element.tag}>" for hit in element.hit]
    return [one.encode("utf-8") for one in found]


def check_cleaned(plain: bytes, cleaned: bytes, message: Message, reading: Reading) -> None:
    """Raise Fault for the first thing that does not hold of a message without trackers, beside one without ours."""
    bodies = (*message.bodies, *message.texts)
    if not any(one.edits for body in bodies for one in body.foreign):
        expect(cleaned == plain, "nothing was found, and it is not untouched")
        return
    expect(_others(cleaned) == _others(plain), "a part changed in which nothing is looked for")
    again = read_message(cleaned, reading)
    expect(untracked(again, clean=True).raw == cleaned, "a second pass takes out more")
    if any(map(unread, parts(message.raw))) or re.search(rb"\r(?!\n)", message.raw):
        # The library takes a CR alone for a line break; no such message comes by SMTP.
        return
    expect(shape(cleaned) == shape(plain), "the tree has another shape")
    headers = zip(map(fields, parts(plain)), map(fields, parts(cleaned)), strict=True)
    expect(all(old == new for old, new in headers), "a header field changed")
    for old, new in zip(parts(message.raw), parts(cleaned), strict=True):
        if not old.is_multipart() and payload(old) != payload(new):
            before, after = decoded(old), decoded(new)
            expect(any(_accounts_for(body, before, after) for body in bodies), "something else went")
    for body in bodies:
        for one in body.foreign:
            _check(one, body.encoded.decoded, html=body in message.bodies)


def _others(raw: bytes) -> list[tuple[int, bytes]]:
    """Return depth and bytes of every part in which nothing is looked for."""
    found = [entity.part for entity in read_structure(raw)]
    leaves = (one for one in found if not one.content_type.startswith("multipart/"))
    return [
        (one.depth, raw[one.start : one.end])
        for one in leaves
        if not (one.in_body and one.content_type in ("text/html", "text/plain"))
    ]


def _accounts_for(body: Body, before: bytes, after: bytes) -> bool:
    """Tell whether what a body says that was found in it, taken out of one content, makes the other."""
    edits: list[Edit] = sorted({*body.own.edits, *(edit for one in body.foreign for edit in one.edits)})
    return body.encoded.decoded == before and _without(before, edits) == after


def _without(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the content with the edits made; one inside another goes with it."""
    made: list[bytes] = []
    at = 0
    for start, end, new in sorted(edits, key=lambda edit: (edit[0], edit[1] > edit[0], -edit[1])):
        if start >= at:
            made += content[at:start], new
            at = end
    return b"".join([*made, content[at:]])


def _check(one: Finding, content: bytes, *, html: bool) -> None:
    """Raise Fault where a tracker that goes, or a link that is unwrapped, is not what it is said to be."""
    for start, end, new in one.edits:
        gone = content[start:end]
        if one.destination is not None:
            said = decoded_attribute(new.decode("ascii")) if html else new.decode("ascii")
            expect(said == one.destination, f"a link is to lead to {one.destination!r} and leads to {said!r}")
            expect(re.match(r"(?i)https?://[^/]", said) is not None, f"a link leads to {said!r}")
        else:
            # A space, where what stood in front of it would make markup of what follows.
            expect(
                new == b""
                or (new == b" " and re.search(rb"(?:<|&#?\w*)\Z", content[max(0, start - 34) : start]) is not None),
                "something came in its place",
            )
        if one.surface is Surface.ELEMENT:
            # A piece of another tag in one that is not closed is no text; what that says is not for a pattern to tell.
            left = b"" if gone.count(b"<") > gone.count(b">") else _TAGS.sub(b"", gone).strip()
            expect(left in _GLYPHS, f"{gone!r} is more than an element of nobody's")
        else:
            told = "xn--" in one.host or any(one.host in said for said in _spellings(gone))
            expect(told, f"{gone!r} is not from {one.host}")


def _spellings(gone: bytes) -> Sequence[str]:
    """Return what went as programs may read it: references, percent signs and breaks apart, dots as App Engine has."""
    text = re.sub(r"[\t\r\n]", "", decoded_attribute(gone.decode("latin-1"))).lower()
    plain = unquote(text)
    return text, plain, plain.replace("-dot-", "."), re.sub(r"\\([0-9a-f]{1,6} ?|.)", r"\1", plain)
