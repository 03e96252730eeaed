"""What is in force: the configuration that the parent read last and found right, and that every worker goes by.

Only the parent reads the file that people edit. The workers read what the parent wrote for them, whole, in a folder of
its own: so all of them go by the same, and one that is started again never meets a file that is just being changed.
"""

import errno
import json
import os
import pwd
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aboveboard.config import ConfigError, loads, read_text
from aboveboard.settings import Config
from policies.policy import canonical_text, version_of

RELOADED = ("policy", "organisation", "retention")
"""The sections that are taken up while running; every other one needs a restart."""
LOOK_SECONDS = 1.0
"""Between two looks at the file: twice the same, and it has come to rest."""
AGAIN_SECONDS = 5.0
"""Before what could not be put in force is looked at once more."""
_START_TRIES = 20
_START_PAUSE = 0.1

_Signature = tuple[int, ...]


def signature(path: Path) -> _Signature | None:
    """Return what changes whenever a file does, or None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class Taken:
    """What a file said, and whose it is."""

    text: str
    author: str
    at: datetime


class WatchedFile:
    """A configuration file that people change while it is in use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._taken: _Signature | None = None
        self._seen: _Signature | None = None
        self._again = False
        self._looked = time.monotonic()

    def changed(self) -> bool:
        """Tell whether the file is not the one that was taken, and has come to rest; looks at most once a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        before, self._seen = self._seen, signature(self.path)
        return self._seen == before and (self._again or self._seen != self._taken)

    def take_again(self) -> None:
        """Have the file count as changed in a while: what it says could not be put in force."""
        self._again, self._looked = True, time.monotonic() + AGAIN_SECONDS

    def take(self) -> Taken | None:
        """Return what the file says, or None where it changed while it was read. Raises ConfigError."""
        before, self._again = signature(self.path), False
        problem: ConfigError | None = None
        text = ""
        try:
            if self._taken is not None and self.path.exists() and not self.path.is_file():
                # Whoever opens a pipe waits for its other end: nothing would be looked after, and no signal heard.
                raise ConfigError([f"{self.path}: is no ordinary file any more."])
            text = read_text(self.path)
        except ConfigError as error:
            problem = error
        author = _owner(self.path)
        if signature(self.path) != before:
            return None
        self._taken = self._seen = before
        if problem is not None:
            raise problem
        return Taken(text, author, datetime.now(UTC))

    def take_first(self) -> Taken:
        """Return what the file says, waiting a moment where it is being written. Raises ConfigError."""
        for _ in range(_START_TRIES):
            taken = self.take()
            if taken is not None:
                return taken
            time.sleep(_START_PAUSE)
        raise ConfigError([f"{self.path}: is being changed all the time; start again when it is done."])


def _owner(path: Path) -> str:
    """Return the name of the account that a file belongs to."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return "unknown"
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def _taken_up(running: Config, found: Config) -> Config:
    taken = {section: getattr(found, section) for section in RELOADED}
    if _asks_too_early(running, found):
        taken["policy"] = found.policy.model_copy(update={"ask": "never"})
    return running.model_copy(update=taken)


def _asks_too_early(running: Config, found: Config) -> bool:
    """Tell whether people would be asked whose yes cannot count yet: it takes a letter, and what sends those waits."""
    return found.policy.ask != "never" and running.system_mail is None


def _waiting(running: Config, found: Config) -> tuple[str, ...]:
    """Return the key paths of what is different in the file and cannot be taken up while running."""
    keys = ["policy.ask"] if _asks_too_early(running, found) else []
    for section in sorted(set(Config.model_fields) - set(RELOADED)):
        before, after = getattr(running, section), getattr(found, section)
        if before is None or after is None:
            keys += [section] if before is not after else []
        else:
            fields = type(before).model_fields
            keys += [f"{section}.{name}" for name in fields if getattr(before, name) != getattr(after, name)]
    return tuple(keys)


@dataclass(slots=True)
class Current:
    """The configuration in force, for what goes on for long: it looks here every time it begins anew."""

    config: Config


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration in force, and where it came from."""

    config: Config
    path: Path
    """The file that people change; relative paths are relative to where it stands."""
    begun_with: str
    """The file's text when the parent began: what needs a restart is still as it says."""
    text: str
    """The file's text when it was last taken up."""
    author: str
    since: datetime
    stale: bool = False
    """The file has been changed since and is not right."""
    certificates: int = 0
    """How often certificates were renewed: the workers take up the files when this changes."""
    waiting: tuple[str, ...] = ()
    """Key paths of what the file says otherwise and what needs a restart."""

    @classmethod
    def begin(cls, path: Path, taken: Taken) -> "InForce":
        """Return what is in force at the beginning. Raises ConfigError."""
        return cls(loads(taken.text, path), path, taken.text, taken.text, taken.author, taken.at)

    def renewed(self, taken: Taken) -> "InForce":
        """Return what is in force with the file as it is now. Raises ConfigError."""
        found = loads(taken.text, self.path)
        config = _taken_up(self.config, found)
        same = config == self.config
        return replace(
            self,
            config=config,
            text=taken.text,
            author=self.author if same else taken.author,
            since=self.since if same else taken.at,
            stale=False,
            waiting=_waiting(self.config, found),
        )

    @property
    def policy_text(self) -> str:
        """All that can change a decision, in one spelling."""
        return canonical_text(self.config.policy, self.config.organisation.domains)

    @property
    def policy_version(self) -> str:
        """The name of the policy in force."""
        return version_of(self.policy_text)

    def write(self, place: Path) -> None:
        """Write it for the workers, whole or not at all, and for no other account's eyes. Raises OSError."""
        content = {
            "path": str(self.path),
            "begun_with": self.begun_with,
            "text": self.text,
            "author": self.author,
            "since": self.since.isoformat(),
            "stale": self.stale,
            "certificates": self.certificates,
        }
        _have_folder(place.parent)
        fresh = place.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)
        fresh.replace(place)

    @classmethod
    def read(cls, place: Path) -> "InForce":
        """Return what the parent wrote. Raises ConfigError where files that it names are not there any more."""
        path, content = _read(place)
        config = _taken_up(loads(content["begun_with"], path), loads(content["text"], path))
        return cls(config=config, path=path, **content)

    def read_again(self, place: Path) -> "InForce":
        """Return what the parent wrote since; only what is new in it is read. Raises ConfigError."""
        path, content = _read(place)
        same = content["text"] == self.text
        config = self.config if same else _taken_up(self.config, loads(content["text"], path))
        return InForce(config=config, path=path, **content)


def _have_folder(folder: Path) -> None:
    """Make the folder of what is in force once more where it was cleared away, as systemd does when its user logs out.

    Raises OSError where it cannot be made, or is somebody else's by now.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.lstat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(folder))


def _read(place: Path) -> tuple[Path, dict[str, Any]]:
    content = json.loads(place.read_text("utf-8"))
    return Path(content.pop("path")), {**content, "since": datetime.fromisoformat(content["since"])}
