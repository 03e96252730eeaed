"""docs/policy.md: every example loads, and does with the messages in its table what the page says."""

import re
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from aboveboard import relaying
from aboveboard.config import notes, parse
from aboveboard.explain import envelope_of
from ledger.keys import Keyring
from policies import Assurance, Consent, ConsentEvent, Decision, Purpose, Standing, State, Wish, classify, decide
from policies.presets import PRESETS
from proxy.message import read_message

ROOT = Path(__file__).parent.parent
(BASE,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
PAGE = (ROOT / "docs/policy.md").read_text("utf-8")
EXAMPLES = re.findall(r"^### (\d+\. .*?)\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
AGREED = Consent(
    {
        purpose: Standing(
            ConsentEvent(
                "e", 1, purpose, State.GRANTED, Assurance.ASSERTED, datetime(2026, 1, 1, tzinfo=UTC),
                datetime(2027, 1, 1, tzinfo=UTC), exact=True,
            )
        )
        for purpose in Purpose
    }
)  # fmt: skip
NOON = datetime(2026, 3, 3, 11, tzinfo=UTC)
"""A Tuesday."""


@dataclass(frozen=True)
class Line:
    """One line of an example's table, and the example's policy."""

    policy: str
    sender: str
    recipients: tuple[str, ...]
    message: str
    outcome: str


def lines() -> list[tuple[str, Line]]:
    """Return every line of every table, with a name for it."""
    found = []
    for title, text in EXAMPLES:
        (policy,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
        rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("| ") and "@" in row]
        found += [
            (f"{title}: {' '.join(row)}", Line(policy, row[0], tuple(row[1].split()), row[2], row[3])) for row in rows
        ]
    return found


def described(line: Line) -> dict[str, str]:
    """Return what a line says of its message, by word: "size 16 MB; client 10.0.0.1"."""
    words = (part.strip().partition(" ") for part in line.message.split(";"))
    return {word: rest for word, _, rest in words}


def letter(line: Line) -> bytes:
    """Return the message that a line describes: HTML with a link, and what else it says."""
    said = described(line)
    header = [f"From: {line.sender}", f"To: {', '.join(line.recipients)}", "Subject: Our offer", "MIME-Version: 1.0"]
    if "header" in said:
        header.append(said["header"])
    if "label" in said:
        name, _, encrypts = said["label"].partition(",")
        header.append(f"msip_labels: MSIP_Label_1_Enabled=true; MSIP_Label_1_Name={name}; ")
        header[-1] += f"MSIP_Label_1_ContentBits={8 if encrypts else 0}"
    text = 'Content-Type: text/html; charset=utf-8\r\n\r\n<p>See <a href="https://shop.example/a">our offer</a></p>\r\n'
    if "attachment" in said:
        file = "Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment\r\n\r\nx"
        text = f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{text}--b\r\n{file}\r\n--b--\r\n"
    return ("\r\n".join(header) + "\r\n" + text).encode()


def decided(line: Line) -> Decision:
    """Return the decision for the message that a line describes, with everybody's consent."""
    said = described(line)
    assert set(said) <= {"a", "at", "attachment", "by", "client", "header", "label", "size"}
    config = parse(tomllib.loads(BASE + line.policy), ROOT)
    conduct = relaying.conduct(config, Keyring.throwaway())
    sent = envelope_of(config, line.sender, line.recipients, said.get("by", ""), said.get("client", ""))
    facts = read_message(letter(line), conduct.reading).facts
    if "size" in said:
        facts = replace(facts, size=int(said["size"].removesuffix(" MB")) * 1_000_000)
    now = NOON
    if "at" in said:
        now = datetime.fromisoformat(said["at"]).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    message_class = classify(conduct.policy, facts, sent).message_class
    return decide(conduct.policy, facts, sent, message_class, Wish(), AGREED, now)


def outcome(decision: Decision, *parts: str) -> str:
    """Return a decision in the words of the page; ``parts`` are those that the line speaks of besides."""
    if decision.refusal is not None:
        return f"refused: {decision.refusal}"
    on = [purpose.value for purpose in (Purpose.OPEN, Purpose.CLICK) if decision.allows(purpose)]
    words = [f"{on[0]} only" if len(on) == 1 else "tracked" if on else f"`{decision.reason}`"]
    if "trackers" in parts:
        words.append(f"trackers: {decision.foreign_tracking}")
    if "footer" in parts:
        words.append(f"footer: {' '.join(decision.footer)}")
    return "; ".join(words)


LINES = lines()


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=[name for name, _ in LINES])
def test_an_example_does_what_the_page_says(line: Line) -> None:
    """With the example's policy, each message of its table has the outcome that stands there."""
    spoken_of = [part.strip().partition(":")[0] for part in line.outcome.split(";")[1:]]

    assert line.outcome == outcome(decided(line), *spoken_of)


def test_there_are_twelve_examples_with_tables() -> None:
    """Every example is numbered, and its table shows what it changes and what it leaves."""
    assert [str(number) for number in range(1, 13)] == [title.partition(".")[0] for title, _ in EXAMPLES]
    for title, _ in EXAMPLES:
        assert len({line.outcome for name, line in LINES if name.startswith(f"{title}:")}) > 1, title


@pytest.mark.parametrize("text", [text for _, text in EXAMPLES], ids=[title for title, _ in EXAMPLES])
def test_no_example_says_what_has_no_effect(text: str) -> None:
    """A reader who copies an example hears no note about a rule that does nothing."""
    (policy,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    noted = notes(parse(tomllib.loads(BASE + policy), ROOT))

    assert [] == [note for note in noted if note.startswith(("policy.rule", "policy.groups"))]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_explained(preset: str) -> None:
    """Every preset has its line on the page, and its file begins by saying what it is for."""
    file = (ROOT / f"policies/presets/{preset}.toml").read_text("utf-8")

    assert f"| `{preset}` |" in PAGE
    assert file.startswith(f"# {preset}: ")
