"""Protected messages: byte for byte as they came, but for our control header."""

import pytest

from policies import Protection, Purpose, Reason
from proxy.message import Reading
from proxy.rewrite import tracked, untracked
from tests.proxy.samples import EVERYTHING_ON, FOOTER, FixedMarks, decision, fixture, html_mail, names, read

CASES = {
    "smime-detached": ("27", Protection.SIGNED),
    "smime-opaque": ("28", Protection.SIGNED),
    "smime-enveloped": ("28", Protection.ENCRYPTED),
    "pgp-encrypted": ("29", Protection.ENCRYPTED),
    "pgp-signed": ("29", Protection.SIGNED),
    "pgp-inline-text": ("30", Protection.ENCRYPTED),
    "pgp-inline-html": ("30", Protection.ENCRYPTED),
    "signed-in-mixed": ("31", Protection.SIGNED),
    "calendar": ("19", Protection.CALENDAR),
    "delivery-report": ("23", Protection.REPORT),
    "read-receipt": ("M14", Protection.REPORT),
    "tnef": ("24", Protection.TNEF),
    "dkim": ("33", Protection.DKIM),
    "arc": ("M7", Protection.DKIM),
}


def test_every_fixture_has_a_case() -> None:
    """No fixture of a protected message is left out."""
    assert {name for name in names() if name.startswith("protected-")} == {f"protected-{name}" for name in CASES}


@pytest.mark.parametrize("name", CASES, ids=[f"{case}: {name}" for name, (case, _) in CASES.items()])
def test_protected(name: str) -> None:
    """A protected message keeps every byte, its tagged subject too; only the control header goes."""
    raw, out = fixture(f"protected-{name}.in"), fixture(f"protected-{name}.out")
    message = read(raw)

    assert (message.facts.protection, message.facts.problem, message.bodies) == (CASES[name][1], None, ())
    assert untracked(message).raw == out
    assert untracked(read(out)).raw == out


OURS = Reading(removable_signatures=frozenset({"example.org"}))
SIGNATURE = b"DKIM-Signature: v=1; a=rsa-sha256; s=x;\r\n d=%s; bh=abc; b=def\r\n"


def _signed(*domains: bytes) -> bytes:
    raw = html_mail(b"<p>x</p>\r\n", more=b"".join(SIGNATURE % domain for domain in domains))
    return raw.replace(b"Subject: Hello", b"Subject: [track] Hello")


@pytest.mark.parametrize(
    ("domains", "protection"),
    [
        ([b"example.org"], None),
        ([b"EXAMPLE.org."], None),
        ([b"example.org", b"example.org"], None),
        ([b"other.example"], Protection.DKIM),
        ([b"example.org", b"other.example"], Protection.DKIM),
        ([b"sub.example.org"], Protection.DKIM),
        ([b""], Protection.DKIM),
    ],
)
def test_whose_signature(domains: list[bytes], protection: Protection | None) -> None:
    """Only signatures of domains that are named may be taken off, and only if there is no other (case 33)."""
    message = read(_signed(*domains), OURS)

    assert message.facts.protection is protection
    assert len(message.signatures) == (0 if protection else len(domains))


def test_own_signature_goes_with_tracking() -> None:
    """A tracked message goes without our own signature, which it would break (case 33)."""
    out = tracked(read(_signed(b"example.org"), OURS), decision(Purpose.OPEN), FixedMarks(), FOOTER).raw

    assert b"DKIM-Signature" not in out
    assert b"Subject: Hello\r\n" in out


def test_own_signature_stays_without_tracking() -> None:
    """An untracked message keeps our own signature, and therefore the subject that it covers (case 33)."""
    raw = _signed(b"example.org")

    assert untracked(read(raw, OURS)).raw == raw


def test_signature_on_a_message_that_cannot_be_read() -> None:
    """Where the structure cannot be read, a signature still keeps the subject as it is (cases 33 and 60)."""
    raw = _signed(b"other.example").replace(b"text/html;", b"multipart/mixed;")
    message = read(raw)

    assert (message.facts.problem, message.facts.protection) == (Reason.UNPARSABLE, Protection.DKIM)
    assert untracked(message).raw == raw


@pytest.mark.parametrize(
    ("content_type", "protection"),
    [
        (b"application/pkcs7-mime", Protection.ENCRYPTED),
        (b"Application/X-PKCS7-Mime; SMIME-Type=Signed-Data", Protection.SIGNED),
        (b"application/vnd.ms-tnef", Protection.TNEF),
        (b"application/ics; name=invite.ics", Protection.CALENDAR),
        (b"text/x-vCalendar", Protection.CALENDAR),
        (b"application/calendar+xml", Protection.CALENDAR),
        (b"application/calendar+json", Protection.CALENDAR),
        (b"message/global-delivery-status", Protection.REPORT),
        (b"application/x-microsoft-rpmsg-message", Protection.ENCRYPTED),
        (b"application/pdf", None),
        (b"text/x-amp-html; charset=utf-8", None),
    ],
)
def test_type_alone(content_type: bytes, protection: Protection | None) -> None:
    """The type of any part is enough to protect the message (cases 19, 23, 24 and 28)."""
    part = b"Content-Type: " + content_type + b"\r\n\r\nx"
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>x"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + html + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n"

    assert read(raw).facts.protection is protection
    assert read(html_mail(b"x", content_type)).facts.protection is protection


@pytest.mark.parametrize(
    ("fields", "protection"),
    [
        (b'Content-Type: application/octet-stream; name="message.rpmsg"', Protection.ENCRYPTED),
        (b'Content-Type: application/octet-stream; name="message_v4.rpmsg"', Protection.ENCRYPTED),
        (
            b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=Message.RPMSG",
            Protection.ENCRYPTED,
        ),
        (
            b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename*=utf-8''message%2Erpmsg",
            Protection.ENCRYPTED,
        ),
        (b'Content-Type: x/y; name*0="message."; name*1="rpmsg"', Protection.ENCRYPTED),
        (b'Content-Type: x/y; name="=?utf-8?q?message=2Erpmsg?="', Protection.ENCRYPTED),
        (b'Content-Type: application/octet-stream; name="my message.rpmsg.txt"', None),
    ],
)
def test_message_rpmsg(fields: bytes, protection: Protection | None) -> None:
    """A part called message.rpmsg is what Microsoft 365 encrypted, whatever its type and however it says it."""
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>x"
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + html
        + b"\r\n--b\r\n"
        + fields
        + b"\r\n\r\nx\r\n--b--\r\n"
    )

    assert read(raw).facts.protection is protection


@pytest.mark.parametrize(
    ("fields", "protection"),
    [
        (b'Content-Type: application/octet-stream; name="smime.p7m"', Protection.ENCRYPTED),
        (b"Content-Disposition: attachment; filename=SMIME.P7S\r\nContent-Type: application/octet-stream", "signed"),
        (b"Content-Type: application/octet-stream; name*=utf-8''Einladung%20.ics", Protection.CALENDAR),
        (b"Content-Type: ?\r\nContent-Disposition: attachment; filename=invite.ics", Protection.CALENDAR),
        (b"Content-Type: text/calendar; method=REQUEST; name=Weekly Meeting.ics", Protection.CALENDAR),
        (b"Content-Type: text/calendar; method=REQUEST; method=REQUEST", Protection.CALENDAR),
        (b"Content-Type: Text / Calendar; x", Protection.CALENDAR),
        (b"Content-Type: (x) application/pkcs7-mime; name=signed mail.p7m", Protection.ENCRYPTED),
        (b"Content-Type: application/octet-stream; name=Weekly Meeting.ics", Protection.CALENDAR),
        (
            b"Content-Disposition: attachment; filename=my mail.p7m\r\nContent-Type: application/octet-stream",
            "encrypted",
        ),
        (b"Content-Type: application/pdf; name=Weekly Meeting.ics", None),
        (b"Content-Type: image/png; name=my picture.png", None),
        (b'Content-Type: application/octet-stream; name="winmail.dat"', Protection.TNEF),
        (b'Content-Type: application/octet-stream; name="topics"', None),
        (b'Content-Type: application/pdf; name="contract.p7m"', None),
    ],
)
def test_a_part_without_a_type_is_what_its_name_says(fields: bytes, protection: Protection | None) -> None:
    """Signed, encrypted, calendar and TNEF parts that gateways have left no type but a name keep every byte."""
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>x"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + html + b"\r\n--b\r\n" + fields
    message = read(raw + b"\r\n\r\nx\r\n--b--\r\n")

    assert (message.facts.problem, message.facts.protection) == (None, protection)


@pytest.mark.parametrize(
    ("said", "protection"),
    [
        (b"urn:content-classes:calendarmessage", Protection.CALENDAR),
        (b"\r\n URN:content-classes:calendarMessage", Protection.CALENDAR),
        (b"urn:content-classes:message", None),
    ],
)
def test_what_exchange_calls_an_invitation(said: bytes, protection: Protection | None) -> None:
    """A message that Exchange says is an invitation or the answer to one keeps every byte (cases/trackers.md §4.5)."""
    assert read(html_mail(b"<p>x</p>", more=b"Content-Class: " + said + b"\r\n")).facts.protection is protection


@pytest.mark.parametrize(
    ("label", "protection"),
    [
        (b"MSIP_Label_1_Enabled=true; MSIP_Label_1_ContentBits=8", Protection.ENCRYPTED),
        (
            b"MSIP_Label_1_Enabled=true;\r\n MSIP_Label_1_Name=Secret; MSIP_Label_1_ContentBits=11;",
            Protection.ENCRYPTED,
        ),
        (b"MSIP_Label_1_Enabled=true; MSIP_Label_1_ContentBits=perhaps", Protection.ENCRYPTED),
        (b"MSIP_Label_1_Enabled=true; MSIP_Label_1_ContentBits=7", None),
        (b"MSIP_Label_1_Enabled=true; MSIP_Label_1_Name=Secret", None),
        (b"MSIP_Label_1_Enabled=false; MSIP_Label_1_ContentBits=8", None),
    ],
)
def test_a_label_that_encrypts(label: bytes, protection: Protection | None) -> None:
    """A sensitivity label that says that it encrypts, or may say so, protects the message; others do not."""
    assert read(html_mail(b"<p>x</p>", more=b"msip_labels: " + label + b"\r\n")).facts.protection is protection


@pytest.mark.parametrize(
    "html",
    [
        b"-----BEGIN PGP MESSAGE-----",
        b"-----BEGIN&#160;PGP SIGNED MESSAGE-----",
        b"-----BEGIN\r\nPGP PUBLIC KEY BLOCK-----",
    ],
    ids=["message", "signed", "key"],
)
def test_inline_pgp(html: bytes) -> None:
    """PGP armour in the text, however it is spaced, protects the message (case 30)."""
    assert read(html_mail(b"<p>" + html + b"</p>")).facts.protection is Protection.ENCRYPTED


def test_order() -> None:
    """Of several things that protect a message the first in the order of the words is named."""
    raw = fixture("protected-signed-in-mixed.in").replace(
        b"MIME-Version", SIGNATURE % b"other.example" + b"MIME-Version"
    )

    assert read(raw).facts.protection is Protection.SIGNED


def test_autocrypt() -> None:
    """An Autocrypt header protects nothing, and stays as it is (case 32)."""
    raw = html_mail(b"<p>x</p>", more=b"Autocrypt: addr=max@example.org; keydata=\r\n xsBNBF\r\n")
    message = read(raw)

    assert message.facts.protection is None
    assert (
        b"Autocrypt: addr=max@example.org; keydata=\r\n xsBNBF\r\n"
        in tracked(message, EVERYTHING_ON, FixedMarks(), FOOTER).raw
    )
