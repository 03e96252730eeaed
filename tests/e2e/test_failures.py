"""What holds when something breaks: the ledger, a worker, the parent; and when the service is told to end."""

import os
import signal
import smtplib
from datetime import UTC, datetime

import pytest

from tests.e2e.letters import destinations, letter, opened, plain
from tests.e2e.serving import Service, fetch
from tests.e2e.waiting import says_hello, until
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer


def begin_upload(service: Service, to: str, beginning: bytes) -> smtplib.SMTP:
    """Return a client in the middle of DATA, with the beginning of a message sent."""
    client = service.client()
    client.mail("alice@example.org")
    assert client.rcpt(to)[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.sock.sendall(beginning)
    return client


def test_promise_5_links_outlive_everything(service: Service, postfix: Postfix) -> None:
    """With the database gone mail flows untouched, pixel and links answer as ever, and nothing is on record of it."""
    began = datetime.now(UTC).isoformat()
    service.grant("outlived@customer.test")
    sent = letter("outlived@customer.test")
    service.send(sent, "outlived@customer.test")
    arrived = opened(postfix.next_delivered("outlived@customer.test"))
    with service.without_ledger():
        service.send(sent, "outlived@customer.test")
        assert sent == opened(postfix.next_delivered("outlived@customer.test", 2)).content
        pixel = fetch(arrived.pixel)
        assert (200, "image/gif", b"GIF89a") == (pixel.status, pixel.headers["content-type"], pixel.body[:6])
        answers = [fetch(url) for url in arrived.wrapped]
        assert [(302, place) for place in destinations()] == [(one.status, one.headers["location"]) for one in answers]
        assert fetch(arrived.stop).status == 200
        assert fetch(arrived.stop, b"").status == 503
        assert b'"unavailable"' in fetch(f"{service.url}/health").body
        assert not service.database.exists()
    assert service.hits(arrived.id) == []
    assert service.consent("outlived@customer.test")["consent"]["open"] == "granted"
    assert ["outlived@customer.test"] == [one["recipient"] for one in service.messages() if one["decided_at"] >= began]


def test_the_ledger_counts_again_when_it_is_back(service: Service, postfix: Postfix) -> None:
    """Once the database is where it was, hits are recorded and refusals accepted without a restart."""
    service.grant("back@customer.test")
    service.send(letter("back@customer.test"), "back@customer.test")
    arrived = opened(postfix.next_delivered("back@customer.test"))
    with service.without_ledger():
        fetch(arrived.pixel)
    fetch(arrived.pixel)
    assert [1] == [one["count"] for one in service.hits(arrived.id)]
    assert fetch(arrived.stop, b"").status == 200
    assert service.hits(arrived.id) == []


def test_sigterm_lets_an_upload_finish(own_service: Service, postfix: Postfix) -> None:
    """Told to end, mail under way is served to its 250, in DATA or before it; a session at rest hears 421; exit 0."""
    sent = letter("uploading@customer.test")
    on_the_wire = sent.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    idle = own_service.client()
    uploading = begin_upload(own_service, "uploading@customer.test", on_the_wire[:500])
    announced = own_service.client()
    announced.mail("alice@example.org")
    announced.rcpt("announced@customer.test")
    own_service.process.send_signal(signal.SIGTERM)
    assert idle.getreply()[0] == 421
    until(lambda: not says_hello(own_service.smtp_port), "no new clients are taken")
    uploading.sock.sendall(on_the_wire[500:])
    assert uploading.getreply()[0] == 250
    assert announced.data(plain("announced@customer.test"))[0] == 250
    assert uploading.docmd("MAIL FROM:<alice@example.org>")[0] == 421
    for client in (idle, uploading, announced):
        client.close()
    assert own_service.wait() == 0
    assert sent == opened(postfix.next_delivered("uploading@customer.test")).content


def test_a_killed_relay_process_is_replaced(service: Service, postfix: Postfix) -> None:
    """After kill -9 in the middle of an upload the client is cut off, and what it sends again arrives once."""
    to, sent = "killed@customer.test", plain("killed@customer.test")
    (killed,) = service.workers("relay")
    with begin_upload(service, to, sent[:100]) as client:
        os.kill(killed, signal.SIGKILL)
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            client.getreply()
    # The parent still holds the socket: a client that comes now waits for the new process.
    assert service.send(sent, to) == {}
    assert sent == opened(postfix.next_delivered(to)).content
    assert len(postfix.delivered(to)) == 1
    assert killed not in service.workers("relay")


def test_a_killed_web_process_is_replaced(service: Service) -> None:
    """After kill -9 of the web process the next request is answered, by another one."""
    (killed,) = service.workers("web")
    os.kill(killed, signal.SIGKILL)
    assert until(lambda: [pid for pid in service.workers("web") if pid != killed], "another process") != []
    assert fetch(f"{service.url}/health").status == 200


def test_workers_end_with_their_parent(own_service: Service) -> None:
    """When the parent is killed outright, no process of its goes on serving."""
    own_service.process.kill()
    own_service.wait()

    def web_is_gone() -> bool:
        try:
            fetch(f"{own_service.url}/health")
        except OSError:
            return True
        return False

    assert until(lambda: not says_hello(own_service.smtp_port), "the relay is gone")
    assert until(web_is_gone, "the web is gone")
