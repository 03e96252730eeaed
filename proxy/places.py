"""Places: where the offsets of what quoted-printable says lie in what is written (RFC 2045 §6.7)."""

from proxy.header import Unparsable

_FAR = 256
_OPAQUE = frozenset(bytes([one]) for one in b"\"'<>#")
"""Bytes that are no part of how another one is written."""


class Places:
    """Where decoded offsets, asked for in order, lie in quoted-printable that has no padding.

    Nothing is counted twice, and most of it by ``bytes.count``: many edits in one part cost little more than one.
    """

    def __init__(self, content: bytes, said: bytes) -> None:
        """Begin at the beginning; ``said`` is the content decoded."""
        self._content = content
        self._text = said
        self._growth = len(content) / max(1, len(said))
        self.decoded = 0
        """The last decoded offset that was asked for."""
        self._at = 0
        self.line_start = 0
        """Where the line of the last place begins."""

    def find(self, offset: int) -> int:
        """Return the place of a decoded offset: behind a soft line break that stands there."""
        content, at, rest = self._content, self._at, offset - self.decoded
        length = len(content)
        if rest > _FAR:
            at, rest = self._jumped(at, rest)
        at, rest = self._beside_mark(at, rest, offset)
        while rest > 0:
            # What is decoded is never longer than what it was, so this is not too far; nor may it cut through "=3D".
            end = at + rest
            cut = content.rfind(b"=", max(at, end - 2), end)
            if cut == at:
                at, characters = self._behind_sign(at)
                rest -= characters
                continue
            end = end if cut == -1 else cut
            rest -= self._said(at, end)
            at = end
            if at >= length and rest:
                raise Unparsable("quoted-printable lines do not add up")
        while content.startswith((b"=\r", b"=\n"), at):
            at, _ = self._behind_sign(at)
        if content.startswith(b"\r\n", at - 1) and at:
            raise Unparsable("an edit begins or ends inside a line break")
        self.line_start = content.rfind(b"\n", self._at, at) + 1 or self.line_start
        self._at, self.decoded = at, offset
        return at

    def _beside_mark(self, at: int, rest: int, offset: int) -> tuple[int, int]:
        """Return the place of the offset, and nothing left, if it is found by a mark in front of it or behind it.

        Most edits stand between quotes, and that is often the next one. It is that if it is as far away as it says.
        """
        mark, behind = self._text[offset - 1 : offset], 1
        if mark not in _OPAQUE:
            mark, behind = self._text[offset : offset + 1], 0
        if mark not in _OPAQUE or rest <= behind:
            return at, rest
        end = self._content.find(mark, at + rest - behind, at + 4 * rest + 4)
        found = end != -1 and self._said(at, end) == rest - behind
        return (end + behind, 0) if found else (at, rest)

    def _jumped(self, at: int, rest: int) -> tuple[int, int]:
        """Return a place on the way to one that is far away, and how much is left: all of it looks about the same."""
        end = at + int((rest - _FAR // 4) * self._growth)
        cut = self._content.rfind(b"=", end - 2, end)
        end = end if cut == -1 else cut
        said = self._said(at, end)
        return (end, rest - said) if 0 < said <= rest and end < len(self._content) else (at, rest)

    def _said(self, at: int, end: int) -> int:
        """Return how many decoded bytes stand between two places."""
        # An octet is two bytes longer than what it means; a soft line break means nothing, and CRLF is one longer.
        return end - at - 2 * self._content.count(b"=", at, end) - self._content.count(b"=\r\n", at, end)

    def _behind_sign(self, at: int) -> tuple[int, int]:
        """Return the place behind the octet or soft line break whose ``=`` is at ``at``, and how much it says."""
        if self._content[at + 1] == 10:
            return at + 2, 0
        return at + 3, int(self._content[at + 1] != 13)

    def left(self) -> int:
        """Return how many characters stand behind the last place."""
        content, at = self._content, self._at
        # A sign at the very end means nothing.
        ends_open = content.endswith(b"=")
        return len(content) - at - 2 * content.count(b"=", at) - content.count(b"=\r\n", at) + ends_open
