"""A Postfix that has the relay as its relayhost, as docs/mail-programs.md says: its mail goes on as it came."""

import re
import smtplib
from collections.abc import Iterator

import pytest

from tests.e2e.letters import letter, links_undone, opened, the_insertion
from tests.e2e.serving import Service
from tests.peers.postfix import Postfix, running_postfix

pytestmark = pytest.mark.peer

ITS_OWN = re.compile(rb"^Received: from \[?[^\n]+\r\n(?:[ \t][^\n]*\r\n)+")
HANDS_ON = "\nvirtual_mailbox_domains =\nrelayhost = [127.0.0.1]:{port}\n"
SMTP = "smtp unix - - n - - smtp\n"


@pytest.fixture(scope="module")
def office(service: Service) -> Iterator[Postfix]:
    """A Postfix where people hand in mail, and which hands everything on to the relay."""
    with running_postfix() as office:
        office.stop()
        with (office.work / "etc/main.cf").open("a") as main, (office.work / "etc/master.cf").open("a") as master:
            main.write(HANDS_ON.format(port=service.smtp_port))
            master.write(SMTP)
        office.start()
        yield office


@pytest.mark.parametrize("agreed", [False, True], ids=["unknown", "agreed"])
def test_postfix_hands_on_to_the_relay(service: Service, postfix: Postfix, office: Postfix, agreed: bool) -> None:
    """Behind its trace line a message is as it was handed in to Postfix; with consent, links and footer differ."""
    to = f"relayhost-{agreed}@customer.test".lower()
    if agreed:
        service.grant(to)
    sent = letter(to)
    with smtplib.SMTP("127.0.0.1", office.port, local_hostname="laptop.example.org") as client:
        client.sendmail("alice@example.org", to, sent, ["BODY=8BITMIME"])
    arrived = opened(postfix.next_delivered(to)).content
    content, times = ITS_OWN.subn(b"", arrived, count=1)
    assert 1 == times
    if not agreed:
        assert sent == content
        return
    footer = the_insertion(sent, links_undone(content))
    assert [1, 1, 0] == [footer.count(word) for word in (b"/o/", b"/stop/", b"/l/")]
