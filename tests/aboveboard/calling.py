"""What tests of the command are made of: a configuration file, a message, and how it is called."""

from collections.abc import Callable

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
