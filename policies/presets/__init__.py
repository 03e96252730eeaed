"""Presets: ready-made policies by name, each explained in its own file. A preset is a ceiling, too.

The files belong to the program as its modules do, and are read with them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """One preset: the settings it stands for, what it promises, and what a file may still say beside it."""

    name: str
    policy: Mapping[str, Any]
    promise: str = ""
    permits: Mapping[str, list[str]] = field(default_factory=dict)
    """By key the values that keep the promise; a key that is not here may have any."""

    def permitted(self, key: str, value: str) -> bool:
        """Tell whether a value of a key keeps the promise."""
        return key not in self.permits or value in self.permits[key]

    def beneath(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a file with those of the preset where the file says nothing, tables included."""
        merged = {**self.policy, **given}
        for key, value in self.policy.items():
            said = given.get(key)
            if isinstance(value, Mapping) and isinstance(said, Mapping):
                merged[key] = {**value, **said}
        return merged


def _read(name: str) -> Preset:
    content = tomllib.loads((files(__name__) / f"{name}.toml").read_text("utf-8"))
    return Preset(name, **content)


PRESETS = {name: _read(name) for name in ("strict", "report-only", "never-track")}
