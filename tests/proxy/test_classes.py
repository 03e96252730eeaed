"""The cases of classification, from the bytes of a message on: what the header says is read as the page means it."""

import pytest

from policies import Envelope, PolicyModel, classify, compile_policy
from proxy.message import Reading, read_message

POLICY = compile_policy(PolicyModel(list_addresses=["everyone-*@org.example"]), ["example.org"])
TO = "To: Jane <jane@org.example>"
TEXT = "Content-Type: text/plain\r\n\r\nHello"
REPORT = (
    "Content-Type: multipart/report; boundary=b; report-type=delivery-status\r\n\r\n--b\r\n\r\nfailed\r\n--b\r\n"
    "Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n--b--"
)
INVITATION = (
    "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n"
    "Content-Type: text/html; charset=utf-8\r\n\r\n<p>x\r\n"
    "--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\n--b--"
)
SIGNED = (
    "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
    "--b\r\nContent-Type: application/pkcs7-signature\r\n\r\ny\r\n--b--"
)
INLINE = "Content-Type: text/plain\r\n\r\n-----BEGIN PGP MESSAGE-----\r\nx"

# Number, header, body, RCPT TO (jane@org.example where nothing is said), MAIL FROM, class.
CASES: list[tuple[str, str, str, tuple[str, ...], str, str]] = [
    ("86 one", TO, TEXT, (), "a@example.org", "individual"),
    ("87 two", TO, TEXT, ("jane@org.example", "max@org.example"), "a@example.org", "group"),
    ("87 one twice", TO, TEXT, ("jane@org.example", "JANE@ORG.EXAMPLE"), "a@example.org", "individual"),
    ("88 four", f"{TO}, a@x.test\r\nCc: b@x.test,\r\n\t=?utf-8?q?C?= <c@x.test>", TEXT, (), "a@example.org", "group"),
    ("89 blind copy", "To: max@org.example", TEXT, (), "a@example.org", "group"),
    ("89 no field", "Subject: x", TEXT, (), "a@example.org", "group"),
    ("90 undisclosed", "To: undisclosed-recipients:;", TEXT, (), "a@example.org", "bulk"),
    ("row 4 empty", "To:", TEXT, (), "a@example.org", "bulk"),
    ("row 4 group", "To: Friends: jane@org.example;", TEXT, (), "a@example.org", "bulk"),
    ("91 configured", "To: everyone-uk@org.example", TEXT, ("everyone-uk@org.example",), "a@example.org", "list"),
    ("91 google", "To: list@googlegroups.com", TEXT, ("list@googlegroups.com",), "a@example.org", "list"),
    ("92 list-id", f"{TO}\r\nLIST-ID:\r\n <dev.example.org>", TEXT, (), "a@example.org", "list"),
    ("92 unsubscribe", f"{TO}\r\nlist-unsubscribe: <mailto:x@y.test>", TEXT, (), "a@example.org", "list"),
    ("92 first-class", f"{TO}\r\nPrecedence: first-class", TEXT, (), "a@example.org", "individual"),
    ("92 bulk", f"{TO}\r\nprecedence: Bulk", TEXT, (), "a@example.org", "bulk"),
    ("93 feedback", f"{TO}\r\nFeedback-ID: a:b:c:d", TEXT, (), "a@example.org", "individual"),
    ("94 suppress", f"{TO}\r\nX-Auto-Response-Suppress: All", TEXT, (), "a@example.org", "individual"),
    ("95 no", f"{TO}\r\nAuto-Submitted: no", TEXT, (), "a@example.org", "individual"),
    ("95 replied", f"{TO}\r\nAuto-Submitted: auto-replied; owner-email=x", TEXT, (), "a@example.org", "automated"),
    ("95 two", f"{TO}\r\nAuto-Submitted: no\r\nAuto-Submitted: auto-generated", TEXT, (), "a@example.org", "automated"),
    ("96 null sender", TO, TEXT, (), "", "automated"),
    # DESIGN.md §4 settles it: reports are protected, which also keeps them byte for byte.
    ("96 report", TO, REPORT, (), "a@example.org", "protected"),
    ("99 meeting", TO, INVITATION, (), "a@example.org", "protected"),
    ("100 S/MIME to two", f"{TO}, b@x.test", SIGNED, (), "a@example.org", "protected"),
    ("100 PGP inline to two", f"{TO}, b@x.test", INLINE, (), "a@example.org", "protected"),
    ("role address", "To: Buchhaltung <Buchhaltung@org.example>", TEXT, ("buchhaltung@org.example",),
     "a@example.org", "group"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "body", "rcpt", "mail_from", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_case(header: str, body: str, rcpt: tuple[str, ...], mail_from: str, expected: str) -> None:
    """Each case of the page, as a message with its envelope, has its class."""
    raw = f"From: a@example.org\r\n{header}\r\nMIME-Version: 1.0\r\n{body}\r\n".encode()
    facts = read_message(raw, Reading()).facts

    assert expected == classify(POLICY, facts, Envelope(mail_from, rcpt or ("jane@org.example",))).message_class


@pytest.mark.parametrize(
    "fields", ["To: jane@org.example\r\nTo: max@org.example", "To: jane@org.example\r\nBroken field"]
)
def test_what_cannot_be_read_is_not_individual(fields: str) -> None:
    """A header that names more people, or that cannot be read to its end, makes no individual message."""
    facts = read_message(f"From: a@example.org\r\n{fields}\r\n\r\nx\r\n".encode(), Reading()).facts

    assert "individual" != classify(POLICY, facts, Envelope("a@example.org", ("jane@org.example",))).message_class
