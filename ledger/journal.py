"""The journal: refusals and erasures, once more, in a file of their own, so that no restored backup undoes one.

It holds keyed hashes only. Each line carries a MAC over itself and the line before it, so that none can be altered,
added or taken out of the middle. Grants are not in it: after a restore, who agreed since the backup agrees again.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ledger import folder
from ledger.errors import LedgerError
from ledger.keys import Keyring

_TAIL_BYTES = 4_096
"""More than a line can have."""
HEAD = "head"
"""A line that says up to which event of the chain the lines before it go."""
EVENT = "event"


class JournalDamaged(LedgerError):
    """The journal is not what was written: whether a refusal is missing from it cannot be told."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a refusal or an erasure, or only how far the chain was."""

    kind: str
    sequence: int
    """Of the event in the chain."""
    id: str
    """The event's id; of a head its row hash."""
    at: str
    folded_hash: str = ""
    purpose: str = ""
    state: str = ""
    assurance: str = ""
    number: int = 0
    """Of the line; given when it is written."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The file. Safe between processes."""

    path: Path
    keyring: Keyring

    def tail(self) -> Entry | None:
        """Return the last line; None where there is no file. Raises JournalDamaged where it cannot be read."""
        try:
            with self.path.open("rb") as file:
                entry, _, _ = self._tail(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalDamaged(f"The journal {self.path} cannot be read: {error.strerror}.") from error
        return entry

    def entries(self) -> list[Entry]:
        """Return every line, each proven. Raises JournalDamaged, naming the first that is not as it was written."""
        before, found = "", []
        for number, line in enumerate(_whole_lines(self.path.read_bytes()), 1):
            entry, mac = self._parsed(line)
            if entry.number != number or mac != self._mac(entry, before):
                raise JournalDamaged(f"Line {number} of the journal {self.path} is not as it was written.")
            before = mac
            found.append(entry)
        return found

    def begin(self, entries: Sequence[Entry], *, anew: bool = False) -> None:
        """Write a new journal, whole or not at all. Raises OSError.

        A file that is in its place stays, or is put aside where it is to be begun ``anew``.
        """
        # A name of its own: relay and web, started together, may both find that there is none.
        beside = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        beside.touch(mode=0o600)
        try:
            Journal(beside, self.keyring)._append(entries, new=True)
            if self.path.exists() and anew:
                self.path.replace(self.path.with_name(self.path.name + ".damaged"))
            if not self.path.exists():
                beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)
        folder.sync(self.path.parent)

    def write(self, entries: Sequence[Entry]) -> None:
        """Add what goes beyond the last line, on disk; never makes a file. Raises JournalDamaged or OSError."""
        self._append(entries)

    def write_restored(self, entry: Entry) -> None:
        """Add the head of a restored chain after the replay; what follows goes on from it."""
        self._append([entry], whatever=True)

    def _append(self, entries: Sequence[Entry], *, new: bool = False, whatever: bool = False) -> None:
        with self._locked() as file:
            last, before, end = (None, "", 0) if new else self._tail(file)
            reached = last.sequence if last is not None and not whatever else -1
            number = last.number if last is not None else 0
            lines = []
            for entry in (one for one in entries if one.sequence > reached):
                number += 1
                numbered = replace(entry, number=number)
                before = self._mac(numbered, before)
                lines.append(f"{_content(numbered)} {before}\n".encode("ascii"))
            # What a power cut left of a line goes; it was never answered for.
            file.truncate(end)
            file.seek(end)
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        with self.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _tail(self, file: BinaryIO) -> tuple[Entry, str, int]:
        """Return the last whole line, its MAC, and where it ends. Only its form is looked at: ``entries`` proves it."""
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        file.seek(start)
        content = file.read()
        lines = list(_whole_lines(content))
        if not lines:
            raise JournalDamaged(f"The journal {self.path} holds nothing that can be read.")
        entry, mac = self._parsed(lines[-1])
        return entry, mac, start + content.rindex(b"\n") + 1

    def _parsed(self, line: bytes) -> tuple[Entry, str]:
        content, _, mac = line.rpartition(b" ")
        try:
            return Entry(*json.loads(content)), mac.decode("ascii")
        except (ValueError, TypeError) as error:
            raise JournalDamaged(f"The journal {self.path} has a line that cannot be read.") from error

    def _mac(self, entry: Entry, before: str) -> str:
        return self.keyring.chained(f"journal {before} {_content(entry)}".encode("ascii"))


def _content(entry: Entry) -> str:
    return json.dumps(list(asdict(entry).values()), ensure_ascii=True)


def _whole_lines(content: bytes) -> Iterable[bytes]:
    return content.split(b"\n")[:-1]


def lost(entries: Sequence[Entry], held: Iterable[Entry], cut_at: str) -> list[Entry]:
    """Return the events in a journal that a restored ledger does not know, oldest first.

    ``held`` are the lines that the ledger has; what stands before the last of them it knew, even where a purge has
    removed it since, and so it did what is older than its last purge, at ``cut_at``.
    """
    last = max((entry.number for entry in held), default=0)
    return [entry for entry in entries if entry.kind == EVENT and entry.number > last and entry.at > cut_at]


def head_entry(head: tuple[int, str], at: str) -> Entry:
    """Return the line that says how far the chain is."""
    return Entry(HEAD, *head, at)
