"""Globs over addresses and URLs: ``*`` stands for anything, ``?`` for one character, nothing else is special."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote

from policies.address import canonical_domain, folded

_WILD = re.compile(r"[*?]")


def pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one pattern that matches a whole string when any of the globs does; ``None`` for no globs at all."""
    # fnmatch writes every star as an atomic group, so that a glob of many stars takes linear time on a long URL; with
    # plain ".*" six stars and a hundred characters took eleven seconds. Its one extra, "[…]", is escaped away.
    parts = [fnmatch.translate(glob.replace("[", "[[]")) for glob in globs]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def address_pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for folded addresses; the globs are folded the same way, so that IDNA and case agree."""
    return pattern(folded(glob) for glob in globs)


_GLOB_HOST = re.compile(r"([^/]*://|//)?([^/]*)(.*)", re.DOTALL)
_URL_HOST = re.compile(r"(https?:)?//([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORT = {"http://": ":80", "https://": ":443"}
_NOT_IN_URL = re.compile(r"[^!-~]+")


def url_pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for ``url_matches``; the globs' hosts are written as those of URLs are."""
    return pattern(_normal(_GLOB_HOST, glob, "utf-8") for glob in globs)


def url_matches(compiled: re.Pattern[str] | None, url: str) -> bool:
    """Tell whether a URL matches, as it is written or could be: ``https://a.example:443`` is ``https://a.example/``.

    Case of the host, IDNA, the default port and an empty path make no difference (RFC 3986 §6.2.2 and §6.2.3), nor
    whether letters beyond ASCII, or spaces, are escaped (RFC 3987 §3.1).
    """
    if compiled is None:
        return False
    # What is beyond ASCII in the URL of a message is its bytes, each read as a character, or came from a reference.
    encodings = ("utf-8",) if url.isascii() else ("latin-1", "utf-8")
    return matches(compiled, url) or any(matches(compiled, _normal(_URL_HOST, url, one)) for one in encodings)


def _normal(form: re.Pattern[str], text: str, encoding: str) -> str:
    found = form.fullmatch(text)
    if found is None:
        return text
    scheme, host, rest = (found[1] or "").lower(), found[2], found[3]
    if form is _URL_HOST:
        # What has no scheme is fetched by that of the page, which in mail is nobody's (RFC 3986 §4.2).
        scheme = f"{scheme or 'https:'}//"
    host = canonical_domain(host.removesuffix(_DEFAULT_PORT.get(scheme, "")))
    needs_path = not rest.startswith("/") and scheme and not host.endswith(("*", "?"))
    return f"{scheme}{host}{'/' if needs_path else ''}{_escaped(rest, encoding)}"


def _escaped(rest: str, encoding: str) -> str:
    return _NOT_IN_URL.sub(lambda match: quote(match[0], encoding=encoding, errors="replace"), rest)


def matches(compiled: re.Pattern[str] | None, text: str) -> bool:
    """Tell whether the whole text matches; a missing pattern matches nothing."""
    return compiled is not None and compiled.fullmatch(text) is not None


def overlap(one: str, other: str) -> bool:
    """Tell whether some text matches both globs. Compared as they are written: fold them first."""
    # reachable[j]: what stands before here in ``one``, and the first j symbols of ``other``, have a text in common.
    reachable = [other[:at].strip("*") == "" for at in range(len(other) + 1)]
    for symbol in one:
        row = [reachable[0] and symbol == "*"]
        for at, against in enumerate(other):
            if "*" in (symbol, against):
                row.append(row[at] or reachable[at + 1])
            else:
                row.append(reachable[at] and (symbol == against or "?" in (symbol, against)))
        reachable = row
    return reachable[-1]


@dataclass(slots=True)
class _Owned:
    """Globs that have one literal end in common: the owners of those that are only that and a star, and the others."""

    owners: int = 0
    others: list[tuple[str, re.Pattern[str], int]] = field(default_factory=list)
    """Each with another piece of it to look for first: that is ten times as fast as trying to match."""

    def matching(self, text: str) -> int:
        found = self.owners
        for piece, compiled, owners in self.others:
            if piece in text and compiled.fullmatch(text):
                found |= owners
        return found


_NOBODY = _Owned()


class GlobIndex:
    """Many globs at once: which of their owners have one that matches a text, as bits of a number.

    Globs are found by what stands in them before the first or after the last wildcard, so that the time hardly grows
    with their number. They and the texts must be folded the same way before.
    """

    def __init__(self, globs: Iterable[tuple[str, int]]) -> None:
        """Take the globs, each with its owner: a number with one bit set."""
        self._exact: dict[str, int] = {}
        self._starts: dict[str, _Owned] = {}
        self._ends: dict[str, _Owned] = {}
        self._inside = _Owned()
        owners: dict[str, int] = {}
        for glob, owner in globs:
            owners[glob] = owners.get(glob, 0) | owner
        for glob, those in owners.items():
            self._add(glob, those)
        self._start_lengths = sorted({len(start) for start in self._starts})
        self._end_lengths = sorted({len(end) for end in self._ends})

    def _add(self, glob: str, owners: int) -> None:
        if _WILD.search(glob) is None:
            self._exact[glob] = owners
            return
        start, *middle, end = pieces = _WILD.split(glob)
        if end and len(end) >= len(start):
            owned, simple, others = self._ends.setdefault(end, _Owned()), "*" + end, [start, *middle]
        elif start:
            owned, simple, others = self._starts.setdefault(start, _Owned()), start + "*", [*middle, end]
        else:
            owned, simple, others = self._inside, "*", pieces
        if glob == simple:
            owned.owners = owners
        else:
            owned.others.append((max(others, key=len), _one(glob), owners))

    def owners(self, text: str) -> int:
        """Return the owners of the globs that match the whole text."""
        found = self._exact.get(text, 0) | self._inside.matching(text)
        for length in self._end_lengths:
            found |= self._ends.get(text[-length:], _NOBODY).matching(text)
        for length in self._start_lengths:
            found |= self._starts.get(text[:length], _NOBODY).matching(text)
        return found


def _one(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob.replace("[", "[[]")))
