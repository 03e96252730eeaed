"""The documentation names what there is: settings, reasons, classes, routes, commands and metrics."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from prometheus_client import REGISTRY

import aboveboard.serve  # noqa: F401  # registers its metrics
import proxy.server  # noqa: F401  # registers its metrics
from aboveboard.cli import main
from aboveboard.config import ConfigError, json_schema, parse
from policies import PolicyModel
from policies.words import MessageClass, Reason

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
POLICY = (ROOT / "docs/policy.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
MAIL_PROGRAMS = (ROOT / "docs/mail-programs.md").read_text("utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")


def settings(schema: dict[str, Any], here: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the key path of every setting in the schema."""
    for option in [here, *here.get("anyOf", []), here.get("items", {})]:
        if "$ref" in option:
            option = schema["$defs"][option["$ref"].rsplit("/", 1)[1]]
        for name, inner in option.get("properties", {}).items():
            yield f"{path}{name}"
            yield from settings(schema, inner, f"{path}{name}.")


SECTIONS = {"consent", "organisation", "relay", "web", "ledger", "policy", "retention"}


@pytest.mark.parametrize("setting", sorted(set(settings(json_schema(), json_schema())) - SECTIONS))
def test_every_setting_is_described(setting: str) -> None:
    """Every key of the configuration file stands in docs/operations.md or docs/policy.md."""
    assert f"`{setting}`" in OPERATIONS + POLICY


@pytest.mark.parametrize("word", [*Reason, *MessageClass], ids=str)
def test_every_reason_and_class_is_described(word: str) -> None:
    """Every reason code and every class stands in docs/policy.md."""
    assert f"`{word}`" in POLICY


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    """Yield every command that is not hidden."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("command", sorted(commands(main)))
def test_every_command_is_in_the_changelog(command: str) -> None:
    """Every command is announced in CHANGELOG.md."""
    assert re.search(rf"`{command}\b", CHANGELOG)


def test_every_metric_is_described() -> None:
    """Every metric of ours stands in docs/operations.md."""
    ours = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("aboveboard_")}
    assert ours
    assert [] == sorted(name for name in ours if f"`{name}" not in OPERATIONS)


def test_schema_is_current() -> None:
    """docs/aboveboard.schema.json is what `make schema` writes."""
    assert json_schema() == json.loads((ROOT / "docs/aboveboard.schema.json").read_text("utf-8"))


def test_readme_configuration_loads() -> None:
    """The configuration in the README is complete and right."""
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    config = parse(tomllib.loads(block), ROOT)
    assert "Example GmbH" == config.organisation.name


def test_the_oldest_python_is_the_same_everywhere() -> None:
    """README, Makefile and package ask for the same Python: one whose regular expressions read headers rightly."""
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert ">=3.11.5" == package
    assert "Python 3.11.5 or newer" in README
    assert "sys.version_info < (3, 11, 5)" in makefile
    # What is wrong with older ones (CPython gh-106052): what cannot be matched whole must not be matched in part.
    assert re.fullmatch("(?:ab?c)*+", "a") is None


def test_policy_examples_load() -> None:
    """Every example in docs/policy.md loads."""
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    examples = re.findall(r"```toml\n(.*?)```", POLICY, re.DOTALL)
    assert examples
    for example in examples:
        assert parse(tomllib.loads(block + example), ROOT).policy != PolicyModel()


def test_examples_for_mail_programs_load() -> None:
    """The examples in docs/mail-programs.md go together with the README's, but for certificates that are not here."""
    blocks = re.findall(r"```toml\n(.*?)```", README + MAIL_PROGRAMS, re.DOTALL)
    assert 4 == len(blocks)
    with pytest.raises(ConfigError) as mistakes:
        parse(tomllib.loads("".join(blocks).replace("smtp://127.0.0.1:25", "smtps://mail.example.net")), ROOT)
    folder = "/etc/letsencrypt/live/relay.example.org"
    assert [
        f"relay.listener[1].certificate: there is no file {folder}/fullchain.pem.",
        f"relay.listener[1].key: there is no file {folder}/privkey.pem.",
    ] == mistakes.value.problems


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link in README and docs leads to a file."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert [] == broken


def test_pictures_are_small() -> None:
    """Every picture in docs/ is shown on a page, and has less than 60 kB."""
    pages = "".join(page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
    pictures = sorted((ROOT / "docs/pictures").iterdir())
    assert pictures
    assert [] == [one.name for one in pictures if f"](pictures/{one.name})" not in pages or one.stat().st_size > 60_000]
