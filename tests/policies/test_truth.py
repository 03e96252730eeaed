"""The decision against truth.csv, which was written from DESIGN.md, over every combination of its inputs."""

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from policies import (
    UNAVAILABLE,
    Assurance,
    Consent,
    ConsentEvent,
    Envelope,
    Facts,
    MessageClass,
    Policy,
    PolicyModel,
    Purpose,
    Reason,
    Standing,
    State,
    Wish,
    compile_policy,
    decide,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PURPOSES = ("open", "click", "detail")
LEVELS: dict[str, tuple[str, ...]] = {
    "problem": ("none", "error", "unparsable", "too_large"),
    "consent": ("granted", "expired", "refused", "withdrawn", "suppressed", "unknown", "no answer"),
    "class": ("individual", "group", "bulk", "list", "automated", "protected"),
    "recipient": ("customer", "colleague kept", "colleague allowed"),
    "sender": ("ours", "theirs"),
    "ceiling": ("with-consent", "never"),
    "rule": ("none", "never"),
    "message": ("nothing", "open only", "off"),
    "default": ("saved on", "saved off", "nothing; on", "nothing; off"),
    "body": ("html", "text", "text; linkable", "blank"),
    "links": ("some", "none"),
}
"""Every input of the table and what it can be."""
ORDER = [
    "error", "unparsable", "too_large", "ledger_unavailable", "protected", "automated", "list", "bulk", "group",
    "internal", "policy_off", "rule", "sender_off", "message_off", "plain_text", "empty_body", "suppressed", "refused",
    "withdrawn", "expired", "no_consent", "nothing_to_track", "tracked",
]  # fmt: skip
"""The reasons as DESIGN.md §3 lists them."""


# The table, read by a few lines that know nothing of the program.


@dataclass(frozen=True)
class Row:
    """One row: per input the levels it fits, None for any; per purpose what it says, empty for nothing."""

    fits: dict[str, frozenset[str] | None]
    says: dict[str, str]


def read_table() -> list[Row]:
    """Return the rows of truth.csv."""
    lines = (Path(__file__).parent / "truth.csv").read_text("utf-8").splitlines()
    table = csv.DictReader((line for line in lines if not line.startswith("#")), skipinitialspace=True)
    rows = []
    for line in table:
        cells = {key.strip(): (value or "").strip() for key, value in line.items()}
        fits = {
            key: None if cells[key] == "-" else frozenset(one.strip() for one in cells[key].split("|"))
            for key in (*LEVELS, "other")
        }
        rows.append(Row(fits, {purpose: cells[purpose] for purpose in PURPOSES}))
    return rows


ROWS = read_table()


def fitting(name: str, level: str) -> int:
    """Return the rows that fit a level of an input, as bits of a number: the first row's is the lowest."""
    return sum(1 << at for at, row in enumerate(ROWS) if (fits := row.fits[name]) is None or level in fits)


def combinations() -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield every combination of levels, with the rows that fit it."""
    found: list[tuple[tuple[str, ...], int]] = [((), (1 << len(ROWS)) - 1)]
    *first, last = LEVELS
    for name in first:
        levels = [(level, fitting(name, level)) for level in LEVELS[name]]
        found = [((*chosen, level), rows & fit) for chosen, rows in found for level, fit in levels]
    for level in LEVELS[last]:
        fit = fitting(last, level)
        yield from (((*chosen, level), rows & fit) for chosen, rows in found)


@cache
def expected(fit: int) -> tuple[str, ...]:
    """Return the reasons of open, click and detail, and of the message: the first of the rows that says something."""
    rows = [row for at, row in enumerate(ROWS) if fit >> at & 1]
    alone = [row for row in rows if row.fits["other"] is None]
    opened, clicked = (next(row.says[key] for row in alone if row.says[key]) for key in ("open", "click"))
    message = max(opened, clicked, key=ORDER.index)
    fits_other = rows if "tracked" not in (opened, clicked) else alone
    detail = next(row.says["detail"] for row in fits_other if row.says["detail"])
    return opened, clicked, message if detail == "(message)" else detail, message


# What the levels are in the program's own types.

CONSENT_STATES = {
    "granted": (State.GRANTED, NOW + timedelta(days=1)),
    "expired": (State.GRANTED, NOW),
    "refused": (State.REFUSED, None),
    "withdrawn": (State.WITHDRAWN, None),
    "suppressed": (State.SUPPRESSED, None),
}
WISHES = {
    "nothing": None,
    "open only": frozenset({Purpose.OPEN}),
    "off": frozenset[Purpose](),
    "saved on": frozenset(Purpose),
    "saved off": frozenset[Purpose](),
}


@cache
def consent(level: str) -> Consent:
    """Return a person's consent, the same for every purpose."""
    if level == "no answer":
        return UNAVAILABLE
    if level == "unknown":
        return Consent()
    state, until = CONSENT_STATES[level]
    return Consent(
        {
            purpose: Standing(ConsentEvent("id", 1, purpose, state, Assurance.ASSERTED, NOW, until, exact=True))
            for purpose in Purpose
        }
    )


@cache
def facts(problem: str, body: str, links: str, sender: str) -> Facts:
    """Return the facts of a message."""
    return Facts(
        size=1_000,
        authors=("anna@example.org" if sender == "ours" else "anna@elsewhere.example",),
        problem=None if problem == "none" else Reason(problem),
        has_html=body in ("html", "blank"),
        has_text=body in ("text", "text; linkable"),
        empty=body == "blank",
        links=3 if links == "some" else 0,
    )


@cache
def envelope(recipient: str, sender: str) -> Envelope:
    """Return who sends to whom."""
    return Envelope(
        "anna@example.org" if sender == "ours" else "anna@elsewhere.example",
        ("max@customer.example" if recipient == "customer" else "max@example.org",),
    )


@cache
def policy(ceiling: str, rule: str, recipient: str, default: str, body: str) -> Policy:
    """Return the policy."""
    settings = {
        **dict.fromkeys(PURPOSES, ceiling),
        "internal": "with-consent" if recipient == "colleague allowed" else "never",
        "sender_default": "off" if default == "nothing; off" else "on",
        "plain_text_links": body == "text; linkable",
        "rule": [{"name": "r", "when": {}, "then": dict.fromkeys(PURPOSES, "never")}] if rule == "never" else [],
    }
    return compile_policy(PolicyModel.model_validate(settings), ["example.org"])


@cache
def wish(message: str, default: str) -> Wish:
    """Return what message and sender want."""
    return Wish(WISHES[message], WISHES.get(default))


@cache
def classes(level: str) -> MessageClass:
    """Return the class."""
    return MessageClass(level)


def decided(levels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the program says: the reasons of open, click and detail, and of the message."""
    problem, stand, klass, recipient, sender, ceiling, rule, message, default, body, links = levels
    decision = decide(
        policy(ceiling, rule, recipient, default, body),
        facts(problem, body, links, sender),
        envelope(recipient, sender),
        classes(klass),
        wish(message, default),
        consent(stand),
        NOW,
    )
    reasons = decision.reasons
    return reasons[Purpose.OPEN], reasons[Purpose.CLICK], reasons[Purpose.DETAIL], decision.reason


def test_the_table_knows_every_reason_and_no_other_word() -> None:
    """Every reason of DESIGN.md stands in the table, and every word in it is a level of its input."""
    assert {*ORDER, "", "(message)"} == {says for row in ROWS for says in row.says.values()}
    assert {"off"} == {level for row in ROWS for level in row.fits["other"] or ()}
    for name, levels in LEVELS.items():
        assert set(levels) >= {level for row in ROWS for level in row.fits[name] or ()}


def test_the_program_agrees_with_the_table() -> None:
    """For every combination of all inputs the program gives the reasons that the table gives."""
    wrong = ((levels, expected(fit)) for levels, fit in combinations() if decided(levels) != expected(fit))

    assert [] == list(itertools.islice(wrong, 3))
