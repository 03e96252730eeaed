"""`aboveboard explain` and `rewrite`: what would be done with a message, and what would go out."""

import asyncio
import json
from pathlib import Path

import pytest

from aboveboard import compose
from aboveboard.config import load
from ledger.keys import Keyring
from tests.aboveboard.calling import CONFIG, EML, EVIDENCE, GRANT, MESSAGE, Command


def test_explain_without_a_ledger(command: Command, tmp_path: Path) -> None:
    """explain works before anything was recorded, says no_consent, and makes no file."""
    before = sorted(tmp_path.iterdir())
    answer = json.loads(command("explain", *MESSAGE, "--json").stdout)
    assert before == sorted(tmp_path.iterdir())
    assert {"open": "no_consent", "click": "message_off", "detail": "policy_off"} == answer["reasons"]
    assert ("individual", False, False, False, "no_consent", [], []) == (
        *(answer[key] for key in ("class", "open", "click", "detail", "reason", "rules", "consent")),
    )
    assert [{"what": "control", "count": 1}] == answer["changes"]
    assert len(answer["policy_version"]) == 12


def test_explain_with_consent(command: Command) -> None:
    """explain says tracked, on which consent events that relies, and what would be changed."""
    command(*GRANT, *EVIDENCE)
    answer = json.loads(command("explain", *MESSAGE, "--json").stdout)
    assert (True, False, "tracked", 1) == (answer["open"], answer["click"], answer["reason"], len(answer["consent"]))
    assert {"control": 1, "pixel": 1, "footer": 1} == {one["what"]: one["count"] for one in answer["changes"]}
    assert "reason: tracked" in command("explain", *MESSAGE).stdout


def test_explain_where_it_would_come_in(command: Command) -> None:
    """A listener that is not in the file and a client that is no address are told; right ones are taken."""
    wrong = command("explain", *MESSAGE, "--listener", "127.0.0.1:25")
    assert (1, "--listener: there is no 127.0.0.1:25 in the file, only 127.0.0.1:1587.\n") == (
        wrong.exit_code,
        wrong.stderr,
    )
    assert 2 == command("explain", *MESSAGE, "--client", "printer").exit_code
    assert 0 == command("explain", *MESSAGE, "--listener", "127.0.0.1:1587", "--client", "10.0.0.1").exit_code


def test_explain_knows_what_the_sender_saved(command: Command, tmp_path: Path) -> None:
    """explain counts the sender's saved default where the message says nothing, as the relay would."""
    command(*GRANT, *EVIDENCE)
    asyncio.run(_save_nothing(tmp_path / "aboveboard.toml", "alice@example.org"))
    (tmp_path / "silent.eml").write_bytes(EML.replace(b"[track open] ", b""))
    answers = [json.loads(command("explain", name, *MESSAGE[1:], "--json").stdout) for name in ("m.eml", "silent.eml")]
    assert ["tracked", "sender_off"] == [answer["reason"] for answer in answers]


async def _save_nothing(path: Path, sender: str) -> None:
    config = load(path)
    async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
        await ledger.save_setting(ledger.keyring.folded(sender), frozenset())


def test_explain_with_a_ledger_that_is_gone(command: Command, tmp_path: Path) -> None:
    """explain says ledger_unavailable, as the relay would, where the ledger's file was deleted."""
    command(*GRANT, *EVIDENCE)
    for file in tmp_path.glob("aboveboard.db*"):
        file.unlink()
    assert "ledger_unavailable" == json.loads(command("explain", *MESSAGE, "--json").stdout)["reason"]


TRACKER = b'<img src="https://t.yesware.com/t/0a1b2c3d4e5f/60718293a4b5/spacer.gif">'
PAGE = (
    b"From: alice@example.org\r\nTo: bob@customer.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Dear Bob" + TRACKER + b"</p>\r\n"
)
FOUND = {
    "scope": "tool",
    "vendor": "yesware",
    "surface": "image",
    "tier": "B",
    "action": "removed",
    "host": "t.yesware.com",
    "count": 1,
}


def test_explain_names_trackers(command: Command, tmp_path: Path) -> None:
    """explain says whose tracker was found, where, how good the evidence is, and what was done; hosts only."""
    (tmp_path / "page.eml").write_bytes(PAGE)
    answer = json.loads(command("explain", "page.eml", *MESSAGE[1:], "--json").stdout)

    assert ([FOUND], [{"what": "foreign_pixel", "count": 1}]) == (answer["foreign"], answer["changes"])
    assert "tracker: removed, yesware (tool, image, tier B) ×1" in command("explain", "page.eml", *MESSAGE[1:]).stdout
    assert PAGE.replace(TRACKER, b"") == command("rewrite", "page.eml", *MESSAGE[1:]).stdout_bytes


@pytest.mark.parametrize(
    ("policy", "action"),
    [
        ('vendors_off = ["yesware"]', None),
        ('foreign_allowed = ["https://t.yesware.com/*"]', None),
        ('foreign_tracking = { individual = "keep", group = "keep", bulk = "keep" }', None),
        ('foreign_tracking = { individual = "report" }', "reported"),
        ('foreign_tracking = { individual = "refuse" }', "refused"),
    ],
    ids=["switched off", "allowed", "kept", "reported", "refused"],
)
def test_policy_on_trackers(command: Command, tmp_path: Path, policy: str, action: str | None) -> None:
    """Rules can be switched off, addresses allowed, and each class has its answer."""
    (tmp_path / "page.eml").write_bytes(PAGE)
    (tmp_path / "aboveboard.toml").write_text(CONFIG + f"[policy]\n{policy}\n")
    answer = json.loads(command("explain", "page.eml", *MESSAGE[1:], "--json").stdout)

    assert [FOUND | {"action": action}] * (action is not None) == answer["foreign"]
    assert (action == "refused") == answer["refused"]
    assert PAGE == command("rewrite", "page.eml", *MESSAGE[1:]).stdout_bytes


def test_own_vendor_rules(command: Command, tmp_path: Path) -> None:
    """An organisation adds rules of its own, in the shape of the shipped ones."""
    own = """[[policy.vendor]]
id = "acme"
name = "Acme"
kind = "tool"
source = ["made up"]
[[policy.vendor.mark]]
on = ["image"]
host = ["px.acme.test"]
certainty = "certain"
hit = ["https://px.acme.test/o.gif"]
miss = ["https://acme.test/"]
"""
    (tmp_path / "page.eml").write_bytes(PAGE.replace(TRACKER, b'<img src="https://px.acme.test/o.gif">'))
    (tmp_path / "aboveboard.toml").write_text(CONFIG + own)

    answer = json.loads(command("explain", "page.eml", *MESSAGE[1:], "--json").stdout)

    assert [("acme", "removed")] == [(one["vendor"], one["action"]) for one in answer["foreign"]]


def test_rewrite_untracked_is_identical(command: Command, tmp_path: Path) -> None:
    """rewrite prints the very bytes of a message nobody agreed to, with its own line ends; no ledger, no key."""
    plain = EML.replace(b"[track open] ", b"")
    (tmp_path / "plain.eml").write_bytes(plain)
    assert plain == command("rewrite", "plain.eml", *MESSAGE[1:]).stdout_bytes
    assert not (tmp_path / "aboveboard.key").exists()


def test_rewrite_with_assumed_consent(command: Command) -> None:
    """rewrite --assume-consent shows what would leave, in the file's own line ends."""
    out = command("rewrite", *MESSAGE, "--assume-consent", "open,click").stdout_bytes
    assert b"Subject: Offer\n" in out
    assert (1, 0, 1) == (out.count(b"/o/"), out.count(b"/l/"), out.count(b"/stop/"))
    assert b"\r" not in out
