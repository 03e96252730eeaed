"""The configuration file: TOML, loaded into models that say by key path what is wrong and what would be right."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aboveboard.collection import MAIL
from aboveboard.crosschecks import cross_checks, without_effect
from aboveboard.mistakes import sentence
from aboveboard.settings import Config, LedgerSection
from aboveboard.values import SQLITE
from policies import checks, compile_policy
from policies.address import canonical_domain


class ConfigError(Exception):
    """The file is not right; ``problems`` holds one sentence per error, each beginning with its key path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path) -> Config:
    """Return the configuration in a file, with relative paths made absolute. Raises ConfigError."""
    return loads(read_text(path), path)


def read_text(path: Path) -> str:
    """Return what stands in a file. Raises ConfigError."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}; --config names another file."]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text."]) from error


def loads(text: str, path: Path) -> Config:
    """Return the configuration in a file's text, with paths relative to the file made absolute. Raises ConfigError."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}."]) from error
    return parse(content, path.absolute().parent)


def parse(content: dict[str, Any], base: Path) -> Config:
    """Return the configuration in a parsed file; relative paths are relative to ``base``. Raises ConfigError."""
    try:
        config = Config.model_validate(_absolute(_with_defaults(content), base))
    except ValidationError as error:
        raise ConfigError([sentence(one, content, _schema()) for one in error.errors(include_url=False)]) from error
    problems = [*cross_checks(config), *(_remark(config, one) for one in _policy_problems(config))]
    if problems:
        raise ConfigError(problems)
    return config


_PATH_KEYS = frozenset(
    {"certificate", "key", "password_file", "key_file", "head_file", "journal_file", "account_file", "anchor"}
)


def _with_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with the ledger's places written out, so that they too are relative to the file."""
    ledger = content.get("ledger", {})
    if not isinstance(ledger, dict):
        return content
    places = {"url": LedgerSection().url, "key_file": str(LedgerSection().key_file)}
    return {**content, "ledger": {**places, **ledger}}


def _absolute(value: Any, base: Path, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _absolute(inner, base, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_absolute(inner, base, key) for inner in value]
    if isinstance(value, str) and key in _PATH_KEYS and not (key == "anchor" and value in ("", MAIL)):
        return str(base / value)
    if isinstance(value, str) and key == "url" and value.startswith(SQLITE) and len(value) > len(SQLITE):
        return SQLITE + str(base / value.removeprefix(SQLITE))
    return value


def _surroundings(config: Config) -> checks.Surroundings:
    return checks.Surroundings(
        domains=frozenset(canonical_domain(domain) for domain in config.organisation.domains),
        listeners={one.address: one.message_class == "automated" for one in config.relay.listener},
    )


def _policy_problems(config: Config) -> Iterator[checks.Remark]:
    policy = compile_policy(config.policy, config.organisation.domains)
    return checks.problems(policy, _surroundings(config))


def _remark(config: Config, remark: checks.Remark) -> str:
    """Return a remark about the policy as a sentence that names the rule it is about."""
    at = re.match(r"rule\[(\d+)\]", remark.path)
    rule = f' (rule "{config.policy.rule[int(at[1])].name}")' if at is not None else ""
    return f"policy.{remark.path}: {remark.text}{rule}."


def notes(config: Config) -> list[str]:
    """Return a sentence for everything in the file that is right and has no effect."""
    remarks = checks.notes(config.policy, _surroundings(config))
    return [*without_effect(config), *(_remark(config, one) for one in remarks)]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema()}


def _schema() -> dict[str, Any]:
    return TypeAdapter(Config).json_schema(by_alias=True)
