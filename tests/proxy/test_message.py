"""The message read: its facts, the links that may be wrapped, and what cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import Envelope, MessageClass, PolicyModel, Reason, classify, compile_policy
from proxy.body import MAX_HTML_BYTES, Reading
from proxy.links import link_rules
from proxy.message import read_message
from tests.proxy.samples import corpus_messages, fixture, html_mail, names, read, targets

POLICY = compile_policy(PolicyModel(), ["example.org"])


def _mail(header: bytes) -> bytes:
    return header + b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>x"


ADA = "ada@client.example"
TO = b"To: ada@client.example\r\n"
QP = b"quoted-printable"


@pytest.mark.parametrize(
    ("header", "rcpt_to", "expected"),
    [
        pytest.param(TO, ADA, "individual", id="one person"),
        pytest.param(b"To: Ada <Ada@CLIENT.example>\r\n", ADA, "individual", id="10: one in two spellings"),
        pytest.param(TO + b"Cc: bob@client.example\r\n", ADA, "group", id="13"),
        pytest.param(TO, "ada@client.example bob@client.example", "group", id="14"),
        pytest.param(b"To: \r\n ada@client.example,\r\n b@x.y\r\n", ADA, "group", id="13: folded"),
        pytest.param(TO + b"Cc: <max@example.org>\r\n", ADA, "group", id="13: a copy to oneself"),
        pytest.param(TO + b"To: bob@client.example\r\n", ADA, "group", id="M12: two To fields"),
        pytest.param(b"To: a@x.y,b@x.y,c@x.y,d@x.y,ada@client.example\r\n", ADA, "group", id="M12: five in To"),
        pytest.param(b"To: bob@client.example\r\n", ADA, "group", id="M12: blind copy"),
        pytest.param(b"To: ada+x@client.example\r\n", ADA, "group", id="M12: plus-address"),
        pytest.param(b'To: ada@client.example, "Bob <b@x.y>\r\n', ADA, "group", id="M12: quote open"),
        pytest.param(b"To: info@client.example\r\n", "info@client.example", "group", id="role"),
        pytest.param(b"To: undisclosed-recipients:;\r\n", ADA, "bulk", id="undisclosed"),
        pytest.param(b"To: (nobody)\r\n", ADA, "bulk", id="nobody named"),
        pytest.param(b"To: \r\nCc: ada@client.example\r\n", ADA, "bulk", id="an empty To"),
        pytest.param(TO + b"Cc:\r\nBcc: \r\n", ADA, "individual", id="an empty Cc"),
        pytest.param(TO + b"Cc: undisclosed-recipients:;\r\n", ADA, "bulk", id="undisclosed copies"),
        pytest.param(TO + b"Precedence: bulk\r\n", ADA, "bulk", id="15: bulk"),
        pytest.param(TO + b"Precedence: List\r\n", ADA, "list", id="15: list"),
        pytest.param(TO + b"precedence: junk (x)\r\n", ADA, "bulk", id="15: junk"),
        pytest.param(TO + b"List-Id: <x.y>\r\n", ADA, "list", id="16: List-Id"),
        pytest.param(TO + b"List-Post: NO\r\n", ADA, "list", id="16: List-Post"),
        pytest.param(TO + b"List-Unsubscribe:\r\n <https://x.y/>\r\n", ADA, "list", id="16: List-Unsubscribe"),
        pytest.param(TO + b"Auto-Submitted: auto-replied\r\n", ADA, "automated", id="17: replied"),
        pytest.param(TO + b"Auto-Submitted: auto-generated; x=y\r\n", ADA, "automated", id="M14: generated"),
        pytest.param(TO + b"Auto-Submitted: no\r\n", ADA, "individual", id="17: no"),
        pytest.param(TO + b"X-Auto-Response-Suppress: All\r\n", ADA, "individual", id="17: no signal"),
    ],
)  # fmt: skip
def test_class(header: bytes, rcpt_to: str, expected: str) -> None:
    """The header fields and addresses that are read make the class (cases 10 and 13 to 17)."""
    envelope = Envelope("max@example.org", tuple(rcpt_to.split()))
    facts = read(_mail(b"From: max@example.org\r\n" + header)).facts

    assert facts.problem is None
    assert classify(POLICY, facts, envelope).message_class == expected


def test_null_sender() -> None:
    """A message from nobody is automated (cases 18 and M14)."""
    facts = read(_mail(TO)).facts

    assert classify(POLICY, facts, Envelope("", ("ada@client.example",))).message_class is MessageClass.AUTOMATED


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"From: x\r\nno field\r\n\r\n", Reason.UNPARSABLE, id="60: no separator"),
        pytest.param(b"just text", Reason.UNPARSABLE, id="60: a string"),
        pytest.param(b"A: " + b"b" * 280_000 + b"\r\n\r\n", Reason.TOO_LARGE, id="M4: header"),
        pytest.param(html_mail(b"x", b"text/html; charset="), Reason.UNPARSABLE, id="45: charset not said"),
        pytest.param(html_mail(b"x", b'text/html; charset=""'), Reason.UNPARSABLE, id="45: charset empty"),
        pytest.param(html_mail(b"x", b"text/html; charset=x-foo"), Reason.UNPARSABLE, id="45: charset unknown"),
        pytest.param(html_mail(b"x", b"text/html"), Reason.UNPARSABLE, id="45: no charset"),
        pytest.param(html_mail(b"x", b"text/html; charset=iso-2022-jp"), Reason.UNPARSABLE, id="44"),
        pytest.param(html_mail(b"/v88AA==", b"text/html; charset=utf-16", b"base64"), Reason.UNPARSABLE, id="47"),
        pytest.param(html_mail(b"gr\xfcn"), Reason.UNPARSABLE, id="48"),
        *(
            pytest.param(html_mail(b"x", encoding=encoding), Reason.UNPARSABLE, id=f"49: {encoding.decode()}")
            for encoding in (b"8bit;", b'"7bit"', b"7-bit", b"amazonses.com", b"binary")
        ),
        pytest.param(html_mail(b"<p>a\0b", encoding=b"8bit"), Reason.UNPARSABLE, id="NUL"),
        pytest.param(html_mail(b"x", more=b"Content-MD5: Q2hlY2s=\r\n"), Reason.UNPARSABLE, id="digest"),
        pytest.param(html_mail(b"").removesuffix(b"\r\n"), Reason.UNPARSABLE, id="header only"),
        pytest.param(b"Content-Type: text/html; charset=utf-8", Reason.UNPARSABLE, id="header only, no line break"),
        pytest.param(html_mail(b"x" * (MAX_HTML_BYTES + 1)), Reason.TOO_LARGE, id="M6: HTML of 2 MB"),
        pytest.param(html_mail(b"<a href=" * 1_250_000), Reason.TOO_LARGE, id="M6: 10 MB of tags"),
        pytest.param(html_mail(b"=78" * (MAX_HTML_BYTES + 1), encoding=QP), Reason.TOO_LARGE, id="M6: encoded"),
    ],
)  # fmt: skip
def test_problem(raw: bytes, reason: Reason) -> None:
    """What cannot be read without guessing, or is over a limit, has a problem and no bodies (cases 44 to 49, 60)."""
    message = read(raw)

    assert (message.facts.problem, message.bodies) == (reason, ())


def test_limit() -> None:
    """A message over the rewrite limit is too large, but keeps its header fields (case 20)."""
    raw = html_mail(b"x" * 1_000)
    message = read(raw, Reading(max_bytes=1_000))

    assert (message.facts.problem, message.facts.addressed) == (Reason.TOO_LARGE, ("ada@client.example",))
    assert read(raw, Reading(max_bytes=len(raw))).facts.problem is None


@pytest.mark.parametrize(
    ("raw", "has_html", "has_text", "empty"),
    [
        pytest.param(html_mail(b"<p>x"), True, False, False, id="HTML"),
        pytest.param(html_mail(b""), True, False, True, id="119"),
        pytest.param(html_mail(b"<p>&nbsp;</p>"), True, False, True, id="blank HTML"),
        pytest.param(html_mail(b"https://x.com", b"text/plain"), False, True, False, id="25"),
        pytest.param(html_mail(b" \r\n\r\n", b"text/plain"), False, False, True, id="blank text"),
        pytest.param(html_mail(b"eA==", b"text/plain", b"base64"), False, True, False, id="encoded text"),
        pytest.param(html_mail(b"%PDF", b"application/pdf"), False, False, True, id="attachment only"),
        pytest.param(b"", False, False, True, id="nothing"),
        pytest.param(html_mail(b"gr\xfcn", b"text/plain"), False, True, False, id="48: text is never edited"),
        pytest.param(fixture("attachments.in"), True, False, False, id="54"),
        pytest.param(fixture("quoted-printable.in"), True, True, False, id="57"),
    ],
)
def test_bodies(raw: bytes, has_html: bool, has_text: bool, empty: bool) -> None:
    """What the body is made of, and whether there is anything to see in it."""
    facts = read(raw).facts

    assert (facts.problem, facts.has_html, facts.has_text, facts.empty) == (None, has_html, has_text, empty)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        pytest.param(b'<a href="https://x.com/p?a=1&amp;b=2">', ["https://x.com/p?a=1&b=2"], id="68"),
        pytest.param(b'<a href="https://x.com/?a&amp;amp;b">', ["https://x.com/?a&amp;b"], id="69"),
        pytest.param(b'<a href="https://x.com/?a&copy=1&sect=3">', ["https://x.com/?a&copy=1&sect=3"], id="70"),
        pytest.param(b'<a href="https://x.com/?a&#38;b&#x26;c&#038;d">', ["https://x.com/?a&b&c&d"], id="71"),
        pytest.param(b'<a href="https://x.com/?a=%26%2F%20+">', ["https://x.com/?a=%26%2F%20+"], id="72"),
        pytest.param(b'<a href="https://x.com/gr\xc3\xbcn">', [], id="73"),
        pytest.param(b'<a href="\r\n HTTPS://x.com/ \r\n">', ["HTTPS://x.com/"], id="83"),
        pytest.param(b'<base href="https://x.com/"><a href="page">', [], id="89"),
        pytest.param(b"<a href=https://x.com/>https://x.com/</a>", [], id="95"),
        pytest.param(b"<a href=https://x.com/>x&#46;com&#47;page</a>", [], id="96"),
        pytest.param(b"<a href=https://x.com/><b>ada</b>@x.com</a>", [], id="97"),
        pytest.param(b"<a data-track=off href=https://x.com/>x<a href=https://x.com/ data-track='off'>y", [], id="99"),
        pytest.param(b"<a href=https://x.com/>Abmelden</a>", [], id="100"),
        pytest.param("<a href=https://x.com/>Se d\u00e9sabonner</a>".encode(), [], id="100: not ASCII"),
        pytest.param(b"<a href=https://x.com/>x</a>" * 5, ["https://x.com/"] * 5, id="107"),
        pytest.param(b"<a href=https://x.com/1>x</a><blockquote><a href=https://y.com>", ["https://x.com/1"], id="110"),
    ],
)  # fmt: skip
def test_links(html: bytes, expected: list[str]) -> None:
    """The targets of wrappable links are the exact addresses that a browser would go to."""
    assert targets(html) == expected


@pytest.mark.parametrize(("count", "wrapped"), [(251, 251), (1_001, 1_000)])
def test_many_links(count: int, wrapped: int) -> None:
    """A thousand links are wrapped, the rest stays as it is (case 106)."""
    expected = [f"https://x.com/{number}" for number in range(wrapped)]

    assert targets(b"".join(b"<a href=https://x.com/%d>x" % number for number in range(count))) == expected


def test_many_links_in_two_parts() -> None:
    """The cap counts for the message, not for each part (case 106)."""
    part = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + b"<a href=https://x.com/>x" * 600
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n"

    assert [len(body.links) for body in read(raw).bodies] == [600, 400]
    assert read(raw).facts.links == 1_000


def test_list_unsubscribe() -> None:
    """A link to a List-Unsubscribe target is not wrapped, escaped or not (case 101)."""
    html = b'<a href="https://x.com/u?a=1&amp;b=2">x</a><a href="https://x.com/v">y</a>'
    message = read(html_mail(html, more=b"List-Unsubscribe: <mailto:u@x.com>,\r\n <https://x.com/u?a=1&b=2>\r\n"))

    assert [link.target for link in message.bodies[0].links] == ["https://x.com/v"]


def test_own_hosts() -> None:
    """Links to our own pages are not wrapped again (case 102)."""
    reading = Reading(links=link_rules(False, [], ["https://mail.example.org", "https://old.example.org"]))
    html = b"".join(b"<a href=https://%s/l/x>x" % host for host in (b"mail.example.org", b"old.example.org", b"x.com"))

    assert [link.target for link in read(html_mail(html), reading).bodies[0].links] == ["https://x.com/l/x"]


def test_subject() -> None:
    """The subject is shown decoded, and what it hides stays text: there is no second field (M1)."""
    message = read(b"Subject: =?utf-8?q?hi=0D=0ABcc:_evil@x?=\r\nTo: a@b.c\r\n\r\n")

    assert message.subject == "hi\r\nBcc: evil@x"
    assert set(message.facts.fields) == {"subject", "to"}
    assert message.facts.addressed == ("a@b.c",)


def test_comments_in_from() -> None:
    """Comments nested hundreds deep in an address field are no reason to fail (M5)."""
    message = read(b"From: " + b"(" * 900 + b"\r\n" + _mail(TO))

    assert (message.facts.problem, message.facts.addressed) == (None, ("ada@client.example",))


FIXTURES = [fixture(f"{name}.in") for name in names()]
CORPUS = [path.read_bytes() for path in corpus_messages()]


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(html_mail)))
def test_any_bytes(raw: bytes) -> None:
    """Reading never raises, whatever the bytes."""
    message = read_message(raw, Reading())

    assert (message.raw, message.facts.size) == (raw, len(raw))
    assert message.facts.problem is None or message.bodies == ()


@given(st.data(), st.sampled_from(FIXTURES + CORPUS))
def test_mutated(data: st.DataObject, raw: bytes) -> None:
    """Reading never raises for a message that was damaged on its way."""
    damage = st.sampled_from(
        [b"", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--", b'"', b"(", b"=", b"\0", b"\xff", b"Content-Type: "]
    )
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = min(len(raw), start + data.draw(st.integers(0, 40)))
        raw = raw[:start] + data.draw(damage) + raw[end:]
    message = read_message(raw, Reading())

    assert message.raw == raw
    assert all(0 <= part.start <= part.body <= part.end <= len(raw) for part in message.facts.parts)


def test_encoded_words_are_read() -> None:
    """Fields with encoded words are there as people read them too, and only those; what cannot be decoded stays."""
    raw = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-A: plain\r\nX-B: =?none?q?x?=\r\n\r\nx\r\n"
    facts = read_message(raw, Reading()).facts

    assert {"subject": ("Grüße",), "x-b": ("=?none?q?x?=",)} == facts.decoded
    assert ("Grüße",) == facts.as_read("subject")
    assert ("plain",) == facts.as_read("x-a")
