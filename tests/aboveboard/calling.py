"""What tests of the command are made of: a configuration file, a message, and how it is called."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

CONFIG = """
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"
[[relay.listener]]
address = "127.0.0.1:1587"
[[relay.upstream]]
url = "smtp://127.0.0.1:25"
[web]
public_url = "http://127.0.0.1:8080"
"""
EML = (
    b"From: Alice <alice@example.org>\nTo: bob@customer.test\nSubject: [track open] Offer\nMIME-Version: 1.0\n"
    b"Content-Type: text/html; charset=utf-8\n\n"
    b'<p>Dear Bob, <a href="https://shop.example/a">our offer</a></p>\n'
)

MESSAGE = ("m.eml", "--mail-from", "alice@example.org", "--rcpt", "bob@customer.test")
GRANT = ("consent", "grant", "bob@customer.test", "--purpose", "open", "--purpose", "click", "--method", "paper")
EVIDENCE = ("--evidence", "form 12")

Command = Callable[..., Result]


def keep_from_beginning(word: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every program of ours with a word in its call wait for its end before it begins.

    Whatever a test does while such a program starts, it is never too late for it. What that takes is in ``folder``.
    """
    wait = f"import signal, sys\nif {word!r} in sys.orig_argv:\n    signal.pause()\n"
    (folder / "sitecustomize.py").write_text(wait)
    monkeypatch.setenv("PYTHONPATH", str(folder))
