"""Agreements in a CSV file, as `aboveboard consent import` takes them: every row is right, or none is taken."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger.cells import plain
from ledger.imports import Agreement
from policies.footer import Language
from policies.words import Purpose
from proxy.path import parse_address
from proxy.reply import ReplyError

NEEDED = ("address", "purposes", "date")
OPTIONAL = ("evidence", "source", "language")
_MOST_CHARACTERS = 2_000
"""In one cell."""


class AgreementsError(Exception):
    """The file is not right; ``problems`` holds one sentence per error, with its line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(path: Path, now: datetime) -> list[Agreement]:
    """Return the agreements in a file. Raises AgreementsError, naming every line that is not right.

    UTF-8, with commas or semicolons, and the columns' names in the first line.
    """
    try:
        # Read once: it may be a pipe, and may be written anew meanwhile.
        file = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise AgreementsError([f"{path}: is not UTF-8 text."]) from error
    except OSError as error:
        raise AgreementsError([f"{path}: cannot be read: {error.strerror}."]) from error
    first = file.readline()
    file.seek(0)
    reader = csv.DictReader(file, delimiter=";" if ";" in first else ",", strict=True)
    _check_columns(_names(reader))
    return _all(reader, now)


def _names(reader: "csv.DictReader[str]") -> list[str]:
    try:
        return [name.strip().lower() for name in reader.fieldnames or []]
    except csv.Error as error:
        raise AgreementsError([f"line 1: {error}."]) from error


def _check_columns(names: list[str]) -> None:
    problems = [f"line 1: the column {name} is missing." for name in NEEDED if name not in names]
    known = f"known are {', '.join(NEEDED + OPTIONAL)}"
    problems += [f"line 1: {name!r} is not a known column; {known}." for name in names if name not in NEEDED + OPTIONAL]
    problems += [f"line 1: the column {name} is there twice." for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise AgreementsError(problems)


def _all(reader: "csv.DictReader[str]", now: datetime) -> list[Agreement]:
    agreements: list[Agreement] = []
    problems: list[str] = []
    rows = iter(reader)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise AgreementsError([*problems, f"line {reader.line_num + 1}: {error}."]) from error
        if row is None:
            break
        try:
            agreements.append(_one(reader.line_num, row, now))
        except ValueError as error:
            problems.append(f"line {reader.line_num}: {error}.")
    if problems:
        raise AgreementsError(problems)
    return agreements


def _one(line: int, row: Mapping[str | None, str | None], now: datetime) -> Agreement:
    """Return the agreement in a row. Raises ValueError, saying what is wrong."""
    if None in row or None in row.values():
        raise ValueError("has another number of cells than the first line")
    cells = {str(name).strip().lower(): plain(str(cell).strip()) for name, cell in row.items()}
    for name, cell in cells.items():
        if len(cell) > _MOST_CHARACTERS:
            raise ValueError(f"{name} is longer than {_MOST_CHARACTERS} characters")
    return Agreement(
        line,
        _address(cells["address"]),
        tuple(_purposes(cells["purposes"])),
        _date(cells["date"], now),
        cells.get("evidence", ""),
        cells.get("source", ""),
        _language(cells.get("language", "")),
    )


def _address(text: str) -> str:
    try:
        address = parse_address(text)
    except ReplyError as error:
        raise ValueError(f"address {text!r} is not an e-mail address") from error
    if "@" not in address:
        raise ValueError(f"address {text!r} is not an e-mail address")
    return address


def _purposes(text: str) -> Iterator[Purpose]:
    words = {word for word in re.split(r"[\s,;|]+", text.lower()) if word}
    if not words or words - set(Purpose):
        raise ValueError(f"purposes {text!r} must be one or more of {', '.join(Purpose)}")
    yield from (purpose for purpose in Purpose if purpose.value in words)


def _date(text: str, now: datetime) -> datetime:
    """Return when it was given; a day begins at midnight, UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f'date {text!r} must be a day or a time, like "2026-03-31"') from error
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    if found.year < 1990:
        raise ValueError(f"date {text!r} is too long ago")
    # Somewhere it is tomorrow already.
    if found > now + timedelta(days=1):
        raise ValueError(f"date {text!r} is still to come")
    return min(found, now)


def _language(text: str) -> Language | None:
    if text and text not in set(Language):
        raise ValueError(f"language {text!r} must be one of {', '.join(Language)}")
    return Language(text) if text else None
