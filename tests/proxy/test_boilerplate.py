"""Boilerplate: where a letter begins and where it ends, in the languages that the product speaks."""

import pytest

from proxy.boilerplate import end_of_letter, without_greeting
from tests.correspondence import notices

LETTER = "die lieferung kommt am dienstag und die rechnung liegt bei."


@pytest.mark.parametrize(
    "greeting",
    [
        "Dear Ms Jones,", "Hi Tom", "Good morning Anna!", "To whom it may concern:", "Sehr geehrte Damen und Herren,",
        "Liebe Frau Keller,", "Grüß Gott Herr Maier,", "Moin", "Bonjour Madame Petit,", "Chère Louise,", "Madame,",
        "Estimado señor Ortega:", "Buenos días, Javier:", "Hola", "Gentile dottoressa Villa,", "Egregio avvocato,",
        "Buongiorno Bruno,", "Ciao!", "Dear Ms Jones, dear Mr Smith,", "Hello Jean-Luc –",
    ],
)  # fmt: skip
def test_greetings(greeting: str) -> None:
    """A greeting is taken off, with a line of its own or in front of the first sentence."""
    assert LETTER == without_greeting(f"{greeting.casefold()}\n{LETTER}").strip(" \n")


@pytest.mark.parametrize(
    "text",
    [LETTER, "hidden costs are the worst", "carport and garage are finished, the paint is dry", "salvem os rios"],
)
def test_a_letter_without_greeting_stays(text: str) -> None:
    """What only begins like a greeting is none."""
    assert text == without_greeting(text)


@pytest.mark.parametrize(
    "closing",
    [
        "Kind regards", "Best regards, Tom", "With best wishes", "Yours sincerely", "All the best,", "Thanks",
        "Cheers!", "Mit freundlichen Grüßen", "Viele Grüße aus Kiel", "Herzliche Grüße", "Hochachtungsvoll", "MfG",
        "Gruß", "LG", "Cordialement", "Bien à vous", "Meilleures salutations", "Merci d'avance", "Sincères salutations",
        "Je vous prie d'agréer, Maître, l'expression de mes sentiments distingués.",
        "Veuillez agréer, Madame, mes salutations distinguées.", "Atentamente", "Un cordial saludo", "Saludos",
        "Reciba un cordial saludo", "Un abrazo,", "Cordiali saluti", "Distinti saluti", "A presto", "Un caro saluto",
        "-- ", "Sent from my phone", "Von meinem iPhone gesendet", "Envoyé de mon iPhone", "Inviato da iPhone",
    ],
)  # fmt: skip
def test_closings(closing: str) -> None:
    """The letter ends in front of its closing formula, at the start of a line."""
    text = f"{LETTER}\n\n{closing.casefold()}\nanna keller\nnordwind gmbh, hafenstrasse 3"
    assert LETTER == text[: end_of_letter(text)].strip()


@pytest.mark.parametrize("closing", ["kind regards", "mit freundlichen grüssen", "cordialement", "cordiali saluti"])
def test_closing_behind_a_sentence(closing: str) -> None:
    """A formula that can be nothing else ends the letter in the middle of a line too."""
    text = f"{LETTER} {closing}, anna keller, hafenstrasse 3, and what else stands in one line"
    assert LETTER == text[: end_of_letter(text)].strip()


@pytest.mark.parametrize(
    "line",
    [
        "thanks for the samples, they are lovely", "best is the one in green", "grazie per la visita di ieri",
        "danke für die offenen worte", "merci pour votre appel", "this message is for the caretaker", "gracias por ir",
        "viele grüne äpfel", "regarding the roof", "saluti da parte di marco", "diese nachricht ist kurz",
    ],
)  # fmt: skip
def test_what_is_no_closing(line: str) -> None:
    """What only begins like a closing or a notice belongs to the letter."""
    text = f"{LETTER}\n{line}\n{LETTER}"
    assert len(text) == end_of_letter(text)


@pytest.mark.parametrize("language", [name for name in notices() if name != "unusual"])
def test_legal_notices(language: str) -> None:
    """A legal notice ends the letter where there is no closing to do so."""
    text = f"{LETTER}\n\n{notices()[language].casefold()}"
    assert LETTER == text[: end_of_letter(text)].strip()
