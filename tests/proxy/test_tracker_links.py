# ruff: noqa: E501  # a case reads best on one line
"""Links through trackers: unwrapped to their exact destination, offline, or left and reported (cases T62 to T85)."""

import base64
import json

import pytest

from ledger.keys import KeyFile, Keyring
from ledger.tokens import Marks, OwnTokens, new_message_id
from policies import Decision, ForeignTracking, MessageClass, Purpose, Reason
from proxy.message import Reading
from proxy.rewrite import tracked, untracked
from tests.proxy.samples import FOOTER, FixedMarks, html_mail, read
from tests.proxy.tracking import ACME_READING, CLICK, ID40, OPAQUE, READING, WATCH, cleaned, left, reported, told

ID24 = "0a1b2c3d4e5f60718293a4b5"
HUBSPOT = "https://d2x4a.na1.hs-sales-engage.com/Ctc/2K+113/d2x4a/7mdkcjk9W5kv8Lj3m2hRbW1"
STREAK = f"https://4f1d2c3b.streak-link.com/{ID24}/"


def b64url(text: str) -> str:
    """Return text in base64 of the URL alphabet, without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def mandrill(inner: str) -> str:
    """Return a link of Mandrill's."""
    return f"https://mandrillapp.com/track/click/30123456/a.example?p={b64url(inner)}"


def active_campaign(target: str) -> str:
    """Return a link of ActiveCampaign's."""
    encoded = base64.b64encode(target.encode()).decode().replace("=", "%3D")
    return f"https://acme.acemlnb.com/Prod/link-tracker?redirectUrl={encoded}&sig=AbC123&iat=1690000000&a=%7C%7C123456%7C%7C&account=acme%2Eactivehosted%2Ecom&email=x&s=y&i=1A2B3C"


def ses(target: str, host: str = "abc123de.r.eu-west-1.awstrack.me", kind: str = "L0") -> str:
    """Return a link of SES\'s."""
    return f"https://{host}/{kind}/{target}/1/0102018f0a1b2c3d-4e5f6071-8293-a4b5-c6d7-e8f901234567-000000/AbCdEfGhIjKlMnOpQrStUvWxYz0=123"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        pytest.param(f"{CLICK}http%3A%2F%2Fexample.com%2F", "http://example.com/", id="62"),
        pytest.param(
            "https://t.sidekickopen07.com/e1t/c/5/f18dQhb0S7lC8dDMPbW2n0x6l2B9nMJN7t5X-FfhMynN3bkVs?t=https%3A%2F%2Fa.example",
            "https://a.example",
            id="64",
        ),
        pytest.param(f"{STREAK}https%3A%2F%2Fa.example%2Fb%3Fc%3D1", "https://a.example/b?c=1", id="65"),
        pytest.param(
            f"https://mailtrack.io/trace/link/{ID40}?url=https%3A%2F%2Fa.example&w=x", "https://a.example", id="66"
        ),
        pytest.param(ses("https:%2F%2Fa.example%2Fp%3Fq=1"), "https://a.example/p?q=1", id="71"),
        pytest.param(
            ses(
                "https:%2F%2Fa.example%2Fgo%3Fredirect=https%253A%252F%252Fb.example%252Ff.pdf",
                "mail.brand.example",
                "CL0",
            ),
            "https://a.example/go?redirect=https%3A%2F%2Fb.example%2Ff.pdf",
            id="72",
        ),
        pytest.param(
            mandrill(json.dumps({"s": "x", "v": 1, "p": json.dumps({"u": 30123456, "url": "https://a.example"})})),
            "https://a.example",
            id="73",
        ),
        pytest.param("https://click.pstmrk.it/3s/a.example%2Fp/AAbb/BBcc", "https://a.example/p", id="74"),
        pytest.param(active_campaign("https://a.example/x?y=1"), "https://a.example/x?y=1", id="75"),
        pytest.param(
            CLICK
            + ses("https:%2F%2Fa.example%2Fp")
            .replace("%", "%25")
            .replace("/", "%2F")
            .replace(":", "%3A")
            .replace("=", "%3D"),
            "https://a.example/p",
            id="77",
        ),
    ],
)
def test_decodable(url: str, target: str) -> None:
    """Cases T62 to T77: the destination that a link carries takes its place, decoded once."""
    value, expected = url.replace("&", "&amp;"), target.replace("&", "&amp;")

    assert f'<a class=x href="{expected}" id=y>q</a>' == left(f'<a class=x href="{value}" id=y>q</a>')
    assert [("link", "unwrapped")] == [
        (one.surface, one.action) for one in cleaned(f'<a href="{value}">q</a>', READING).found
    ]


@pytest.mark.parametrize(
    ("url", "action"),
    [
        pytest.param("https://click.pstmrk.it/3s/a.example%ZZ/AAbb/BBcc", "undecodable", id="74 %ZZ"),
        pytest.param(active_campaign("javascript:alert(1)"), "undecodable", id="75"),
        *(
            pytest.param(CLICK + target, "undecodable", id=f"76 {name}")
            for name, target in {"data": "data%3Atext%2Fhtml%2Cx", "file": "file%3A%2F%2F%2Fetc%2Fpasswd", "no scheme": "%2F%2Fhost%2Fx", "user": "https%3A%2F%2Fuser%3Apw%40host.example%2F", "control": "https%3A%2F%2Fa.example%2F%0Ax", "no host": "https%3A%2F%2F%2Fx"}.items()
        ),
        pytest.param(CLICK + CLICK.replace(":", "%253A").replace("/", "%252F"), "undecodable", id="77 nothing at the end"),
    ],
)  # fmt: skip
def test_undecodable(url: str, action: str) -> None:
    """Cases T73 to T77: a destination that cannot be read, or that nobody may be led to, leaves the link as it is."""
    html = f'<a href="{url.replace("&", "&amp;")}">q</a>'

    assert html == left(html)
    assert [action] == [one.split()[4] for one in told(html)]


def nested(depth: int) -> str:
    """Return a link with so many trackers around its destination."""
    url = "https://a.example/"
    for _ in range(depth):
        url = CLICK + url.replace("%", "%25").replace(":", "%3A").replace("/", "%2F").replace("?", "%3F").replace(
            "=", "%3D"
        )
    return url


@pytest.mark.parametrize(("depth", "expected"), [(1, True), (2, True), (3, True), (4, False)])
def test_depth(depth: int, expected: bool) -> None:
    """Case T77: trackers inside trackers are unwrapped up to three deep; a deeper chain stays as it is, flagged."""
    html = f'<a href="{nested(depth)}">q</a>'

    assert ('<a href="https://a.example/">q</a>' if expected else html) == left(html)
    assert ["unwrapped" if expected else "undecodable"] == [one.split()[4] for one in told(html)]


@pytest.mark.parametrize(
    ("url", "text", "expected"),
    [
        pytest.param(OPAQUE, "https://a.example/x", "https://a.example/x", id="67 an address"),
        pytest.param(OPAQUE, " <b>https://a.example/x?a=1&amp;b=2</b>\r\n", "https://a.example/x?a=1&amp;b=2", id="67 in markup"),
        pytest.param(OPAQUE, "click here", None, id="67 words"),
        pytest.param(HUBSPOT, "agenda", None, id="68"),
        pytest.param(OPAQUE, "a.example", None, id="69"),
        pytest.param(OPAQUE, "https://t.yesware.com/x", None, id="70"),
        pytest.param(OPAQUE, "https://l.mailtrack.com/", None, id="70 the same host"),
        pytest.param(OPAQUE, "see https://a.example/x", None, id="more than an address"),
        pytest.param(OPAQUE, "https://a.example/very/lo...", None, id="an address cut short"),
        pytest.param(OPAQUE, "https://a.example/very/lo\u2026", None, id="an address cut short by a sign"),
        pytest.param(OPAQUE, "https://user@a.example/", None, id="an address with a user"),
    ],
)  # fmt: skip
def test_opaque(url: str, text: str, expected: str | None) -> None:
    """Cases T67 to T70: a link that only the tracker can read leads to its own text, where that is an address; else it stays."""
    html = f'<a href="{url}">{text}</a>'

    assert (html if expected is None else html.replace(url, expected)) == left(html)
    assert ["opaque" if expected is None else "unwrapped"] == [one.split()[4] for one in told(html)]


@pytest.mark.parametrize(
    ("html", "report"),
    [
        pytest.param(f'<a href="{mandrill("{oops")}">q</a>', None, id="73 malformed"),
        pytest.param('<a href="https://click.pstmrk.it/4s/a.example%2Fp/AA/BB">q</a>', None, id="74 4s"),
        pytest.param('<a href="https://mimecast.com.evil.example/s/x?url=https%3A%2F%2Fa.example">q</a>', [], id="78"),
        pytest.param(f'<a href="https://protect-eu.mimecast.com/s/{ID24}?domain=example.com">q</a>', [], id="79"),
        pytest.param('<blockquote><a href="https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fa.example%2F&amp;data=05%7C01&amp;sdata=x&amp;reserved=0">q</a></blockquote>', [], id="80"),
        pytest.param('<a href="https://urldefense.com/v3/__http://www.example.com/*test__;Iw!!a!b$">q</a>', [], id="81"),
        pytest.param('<a href="https://acme.us1.list-manage.com/unsubscribe?u=0a1b2c3d4e5f&amp;id=0a1b2c">q</a>', [], id="82"),
        pytest.param(f'<a href="{OPAQUE}">unsubscribe</a>', ["tool mailtrack link B reported ×1"], id="82 by its text"),
        pytest.param('<a href="https://parcel.example/track?REF=VD05123456">q</a>', [], id="85"),
    ],
)  # fmt: skip
def test_stays(html: str, report: list[str] | None) -> None:
    """Cases T74 to T85: gateways, unsubscribe links and links that nobody tracks stay, parameter for parameter."""
    assert html == left(html)
    if report is not None:
        assert report == told(html)


def test_list_unsubscribe_targets_stay() -> None:
    """A link that List-Unsubscribe names stays, tracked or not."""
    url = f"{CLICK}https%3A%2F%2Fa.example%2F"
    raw = html_mail(f'<a href="{url}">bye</a>'.encode(), more=f"List-Unsubscribe: <{url}>\r\n".encode())

    out = untracked(read(raw, READING), clean=True)

    assert raw == out.raw
    assert ["tool yesware link B reported ×1"] == reported(out)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        pytest.param(f'<a href="{OPAQUE}">unsubscribe</a>', 0, id="a link to unsubscribe"),
        pytest.param(f'<a href="{OPAQUE}">read</a>', 1, id="an opaque link"),
        pytest.param(f'<blockquote><a href="{OPAQUE}">read</a></blockquote>', 0, id="a quoted link"),
        pytest.param(f'<img src="https://x.example/{ID40}" width=1>', 0, id="only the looks"),
        pytest.param(f'<a href="{CLICK}https%3A%2F%2Fa.example">x</a><a href="{CLICK}x">y</a>', 2, id="two"),
    ],
)
def test_what_is_held_against_the_sender(html: str, expected: int) -> None:
    """Only what a tool of the sender's certainly tracks with counts where policy refuses trackers."""
    assert expected == read(html_mail(html.encode()), READING).facts.trackers


GO = "https://go.acme.test/?to="


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        pytest.param(f"<a href='{GO}https%3A%2F%2Fa.example%2F%3Fa%3D%27%26b'>", "<a href='https://a.example/?a=&#x27;&amp;b'>", id="single quotes"),
        pytest.param(f"<a href={GO}https%3A%2F%2Fa.example%2F%3Fa%3D1 id=x>", "<a href=https://a.example/?a&#61;1 id=x>", id="no quotes"),
        pytest.param(f'<map><area href="{GO}https%3A%2F%2Fa.example%2F"></map>', '<map><area href="https://a.example/"></map>', id="area"),
        pytest.param(f'<!--[if mso]><v:roundrect href="{GO}https%3A%2F%2Fa.example%2F"><![endif]-->', '<!--[if mso]><v:roundrect href="https://a.example/"><![endif]-->', id="VML"),
        pytest.param(f'<a href="{GO.replace("go.", "go&#46;")}https%3A%2F%2Fa.example%2F">', '<a href="https://a.example/">', id="references"),
        pytest.param(f'<a href=" //{GO[8:]}https%3A%2F%2Fa.example%2F">', '<a href="https://a.example/">', id="without a scheme"),
    ],
)  # fmt: skip
def test_written_as_the_attribute_needs(html: str, expected: str) -> None:
    """A destination is escaped for the value that it stands in, and the rest of the tag stays."""
    assert expected == left(html, ACME_READING)


@pytest.mark.parametrize("steps", [0, 2], ids=["83", "84: key rotated"])
def test_own_links_in_a_reply(steps: int) -> None:
    """Cases T83 and T84: our own wrapped link in a quote leads to its destination again, by its token alone."""
    keys = KeyFile.new()
    marks = Marks(Keyring(keys), "https://old.track.test", new_message_id(), "carol@customer.test")
    link = marks.link(1, "https://a.example/?b=1")
    for _ in range(steps):
        keys = keys.rotated()
    raw = html_mail(f'<p>x</p><blockquote><a href="{link}">q</a></blockquote>'.encode())

    out = untracked(read(raw, Reading(tokens=OwnTokens(Keyring(keys)), watch=WATCH)), clean=True)

    assert b'<blockquote><a href="https://a.example/?b=1">q</a></blockquote>' in out.raw
    assert ["own aboveboard link A unwrapped ×1"] == reported(out)


def decision(foreign: ForeignTracking) -> Decision:
    """Return a decision that allows everything, with an answer for trackers."""
    reasons = dict.fromkeys(Purpose, Reason.TRACKED)
    return Decision(MessageClass.INDIVIDUAL, Reason.TRACKED, reasons, "v1", foreign_tracking=foreign)


@pytest.mark.parametrize(
    ("destination", "foreign", "leads_to"),
    [
        ("https://a.example/x", ForeignTracking.REMOVE, "https://a.example/x"),
        ("https://a.example/x", ForeignTracking.REPORT, f"{GO}https%3A%2F%2Fa.example%2Fx"),
        ("https://a.example/login/reset", ForeignTracking.REMOVE, None),
    ],
    ids=["removed", "reported", "a destination that is never wrapped"],
)  # fmt: skip
def test_wrapped_behind_the_tracker(destination: str, foreign: ForeignTracking, leads_to: str | None) -> None:
    """A tracked message wraps the destination that was unwrapped, where that may be, and no edit meets another."""
    url = GO + destination.replace(":", "%3A").replace("/", "%2F")
    raw = html_mail(f'<p><a href="{url}">q</a><span id="acme-box"><a href="{url}"> </a></span></p>'.encode())
    marks = FixedMarks()

    out = tracked(read(raw, ACME_READING), decision(foreign), marks, FOOTER)

    assert (leads_to is not None) == (leads_to in marks.targets.values())
    html = out.raw.partition(b"\r\n\r\n")[2].decode()
    assert (f'<p><a href="{"https://mail.example.org/l/link1" if leads_to else destination}">q</a>') in html
    assert (foreign is ForeignTracking.REMOVE) == ("acme-box" not in html)


TEXT = b"From: a@example.org\r\nTo: b@c.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8%s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s"


def text_left(text: str, more: bytes = b"", encoding: bytes = b"8bit") -> str:
    """Return what is left of a text-only message."""
    raw = TEXT % (more, encoding, text.encode())
    return untracked(read(raw, READING), clean=True).raw.partition(b"\r\n\r\n")[2].decode()


WHOLE = f"{CLICK}https%3A%2F%2Fa.example%2Fb"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"see <{WHOLE}> now", "see <https://a.example/b> now", id="63 in angle brackets"),
        pytest.param(f"see {WHOLE}, and\r\n", "see https://a.example/b, and\r\n", id="a comma"),
        pytest.param(f"> {WHOLE}\r\n\r\n", "> https://a.example/b\r\n\r\n", id="quoted"),
        pytest.param(f"{WHOLE}\r\n%2Fc", None, id="perhaps broken over two lines"),
        pytest.param(f"<{WHOLE}\r\n%2Fc>", None, id="broken inside its brackets"),
        pytest.param(f"{WHOLE}\u00fc", None, id="goes on beyond ASCII"),
        pytest.param(OPAQUE, None, id="opaque"),
    ],
)  # fmt: skip
def test_text_parts(text: str, expected: str | None) -> None:
    """A link in a text part is unwrapped where it stands whole; one that may go on is left."""
    assert (text if expected is None else expected) == text_left(text)


def test_text_in_joined_lines() -> None:
    """With DelSp=yes a space at the end of a line is no end of an address (RFC 3676 §4.1)."""
    text = f"see {WHOLE} \r\n%2Fc\r\n"

    assert text == text_left(text, b"; format=flowed; delsp=yes")
    assert "see https://a.example/b \r\n%2Fc\r\n" == text_left(text, b"; format=flowed")


def test_text_over_a_soft_break() -> None:
    """Case T63: in quoted-printable a link over soft line breaks is one link, and lines stay within 76 characters."""
    quoted = f"see <{WHOLE}> now".replace("=", "=3D")
    text = "=\r\n".join(quoted[at : at + 60] for at in range(0, len(quoted), 60)) + "\r\nbye\r\n"

    assert "see <https://a.example/b> now\r\nbye\r\n" == text_left(text, encoding=b"quoted-printable")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Hi\r\n\u1427\r\nBye\r\n", "Hi\r\nBye\r\n", id="6, 61: a line of its own"),
        pytest.param("Hi\r\n\u1427", "Hi\r\n", id="6: the last line"),
        pytest.param("Hi \r\n\u1427\r\nBye\r\n", "Hi \r\n\r\nBye\r\n", id="61: the paragraph before it must not run on"),
        pytest.param("-- \r\n\u1427\r\nAnna\r\n", "-- \r\nAnna\r\n", id="61: a signature mark is no paragraph"),
        pytest.param("Hi \u1427 there\r\n> \u1427\r\n", None, id="within a line"),
    ],
)  # fmt: skip
def test_the_glyph_in_text(text: str, expected: str | None) -> None:
    """Cases T6 and T61: Streak's glyph on a line of its own goes; format=flowed stays what it said."""
    assert (text if expected is None else expected) == text_left(text, b"; format=flowed")
