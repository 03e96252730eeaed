"""The configuration file of the design, for tests of one that differs from it in a key."""

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from aboveboard.config import ConfigError, parse

DESIGN = """
[organisation]
name = "Example GmbH"
domains = ["example.org"]
privacy_url = "https://example.org/privacy"
contact = "privacy@example.org"

[[relay.listener]]
address = "127.0.0.1:1587"
tls = "none"
auth = "networks"
networks = ["127.0.0.0/8", "::1/128"]

[[relay.upstream]]
url = "smtp://127.0.0.1:25"
senders = ["*"]

[relay]
max_message_bytes = 36_700_160
received = true
processed_header = false
dkim_signed = "untouched"

[web]
address = "127.0.0.1:8080"
public_url = "http://127.0.0.1:8080"
trusted_proxies = []
metrics_address = "127.0.0.1:9108"

[ledger]
url = "sqlite:///aboveboard.db"
key_file = "aboveboard.key"

[system_mail]
from = "privacy@example.org"
url = "smtp+starttls://mail.example.org:587"

[policy]
open = "with-consent"
click = "with-consent"
detail = "never"
internal = "never"
sender_default = "on"
ask = "never"
plain_text_links = false
visible_url_links = false
never_wrap = []
foreign_tracking = { individual = "remove", group = "remove", bulk = "remove" }
merge_window = { messages = 5, minutes = 10 }

[[policy.rule]]
name = "Never the press"
when = { recipient = ["*@press.example", "*@*.news.example"] }
then = { open = "never", click = "never" }

[retention]
"""
BASE = tomllib.loads(DESIGN)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the file of DESIGN.md with one key set, or with None removed."""
    content = copy.deepcopy(BASE)
    *way, last = path.split(".")
    here: Any = content
    for step in way:
        here = here[int(step)] if step.isdigit() else here.setdefault(step, {})
    if value is None:
        del here[last]
    else:
        here[last] = value
    return content


def problems(content: dict[str, Any], base: Path = Path("/etc")) -> list[str]:
    """Return what is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        parse(content, base)
    return caught.value.problems
