"""The footer: who is told what, in which language, the link to stop, and the pixel in it."""

from itertools import product

import pytest
from bs4 import BeautifulSoup

from policies import Decision, Purpose
from policies.footer import Language
from proxy.footer import LONG_HTML, Footer
from proxy.header import Unparsable
from proxy.own import MAX_FOOTER_TEXT
from proxy.rewrite import tracked
from tests.proxy.samples import FixedMarks, decision, html_mail, read

STOP = "https://mail.example.org/stop/x"
PIXEL = "https://mail.example.org/o/x.gif"
ENGLISH = Language.ENGLISH
BOTH = (Purpose.OPEN, Purpose.CLICK)


def said(footer: Footer, allowed: Decision, language: Language = ENGLISH) -> str:
    """Return the text of the footer as a person reads it."""
    block = BeautifulSoup(footer.html(allowed, language, STOP, None), "html.parser")
    return " ".join(block.get_text().split())


@pytest.mark.parametrize(
    ("purposes", "expected"),
    [
        ((Purpose.OPEN,), "when images in this message are loaded"),
        ((Purpose.CLICK,), "which links of this message are followed"),
        (BOTH, "when images in this message are loaded and which of its links are followed"),
    ],
    ids=["open", "click", "both"],
)
def test_what_is_told(purposes: tuple[Purpose, ...], expected: str) -> None:
    """The recipient is told exactly what the sender learns."""
    assert f"With your consent, Example GmbH records {expected}. Stop this" == said(
        Footer("Example GmbH"), decision(*purposes)
    )


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", "Mit Ihrer Einwilligung erfasst X, wann Bilder in dieser Nachricht geladen werden. Beenden"),
        ("fr", "Avec votre consentement, X enregistre quand les images de ce message sont chargées. Arrêter"),
        ("es", "Con su consentimiento, X registra cuándo se cargan las imágenes de este mensaje. Detener esto"),
        (
            "it",
            "Con il Suo consenso, X registra quando vengono caricate le immagini di questo messaggio. Interrompere",
        ),
    ],
)
def test_languages(language: str, expected: str) -> None:
    """The footer speaks the recipient's language."""
    assert expected == said(Footer("X"), decision(Purpose.OPEN), Language(language))


@pytest.mark.parametrize(("language", "purposes"), list(product(Language, [(Purpose.OPEN,), (Purpose.CLICK,), BOTH])))
def test_every_footer_is_known_again(language: Language, purposes: tuple[Purpose, ...]) -> None:
    """In every language, with a name of a hundred characters, it is short enough to be taken out of a quote later."""
    assert len(said(Footer("N" * 100), decision(*purposes), language)) <= MAX_FOOTER_TEXT


@pytest.mark.parametrize(
    ("header", "html", "expected"),
    [
        ("", '<html lang="de-AT"><body>Hallo</body></html>', "Beenden"),
        ("", "<html lang=fr_CA><body>Salut</body></html>", "Arrêter"),
        ("Content-Language: es\r\n", "<html><body>Hola</body></html>", "Detener esto"),
        ("Content-Language: de\r\n", '<html lang="it"><body>Ciao</body></html>', "Interrompere"),
        ("Content-Language: de, fr\r\n", "<html><body>Hallo</body></html>", "Stop this"),
        ("", '<html lang="pl"><body>Ahoj</body></html>', "Stop this"),
        ("", "<html><body>Hello</body></html>", "Stop this"),
    ],
    ids=["html", "underscore", "header", "html_before_header", "several", "not_spoken", "none"],
)
def test_the_messages_own_language(header: str, html: str, expected: str) -> None:
    """The message's own language counts where it says one that we speak, else the organisation's."""
    raw = html_mail(html.encode()).replace(b"Subject:", header.encode() + b"Subject:", 1)
    out = tracked(read(raw), decision(Purpose.OPEN), FixedMarks(), Footer("X")).raw

    assert f">{expected.encode('ascii', 'xmlcharrefreplace').decode()}</a>" in out.decode()


@pytest.mark.parametrize(
    ("document", "expected"), [("", False), ("en-GB", False), ("ar", True)], ids=["none", "the_same", "another"]
)
def test_a_footer_among_another_language_says_its_own(document: str, expected: bool) -> None:
    """In a document in another language the block says which it is in, and that it runs from left to right."""
    footer = Footer("X").html(decision(Purpose.OPEN), ENGLISH, STOP, None, document_language=document)

    assert expected == (b'<div lang="en" dir="ltr" ' in footer)


def test_own_words() -> None:
    """The organisation's own words stand in the place of ours, in their language only; a name may hold braces."""
    footer = Footer("A {what} B", own_texts={ENGLISH: "We at {organisation} see {what}, if you agreed."})

    assert (
        "We at A {what} B see which links of this message are followed, if you agreed. Stop this",
        "Mit Ihrer Einwilligung erfasst A {what} B, welche Links dieser Nachricht angeklickt werden. Beenden",
    ) == (said(footer, decision(Purpose.CLICK)), said(footer, decision(Purpose.CLICK), Language.GERMAN))


@pytest.mark.parametrize(
    ("length", "asked", "expected"),
    [(LONG_HTML, True, True), (1_000, True, False), (LONG_HTML, False, False)],
    ids=["long", "short", "not_asked"],
)
def test_top_of_long_mail(length: int, asked: bool, expected: bool) -> None:
    """Where it is asked for, long HTML has the footer with its pixel at its beginning (case 117)."""
    raw = html_mail(b"<html><body bgcolor=white>" + b"<p>text</p>\r\n" * (length // 12) + b"</body></html>")
    out = tracked(read(raw), decision(Purpose.OPEN), FixedMarks(), Footer("X", top_if_long=asked)).raw

    assert expected == (b"<body bgcolor=white>\r\n<div style=" in out)
    assert 1 == out.count(b"<img")


def test_pixel() -> None:
    """The pixel is one point, has no text, and stands inside the block of the footer (case 116)."""
    block = BeautifulSoup(Footer("X").html(decision(Purpose.OPEN), ENGLISH, STOP, PIXEL), "html.parser")
    (image,) = block.select("div > img")

    assert (PIXEL, "1", "1", "", "0") == (image["src"], image["width"], image["height"], image["alt"], image["border"])
    assert "tabindex" not in image.attrs
    assert [STOP] == [link["href"] for link in block.select("div > a")]


def test_no_pixel() -> None:
    """Without consent to opens there is no picture at all (case 7)."""
    assert b"<img" not in Footer("X").html(decision(Purpose.CLICK), ENGLISH, STOP, None)


@pytest.mark.parametrize("name", ["Grüße & Söhne", '<script>"', "例 🙂", "O'Neill"])
def test_name(name: str) -> None:
    """The organisation's name is shown as it is, in ASCII bytes, whatever is in it (cases 39 to 44)."""
    footer = Footer(name).html(decision(Purpose.OPEN), ENGLISH, STOP, PIXEL)
    block = BeautifulSoup(footer, "html.parser")

    assert footer.isascii()
    assert block.get_text().replace("\r\n", "").startswith(f"With your consent, {name} records ")
    assert {"div", "a", "img"} == {tag.name for tag in block.find_all()}


def test_line_breaks() -> None:
    """The line breaks are those that were asked for."""
    allowed = decision(Purpose.OPEN)

    assert 0 == Footer("X").html(allowed, ENGLISH, STOP, PIXEL, eol="\n").count(b"\r")
    assert 1 == Footer("X").html(allowed, ENGLISH, STOP, PIXEL).count(b"\r\n")


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("Łódź Æbleskiver", "en", "Lodz Aebleskiver"),
        ("L’Œuvre – “Sœurs”", "fr", 'L\'Oeuvre - "Soeurs"'),
        ("Mu\u0308ller", "de", "Mueller"),
        ("Yağmur Đorđe 4³", "it", "Yagmur Dorde 43"),
    ],
)
def test_a_name_in_text(name: str, language: str, expected: str) -> None:
    """A name keeps its letters in ASCII, also those that are no letter with an accent."""
    assert expected in Footer(name).text(decision(Purpose.CLICK), Language(language), STOP, "\n").decode()


@pytest.mark.parametrize("name", ["日本語の会社", "ООО Пример", "Αθήνα AE"])
def test_a_name_that_ascii_does_not_have(name: str) -> None:
    """Nobody is told of recording, or asked, by somebody whose name is left out: the message stays as it is."""
    with pytest.raises(Unparsable):
        Footer(name).text(decision(Purpose.CLICK), Language.ENGLISH, STOP, "\n")
    with pytest.raises(Unparsable):
        Footer(name).invitation_text(decision(Purpose.CLICK), Language.ENGLISH, STOP, "\n")
    assert f"With your consent, {name} records" in said(Footer(name), decision(Purpose.CLICK))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "With your consent, Grosse records which links of this message are followed.\nStop this"),
        (
            "de",
            "Mit Ihrer Einwilligung erfasst Groesse, welche Links dieser Nachricht angeklickt werden.\nBeenden",
        ),
        ("fr", "Avec votre consentement, Grosse enregistre quels liens de ce message sont suivis.\nArreter"),
    ],
)
def test_text(language: str, expected: str) -> None:
    """The footer of a text-only message says who records what, in ASCII, with the address to stop."""
    text = Footer("Größe").text(decision(Purpose.CLICK), Language(language), STOP, "\n")

    assert f"{expected}: {STOP}" == text.decode()
