"""The footer's settings: its languages, the organisation's own words, and where it stands."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from policies.setting import Section

MAX_TEXT = 300
"""Characters of an own text. A footer of more than 400, with the name and the link, would not be known as one later."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ["organisation", "what"]


class Language(StrEnum):
    """The languages that recipients are spoken to in (ISO 639)."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"
    SPANISH = "es"
    ITALIAN = "it"


def _own_text(value: str) -> str:
    if sorted(_PLACEHOLDER.findall(value)) != _PLACEHOLDERS or value.count("{") != 2 or value.count("}") != 2:
        raise ValueError("must hold {organisation} and {what} once each, for people must be told who records what")
    if len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"must be one line of at most {MAX_TEXT} characters")
    if "//" in value or "www." in value.lower():
        raise ValueError("must hold no address: the link to stop is put behind it, and is the only one")
    return value


OwnText = Annotated[str, AfterValidator(_own_text)]


class FooterModel(Section):
    """The footer of tracked messages, where the organisation wants other words or another place."""

    position: Literal["end", "top-if-long"] = Field(
        default="end", description="top-if-long: at the top of HTML that mail programs would cut off before its end."
    )
    en: OwnText | None = Field(default=None, description="English, with {organisation} and {what}.")
    de: OwnText | None = Field(default=None, description="German, with {organisation} and {what}.")
    fr: OwnText | None = Field(default=None, description="French, with {organisation} and {what}.")
    es: OwnText | None = Field(default=None, description="Spanish, with {organisation} and {what}.")
    it: OwnText | None = Field(default=None, description="Italian, with {organisation} and {what}.")

    def own_texts(self) -> dict[Language, str]:
        """Return the organisation's own texts by language."""
        texts = {language: getattr(self, language.value) for language in Language}
        return {language: text for language, text in texts.items() if text is not None}
