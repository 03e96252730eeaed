"""The certificates of the listeners: watched while they are in use, and tried before any worker takes them up."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from aboveboard import relaying
from aboveboard.config import ConfigError
from aboveboard.reload import AGAIN_SECONDS, LOOK_SECONDS, signature
from aboveboard.settings import ListenerSection


@dataclass(slots=True)
class WatchedCertificates:
    """The files of the listeners' certificates and keys, as they were taken up last."""

    listeners: list[ListenerSection]
    _taken: dict[Path, object] = field(init=False)
    _seen: dict[Path, object] = field(init=False)
    _looked: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._taken = self._seen = self._signatures()

    def _signatures(self) -> dict[Path, object]:
        files = [file for one in self.listeners for file in (one.certificate, one.key) if file is not None]
        return {file: signature(file) for file in files}

    def take_again(self) -> None:
        """Have the files count as renewed in a while: that could not be put in force."""
        self._taken, self._looked = {}, time.monotonic() + AGAIN_SECONDS

    def renewed(self, *, asked: bool = False) -> bool:
        """Tell whether there is something new that is right. Raises ConfigError, once, where it is not.

        Files that change count once they have come to rest, or at once where somebody ``asked``.
        """
        now = time.monotonic()
        if not asked and now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        before, self._seen = self._seen, self._signatures()
        if self._seen == self._taken or (self._seen != before and not asked):
            return False
        self._taken = self._seen
        problems: list[str] = []
        for at, section in enumerate(self.listeners):
            try:
                relaying.certificate(at, section)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return True
