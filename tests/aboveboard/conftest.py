"""The command, called as a person calls it, and an authority for certificates."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trustme
from click.testing import CliRunner

from aboveboard.cli import main
from tests.aboveboard.calling import CONFIG, EML, Command


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file without mail of our own."""
    path = tmp_path / "aboveboard.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def command(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run the command in the configuration's folder, where there is a message, too."""
    (config.parent / "m.eml").write_bytes(EML)
    monkeypatch.chdir(config.parent)
    monkeypatch.setattr("aboveboard.logs.set_up", lambda **_: None)
    with structlog.testing.capture_logs():
        yield lambda *words: CliRunner().invoke(main, words)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this machine trusts."""
    made, file = trustme.CA(), tmp_path / "authorities.pem"
    file.write_bytes(made.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return made
