"""The notice: what people are told before they agree, versioned, per language, and never changed once it was shown.

One is built in, made from the ``[organisation]`` section; the organisation can write its own. What is stored is listed
from the ledger's own columns (``ledger.fields``), so that the list cannot drift from the truth.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from ledger.errors import LedgerError
from ledger.fields import stored_about
from policies.footer import Language
from policies.words import Purpose

_BUILT_IN = Path(__file__).parent / "texts" / "built_in.toml"
_TEXTS = ("title", "why", "how_long", "recipients", "storage_location", "authority", "withdrawal")
_PER_PURPOSE = ("what", "what_for")


def notice_id_of(body: str) -> str:
    """Return the id of a notice with this body: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Notice:
    """A notice in one language: what is recorded, why, what for, how long, by whom, and what people can do."""

    language: str
    controller: str
    contact: str
    privacy_url: str
    title: str
    what: Mapping[str, str]
    """By purpose: the words that stand beside its box."""
    stored: Mapping[str, tuple[str, ...]]
    """By purpose: every field that is stored."""
    why: str
    what_for: Mapping[str, str]
    """By purpose."""
    how_long: str
    recipients: str
    storage_location: str
    authority: str
    withdrawal: str
    version: int = field(default=0)
    """Counts the organisation's own notices; 0 is built in. All languages of a version belong together."""

    @cached_property
    def id(self) -> str:
        """Names exactly this wording: the first 16 hex digits of its SHA-256."""
        return notice_id_of(self.body)

    @cached_property
    def body(self) -> str:
        """The notice as it is stored, JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def of_body(cls, body: str) -> "Notice":
        """Return the notice that was stored. Raises LedgerError for what is none."""
        try:
            content = json.loads(body)
            content["stored"] = {purpose: tuple(names) for purpose, names in content["stored"].items()}
            return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LedgerError("A notice on record is damaged.") from error

    def asks_for_the_same(self, other: "Notice") -> bool:
        """Tell whether agreeing to the one is agreeing to the other: who records what, what for, and for whom."""
        return (self.controller, self.what, self.stored, self.what_for, self.recipients) == (
            other.controller,
            other.what,
            other.stored,
            other.what_for,
            other.recipients,
        )


@dataclass(frozen=True, slots=True)
class Teller:
    """Who tells: what a notice says of the organisation whatever its words are."""

    controller: str
    contact: str
    privacy_url: str
    hits_days: int = 90
    consent_days: int = 365

    def built_in(self, language: Language = Language.ENGLISH) -> Notice:
        """Return the notice that stands until the organisation writes its own."""
        return self._notice(language, _built_in_texts()[language.value], 0)

    def parse(self, content: str, version: int) -> dict[Language, Notice]:
        """Return the notices in a file of ``aboveboard notice add``, one per language.

        Raises LedgerError with a sentence that names the key for what is missing, empty or unknown.
        """
        try:
            tables = tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise LedgerError(f"The notice is not valid TOML: {error}.") from error
        unknown = sorted(set(tables) - {language.value for language in Language})
        if unknown or not tables:
            raise LedgerError(f"A notice has one table per language ({', '.join(Language)}), not {unknown or 'none'}.")
        for language, table in tables.items():
            _check(language, table)
        return {Language(name): self._notice(Language(name), table, version) for name, table in tables.items()}

    def _notice(self, language: Language, texts: Mapping[str, object], version: int) -> Notice:
        filled = {key: self._filled(texts[key]) for key in (*_TEXTS, *_PER_PURPOSE)}
        return Notice(
            language=language.value,
            controller=self.controller,
            contact=self.contact,
            privacy_url=self.privacy_url,
            stored={purpose.value: stored_about(purpose, language) for purpose in Purpose},
            version=version,
            **filled,  # type: ignore[arg-type]  # texts, or texts by purpose, as _check has made sure
        )

    def _filled(self, text: object) -> object:
        if isinstance(text, dict):
            return {key: self._filled(value) for key, value in text.items()}
        filled = str(text).replace("{organisation}", self.controller).replace("{contact}", self.contact)
        return filled.replace("{hits_days}", str(self.hits_days)).replace("{consent_days}", str(self.consent_days))


def _built_in_texts() -> dict[str, dict[str, object]]:
    return tomllib.loads(_BUILT_IN.read_text("utf-8"))


def _check(language: str, table: object) -> None:
    """Raise LedgerError unless a language's table says all that people must be told (GDPR Art. 13)."""
    if not isinstance(table, dict):
        raise LedgerError(f"{language}: must be a table.")
    unknown = sorted(set(table) - {*_TEXTS, *_PER_PURPOSE})
    if unknown:
        raise LedgerError(f"{language}.{unknown[0]}: is not a known key.")
    for key in _TEXTS:
        _check_text(f"{language}.{key}", table.get(key))
    for key in _PER_PURPOSE:
        by_purpose = table.get(key)
        if not isinstance(by_purpose, dict) or set(by_purpose) != set(Purpose):
            raise LedgerError(f"{language}.{key}: must say something for each of {', '.join(Purpose)}.")
        for purpose, text in by_purpose.items():
            _check_text(f"{language}.{key}.{purpose}", text)


def _check_text(path: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise LedgerError(f"{path}: is missing or empty; people must be told before they agree.")
