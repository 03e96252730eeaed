"""Other people's trackers in protected messages: they are told of, and not one byte is changed."""

from dataclasses import replace

import pytest

from policies import Protection
from proxy.rewrite import untracked
from tests.proxy.samples import html_mail, read
from tests.proxy.tracking import PIXEL, READING, TRACKED_PAGE, clean, reported


@pytest.mark.parametrize(
    ("more", "content_type", "action"),
    [
        (b"DKIM-Signature: v=1; d=other.example; b=x\r\n", b'text/html; charset="utf-8"', "unstrippable_signed"),
        (b"", b'multipart/signed; boundary=b; protocol="application/pgp-signature"', "unstrippable_signed"),
        (b"", b"multipart/report; boundary=b; report-type=delivery-status", "reported"),
    ],
    ids=["dkim", "signed", "report"],
)  # fmt: skip
def test_protected(more: bytes, content_type: bytes, action: str) -> None:
    """§4.5: what a protected message holds is told, and not one byte of it is changed."""
    body = TRACKED_PAGE
    if content_type.startswith(b"multipart"):
        body = b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body + b"\r\n--b--\r\n"
    raw = html_mail(body, content_type, more=more)

    out = clean(raw)

    assert raw is out.raw
    assert [
        f"tool yesware image B {action} ×1",
        f"tool yesware link B {action} ×1",
        "tool mailtrack link B opaque ×1",
    ] == reported(out)
    assert read(raw, READING).facts.protection in Protection


def test_inline_pgp_is_told_too() -> None:
    """§4.5: a message with an inline PGP block is protected as well."""
    raw = html_mail(TRACKED_PAGE + b"<pre>-----BEGIN PGP MESSAGE-----</pre>")

    out = clean(raw)

    assert raw is out.raw
    assert "tool yesware image B unstrippable_signed ×1" in reported(out)


def test_an_own_signature_goes_with_the_trackers() -> None:
    """A signature of our own that may be taken off does not survive an edit; without one it stays."""
    more = b"DKIM-Signature: v=1; d=example.org; b=x\r\n"
    reading = replace(READING, removable_signatures=frozenset({"example.org"}))

    assert b"DKIM" not in clean(html_mail(TRACKED_PAGE, more=more), reading).raw
    assert b"DKIM" in clean(html_mail(b"<p>x</p>", more=more), reading).raw


@pytest.mark.parametrize("line", ["-----BEGIN PGP{} MESSAGE-----", "-----BE{}GIN PGP MESSAGE-----"])
def test_a_tracker_inside_inline_pgp_stays(line: str) -> None:
    """Taking a tracker out never makes a message read as encrypted that was not: it stays as it is, and is reported."""
    pixel = f'<img src="{PIXEL}">'
    raw = html_mail(f"<p>{line.format(pixel)}</p>".encode())

    message = read(raw, READING)

    assert message.facts.protection is Protection.ENCRYPTED
    assert untracked(message, clean=True).raw == raw
