"""The footer's settings: what an organisation may say in its own words."""

import pytest
from pydantic import ValidationError

from policies.footer import FooterModel, Language


def test_own_texts() -> None:
    """Texts are known by their language; one that is not given is not there."""
    footer = FooterModel(de="{organisation} sieht, {what}.", fr="{organisation} voit {what}.")

    assert {
        Language.GERMAN: "{organisation} sieht, {what}.",
        Language.FRENCH: "{organisation} voit {what}.",
    } == footer.own_texts()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "We record things.",
        "{organisation} records things.",
        "{organisation} records {what} {what}",
        "{organisation} {what} {name}",
        "{organisation} {what} {",
        "{organisation} {what}\r\n",
        "{organisation} {what} " + "x" * 300,
        "{organisation} {what}: https://example.org",
        "{organisation} {what}: www.example.org",
    ],
    ids=["empty", "nothing", "no_what", "twice", "unknown", "brace", "lines", "long", "url", "www"],
)
def test_texts_that_are_refused(text: str) -> None:
    """A text must tell who records what, on one line, and lead nowhere: the link to stop is the only one."""
    with pytest.raises(ValidationError):
        FooterModel(en=text)
