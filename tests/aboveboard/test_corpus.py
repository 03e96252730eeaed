"""rewrite and explain over the whole corpus: messages, broken messages, and files that are no messages at all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aboveboard.cli import main
from policies import MessageClass, Reason
from tests.aboveboard.calling import CONFIG
from tests.proxy.samples import CORPUS, corpus_messages, needs_corpus, read

FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())
ENVELOPE = ("--mail-from", "max@example.org", "--rcpt", "ada@client.example")

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run the command with a configuration file and no ledger."""
    config = tmp_path_factory.mktemp("corpus") / "aboveboard.toml"
    config.write_text(CONFIG)
    return lambda *words: CliRunner().invoke(main, [*words, "--config", str(config)])


@needs_corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_every_file(command: Command, path: Path) -> None:
    """No file makes the commands fail; without consent every byte is the same, and what is said is in our words."""
    rewritten = command("rewrite", str(path), *ENVELOPE)
    tried = command("rewrite", str(path), *ENVELOPE, "--assume-consent", "open,click")
    explained = command("explain", str(path), *ENVELOPE, "--json")

    assert [0, 0, 0] == [rewritten.exit_code, tried.exit_code, explained.exit_code]
    assert path.read_bytes() == rewritten.stdout_bytes
    answer = json.loads(explained.stdout)
    assert answer["class"] in set(MessageClass)
    assert answer["reason"] in set(Reason)
    assert [] == answer["changes"]


@needs_corpus
def test_some_are_tracked(command: Command, tmp_path: Path) -> None:
    """Sent by us to one person who agreed, every message of the corpus that can be rewritten is."""
    head = b"From: max@example.org\r\nTo: ada@client.example\r\n"
    tracked = []
    for path in corpus_messages():
        _, blank, body = path.read_bytes().partition(b"Content-Type:")
        raw = head + blank + body
        message = read(raw)
        if message.bodies and not message.facts.empty and len(message.values("to")) == 1:
            (tmp_path / "m.eml").write_bytes(raw)
            out = command("rewrite", str(tmp_path / "m.eml"), *ENVELOPE, "--assume-consent", "open,click").stdout_bytes
            tracked.append(out != raw)
    assert len(tracked) > 10
    assert all(tracked)
