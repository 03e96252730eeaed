"""The demo's mailbox: what it keeps, how it compares, and what its pages let through."""

import asyncio
import smtplib
from typing import Any

import pytest
from starlette.testclient import TestClient

from aboveboard.comparison import CONTEXT, compare
from aboveboard.mailbox import MAX_COMPARED, Demo, Letter, Mailbox, build, marks, readable, shown, why
from aboveboard.sockets import bind
from policies.words import Reason
from proxy.message import Reading, read_message

PUBLIC = "http://127.0.0.1:8080"
ID = "0123456789abcdef0123456789abcdef"
RECEIVED = f"Received: by demo with ESMTP id {ID}; Mon, 16 Nov 2026 09:00:00 +0000\r\n".encode()
HTML = (
    b"From: =?utf-8?Q?Ren=C3=A9?= <rene@example.org>\r\nTo: a@customer.test\r\nSubject: <script>alert(1)</script>\r\n"
    b"Message-ID: <1@example.org>\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>Caf=E9</p><script>alert(2)</script>\r\n"
)
PLAIN = b"From: b@example.org\r\nSubject: Hello\r\nMessage-ID: <2@example.org>\r\n\r\n1 < 2\r\n"


def letter(sent: bytes | None, raw: bytes, number: int = 1) -> Letter:
    """Return a message that arrived."""
    return Letter(number, "rene@example.org", ("a@customer.test",), raw, sent, read_message(raw, Reading()))


def client(*letters: Letter) -> TestClient:
    """Return a browser on a mailbox that holds these messages."""
    mailbox = Mailbox()
    mailbox.letters += letters

    async def decisions() -> dict[str, dict[str, Any]]:
        return {ID: {"reason": "no_consent", "detail_of_protection": None}}

    async def again(one: Letter) -> None:
        mailbox.letters.append(letter(one.sent, one.raw, len(mailbox.letters) + 1))

    return TestClient(build(Demo(mailbox, PUBLIC, "127.0.0.1:1587", decisions, again)), follow_redirects=False)


@pytest.mark.parametrize(
    "raw", [PLAIN, b"Subject: caf\xc3\xa9\r\n\r\n.\r\n..\r\n \r\n"], ids=["plain", "dots_and_eight_bits"]
)
async def test_mail_is_kept_as_it_came(raw: bytes) -> None:
    """What a client hands in by SMTP is kept to the byte, with its envelope."""
    mailbox = Mailbox()
    bound = bind("mailbox", "127.0.0.1:0")

    def hand_in() -> None:
        with smtplib.SMTP(*bound.getsockname()[:2], local_hostname="localhost") as smtp:
            smtp.ehlo()
            assert smtp.has_extn("8bitmime")
            assert smtp.has_extn("smtputf8")
            smtp.sendmail("b@example.org", ["a@customer.test", "c@customer.test"], raw, ["BODY=8BITMIME"])

    async with await mailbox.listen(bound):
        await asyncio.to_thread(hand_in)

    assert [(one.raw, one.rcpt_to) for one in mailbox.letters] == [(raw, ("a@customer.test", "c@customer.test"))]


@pytest.mark.parametrize(
    ("sent", "raw", "same"),
    [
        (PLAIN, RECEIVED + PLAIN, True),
        (PLAIN, PLAIN, False),
        (PLAIN, RECEIVED + RECEIVED + PLAIN, False),
        (PLAIN, RECEIVED + PLAIN + b"\r\n", False),
        (PLAIN, RECEIVED + PLAIN.replace(b"1 < 2", b"1 <  2"), False),
        (None, RECEIVED + PLAIN, False),
    ],
    ids=["same", "no_trace", "two_traces", "longer", "one_space", "not_sent_here"],
)
def test_the_same_means_the_same_bytes(sent: bytes | None, raw: bytes, same: bool) -> None:
    """A message counts as untouched only where its bytes are those that were sent, behind one Received line."""
    assert same == letter(sent, raw).same


def test_readable_decodes_text_and_nothing_else() -> None:
    """The source is shown with its text decoded by its own charset, and its header as it travelled."""
    assert "<p>Café</p>" in readable(HTML)
    assert "=?utf-8?Q?Ren=C3=A9?=" in readable(HTML)


@pytest.mark.parametrize(
    "raw",
    [b"", b"no header", b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n", HTML.replace(b"=E9", b"=zz"),
     HTML.replace(b"iso-8859-1", b"x-unknown")],
    ids=["nothing", "no_header", "not_closed", "not_quoted_printable", "unknown_charset"],
)  # fmt: skip
def test_broken_mail_is_shown_as_it_is(raw: bytes) -> None:
    """What cannot be decoded is shown undecoded."""
    assert readable(raw) == raw.decode()


def test_html_is_shown_before_text() -> None:
    """Of a message with both, the HTML is shown; a message of text is shown as text; an attachment never."""
    attached = b"Content-Disposition: attachment\r\n" + HTML

    assert shown(HTML) == ("<p>Café</p><script>alert(2)</script>\r\n", True)
    assert shown(PLAIN) == ("1 < 2\r\n", False)
    assert shown(attached) == ("", False)


def test_a_changed_line_marks_what_changed() -> None:
    """In a line that differs, an address is marked as one word and the rest of the line is not."""
    (stretch,) = compare('<a href="http://a.example/x?y=1">Go</a>', f'<a href="{PUBLIC}/l/Aa-9_">Go</a>')

    (row,) = stretch.rows
    assert row.sent == [(False, '<a href="'), (True, "http://a.example/x?y=1"), (False, '">Go</a>')]
    assert row.delivered == [(False, '<a href="'), (True, f"{PUBLIC}/l/Aa-9_"), (False, '">Go</a>')]


def test_lines_on_one_side_only() -> None:
    """A line that was put in has nothing beside it on the left, and one that was taken out nothing on the right."""
    (stretch,) = compare("a\nb\nc", "a\nc\nd")

    beside = [(row.sent, row.delivered) for row in stretch.rows if row.changed]
    assert beside == [([(True, "b")], None), (None, [(True, "d")])]


def test_what_is_the_same_is_folded() -> None:
    """Lines far from every change are folded away, and no line is lost or shown twice."""
    lines = [str(number) for number in range(40)]
    stretches = compare("\n".join(lines), "\n".join([*lines[:20], "new", *lines[20:]]))

    assert [stretch.folded for stretch in stretches] == [True, False, True]
    assert len(stretches[1].rows) == 2 * CONTEXT + 1
    assert lines == [row.sent[0][1] for stretch in stretches for row in stretch.rows if row.sent]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_sentence(reason: Reason) -> None:
    """Whatever was decided, there is a sentence for it."""
    assert why({"reason": reason.value, "detail_of_protection": None}).endswith(".")


def test_a_signature_is_called_one() -> None:
    """For a signed message the sentence speaks of the signature."""
    assert "signature" in why({"reason": "protected", "detail_of_protection": "signed"})
    assert "signature" not in why({"reason": "protected", "detail_of_protection": "calendar"})


def test_marks_are_counted_in_the_message_itself() -> None:
    """Pixels, links and footers are counted by their addresses in what is shown."""
    page = f'<a href="{PUBLIC}/l/a">1</a><a href="{PUBLIC}/l/b">2</a><a href="{PUBLIC}/stop/c">3</a>'

    assert marks(b"Content-Type: text/html\r\n\r\n" + page.encode(), PUBLIC) == {"pixel": 0, "link": 2, "stop": 1}


def test_mail_cannot_reach_into_the_page() -> None:
    """A subject, a sender or a source with markup in it is text on every page."""
    browser = client(letter(HTML, RECEIVED + HTML))

    for path in ("/", "/message/1"):
        assert "<script" not in browser.get(path).text
        assert "&lt;script&gt;alert(1)" in browser.get(path).text
    assert "René &lt;rene@example.org&gt;" in browser.get("/message/1").text


def test_the_frame_runs_nothing() -> None:
    """The message is framed in a sandbox that allows new windows only, and its own policy says the same."""
    browser = client(letter(HTML, RECEIVED + HTML))
    frame = browser.get("/message/1/frame")

    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in browser.get("/message/1").text
    policy = frame.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox allow-popups allow-popups-to-escape-sandbox"} <= set(policy)
    assert not [directive for directive in policy if directive.startswith("script")]
    assert frame.text == '<!doctype html><base target="_blank">' + shown(HTML)[0]


def test_a_message_of_text_is_framed_as_text() -> None:
    """Text is shown as text, also where it looks like markup."""
    assert "1 &lt; 2" in client(letter(PLAIN, RECEIVED + PLAIN)).get("/message/1/frame").text


def test_mail_from_elsewhere() -> None:
    """A message that the demo did not send is shown, but compared with nothing and not sent again."""
    browser = client(letter(None, RECEIVED + PLAIN))

    assert "It was not sent by this demo" in browser.get("/message/1").text
    assert browser.get("/message/1/sent.eml").status_code == 404
    assert browser.get("/message/1/delivered.eml").content == RECEIVED + PLAIN
    assert browser.post("/message/1/again").status_code == 404


@pytest.mark.parametrize(
    "raw",
    [
        b"From: b@example.org\r\nSubject: Gr\xfc\xdfe\r\n\r\n.\r\n",
        b'From: "B\xf6" <b@example.org>\r\nSubject: =?utf-7?q?+2AA-?=\r\n\r\n.\r\n',
        b"Subject: x\r\nContent-Type: text/html; charset=utf-7\r\n\r\n<p>+2AA-\r\n",
    ],
    ids=["eight bits", "half a character", "in the text"],
)
def test_what_is_no_text_is_shown_all_the_same(raw: bytes) -> None:
    """One message with a byte that means nothing takes no page away."""
    pages = client(letter(raw, RECEIVED + raw), letter(PLAIN, RECEIVED + PLAIN, 2))
    assert [200, 200, 200] == [pages.get(path).status_code for path in ("/", "/message/1", "/message/1/frame")]
    assert "Hello" in pages.get("/").text


def test_a_long_message_is_not_compared() -> None:
    """Comparing is for messages of a length that it ends with; a longer one is shown as it was delivered."""
    long = PLAIN + b"x\r\n" * MAX_COMPARED

    assert "too long to be laid side by side" in client(letter(long, RECEIVED + long)).get("/message/1").text


def test_sending_again_shows_what_arrives() -> None:
    """The button sends the same message once more and leads to it."""
    browser = client(letter(PLAIN, RECEIVED + PLAIN))

    assert browser.get("/message/1/again").status_code == 405
    assert browser.post("/message/1/again").headers["location"] == "/message/2"
    assert browser.get("/message/2").status_code == 200


@pytest.mark.parametrize("header", ["dnt", "sec-gpc"])
def test_browsers_that_ask_not_to_be_tracked(header: str) -> None:
    """A visitor whose browser asks not to be tracked is told why nothing will show up."""
    assert "asks not to be tracked" in client().get("/", headers={header: "1"}).text
    assert "asks not to be tracked" not in client().get("/").text


def test_the_landing_page_shows_the_exact_address() -> None:
    """The address is shown as it came, encoded as it was, and never as markup."""
    page = client().get("/landing/a%2Fb%20c?x=%3Cb%3E&y=1").text

    assert "http://testserver/landing/a%2Fb%20c?x=%3Cb%3E&amp;y=1" in page


@pytest.mark.parametrize("path", ["/message/0", "/message/2", "/message/x", "/message/1/other.eml", "/nothing"])
def test_nothing_there(path: str) -> None:
    """An address that is nothing's answers 404, with a way back to the mailbox."""
    answer = client(letter(PLAIN, RECEIVED + PLAIN)).get(path)

    assert answer.status_code == 404
    assert 'href="/"' in answer.text


@pytest.mark.parametrize("path", ["/mailbox.css", "/static/style.css"])
def test_the_pages_bring_their_own_style(path: str) -> None:
    """Every style sheet that a page asks for is served here, and nothing else is asked for."""
    assert client().get(path).headers["content-type"].startswith("text/css")
    assert f'href="{path}"' in client().get("/").text
