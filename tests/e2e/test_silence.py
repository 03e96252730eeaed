"""What the service says of people while it works: nothing, neither in its log nor in its metrics nor in its files."""

import smtplib
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.e2e.letters import Delivered, letter, opened, plain
from tests.e2e.serving import Answer, Service, fetch
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer

CANARY = "canary"
"""Stands in every address, subject, text, link, host name and piece of evidence of this run."""
LINKS = ("https://canary.customer.test/canary?who=canary", "https://canary.customer.test/2", "https://canary.test/3")


def good_and_bad_mail(service: Service) -> None:
    """Hand in what is accepted, refused, wrong and broken off."""
    to = "canary-unknown@customer.test"
    service.send(plain(to, "canary-subject", "A canary sings.\r\n"), to, sender="canary-sender@example.org")
    with suppress(smtplib.SMTPRecipientsRefused):
        service.send(plain("nobody-canary@customer.test"), "nobody-canary@customer.test")
    with service.client() as client:
        for line in (
            "EHLO canary.example.org", "CANARY canary", "VRFY canary@customer.test", "RCPT TO:<canary@customer.test>",
            "MAIL FROM:<canary@@example.org>", "MAIL FROM:<canary@example.org> CANARY=1",
            "MAIL FROM:<canary@example.org>", "RCPT TO:canary@customer.test", "RCPT TO:<canary\x01@customer.test>",
        ):  # fmt: skip
            client.docmd(line)
        client.rcpt("canary-broken-off@customer.test")
        client.docmd("DATA")
        client.sock.sendall(b"Subject: canary\r\n\r\ncanary\r\n")
        client.close()


def every_page(service: Service, mail: Delivered) -> Iterator[Answer]:
    """Fetch every page that a message leads to, with good and with broken tokens, and refuse."""
    you = mail.stop.replace("/stop/", "/you/")
    sender = service.command("sender-link", "canary-sender@example.org").strip()
    for url in (mail.pixel, mail.wrapped[0], mail.stop, you, sender, f"{service.url}/how", f"{service.url}/health"):
        yield fetch(url)
    for url in (mail.pixel.replace(".gif", "x.gif"), f"{mail.wrapped[0]}x", f"{mail.stop}x", f"{service.url}/canary"):
        yield fetch(url)
    yield fetch(mail.stop, b"canary=" + 10_000 * b"canary")
    yield fetch(mail.stop, b"keep=yes&canary=canary")
    yield fetch(you, b"stop=open&canary=canary")


def test_promise_7_nothing_is_said_of_people(own_service: Service, postfix: Postfix) -> None:
    """W13: after good and bad days no log line, metric or file of the ledger holds an address, a token or a word."""
    to = "canary-reader@customer.test"
    own_service.command("consent", "grant", to, "--purpose", "open", "--purpose", "click", "--method", "paper",
                        "--evidence", "canary folder")  # fmt: skip
    sent = letter(to, "canary-subject", links=LINKS)
    own_service.send(sent, to, sender="canary-sender@example.org")
    mail = opened(postfix.next_delivered(to))
    good_and_bad_mail(own_service)
    answers = [*every_page(own_service, mail)]
    with own_service.without_ledger():
        own_service.send(sent, to)
        answers += [fetch(mail.pixel), fetch(mail.wrapped[0]), fetch(mail.stop, b"")]
    postfix.stop()
    try:
        with suppress(smtplib.SMTPException):
            own_service.send(sent, to)
    finally:
        postfix.start()
    metrics = fetch(f"http://127.0.0.1:{own_service.metrics_port}/metrics").body.decode()
    assert own_service.end() == 0

    assert [one.headers["set-cookie"] for one in answers] == [None] * len(answers)
    assert {200, 302, 404, 413, 503} == {one.status for one in answers}
    assert "aboveboard_messages_total" in metrics
    assert "relay.message" in own_service.log
    tokens = [url.rpartition("/")[2].removesuffix(".gif") for url in (mail.pixel, mail.stop, *mail.wrapped)]
    for word in (CANARY, "/o/", "/l/", "/stop/", "/you/", *tokens):
        assert word not in own_service.log.lower()
        assert word not in metrics.lower()
    files = [file for file in own_service.database.parent.iterdir() if CANARY.encode() in file.read_bytes().lower()]
    assert files == []
