"""Mail on its way from a client through the relay and Postfix into a mailbox."""

import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.e2e.letters import destinations, encoded, footer_in, html_body, letter, opened, plain
from tests.e2e.serving import Service, fetch
from tests.e2e.waiting import says_hello
from tests.peers import program
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer


def swaks(service: Service, folder: Path, message: bytes, *recipients: str) -> subprocess.CompletedProcess[str]:
    """Have swaks hand in a message, by a file in a folder, and return how that went."""
    # swaks ends the message with a line break of its own.
    (folder / "letter.eml").write_bytes(message.removesuffix(b"\r\n"))
    return subprocess.run(
        [
            program("swaks"), "--server", f"127.0.0.1:{service.smtp_port}", "--helo", "laptop.example.org",
            "--from", "alice@example.org", "--to", ",".join(recipients), "--data", f"@{folder / 'letter.eml'}",
        ],
        capture_output=True, encoding="latin-1", timeout=60, check=False,
    )  # fmt: skip


def refusal(postfix: Postfix, recipient: str) -> tuple[int, bytes]:
    """Return what Postfix itself answers to RCPT for a recipient."""
    with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="laptop.example.org") as client:
        client.ehlo()
        client.mail("alice@example.org")
        return client.rcpt(recipient)


def test_promise_2_untracked_means_untouched(service: Service, postfix: Postfix) -> None:
    """A message to somebody unknown arrives byte for byte behind one trace line."""
    sent = letter("unknown@customer.test")
    refused = service.send(sent, "unknown@customer.test")
    assert refused == {}
    assert sent == opened(postfix.next_delivered("unknown@customer.test")).content


def test_promise_2_untracked_means_untouched_with_swaks(service: Service, postfix: Postfix, tmp_path: Path) -> None:
    """What swaks hands in arrives byte for byte as well."""
    sent = letter("by-swaks@customer.test")
    done = swaks(service, tmp_path, sent, "by-swaks@customer.test")
    assert done.returncode == 0, done.stdout
    assert sent == opened(postfix.next_delivered("by-swaks@customer.test")).content


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_promise_3_tracked_means_surgical(service: Service, postfix: Postfix, encoding: str) -> None:
    """With consent, only the values of links, the pixel and the footer differ; undone, every byte is as it was."""
    to = f"surgical-{encoding}@customer.test"
    service.grant(to)
    sent = letter(to, encoding=encoding)
    service.send(sent, to)
    arrived = opened(postfix.next_delivered(to)).content

    footer = footer_in(arrived, sent, encoded(html_body(), encoding), encoding)
    assert [footer.count(word) for word in (b"/o/", b"/stop/", b"/l/", b"<img ", b"<a ")] == [1, 1, 0, 1, 1]


def test_promise_5_wrapped_links_lead_to_the_exact_destination(service: Service, postfix: Postfix) -> None:
    """Every wrapped link redirects to the bytes that stood in the message."""
    service.grant("exact@customer.test", "click")
    service.send(letter("exact@customer.test"), "exact@customer.test")
    answers = [fetch(url) for url in opened(postfix.next_delivered("exact@customer.test")).wrapped]
    assert [(302, target) for target in destinations()] == [(one.status, one.headers["location"]) for one in answers]


def test_promise_4_the_client_hears_the_upstreams_own_refusal(service: Service, postfix: Postfix) -> None:
    """A recipient whom Postfix does not know is refused in Postfix's own words."""
    own_words = refusal(postfix, "nobody-here@customer.test")
    assert own_words[0] == 550
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        service.send(plain("nobody-here@customer.test"), "nobody-here@customer.test")
    assert refused.value.recipients == {"nobody-here@customer.test": own_words}


def test_promise_4_each_recipient_has_an_answer_of_its_own(service: Service, postfix: Postfix, tmp_path: Path) -> None:
    """Of three recipients one is refused, and the message reaches the two others untouched."""
    to = ("first@customer.test", "nobody-else@customer.test", "third@customer.test")
    sent = letter(", ".join(to))
    assert service.send(sent, *to) == {to[1]: refusal(postfix, to[1])}
    arrived = [opened(postfix.next_delivered(recipient)).content for recipient in (to[0], to[2])]
    assert arrived == [sent, sent]
    said = swaks(service, tmp_path, sent, *to).stdout
    code, words = refusal(postfix, to[1])
    assert f"<** {code} {words.decode()}" in said
    assert sent == opened(postfix.next_delivered(to[2], 2)).content


def test_promise_4_a_message_is_never_ours(service: Service, postfix: Postfix) -> None:
    """While Postfix is away the client hears 451 and nothing is on record; afterwards mail flows again."""
    known = service.messages()
    with service.client() as client:
        client.sendmail("alice@example.org", "before@customer.test", plain("before@customer.test"))
        postfix.stop()
        try:
            assert not says_hello(postfix.port)
            in_the_session = [client.mail("alice@example.org")[0], client.rcpt("away@customer.test")[0]]
            with service.client() as another:
                in_a_new_one = [another.mail("alice@example.org")[0], another.rcpt("away@customer.test")[0]]
        finally:
            postfix.start()
    assert [in_the_session, in_a_new_one] == [[250, 451], [250, 451]]
    assert len(service.messages()) == len(known) + 1
    assert service.send(plain("away@customer.test"), "away@customer.test") == {}
    assert postfix.next_delivered("away@customer.test")


def test_promise_4_an_upstream_that_was_restarted_is_asked_anew(service: Service, postfix: Postfix) -> None:
    """A connection that Postfix ended between two messages of one session costs the client nothing."""
    to, sent = "patient@customer.test", plain("patient@customer.test")
    with service.client() as client:
        client.sendmail("alice@example.org", to, sent)
        postfix.stop()
        postfix.start()
        client.sendmail("alice@example.org", to, sent)
    assert sent == opened(postfix.next_delivered(to, 2)).content


def test_promise_4_an_upstream_lost_before_data_has_accepted_nothing(service: Service, postfix: Postfix) -> None:
    """Where Postfix goes away between RCPT and DATA, the client hears 451 and no row says "accepted"."""
    service.grant("lost@customer.test")
    with service.client() as client:
        client.mail("alice@example.org")
        assert client.rcpt("lost@customer.test")[0] == 250
        postfix.stop()
        try:
            code, _ = client.data(letter("lost@customer.test"))
        finally:
            postfix.start()
    assert code == 451
    assert "accepted" not in {one["outcome"] for one in service.messages() if one["recipient"] == "lost@customer.test"}


def test_eight_bit_mail_is_handed_on_as_such(service: Service, postfix: Postfix) -> None:
    """A message announced with BODY=8BITMIME arrives byte for byte."""
    sent = plain("eight@customer.test", body="Schöne Grüße\r\n.\x20\r\n")
    with service.client() as client:
        client.sendmail("alice@example.org", "eight@customer.test", sent, ["BODY=8BITMIME"])
    assert sent == opened(postfix.next_delivered("eight@customer.test")).content


@pytest.mark.parametrize("agreed", [False, True], ids=["unknown", "agreed"])
def test_internationalised_addresses(service: Service, postfix: Postfix, agreed: bool) -> None:
    """Mail to and from addresses beyond ASCII goes through by SMTPUTF8: untouched, or tracked with consent."""
    to = f"bär-{agreed}@customer.test"
    if agreed:
        service.grant(to)
    sent = letter(to)
    with service.client() as client:
        client.sendmail("jörg@example.org", to, sent, ["SMTPUTF8", "BODY=8BITMIME"])
    delivered = postfix.next_delivered(to)
    arrived = opened(delivered)
    assert delivered.startswith("Return-Path: <jörg@example.org>\n".encode())
    assert (len(arrived.wrapped), arrived.content == sent) == ((3, False) if agreed else (0, True))


def test_the_null_sender_is_passed_on(service: Service, postfix: Postfix) -> None:
    """A notice with the null sender arrives byte for byte, still with the null sender, whatever was agreed to."""
    service.grant("bounced@customer.test")
    sent = letter("bounced@customer.test")
    assert service.send(sent, "bounced@customer.test", sender="") == {}
    delivered = postfix.next_delivered("bounced@customer.test")
    assert delivered.startswith(b"Return-Path: <>\n")
    assert sent == opened(delivered).content
