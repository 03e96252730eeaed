"""Character references in attribute values, as WHATWG HTML §13.2.5.72 to 80 decodes them."""

import re
from collections.abc import Sequence
from html.entities import html5

_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+));?|([A-Za-z][A-Za-z0-9]*;?))")
_LONGEST = max(map(len, html5))

# §13.2.5.80: numbers that mean a character of windows-1252, as old pages meant them.
_WINDOWS_1252 = {
    number: bytes([number]).decode("cp1252")
    for number in range(0x80, 0xA0)
    if number not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}


def decode_attribute(value: str) -> str:
    """Return an attribute value with its character references replaced."""
    if "&" not in value:
        return value
    if value.count("&") == value.count("&amp;"):
        # Of most addresses that is all.
        return value.replace("&amp;", "&")
    return _REFERENCE.sub(_replace, value)


def decode_with_offsets(value: str) -> tuple[str, Sequence[int]]:
    """Return an attribute value decoded, and where each of its characters, and its end, stands in the raw one."""
    if "&" not in value:
        return value, range(len(value) + 1)
    pieces: list[str] = []
    offsets: list[int] = []
    at = 0
    for match in _REFERENCE.finditer(value):
        decoded = _replace(match)
        pieces += (value[at : match.start()], decoded)
        # What a reference stands for begins where it begins; a cut inside it is a cut in front of it.
        offsets += (*range(at, match.start()), *[match.start()] * len(decoded))
        at = match.end()
    pieces.append(value[at:])
    offsets += range(at, len(value) + 1)
    return "".join(pieces), offsets


def _replace(match: re.Match[str]) -> str:
    hexadecimal, decimal, name = match.groups()
    if name is not None:
        return _named(match, name)
    digits, base = (hexadecimal, 16) if hexadecimal is not None else (decimal, 10)
    # Seven digits are past U+10FFFF in either base; int() over thousands of digits would be slow.
    number = int(digits.lstrip("0")[:8] or "0", base)
    if number == 0 or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return "\ufffd"
    return _WINDOWS_1252.get(number) or chr(number)


def _named(match: re.Match[str], name: str) -> str:
    if name in html5 and name.endswith(";"):
        return html5[name]
    # Without a semicolon the longest name counts, and in an attribute only where no letter, digit or "=" follows
    # (§13.2.5.73): "&copy=1" and "&section=5" are parameters, not characters.
    for length in range(min(len(name), _LONGEST), 0, -1):
        if name[:length] in html5:
            after = name[length:] or match.string[match.end() : match.end() + 1]
            if after and (after[0] == "=" or (after[0].isascii() and after[0].isalnum())):
                return match[0]
            return html5[name[:length]] + name[length:]
    return match[0]
