"""Mistakes: what is wrong with the configuration file, said in sentences that name the key."""

import difflib
import re
from collections.abc import Iterator
from datetime import date, time
from typing import Any

from pydantic_core import ErrorDetails

_KINDS = {
    "string_type": "text in quotes",
    "path_type": "text in quotes",
    "bool_type": "true or false, without quotes",
    "int_type": "a whole number, without quotes",
    "date_from_datetime_parsing": "a day without quotes, like 2026-12-25",
    "date_type": "a day without quotes, like 2026-12-25",
}
"""What a value must be, by pydantic's word for one that is of another kind."""


def _key_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f"{'.' if path else ''}{step}"
    return path


def sentence(error: ErrorDetails, content: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return what is wrong in one sentence that begins with its key path.

    ``content`` is the file as it was read, ``schema`` the JSON Schema of the whole file.
    """
    location = tuple(_keys(error["loc"]))
    path, kind, context = _key_path(location), error["type"], error.get("ctx", {})
    rule = _rule_name(location, content)
    if kind == "missing":
        return f"{path}: is missing{rule}."
    if kind == "extra_forbidden":
        return f"{path}: is not a known key{_did_you_mean(location, schema)}{rule}."
    if kind in ("literal_error", "enum"):
        return f"{path}: must be {context['expected']}{_but_is(error['input'])}{rule}."
    if kind == "value_error":
        return f"{path}: {context['error']}{_but_is(error['input'])}{rule}."
    if kind == "list_type":
        return f"{path}: must be {_as_list(location, error['input'])}{rule}."
    if kind in _KINDS:
        return f"{path}: must be {_KINDS[kind]}{_but_is(error['input'])}{rule}."
    if kind in ("model_type", "dict_type"):
        return f"{path}: must be a section with keys of its own{_but_is(error['input'])}{rule}."
    if kind == "too_short":
        return f"{path}: must not be empty{rule}."
    return f"{path}: {error['msg'][:1].lower()}{error['msg'][1:]}{_but_is(error['input'])}{rule}."


def _as_list(location: tuple[int | str, ...], value: object) -> str:
    """Return how to write a list that is none: with two brackets where it is one of sections."""
    if isinstance(value, dict):
        return f"written [[{'.'.join(step for step in location if isinstance(step, str))}]], with two brackets"
    likes = f', like ["{value}"]' if isinstance(value, str) and value.isprintable() and "://" not in value else ""
    return f"a list{likes}"


_NAMED_BY_PEOPLE = frozenset({"header", "groups"})
"""Tables whose keys are not ours."""


def _keys(location: tuple[int | str, ...]) -> Iterator[int | str]:
    """Yield the steps of an error's place that stand in the file.

    A union names its branches in it ("merge_window.literal['off']"), a table that its key is meant ("[key]").
    """
    before: int | str = ""
    for step in location:
        if isinstance(step, int) or (before in _NAMED_BY_PEOPLE and step != "[key]") or re.fullmatch("[a-z_]+", step):
            yield step
        before = step


def _rule_name(location: tuple[int | str, ...], content: dict[str, Any]) -> str:
    """Return which rule an error is in, by the name that people gave it."""
    if location[:2] != ("policy", "rule") or len(location) < 3 or not isinstance(location[2], int):
        return ""
    rule = content["policy"]["rule"][location[2]]
    name = rule.get("name") if isinstance(rule, dict) else None
    return f' (rule "{name}")' if isinstance(name, str) and name and name.isprintable() else ""


def _but_is(value: object) -> str:
    """Return what stands there instead, unless it is a whole table, or a login may be in it."""
    if isinstance(value, dict) or ("@" in str(value) and "://" in str(value)):
        return ""
    if isinstance(value, date | time):
        # TOML has days and times of its own, written without quotes.
        return f", not {value.isoformat()}"
    return f", not {value!r}"


def _did_you_mean(location: tuple[int | str, ...], schema: dict[str, Any]) -> str:
    here: dict[str, Any] = schema
    for step in location[:-1]:
        here = _inner(schema, here, step)
    near = difflib.get_close_matches(str(location[-1]), here.get("properties", {}), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _inner(schema: dict[str, Any], here: dict[str, Any], step: int | str) -> dict[str, Any]:
    found: dict[str, Any] = here.get("items", {}) if isinstance(step, int) else here.get("properties", {}).get(step, {})
    for option in found.get("anyOf", found.get("oneOf", [])):
        if "$ref" in option:
            found = option
    if "$ref" in found:
        found = schema["$defs"][found["$ref"].rsplit("/", 1)[1]]
    return found
