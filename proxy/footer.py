"""The footer: who is told what, and the link to stop; the pixel stands inside it, so that no line of its own is added.

ASCII only, so that it is right in every charset that contains ASCII. Colours come from the mail program (no colour is
set), so that it is readable in light and dark mode; margin, font and line height on one div are what Outlook's Word
engine understands too.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from policies.decide import Decision
from policies.footer import Language
from policies.words import Purpose

LONG_HTML = 100_000
"""Bytes of HTML from which on a footer at the end may never be seen: Gmail cuts a message off at 102 kB."""

_SPOKEN = frozenset(language.value for language in Language)
_OPEN, _CLICK = frozenset({Purpose.OPEN}), frozenset({Purpose.CLICK})


@dataclass(frozen=True, slots=True)
class _Words:
    """What the footer says in one language: the sentence, what is recorded, and the link's text."""

    sentence: str
    what: Mapping[frozenset[Purpose], str]
    stop: str


_WORDS = {
    Language.ENGLISH: _Words(
        "With your consent, {organisation} records {what}.",
        {
            _OPEN: "when images in this message are loaded",
            _CLICK: "which links of this message are followed",
            _OPEN | _CLICK: "when images in this message are loaded and which of its links are followed",
        },
        "Stop this",
    ),
    Language.GERMAN: _Words(
        "Mit Ihrer Einwilligung erfasst {organisation}, {what}.",
        {
            _OPEN: "wann Bilder in dieser Nachricht geladen werden",
            _CLICK: "welche Links dieser Nachricht angeklickt werden",
            _OPEN | _CLICK: "wann Bilder in dieser Nachricht geladen und welche ihrer Links angeklickt werden",
        },
        "Beenden",
    ),
    Language.FRENCH: _Words(
        "Avec votre consentement, {organisation} enregistre {what}.",
        {
            _OPEN: "quand les images de ce message sont chargées",
            _CLICK: "quels liens de ce message sont suivis",
            _OPEN | _CLICK: "quand les images de ce message sont chargées et lesquels de ses liens sont suivis",
        },
        "Arrêter",
    ),
    Language.SPANISH: _Words(
        "Con su consentimiento, {organisation} registra {what}.",
        {
            _OPEN: "cuándo se cargan las imágenes de este mensaje",
            _CLICK: "qué enlaces de este mensaje se abren",
            _OPEN | _CLICK: "cuándo se cargan las imágenes de este mensaje y cuáles de sus enlaces se abren",
        },
        "Detener esto",
    ),
    Language.ITALIAN: _Words(
        "Con il Suo consenso, {organisation} registra {what}.",
        {
            _OPEN: "quando vengono caricate le immagini di questo messaggio",
            _CLICK: "quali link di questo messaggio vengono aperti",
            _OPEN | _CLICK: "quando vengono caricate le immagini di questo messaggio e quali suoi link vengono aperti",
        },
        "Interrompere",
    ),
}


@dataclass(frozen=True, slots=True)
class Footer:
    """What the organisation's footers say and where they stand."""

    organisation: str
    """The controller's name."""
    language: Language = Language.ENGLISH
    """For messages that do not say their own."""
    own_texts: Mapping[Language, str] = field(default_factory=dict)
    """Sentences in the organisation's own words, with ``{organisation}`` and ``{what}``."""
    top_if_long: bool = False

    def language_of(self, tags: Iterable[str]) -> Language:
        """Return the language to speak: that of the first language tag (RFC 5646) that is spoken here, else our own."""
        spoken = (_primary(tag) for tag in tags)
        return next((Language(tag) for tag in spoken if tag in _SPOKEN), self.language)

    def sentence(self, decision: Decision, language: Language) -> str:
        """Return the sentence that tells the recipient who learns what, and what rules want said besides."""
        words = _WORDS[language]
        recorded = frozenset(purpose for purpose in (Purpose.OPEN, Purpose.CLICK) if decision.allows(purpose))
        template = self.own_texts.get(language, words.sentence)
        # In two steps: the name may hold braces of its own.
        before, _, after = template.replace("{what}", words.what[recorded or _CLICK]).partition("{organisation}")
        return " ".join([before + self.organisation + after, *decision.footer])

    def html(
        self,
        decision: Decision,
        language: Language,
        stop_url: str,
        pixel_url: str | None,
        *,
        document_language: str = "",
        eol: str = "\r\n",
    ) -> bytes:
        """Return the footer block, with the pixel in it where opens are tracked.

        The URLs are ASCII and need no escaping beyond HTML's. In a document that says it is in another language, and
        may run from right to left, the block says its own.
        """
        elsewhere = document_language and _primary(document_language) != language
        says = f'lang="{language}" dir="ltr" ' if elsewhere else ""
        pixel = ""
        if pixel_url is not None:
            pixel = (
                f'<img src="{escape(pixel_url)}" width="1" height="1" alt="" border="0" '
                'style="width:1px;height:1px;border:0">'
            )
        lines = (
            f"<div {says}"
            'style="margin:16px 0 0 0;font-family:Arial,Helvetica,sans-serif;font-size:12px;line-height:16px">',
            f'{_ascii(self.sentence(decision, language))} <a href="{escape(stop_url)}">'
            f"{_ascii(_WORDS[language].stop)}</a>{pixel}</div>",
        )
        return eol.join(lines).encode("ascii")

    def text(self, decision: Decision, language: Language, stop_url: str, eol: str = "\r\n") -> bytes:
        """Return the footer of a text-only message whose links are wrapped; accents are left out, for it is ASCII."""
        sentence = _without_accents(self.sentence(decision, language), language)
        return f"{sentence}{eol}{_without_accents(_WORDS[language].stop, language)}: {stop_url}".encode("ascii")


def _primary(tag: str) -> str:
    """Return the language subtag of a language tag, which may be written with ``_``."""
    return tag.strip().replace("_", "-").partition("-")[0].lower()


def _ascii(text: str) -> str:
    """Return text for HTML content: markup characters escaped, all others above ASCII as numeric references."""
    return escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


_GERMAN_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


def _without_accents(text: str, language: Language) -> str:
    if language is Language.GERMAN:
        text = text.translate(_GERMAN_LETTERS)
    return unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode("ascii")
