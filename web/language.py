"""Languages: which of the five a visitor is spoken to in, and the catalogues of what is said in it.

English is what stands in the templates. The catalogues are read as they are edited (.po), so nothing compiled can be
stale.
"""

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from policies.footer import Language

LOCALE = Path(__file__).parent / "locale"
MAX_HEADER = 1_000
"""Characters of ``Accept-Language`` that are looked at."""


def negotiated(header: str, otherwise: Language) -> Language:
    """Return the language that ``Accept-Language`` asks for most (RFC 9110 §12.5.4); ``otherwise`` where it is none."""
    wanted = sorted(_ranges(header[:MAX_HEADER]), key=lambda one: -one[1])
    for name, quality in wanted:
        if quality <= 0:
            break
        if name == "*":
            return otherwise
        primary = name.partition("-")[0]
        if primary in set(Language):
            return Language(primary)
    return otherwise


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    """Yield the language ranges of a header with their quality; what is written wrongly is as if it were not there."""
    for part in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weights = (one.replace(" ", "")[2:] for one in parameters if re.match("q *=", one))
        quality = next(weights, "1")
        if re.fullmatch(r"[01](\.\d*)?", quality):
            yield name, float(quality)


def catalogue(language: Language) -> Catalog:
    """Return what is said in a language, as it stands in its file."""
    with (LOCALE / language.value / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=language.value)


@cache
def translations(language: Language) -> NullTranslations:
    """Return how English sentences are said in a language."""
    if language is Language.ENGLISH:
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return Translations(compiled)


def said(text: str, language: Language) -> str:
    """Return a sentence of the catalogues in a language."""
    return translations(language).gettext(text)


def listed(text: str) -> str:
    """Return the text as it is: marks it for the catalogues where it stands in a program, not in a template."""
    return text
