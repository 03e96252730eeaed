"""A maildir that a real server delivers to."""

from pathlib import Path

from tests.e2e.waiting import until


class Maildir:
    """Everything that was delivered; each file is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "new"
        self._read: dict[str, bytes] = {}

    def delivered(self, needle: bytes) -> list[bytes]:
        """Return the messages that hold some bytes, oldest first, as their files hold them."""
        for file in sorted(self._folder.glob("*"), key=lambda file: file.stat().st_mtime_ns):
            if file.name not in self._read:
                self._read[file.name] = file.read_bytes()
        return [content for content in self._read.values() if needle in content]

    def wait_for(self, needle: bytes) -> bytes:
        """Wait until a message with some bytes is there and return it."""
        (first, *_) = until(lambda: self.delivered(needle), f"{needle!r} is delivered", seconds=60, pause=0.01)
        return first
