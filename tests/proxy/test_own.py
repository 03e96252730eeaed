# ruff: noqa: E501  # a case reads best on one line
"""Our own old marks in quoted text: they go, and nothing else does."""

import base64
import quopri
from collections.abc import Callable
from dataclasses import replace
from html import escape
from urllib.parse import quote

import pytest

from ledger.keys import Keyring
from ledger.tokens import Marks, OwnTokens, new_message_id
from policies import Decision, MessageClass, Purpose, Reason
from policies.words import Protection
from proxy.footer import Footer
from proxy.header import Unparsable
from proxy.message import Reading, read_message
from proxy.own import finding_in_html, finding_in_text
from proxy.page import page
from proxy.rewrite import tracked, untracked
from proxy.slices import at_once
from proxy.trackers import Watch
from proxy.transfer import decode, splice
from proxy.vendors import load_rules
from tests.proxy.samples import html_mail

KEYRING = Keyring.throwaway()
TOKENS = OwnTokens(KEYRING)
OLD = Marks(KEYRING, "https://old.track.test/mail", new_message_id(), "carol@customer.test")
TARGET = "https://shop.example/a?b=1&c=2"
PIXEL, LINK, STOP = OLD.pixel(), OLD.link(1, TARGET), OLD.stop()
FOREIGN = Marks(Keyring.throwaway(), "https://other.test", new_message_id(), "x@y.test")
READING = Reading(tokens=TOKENS)
ALL_ON = Decision(MessageClass.INDIVIDUAL, Reason.TRACKED, dict.fromkeys(Purpose, Reason.TRACKED), "v1")
FOOTER = f'<div style="margin:16px">With your consent, Example records this. <a href="{STOP}">Stop this</a><img src="{PIXEL}"></div>'

HTML_CASES = [
    pytest.param(f'<p>a<img src="{PIXEL}">b</p>', "<p>ab</p>", id="111 pixel"),
    pytest.param(f"<p>a<IMG alt='' SRC={PIXEL} >b</p>", "<p>ab</p>", id="111 pixel without quotes"),
    pytest.param(f'<img src="https://ci3.googleusercontent.com/meips/ABC=s0-d#{PIXEL}">', "", id="behind Gmail's proxy"),
    pytest.param(f'<a class=x href="{LINK}">q</a>', '<a class=x href="https://shop.example/a?b=1&amp;c=2">q</a>', id="110 link"),
    pytest.param(f"<a href='{LINK}'>q</a>", "<a href='https://shop.example/a?b=1&amp;c=2'>q</a>", id="110 single quotes"),
    pytest.param(f"<a href={LINK}>q</a>", "<a href=https://shop.example/a?b&#61;1&amp;c&#61;2>q</a>", id="110 no quotes"),
    pytest.param(f"<p>x</p>{FOOTER}<p>y</p>", "<p>x</p><p>y</p>", id="footer"),
    pytest.param(f"<td>{FOOTER}</td>", "<td></td>", id="footer in a cell"),
    pytest.param(f'<td>Records. <a href="{STOP}">Stop</a></td>', "<td></td>", id="a cell stays, its text goes"),
    pytest.param(f'<div>{"long " * 100}<a href="{STOP}">Stop</a></div>', None, id="a long element is somebody's text"),
    pytest.param(f'<div><a href="https://x.test">other</a> <a href="{STOP}">Stop</a></div>', None, id="another link in it"),
    pytest.param(
        f'<div><p>Text <a href="{LINK}">q</a></p>{FOOTER}</div>',
        '<div><p>Text <a href="https://shop.example/a?b=1&amp;c=2">q</a></p></div>',
        id="only the smallest element goes",
    ),
    pytest.param(
        f'<p>re</p><div><p>Please pay by Friday.<p>With your consent. <a href="{STOP}">Stop</a></div>',
        "<p>re</p><div><p>Please pay by Friday.</div>",
        id="a paragraph left open before it stays",
    ),
    pytest.param(f'<ul><li>Pay 100 EUR<li><a href="{STOP}">Stop</a></ul>', "<ul><li>Pay 100 EUR</ul>", id="an item left open"),
    pytest.param(f'<div>a <a href="{STOP}">s</a><div>b <a href="{STOP}">t</a></div></div>', "", id="a footer in a footer"),
    pytest.param(f'<div>&#{"0" * 5000}65; <a href="{STOP}">s</a></div>', "", id="a long numeric reference"),
    pytest.param(f'<v:roundrect href="{LINK}">', '<v:roundrect href="https://shop.example/a?b=1&amp;c=2">', id="110 VML"),
    pytest.param(f'<a href="{LINK.upper()[:5]}{LINK[5:]}?utm=1#x">', '<a href="https://shop.example/a?b=1&amp;c=2">', id="with something behind"),
    pytest.param(f'<a href="{LINK.replace("/", "&#x2f;")}">', '<a href="https://shop.example/a?b=1&amp;c=2">', id="slashes as references"),
    pytest.param(f'<img src="https://p.test/?u={PIXEL.replace("/", "%2F")}">', "", id="in a proxy's query"),
    pytest.param(f'<p><img src="{FOREIGN.pixel()}"><a href="{FOREIGN.link(1, TARGET)}">q</a></p>', None, id="of another installation"),
    pytest.param(f'<p><img src="{PIXEL[:-4]}x.gif"><a href="{LINK[:-1]}">q</a></p>', None, id="tampered"),
    pytest.param(f'1 <<img src="{PIXEL}">b class=', "1 < b class=", id="111 no tag is made"),
    pytest.param(f'AT&<img src="{PIXEL}">amp;T &<b>', "AT& amp;T &<b>", id="no reference is made"),
    pytest.param(f"<p>{LINK}</p><!-- {PIXEL} --><style>a{{background:url({PIXEL})}}</style>", None, id="not in a tag"),
]  # fmt: skip


@pytest.mark.parametrize(("html", "expected"), HTML_CASES)
def test_html(html: str, expected: str | None) -> None:
    """Cases 110 and 111: our pixel, links and footer are taken out of HTML; whatever is not ours stays as it is."""
    data = html.encode()

    result = splice(data, at_once(finding_in_html(page(data), TOKENS)).edits)

    assert (html if expected is None else expected) == result.decode()


def test_text() -> None:
    """Our links in text lead to their exact destinations again; stop links and other addresses stay."""
    foreign = FOREIGN.link(1, TARGET)
    text = f"> see <{LINK}> or {LINK}.\r\n> stop: {STOP}\r\n> {foreign}\r\n".encode()

    result = splice(text, at_once(finding_in_text(text, TOKENS)).edits)

    assert f"> see <{TARGET}> or {TARGET}.\r\n> stop: {STOP}\r\n> {foreign}\r\n".encode() == result


@pytest.mark.parametrize(
    ("written", "left"),
    [
        pytest.param(f"Stop[{PIXEL}]", "Stop", id="Outlook"),
        pytest.param(f"a <{PIXEL}> b", "a  b", id="angle brackets"),
        pytest.param(f"![]({PIXEL})", "![]", id="Markdown"),
        pytest.param(f"{PIXEL}\r\n> x", "\r\n> x", id="by itself"),
        pytest.param(f"({PIXEL}", "(", id="half in brackets"),
        pytest.param(PIXEL.removesuffix(".gif"), "", id="its ending cut off"),
        pytest.param(f"[https://a.test/b.png][{PIXEL}]", "[https://a.test/b.png]", id="beside another image"),
        pytest.param(f"x[https://ci3.googleusercontent.com/meips/A=s0-d#{PIXEL}]", "x", id="behind an image proxy"),
        pytest.param(f"https://ci3.googleusercontent.com/meips/A=s0-d#{PIXEL} y", " y", id="the same by itself"),
        pytest.param(f"{LINK}/o/{PIXEL.partition('/o/')[2]}", "", id="behind a link"),
        pytest.param(f"https:{PIXEL}//a.test/", "https: //a.test/", id="between halves of another address"),
    ],
)
def test_pixel_in_text(written: str, left: str) -> None:
    """Case 111: the address of our pixel, as programs write it that make text of HTML, goes with its brackets."""
    text = f"> old\r\n> {written}".encode()

    marks = at_once(finding_in_text(text, TOKENS))

    assert f"> old\r\n> {left}".encode() == splice(text, marks.edits)
    assert (marks.pixels, marks.links) == (1, 0)


def test_pixel_of_another_installation_in_text() -> None:
    """The address of a pixel whose token does not open stays in text."""
    assert at_once(finding_in_text(f"[{FOREIGN.pixel()}]".encode(), TOKENS)).edits == ()


HEAD = b"From: alice@example.org\r\nTo: bob@customer.test\r\nSubject: Re: offer\r\nMIME-Version: 1.0\r\n"
REPLY = f'<p>Hi</p><blockquote><a href="{LINK}">our offer</a>{FOOTER}</blockquote>'
CLEAN = '<p>Hi</p><blockquote><a href="https://shop.example/a?b=1&amp;c=2">our offer</a></blockquote>'


def encoded(html: str, encoding: str) -> bytes:
    """Return a message with the HTML in a transfer encoding."""
    body = {
        "8bit": lambda: html.encode() + b"\r\n",
        "quoted-printable": lambda: quopri.encodestring(html.encode()).replace(b"\n", b"\r\n"),
        "base64": lambda: base64.encodebytes(html.encode()).replace(b"\n", b"\r\n"),
    }[encoding]()
    said = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    return HEAD + said + body


def html_of(raw: bytes) -> str:
    """Return the decoded HTML of a message."""
    return read_message(raw, READING).bodies[0].encoded.decoded.decode().rstrip("\r\n")


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_untracked_reply(encoding: str) -> None:
    """Case M11: an untracked reply loses our old marks, across soft line breaks too, and says so; all else is the same."""
    raw = encoded(REPLY, encoding)

    outgoing = untracked(read_message(raw, READING))

    assert html_of(outgoing.raw) == CLEAN
    assert raw.partition(b"\r\n\r\n")[0] == outgoing.raw.partition(b"\r\n\r\n")[0]
    assert {"own_pixel": 1, "own_link": 1, "own_footer": 1} == {one.what: one.count for one in outgoing.changes}


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_second_pass_changes_nothing_more(encoding: str) -> None:
    """Case 21: a tracked message that comes through again, untracked, leaves as it was before the first time."""
    raw = encoded('<html><body><p>Dear Bob, <a href="https://shop.example/x?y=1">see</a></p></body></html>', encoding)
    new = Marks(KEYRING, "https://track.test", new_message_id(), "bob@customer.test")
    first = tracked(read_message(raw, READING), ALL_ON, new, Footer("Example GmbH")).raw

    second = untracked(read_message(first, READING)).raw
    third = untracked(read_message(second, READING)).raw

    assert "".join(html_of(raw).split()) == "".join(html_of(second).split())
    assert second == third


def test_tracked_reply() -> None:
    """A tracked reply loses the old marks and gets new ones; no token of the other person is left."""
    raw = encoded(
        REPLY.replace("<p>Hi</p>", '<p>Hi <a href="https://shop.example/new">new</a></p>'), "quoted-printable"
    )
    new = Marks(KEYRING, "https://track.test", new_message_id(), "bob@customer.test")

    html = html_of(tracked(read_message(raw, READING), ALL_ON, new, Footer("Example GmbH")).raw)

    assert not any(old in html for old in (PIXEL, LINK, STOP))
    assert (1, 1, 1) == (html.count("track.test/o/"), html.count("track.test/l/"), html.count("track.test/stop/"))


def test_protected_is_not_touched() -> None:
    """What is signed keeps our old marks: byte for byte."""
    raw = encoded(REPLY, "8bit").replace(b"Subject:", b"DKIM-Signature: v=1; d=example.org; b=x\r\nSubject:")
    assert untracked(read_message(raw, READING)).raw == raw


@pytest.mark.parametrize(
    "line", ["-----BEGIN PGP{} MESSAGE-----", "-----BE{}GIN PGP MESSAGE-----", "--{}---BEGIN PGP KEY"]
)
def test_what_a_mark_hides_in_inline_pgp_is_not_put_together(line: str) -> None:
    """A mark of ours in the middle of inline PGP's first line stays: without it the message would read as encrypted."""
    pixel = f'<img src="{PIXEL}">'
    raw = encoded(f"<p>{line.format(pixel)}</p>", "8bit")
    message = read_message(raw, READING)

    assert (Protection.ENCRYPTED, raw) == (message.facts.protection, untracked(message).raw)


def test_own_signature_goes_with_our_marks() -> None:
    """Case 33: where our edits would break a signature that may be removed, it is removed."""
    raw = encoded(REPLY, "8bit").replace(b"Subject:", b"DKIM-Signature: v=1; d=example.org; b=x\r\nSubject:")
    reading = replace(READING, removable_signatures=frozenset({"example.org"}))

    outgoing = untracked(read_message(raw, reading)).raw

    assert b"DKIM-Signature" not in outgoing
    assert html_of(outgoing) == CLEAN


def test_text_part_beside_html() -> None:
    """Text and HTML are both cleaned; the boundary between them stays."""
    parts = [b"Content-Type: text/plain; charset=utf-8\r\n\r\n> " + LINK.encode(),
             b"Content-Type: text/html; charset=utf-8\r\n\r\n" + REPLY.encode()]  # fmt: skip
    raw = HEAD + b"Content-Type: multipart/alternative; boundary=b\r\n\r\n" + b"".join(
        b"--b\r\n" + part + b"\r\n" for part in parts
    ) + b"--b--\r\n"  # fmt: skip

    outgoing = untracked(read_message(raw, READING)).raw

    assert raw.replace(LINK.encode(), TARGET.encode(), 1).replace(REPLY.encode(), CLEAN.encode()) == outgoing


@pytest.mark.parametrize(
    "html",
    [f'<div><a href="{STOP}">' * 5_000, "<div>" * 50_000 + STOP + "</p>" * 50_000, f'<img src="{PIXEL}">' * 5_000],
    ids=["nested footers", "deep nesting", "many pixels"],
)
def test_hostile_input_ends(html: str) -> None:
    """Nesting and numbers cost no more than their size."""
    at_once(finding_in_html(page(html.encode()), TOKENS))
    assert at_once(finding_in_html(page(html.encode()[:1_000]), TOKENS)).links == 0


@pytest.mark.parametrize("on", [False, True], ids=["untracked", "tracked"])
@pytest.mark.parametrize(
    "html",
    [
        f"<p>x</p>\r\n--b<img src={PIXEL}>\r\n<p>y</p>",
        f"<p>x</p>\r\n--b<img src={PIXEL}>-- \r\n<p>y</p>",
        f"-<img src={PIXEL}>-b\r\n<p>y</p>",
    ],
    ids=["between parts", "behind the last part", "at the beginning"],
)
def test_no_mark_taken_out_makes_a_boundary(html: str, on: bool) -> None:
    """Case 35: what a mark tears apart stays so where it would be a line that ends the part."""
    part = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + html.encode()
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"\r\n--b--\r\n"
    message = read_message(raw, READING)

    assert untracked(message).raw == raw
    if on:
        with pytest.raises(Unparsable):
            tracked(message, ALL_ON, OLD, Footer("Example GmbH"))


def test_a_boundary_of_other_parts_in_its_text_holds_nothing_up() -> None:
    """A part that has a line like that between parts of another multipart is edited like any other."""
    inner = b"Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\ntext\r\n--c--\r\n"
    part = b"Content-Type: text/html; charset=utf-8\r\n\r\n<pre>\r\n--c\r\n</pre>" + f"<img src={PIXEL}>".encode()
    raw = (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + inner
        + b"\r\n--b\r\n"
        + part
        + b"\r\n--b--\r\n"
    )

    assert raw.replace(f"<img src={PIXEL}>".encode(), b"") == untracked(read_message(raw, READING)).raw


def test_end_of_the_body_in_an_old_footer() -> None:
    """Case 110: an old footer with the end of the body in it goes, and the new one stands where it stood."""
    html = f'<p>x</p><div>Stop <a href="{STOP}">here</a></body></div><p>y</p>'

    out = html_of(tracked(read_message(encoded(html, "8bit"), READING), ALL_ON, OLD, Footer("Example GmbH")).raw)

    assert out.startswith("<p>x</p>\r\n<div style=")
    assert out.endswith("</div>\r\n<p>y</p>")


def test_old_links_are_nothing_to_track() -> None:
    """Case 102: a link that is an old mark of ours is none to wrap, so a message with no other has nothing to track."""
    message = read_message(encoded(f'<p><a href="{LINK}">q</a></p>', "8bit"), READING)

    assert message.facts.links == 0


GMAIL = f"https://ci3.googleusercontent.com/meips/ADKq_{'x' * 90}=s0-d-e1-ft#{PIXEL}"


def test_behind_gmails_proxy_in_quoted_printable() -> None:
    """Case 111: the pixel goes from behind Gmail's image proxy, over as many soft line breaks as its address has."""
    raw = encoded(
        f'<p>Hi</p><div class="gmail_quote"><img src="{GMAIL}" width="1" height="1">old</div>', "quoted-printable"
    )

    outgoing = untracked(read_message(raw, READING)).raw

    assert html_of(outgoing) == '<p>Hi</p><div class="gmail_quote">old</div>'
    assert max(map(len, outgoing.split(b"\r\n"))) <= 76


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_old_links_in_a_text_only_reply(encoding: str) -> None:
    """Case 110: a link in quoted text leads to its exact destination again, soft-broken or not; the rest is the same."""
    text = f"Gr\u00fc\u00dfe\n> see {LINK} and\n> stop: {STOP}"
    raw = encoded(text, encoding).replace(b"text/html", b"text/plain")

    message = read_message(untracked(read_message(raw, READING)).raw, replace(READING, plain_text_links=True))

    assert message.texts == ()
    part = message.facts.parts[0]
    content = message.raw[part.body : part.end]
    assert decode(content, encoding).decoded.replace(b"\r\n", b"\n").decode().rstrip() == text.replace(LINK, TARGET)


@pytest.mark.parametrize("own", [LINK, PIXEL, GMAIL], ids=["a link", "a pixel", "a pixel behind a proxy"])
def test_what_holds_an_old_mark_is_not_wrapped(own: str) -> None:
    """Case 102: no address in text that holds an old mark is wrapped: it would lead to the mark, which is taken out."""
    raw = encoded(f"https://shop.example/1 https://tool.test/?u={own} {own} https://shop.example/2", "8bit")
    message = read_message(raw.replace(b"text/html", b"text/plain"), replace(READING, plain_text_links=True))

    assert ["https://shop.example/1", "https://shop.example/2"] == [link.target for link in message.texts[0].links]


def _proofpoint_2(url: str) -> str:
    letters = quote(url, safe="").replace("-", "-2D").replace("_", "-5F").replace("%", "-").replace("-2F", "_")
    return f"https://urldefense.proofpoint.com/v2/url?u={letters}&d=DwMF&r=x"


GATEWAYS: dict[str, Callable[[str], str]] = {
    "Safe Links": lambda url: (
        f"https://eur01.safelinks.protection.outlook.com/?url={quote(url, safe='')}&data=05%7C&sdata=x"
    ),
    "Proofpoint 2": _proofpoint_2,
    "Proofpoint 3": lambda url: f"https://urldefense.com/v3/__{url}__;!!AbC!dEf$",
}
WATCHING = replace(READING, watch=Watch(load_rules()))


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_behind_a_gateway(gateway: str) -> None:
    """Links and footer of ours are known in a reply whose writer's mail gateway has put addresses of its own around them."""
    link, stop = escape(GATEWAYS[gateway](LINK)), escape(GATEWAYS[gateway](STOP))
    html = f'<p>Yes</p><blockquote><a href="{link}">q</a><div>With your consent <a href="{stop}">Stop</a></div></blockquote>'

    outgoing = untracked(read_message(html_mail(html.encode()), WATCHING)).raw

    assert outgoing.endswith(b'<p>Yes</p><blockquote><a href="https://shop.example/a?b=1&amp;c=2">q</a></blockquote>')


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_behind_a_gateway_in_text(gateway: str) -> None:
    """In a text part such a link is unwrapped too, where it stands there whole."""
    link = GATEWAYS[gateway](LINK)
    head = b"From: a@example.org\r\nTo: b@example.com\r\n\r\n"
    whole, cut = f"> See <{link}> again\r\n".encode(), f"> See {link}\r\nrest\r\n".encode()

    assert untracked(read_message(head + whole, WATCHING)).raw == head + f"> See <{TARGET}> again\r\n".encode()
    assert untracked(read_message(head + cut, WATCHING)).raw == head + cut


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_others_behind_a_gateway(gateway: str) -> None:
    """What is not ours, or tampered with, stays behind its gateway."""
    html = "".join(
        f'<a href="{escape(GATEWAYS[gateway](url))}">q</a>' for url in (FOREIGN.link(1, TARGET), LINK[:-1], TARGET)
    )
    raw = html_mail(html.encode())

    assert untracked(read_message(raw, WATCHING)).raw == raw
