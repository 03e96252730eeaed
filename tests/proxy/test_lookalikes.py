"""What the fingerprint tells apart, measured on letters written by hand (tests/mail/letters).

``pytest -rP`` on this file prints the figures.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from policies.fingerprint import alike, fingerprint
from policies.policy import MergeWindow
from proxy.letter import letter
from proxy.message import Reading, read_message
from tests.correspondence import SENDER, Run, Sent, honest, notices, runs

WINDOW = MergeWindow().messages
HONEST, RUNS = honest(), runs()
READING = Reading()


def print_of(sent: Sent, *, html: bool | None = None) -> frozenset[int]:
    """Return a letter's fingerprint, read from a whole message; empty where it has none."""
    own = letter(read_message(sent.raw(html=html), READING), [sent.recipient, SENDER])
    assert own is not None
    return frozenset(fingerprint(own) or ())


def longest_run(letters: Sequence[Sent], *, html: bool) -> int:
    """Return to how many people, at most, any of the letters was written alike.

    They are all taken as of one sender within one window, so in no order and no mix can there be more.
    """
    found = [(one.recipient, print_of(one, html=html)) for one in letters]
    return max(len({other for other, theirs in found if alike(mine, theirs)}) for _, mine in found if mine)


def test_there_is_enough_to_measure_by() -> None:
    """At least 200 honest letters, 60 of them near-duplicates or above the same notice, and 20 merges of all kinds."""
    near = [one for one in HONEST if one.kind != "single"]
    assert len(HONEST) >= 200
    assert len(near) >= 60
    assert len(HONEST) - len(near) == len({one.text for one in HONEST if one.kind == "single"})
    assert len(RUNS) >= 20
    assert {"name", "number", "personal"} == {run.kind for run in RUNS}
    assert all(5 <= len(run.letters) <= 12 for run in RUNS)
    assert all(print_of(one) for one in HONEST)


def unsigned(sent: Sent) -> Sent:
    """Return a letter without the closing formula and the name below it."""
    above = sent.text.rsplit("\n\n", 1)[0]
    return sent if sent.kind == "disclaimer" else Sent(sent.kind, sent.recipient, sent.subject, above)


CHANGES: dict[str, Callable[[Sent], Sent]] = {
    "as they are": lambda sent: sent,
    **{
        f"above the {name} notice": lambda sent, below=below: sent.with_below(below)
        for name, below in notices().items()
    },
    **{
        f"unsigned above the {name} notice": lambda sent, below=below: unsigned(sent).with_below(below)
        for name, below in notices().items()
        if name != "unusual"
    },
}


@pytest.mark.parametrize("html", [False, True], ids=["text", "html"])
@pytest.mark.parametrize("change", CHANGES)
def test_no_honest_letter_is_bulk(change: str, html: bool) -> None:
    """Offers to two contacts, monthly cover notes, 150 words of notice under everything: none of them is a run."""
    found = longest_run([CHANGES[change](one) for one in HONEST], html=html)
    print(f"{len(HONEST)} honest letters {change}: at most {found} people written to alike")
    assert found < WINDOW


def noticed_at(run: Run, below: str = "") -> int | None:
    """Return by which letter of a run it is known to be one; None where it never is."""
    prints = [print_of(one.with_below(below) if below else one) for one in run.letters]
    for number, mine in enumerate(prints, 1):
        if sum(alike(mine, other) for other in prints[:number]) >= WINDOW:
            return number
    return None


@pytest.mark.parametrize("run", [run for run in RUNS if run.kind != "personal"], ids=lambda run: run.letters[0].subject)
def test_a_merge_of_names_and_numbers_is_bulk_from_the_fifth(run: Run) -> None:
    """97: where only greeting, names, numbers and links differ, the fifth letter crosses the window."""
    assert WINDOW == noticed_at(run)


@pytest.mark.parametrize("below", ["", *notices().values()], ids=["bare", *notices()])
def test_merges_with_a_personal_paragraph_are_bulk(below: str) -> None:
    """Of merges with one to three sentences for each recipient, at least nine of ten are noticed by the fifth."""
    found = Counter(noticed_at(run, below) for run in RUNS if run.kind == "personal")
    print(f"merges with a personal paragraph, noticed at: {dict(found)}")
    assert found[WINDOW] >= 0.9 * found.total()
