"""The letter in a message: what is compared with other messages, and what is left out of the comparison."""

from time import thread_time

import pytest

from proxy.letter import letter
from proxy.message import Reading, read_message


def message(
    body: str, *, kind: str = "plain", header: str = "", charset: str = "utf-8", encoding: str = "8bit"
) -> bytes:
    """Return a message from Jane Doe to Max Muster with a body of text or HTML."""
    lines = (
        "From: Jane Doe <jane.doe@example.org>\nTo: =?utf-8?q?Max_M=C3=BCster?= <m.muster@weber-ag.example>\n"
        f"{header}MIME-Version: 1.0\nContent-Type: text/{kind}; charset={charset}\n"
        f"Content-Transfer-Encoding: {encoding}\n\n{body}\n"
    )
    return lines.replace("\n", "\r\n").encode(charset if charset in ("utf-8", "iso-8859-1") else "ascii")


def words(raw: bytes) -> list[str] | None:
    """Return the words of the letter; None for a reply."""
    found = letter(read_message(raw, Reading()), ["m.muster@weber-ag.example", "jane.doe@example.org"])
    return None if found is None else list(found.words)


TEXT = "We open the new hall in May and would like to show you the looms."
SAID = TEXT.casefold().rstrip(".").split()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"Dear Mr Muster,\n\n{TEXT}\n\nKind regards\nJane Doe\n+49 30 1234", id="letter"),
        pytest.param(f"Dear Mr Muster, dear Ms Weber,\n{TEXT}", id="two greetings"),
        pytest.param(f"Hi Max\n{TEXT}\nThanks,\nJane", id="greeting without a comma"),
        pytest.param(f"Hello Max, {TEXT} Best regards, Jane Doe, Example GmbH, Berlin", id="all in one line"),
        pytest.param(f"{TEXT}\n-- \nJane Doe\nExample GmbH, 12 Main Street", id="signature mark"),
        pytest.param(f"{TEXT}\n\nSent from my iPhone", id="telephone"),
        pytest.param(f"{TEXT}\n\nDISCLAIMER: the company is liable for nothing at all.", id="disclaimer"),
        pytest.param(f"{TEXT}\n> what you wrote\n> before", id="quoted lines"),
        pytest.param(f"{TEXT}\n-----Original Message-----\nFrom: Max\nwhat you wrote", id="Outlook's history"),
        pytest.param(f"  \ufeff{TEXT}".replace("hall", "ha\u00adll").replace("new ", "new\u00a0"), id="invisible"),
    ],
)
def test_only_the_letter_is_left(body: str) -> None:
    """Greeting, closing, signature, legal notice and quoted history are no part of it."""
    assert SAID == words(message(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"<p>Dear Mr Muster,</p><p>{TEXT}</p><p>Kind regards<br>Jane</p>", id="paragraphs"),
        pytest.param(f"<div>Hi Max<div>{TEXT}<div>Cheers<div>Jane", id="blocks left open"),
        pytest.param(f"<style>p {{ color: red }}</style><!-- not\n this --><b>We</b>{TEXT[2:]}", id="unseen"),
        pytest.param(f"<p>{TEXT.replace(' ', chr(10), 3)}</p>", id="lines of the source"),
        pytest.param(f"<pre>Hi Max\n{TEXT}\nThanks\nJane</pre>", id="preformatted"),
        pytest.param(f'{TEXT}<div class="moz-signature">Jane Doe, office hours at noon</div>', id="Thunderbird"),
        pytest.param(f'{TEXT}<div data-smartmail=x class="gmail_signature">Jane Doe</div>', id="Gmail"),
        pytest.param(f'{TEXT}<div id="Signature">Jane Doe, head of sales</div>', id="Outlook"),
        pytest.param(f"{TEXT}<blockquote>what you wrote</blockquote>", id="quote"),
        pytest.param(f"{TEXT} {TEXT} {TEXT}<hr>Jane Doe, head of sales".replace(TEXT, "", 2), id="no rule so high up"),
        pytest.param(TEXT.replace("hall", "h&#97;ll").replace(" ", "&nbsp;", 2), id="character references"),
        pytest.param(TEXT.replace("looms", "<a href='https://x.example/?id=77'>looms</a>"), id="link"),
    ],
)
def test_html_reads_like_text(body: str) -> None:
    """The same letter in HTML has the same words, whatever tags a program puts around them."""
    found = words(message(f"<html><head><title>x</title></head><body>{body}</body></html>", kind="html"))
    assert found is not None
    assert SAID == found[: len(SAID)]
    assert "hours" not in found


def test_a_rule_far_down_ends_the_letter() -> None:
    """What stands below a rule is a signature or a notice, unless the rule stands under a heading."""
    long = " ".join([TEXT] * 3)
    for raw in (message(f"{long}<hr>Jane Doe", kind="html"), message(f"{long}\n_____\nJane Doe")):
        assert SAID * 3 == words(raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("for Mr Max Müster of Weber AG", "for mr @ of @ ag"),
        ("order 4711-A of 03.05.2026 for EUR 1.200,00", "order 0 a of 0 for eur 0"),
        ("see https://shop.example/o/77?c=abc or www.shop.test/x", "see shop @ or shop test"),
        ("write to max@x.example", "write to @"),
        ("l’offre de l'été", "l'offre de l'été"),
        ("de la part de Jane", "de la part de @"),
        ("新しい", "新 し い"),
        ("STRASSE straße", "strasse strasse"),
    ],
)
def test_what_differs_by_recipient_is_made_alike(text: str, expected: str) -> None:
    """Names of recipient and sender, numbers and addresses are made alike; of a URL the host is kept."""
    assert expected.split() == words(message(text))


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        ("In-Reply-To: <1@x>\nSubject: Re: hall\n", TEXT, None),
        ("References: <1@x>\nSubject: AW: hall\n", TEXT, None),
        ("References: <1@x>\nSubject: R: hall\n", TEXT, None),
        ("In-Reply-To: <1@x>\nSubject: hall\n", f"{TEXT}\n> quoted", None),
        ("In-Reply-To: <1@x>\nSubject: hall\n", TEXT, SAID),
        ("Subject: Re: hall\n", TEXT, SAID),
        ("Subject: hall\n", f"{TEXT}\n> quoted", SAID),
    ],
    ids=["re", "aw", "r", "quote", "no sign of a reply", "only the subject", "only a quote"],
)
def test_replies_are_left_out(header: str, body: str, expected: list[str] | None) -> None:
    """98: a message that answers another one, and looks like it, is no letter to many."""
    assert expected == words(message(body, header=header))


def test_html_reply_is_left_out() -> None:
    """98: the quote of an HTML reply counts too."""
    body = f"{TEXT}<div class=gmail_quote>On Monday you wrote</div>"
    assert None is words(message(body, kind="html", header="In-Reply-To: <1@x>\nSubject: hall\n"))


def test_subject_has_no_tag_and_no_prefix() -> None:
    """Of the subject its words count, made alike as in the text."""
    raw = message(TEXT, header="Subject: [track] Fwd: =?utf-8?q?Offer_4711_for_M=C3=BCster?=\n")
    found = letter(read_message(raw, Reading()), [])
    assert found is not None
    assert ("offer", "0", "for", "@") == found.subject


def test_only_what_stands_in_front_is_a_prefix() -> None:
    """A word of the subject that ends as a prefix does is none, and a subject full of blanks is read in no time."""
    raw = message(TEXT, header=f"Subject: Code for the hi-fi:{' ' * 20_000}new\n")
    begun = thread_time()
    found = letter(read_message(raw, Reading()), [])
    assert found is not None
    assert ("code", "for", "the", "hi", "fi", "new") == found.subject
    assert thread_time() - begun < 0.5


@pytest.mark.parametrize(
    "raw",
    [
        message("Wir öffnen die Halle", charset="iso-8859-1"),
        message("Wir =C3=B6ffnen die=\n Halle", encoding="quoted-printable"),
        message("V2lyIMO2ZmZuZW4gZGllIEhhbGxl", encoding="base64"),
        message("<p>Wir =C3=B6ffnen die=\n Halle</p>", kind="html", encoding="quoted-printable"),
        message("<p>Wir öffnen die Halle</p>", kind="html", charset="iso-8859-1"),
    ],
    ids=["latin-1", "quoted-printable", "base64", "html quoted-printable", "html latin-1"],
)
def test_every_encoding_is_read(raw: bytes) -> None:
    """Charset and transfer encoding make no difference."""
    assert ["wir", "öffnen", "die", "halle"] == words(raw)


def test_long_tags_do_not_hide_the_text() -> None:
    """A letter whose text begins behind many kilobytes of tags is still read."""
    padding = '<span style="{}"></span>'.format("x" * 500) * 60
    assert SAID == words(message(f"<body>{padding}{TEXT}", kind="html"))


def test_a_text_part_that_is_cut_or_broken_is_read_as_it_stands() -> None:
    """More than is looked at, or an encoding that lies, is no error."""
    assert words(message(TEXT + " And so on." * 5_000, encoding="quoted-printable"))
    assert words(message("%%% not base64 at all %%%", encoding="base64"))


@pytest.mark.parametrize("body", ["", " \n\t\n", "<p></p>", "&nbsp;", "..."], ids=ascii)
def test_nothing_said(body: str) -> None:
    """A message without words has a letter without words."""
    assert [] == words(message(body, kind="html"))


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<a ", "<", '<a "', "<style>", "\n-", "dear ", "dear,", "regards", "this e-mail ", "> ", "@", "_", "www.",
     "1", "'a", "-----a ", "&#", "<br", "saludos "],
    ids=ascii,
)  # fmt: skip
def test_hostile_text_is_read_in_no_time(piece: str) -> None:
    """However a text is built, reading it takes time in proportion: quadratic reading would take minutes here."""
    for kind in ("plain", "html"):
        words(message("x " + piece * (2_000_000 // len(piece)), kind=kind))
