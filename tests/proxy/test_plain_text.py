"""Text-only messages: never changed unless the policy asks for it, and then only their links and a footer."""

import pytest

from policies import Decision, MessageClass, Purpose, Reason
from proxy.footer import Footer
from proxy.message import Reading, read_message
from proxy.rewrite import tracked
from proxy.trackers import Watch
from proxy.vendors import load_rules

CLICK = Decision(
    MessageClass.INDIVIDUAL,
    Reason.TRACKED,
    {Purpose.OPEN: Reason.PLAIN_TEXT, Purpose.CLICK: Reason.TRACKED, Purpose.DETAIL: Reason.POLICY_OFF},
    "v1",
)
HEAD = b"From: alice@example.org\r\nTo: bob@customer.test\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
FOOTER = (
    b"\r\n\r\nWith your consent, Example GmbH records which links of this message are followed.\r\n"
    b"Stop this: https://track.test/stop/S\r\n"
)


class Fixed:
    """Addresses that a test can read."""

    def pixel(self) -> str:
        """Return a pixel's address, which no text holds."""
        return "https://track.test/o/P.gif"

    def link(self, number: int, target: str) -> str:
        """Return a link's address."""
        return f"https://track.test/l/{number}"

    def stop(self) -> str:
        """Return the stop page's address."""
        return "https://track.test/stop/S"


def wrapped(body: str, encoding: str = "8bit") -> bytes:
    """Return the body of a text-only message after rewriting."""
    raw = HEAD + f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body.encode() + b"\r\n"
    message = read_message(raw, Reading(plain_text_links=True))
    return tracked(message, CLICK, Fixed(), Footer("Example GmbH")).raw.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "body",
    [
        "Unsubscribe: https://shop.example/r/1",
        "Passwort zurücksetzen:\r\n\r\n<https://shop.example/r/1>",
        "Um sich abzumelden, folgen Sie bitte\r\nhttps://shop.example/r/1",
        "Rejoindre la réunion ( https://shop.example/r/1 )",
    ],
    ids=["in front", "above, in brackets", "in the line above", "bracket"],
)
def test_words_in_front_of_an_address(body: str) -> None:
    """100, 104: an address in a text that is said to lead to where people sign in, leave or meet stays as it is."""
    body += "\r\nUnser Angebot: https://shop.example/a"
    assert wrapped(body).startswith(body.replace("https://shop.example/a", "https://track.test/l/1").encode())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("See https://shop.example/a?b=1&c=2.", "See https://track.test/l/1."),
        ("(https://shop.example/a) <https://shop.example/b>", "(https://track.test/l/1) <https://track.test/l/2>"),
        ("Grüße: https://a.example/ü?x https://b.example/", "Grüße: https://a.example/ü?x https://track.test/l/1"),
        ("https://a.example/\r\n> https://b.example/ quoted", "https://track.test/l/1\r\n> https://b.example/ quoted"),
        ("https://a.example/x_(y) https://b.example/", "https://a.example/x_(y) https://track.test/l/1"),
        ("https://shop.example/a https://shop.example/unsubscribe", "https://track.test/l/1 https://shop.example/unsubscribe"),
    ],
    ids=["sentence", "brackets", "beyond ASCII", "quoted line", "bracket of its own", "unsubscribe"],
)  # fmt: skip
def test_links_in_text(body: str, expected: str) -> None:
    """25: with plain_text_links every whole address is wrapped, what stands around it stays, and a footer is added."""
    assert expected.encode() + FOOTER == wrapped(body)


@pytest.mark.parametrize(
    "above",
    [
        "-----Original Message-----",
        "-----Ursprüngliche Nachricht-----\r\nVon: Max",
        "________________________________\r\nFrom: Max <max@customer.example>\r\nSent: Monday, November 16, 2026",
        "Von: Max Muster\r\nGesendet: Montag, 16. November 2026 09:00\r\nAn: Anna",
        "De\xa0: Max\r\nEnvoyé\xa0: lundi 16 novembre 2026",
        "De: Max\r\nEnviado el: lunes",
        "*Da:* Max\r\n*Inviato:* lunedì",
        "Begin forwarded message:",
        "Date: of delivery\r\nFrom: Max\r\nDate: Monday",
    ],
)
def test_history_without_marks_in_text(above: str) -> None:
    """25: links below the lines that Outlook and others write above unmarked history stay as they are."""
    history = f"\r\n\r\n{above}\r\n\r\nhttps://old.example/"

    assert f"https://track.test/l/1{history}".encode() + FOOTER == wrapped(f"https://new.example/{history}")


def test_route_in_text() -> None:
    """25: a line that begins like a reply's header is none by itself."""
    expected = "From: Hamburg to Berlin\r\nhttps://track.test/l/1"

    assert expected.encode() + FOOTER == wrapped("From: Hamburg to Berlin\r\nhttps://rail.example/")


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable"])
def test_white_space_before_the_footer(encoding: str) -> None:
    """White space at the end of the last line stays there: ``-- `` is a signature's mark only with it."""
    space = "=20" if encoding == "quoted-printable" else " "
    out = wrapped(f"https://shop.example/a\r\n--{space}\r\n", encoding)

    assert f"https://track.test/l/1\r\n--{space}".encode() + FOOTER == out.replace(b"=\r\n", b"").removesuffix(b"\r\n")


def test_soft_break() -> None:
    """An address over a soft line break is one address."""
    out = wrapped("See https://shop.exam=\r\nple/a?b=3D1 now", "quoted-printable")
    assert out.startswith(b"See https://track.test/l/1 now\r\n")


def test_without_asking() -> None:
    """25: without plain_text_links there is nothing to wrap in a text-only message."""
    raw = HEAD + b"\r\nSee https://shop.example/a\r\n"
    message = read_message(raw, Reading())
    assert (0, ()) == (message.facts.links, message.texts)


def test_never_beside_html() -> None:
    """Beside an HTML part the text part stays as it is."""
    parts = (
        b"Content-Type: text/plain\r\n\r\nhttps://shop.example/a",
        b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>x",
    )
    raw = b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    raw += b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    assert () == read_message(raw, Reading(plain_text_links=True)).texts


def test_encoding_of_a_part_without_a_header() -> None:
    """Case 64: a part without a header gets one where a line over the limit has it encoded anew."""
    part = b"https://shop.example/ " + b"x" * 990
    raw = HEAD.replace(b"text/plain; charset=utf-8", b"multipart/mixed; boundary=b") + b"\r\n--b\r\n\r\n" + part
    message = read_message(raw + b"\r\n--b--\r\n", Reading(plain_text_links=True))

    out = tracked(message, CLICK, Fixed(), Footer("Example GmbH")).raw

    assert b"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhttps://track.test/l/1 xxx" in out


def test_footer_below_the_last_wrapped_link() -> None:
    """Of several text parts the last one with a wrapped link has the footer, also where a later one has a tracker."""
    parts = (b"https://shop.example/a", b"> https://l.mailtrack.com/l/0a1b2c3d4e5f60718293a4b5c6d7e8f901234567?u=1")
    raw = HEAD.replace(b"text/plain; charset=utf-8", b"multipart/mixed; boundary=b")
    raw += b"".join(b"\r\n--b\r\n\r\n" + part for part in parts) + b"\r\n--b--\r\n"
    message = read_message(raw, Reading(plain_text_links=True, watch=Watch(load_rules())))

    out = tracked(message, CLICK, Fixed(), Footer("Example GmbH")).raw

    assert [1, 0] == [len(text.links) for text in message.texts]
    assert b"https://track.test/l/1" + FOOTER + b"--b\r\n\r\n" + parts[1] in out
