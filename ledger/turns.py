"""Turns: the queue of those who write to one SQLite file, in this process and in others. Who asked first writes first.

SQLite lets one transaction write at a time and keeps no order among those who wait. So everybody who is about to write
locks a byte of a file beside the ledger, as far up in it as the clock stands, and it is their turn when nobody holds a
byte below. The locks are the kernel's, which gives them back when a process ends, however it ends; nothing is ever
written to the file.

Only the order comes from here. That one transaction writes at a time is SQLite's doing, so whoever has no place in the
queue, or stands behind somebody who does not move, may try all the same.
"""

import fcntl
import os
import struct
import sys
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import ClassVar, Self

SUFFIX = "-queue"
STUCK_SECONDS = 0.1
"""After so long whoever is not first tries without their turn: somebody before them may have been stopped (SIGSTOP)."""
MOST_WAITERS = 4
"""In one process. Whoever finds them all waiting looks again after a while."""
_FLOCK = struct.Struct("hhqqi4x")
"""Linux's struct flock: type, whence, start, length, and a process id that is 0 for locks of an open file."""


def _lock(file: int, command: int, kind: int, start: int, length: int) -> bool:
    """Lock or unlock bytes of an open file; tell whether that was done. Raises OSError where it cannot be."""
    try:
        fcntl.fcntl(file, command, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except BlockingIOError:
        return False
    return True


class Turn:
    """A turn that comes, and is over when the block ends."""

    def __init__(self, file: int | None, number: int = 0) -> None:
        self._file = file
        self._number = number
        self._come: Future[None] | None = None

    def comes(self) -> "Future[None]":
        """Return a future that is done when everybody who came before is gone."""
        if self._come is not None:
            return self._come
        come: Future[None] = Future()
        if self._file is None or _lock(self._file, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, 0, self._number):
            come.set_result(None)
        # A descriptor of its own: whoever waits may give up, and the number is another file's then.
        elif not _Waiter.wait(os.dup(self._file), self._number, come):
            return come
        self._come = come
        return come

    def wait(self) -> None:
        """Wait until it is this one's turn, but not for longer than others may be stuck."""
        with suppress(TimeoutError):
            self.comes().result(STUCK_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            # Said outright: a waiter may have the file open still.
            _lock(self._file, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, self._number, 1)
            os.close(self._file)


class _Waiter(Thread):
    """A thread that waits in the kernel, for one after the other. None is made before somebody has to wait."""

    idle: ClassVar[list["_Waiter"]] = []
    made: ClassVar[int] = 0
    making: ClassVar[Lock] = Lock()

    def __init__(self) -> None:
        super().__init__(name="turn", daemon=True)
        self._asked: SimpleQueue[tuple[int, int, Future[None]]] = SimpleQueue()

    @classmethod
    def wait(cls, file: int, number: int, come: "Future[None]") -> bool:
        """Have ``come`` done when the turn has, and the file closed. Returns False where nobody is there to wait."""
        try:
            waiter: _Waiter | None = cls.idle.pop()
        except IndexError:
            # Not looked at before: another thread, which has to wait too, might take the last one just then.
            waiter = cls._another()
        if waiter is None:
            os.close(file)
            return False
        waiter._asked.put((file, number, come))
        return True

    @classmethod
    def _another(cls) -> "_Waiter | None":
        """Return one more; None where there are enough of them, or the system has no thread to give."""
        with cls.making:
            if cls.made == MOST_WAITERS:
                return None
            waiter = cls()
            try:
                waiter.start()
            except RuntimeError:
                return None
            cls.made += 1
        return waiter

    def run(self) -> None:
        """Wait for whoever asks."""
        while True:
            file, number, come = self._asked.get()
            with suppress(OSError):
                _lock(file, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, 0, number)
            os.close(file)
            self.idle.append(self)
            come.set_result(None)
            del come


def line_up(ledger: Path | None) -> Turn:
    """Take a place in the queue of a ledger. Whoever needs none (None), or cannot have one, has their turn at once."""
    if ledger is None or sys.platform != "linux":
        return Turn(None)
    try:
        file = _opened(ledger)
    except OSError:
        return Turn(None)
    try:
        number = time.monotonic_ns()
        # Where somebody came later and is first already, this one has to come later still.
        while not _lock(file, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, number, 1):
            number = time.monotonic_ns()
    except OSError:
        os.close(file)
        return Turn(None)
    return Turn(file, number)


def _opened(ledger: Path) -> int:
    """Open the file beside a ledger. It is made for those who may write the ledger, as SQLite makes its own."""
    path = f"{ledger}{SUFFIX}"
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        status = ledger.stat()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with suppress(OSError):
        os.fchown(file, status.st_uid, status.st_gid)
        os.fchmod(file, status.st_mode & 0o666)
    return file
