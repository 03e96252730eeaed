"""The command, called as a person calls it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from aboveboard.cli import main
from tests.aboveboard.calling import CONFIG, EML, Command


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run the command in a folder with a configuration file and a message."""
    (tmp_path / "aboveboard.toml").write_text(CONFIG)
    (tmp_path / "m.eml").write_bytes(EML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aboveboard.logs.set_up", lambda **_: None)
    with structlog.testing.capture_logs():
        yield lambda *words: CliRunner().invoke(main, words)
