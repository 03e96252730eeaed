"""`aboveboard consent refuse --domain`, `lift` and `domains`."""

import json

from tests.aboveboard.calling import Command

MAX = "max@client.example"
GRANT = ("consent", "grant", MAX, "--purpose", "open", "--method", "paper", "--evidence", "form 12")
DOMAIN = ("--domain", "@Client.Example", "--reason", "their letter")


def test_a_domain_is_entered_listed_and_taken_back(command: Command) -> None:
    """What is entered shows in the list and on whoever is there; taken back, what they said counts again."""
    command(*GRANT)
    assert "nobody at client.example is tracked" in command("consent", "refuse", *DOMAIN).stdout
    assert "refuses already" in command("consent", "refuse", *DOMAIN).stdout
    (listed,) = json.loads(command("consent", "domains", "--json").stdout)
    assert ("client.example", "their letter") == (listed["domain"], listed["reason"])
    shown = json.loads(command("consent", "show", MAX, "--json").stdout)
    assert ("refused", "@client.example") == (shown["consent"]["open"], shown["events"][-1]["address"])
    assert "does not refuse any more" in command("consent", "lift", *DOMAIN).stdout
    assert (1, True) == ((again := command("consent", "lift", *DOMAIN)).exit_code, "does not refuse" in again.stderr)
    assert "open: granted" in command("consent", "show", MAX).stdout


def test_what_is_no_domain_is_refused(command: Command) -> None:
    """A top-level domain, an address or nonsense is a wrong call."""
    for wrong in ("example", "a@b.example", "x y.example", ""):
        assert 2 == command("consent", "refuse", "--domain", wrong, "--reason", "r").exit_code
