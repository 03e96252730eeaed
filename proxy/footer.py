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
from policies.words import Purpose, Reason
from proxy.header import Unparsable

LONG_HTML = 100_000
"""Bytes of HTML from which on a footer at the end may never be seen: Gmail cuts a message off at 102 kB."""

_SPOKEN = frozenset(language.value for language in Language)
_OPEN, _CLICK = frozenset({Purpose.OPEN}), frozenset({Purpose.CLICK})


@dataclass(frozen=True, slots=True)
class _Words:
    """What a block says in one language: the sentence, what is recorded or asked about, and the link's text."""

    sentence: str
    what: Mapping[frozenset[Purpose], str]
    link: str


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


_QUESTIONS = {
    Language.ENGLISH: _Words(
        "May {organisation} record {what}? Without your yes nothing is recorded.",
        {
            _OPEN: "when images in its messages to you are loaded",
            _CLICK: "which links you follow in its messages",
            _OPEN | _CLICK: "when images in its messages to you are loaded and which links you follow",
        },
        "Say yes or no",
    ),
    Language.GERMAN: _Words(
        "Darf {organisation} erfassen, {what}? Ohne Ihr Ja wird nichts erfasst.",
        {
            _OPEN: "wann Bilder in Nachrichten an Sie geladen werden",
            _CLICK: "welche Links Sie in Nachrichten an Sie anklicken",
            _OPEN | _CLICK: "wann Bilder in Nachrichten an Sie geladen werden und welche Links Sie anklicken",
        },
        "Ja oder Nein sagen",
    ),
    Language.FRENCH: _Words(
        "{organisation} peut-il enregistrer {what} ? Sans votre oui, rien n'est enregistré.",
        {
            _OPEN: "quand les images de ses messages sont chargées",
            _CLICK: "quels liens de ses messages vous suivez",
            _OPEN | _CLICK: "quand les images de ses messages sont chargées et quels liens vous suivez",
        },
        "Dire oui ou non",
    ),
    Language.SPANISH: _Words(
        "¿Puede {organisation} registrar {what}? Sin su sí no se registra nada.",
        {
            _OPEN: "cuándo se cargan las imágenes de sus mensajes",
            _CLICK: "qué enlaces de sus mensajes abre usted",
            _OPEN | _CLICK: "cuándo se cargan las imágenes de sus mensajes y qué enlaces abre usted",
        },
        "Decir sí o no",
    ),
    Language.ITALIAN: _Words(
        "{organisation} può registrare {what}? Senza il Suo sì non viene registrato nulla.",
        {
            _OPEN: "quando vengono caricate le immagini dei suoi messaggi",
            _CLICK: "quali link dei suoi messaggi Lei apre",
            _OPEN | _CLICK: "quando vengono caricate le immagini dei suoi messaggi e quali link Lei apre",
        },
        "Dire sì o no",
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
        return " ".join([self._filled(template, words.what[recorded or _CLICK]), *decision.footer])

    def question(self, decision: Decision, language: Language) -> str:
        """Return the sentence that asks somebody for their agreement to what only lacks it."""
        words = _QUESTIONS[language]
        wanted = (one for one in (Purpose.OPEN, Purpose.CLICK) if decision.reasons.get(one) is Reason.NO_CONSENT)
        return self._filled(words.sentence, words.what[frozenset(wanted) or _CLICK])

    def _filled(self, template: str, what: str) -> str:
        # In two steps: the name may hold braces of its own.
        before, _, after = template.replace("{what}", what).partition("{organisation}")
        return before + self.organisation + after

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
        pixel = ""
        if pixel_url is not None:
            pixel = (
                f'<img src="{escape(pixel_url)}" width="1" height="1" alt="" border="0" '
                'style="width:1px;height:1px;border:0">'
            )
        said = _linked(self.sentence(decision, language), stop_url, _WORDS[language].link)
        return _block(said + pixel, language, document_language, eol)

    def invitation_html(
        self, decision: Decision, language: Language, url: str, *, document_language: str = "", eol: str = "\r\n"
    ) -> bytes:
        """Return the block that asks for an agreement: a sentence and the link to say yes or no, no picture."""
        said = _linked(self.question(decision, language), url, _QUESTIONS[language].link)
        return _block(said, language, document_language, eol)

    def invitation_text(self, decision: Decision, language: Language, url: str, eol: str = "\r\n") -> bytes:
        """Return the same for a text-only message. Raises Unparsable where ASCII cannot say it."""
        return _plain(self.question(decision, language), url, _QUESTIONS[language].link, language, eol)

    def text(self, decision: Decision, language: Language, stop_url: str, eol: str = "\r\n") -> bytes:
        """Return the footer of a text-only message whose links are wrapped. Raises Unparsable where ASCII cannot."""
        return _plain(self.sentence(decision, language), stop_url, _WORDS[language].link, language, eol)


def _linked(sentence: str, url: str, text: str) -> str:
    return f'{_ascii(sentence)} <a href="{escape(url)}">{_ascii(text)}</a>'


def _plain(sentence: str, url: str, text: str, language: Language, eol: str) -> bytes:
    """Return what stands below a text-only message; accents are left out, for it is ASCII."""
    return f"{_without_accents(sentence, language)}{eol}{_without_accents(text, language)}: {url}".encode("ascii")


def _block(content: str, language: Language, document_language: str, eol: str) -> bytes:
    """Return the element that stands below a message, and says its language where that is not the document's."""
    elsewhere = document_language and _primary(document_language) != language
    says = f'lang="{language}" dir="ltr" ' if elsewhere else ""
    lines = (
        f'<div {says}style="margin:16px 0 0 0;font-family:Arial,Helvetica,sans-serif;font-size:12px;line-height:16px">',
        f"{content}</div>",
    )
    return eol.join(lines).encode("ascii")


def _primary(tag: str) -> str:
    """Return the language subtag of a language tag, which may be written with ``_``."""
    return tag.strip().replace("_", "-").partition("-")[0].lower()


def _ascii(text: str) -> str:
    """Return text for HTML content: markup characters escaped, all others above ASCII as numeric references."""
    return escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


_GERMAN_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
_UNMARKED = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "‘": "'", "’": "'", "–": "-", "—": "-"}
    | dict.fromkeys("“”„«»", '"')
)
"""What has no accent that could be left out."""


def _without_accents(text: str, language: Language) -> str:
    """Return text in ASCII. Raises Unparsable where letters would be lost, and with them perhaps who writes."""
    if language is Language.GERMAN:
        text = unicodedata.normalize("NFC", text).translate(_GERMAN_LETTERS)
    text = unicodedata.normalize("NFKD", text.translate(_UNMARKED))
    if any(character.isalnum() and not character.isascii() for character in text):
        raise Unparsable("the footer has letters that ASCII does not have")
    return text.encode("ascii", "ignore").decode("ascii")
