"""A stand-in for a Docker engine: runs a Dockerfile's own lines in folders, with a venv as each stage's python.

It knows the instructions and options that our Dockerfile uses, and fails at any other.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

PATHS = ("src", "wheels", "data")
"""The directories below / that the Dockerfile uses; in a stage they lie below its root."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a Dockerfile, continuation lines joined."""

    word: str
    rest: str


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile, without comments."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [Instruction(word.upper(), rest.strip()) for word, _, rest in map(_words, joined.splitlines()) if word]


def _words(line: str) -> tuple[str, str, str]:
    return line.strip().partition(" ")


@dataclass
class Stage:
    """What a stage of the build has become: a folder standing in for /, and what is set."""

    name: str
    root: Path
    python: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "root"
    said: dict[str, str] = field(default_factory=dict)
    """What instructions without effect on files said, by their word: EXPOSE, VOLUME, ENTRYPOINT …"""

    @classmethod
    def new(cls, name: str, folder: Path) -> "Stage":
        """Return an empty stage in a folder, with a fresh virtual environment as its python."""
        (folder / "root").mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
        return cls(name, folder / "root", folder / "python")

    def place(self, path: str) -> Path:
        """Return where a path of the stage lies."""
        return self.root / (Path(self.directory) / path).relative_to("/")

    def translated(self, words: str) -> str:
        """Return words with the stage's absolute paths put below its root."""
        return re.sub(rf"(?<![\w./])/(?={'|'.join(PATHS)}\b)", f"{self.root}/", words)

    def process_environment(self) -> dict[str, str]:
        """Return the environment of a process in the stage."""
        path = f"{self.python / 'bin'}:{os.environ['PATH']}"
        ours = {name: self.translated(value) for name, value in self.environment.items()}
        return {**os.environ, **ours, "PATH": path, "VIRTUAL_ENV": str(self.python)}

    def command(self) -> list[str]:
        """Return what the container runs."""
        words: list[str] = json.loads(self.said["ENTRYPOINT"]) + json.loads(self.said["CMD"])
        return [str(self.python / "bin" / words[0]), *(self.translated(word) for word in words[1:])]


def build(dockerfile: str, context: Path, folder: Path) -> list[Stage]:
    """Run a Dockerfile's lines and return its stages, the last of which is the image."""
    stages: list[Stage] = []
    for one in parse(dockerfile):
        if one.word == "FROM":
            name = one.rest.partition(" AS ")[2] or "last"
            stages.append(Stage.new(name, folder / name))
        else:
            _perform(one, stages, context)
    return stages


def _perform(one: Instruction, stages: list[Stage], context: Path) -> None:
    stage = stages[-1]
    if one.word == "WORKDIR":
        stage.directory = str(Path(stage.directory) / one.rest)
        stage.place(".").mkdir(parents=True, exist_ok=True)
    elif one.word == "ENV":
        stage.environment.update(word.split("=", 1) for word in one.rest.split())
    elif one.word == "USER":
        stage.user = one.rest
    elif one.word == "COPY":
        _copy(one.rest, stages, context)
    elif one.word == "RUN":
        _run(one.rest, stages)
    elif one.word in ("EXPOSE", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD"):
        stage.said[one.word] = one.rest
    else:
        raise AssertionError(f"the stand-in does not know {one.word}")


def _copy(rest: str, stages: list[Stage], context: Path) -> None:
    """Copy from the build's context or from an earlier stage; of a folder its content, as Docker does."""
    option = re.match(r"--from=(\S+) ", rest)
    *sources, target = rest[option.end() if option else 0 :].split()
    assert not any(word.startswith("--") for word in sources), rest
    for source in sources:
        origin = _stage(stages, option[1]).place(source) if option else context / source
        place = stages[-1].place(target)
        if origin.is_dir():
            shutil.copytree(origin, place, dirs_exist_ok=True)
        else:
            shutil.copy(origin, place)


def _run(rest: str, stages: list[Stage]) -> None:
    """Run a shell line in the last stage, with the folders of other stages lent to it where it says so."""
    stage, lent = stages[-1], []
    mounts = re.compile(r"--mount=type=bind,from=(\S+?),source=(\S+?),target=(\S+) +")
    while mount := mounts.match(rest):
        stage.place(mount[3]).symlink_to(_stage(stages, mount[1]).place(mount[2]))
        lent.append(stage.place(mount[3]))
        rest = rest[mount.end() :]
    assert not rest.startswith("--"), rest
    subprocess.run(
        ["/bin/sh", "-c", stage.translated(rest)], cwd=stage.place("."), env=stage.process_environment(), check=True
    )
    for place in lent:
        place.unlink()


def _stage(stages: list[Stage], name: str) -> Stage:
    return next(stage for stage in stages if stage.name == name)


def sent_to_the_engine(project: Path, folder: Path) -> Path:
    """Copy into a folder what .dockerignore lets through, and return it: the context of the build."""
    lines = (project / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def left_out(path: Path) -> bool:
        out = False
        for pattern in patterns:
            wanted = pattern.removeprefix("!")
            if any(_matches(str(one), wanted) for one in (path, *path.parents[:-1])):
                out = not pattern.startswith("!")
        return out

    def ignored(directory: str, names: list[str]) -> list[str]:
        return [name for name in names if left_out((Path(directory) / name).relative_to(project))]

    shutil.copytree(project, folder, ignore=ignored)
    return folder


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)
