"""Accounts in running processes: made by the command, known to all workers, with and without the ledger."""

import base64
import os
import signal
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.letters import letter
from tests.e2e.serving import CONFIG, Service, fetch, running_service
from tests.e2e.waiting import until
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer

LISTENER = 'address = "127.0.0.1:{smtp}"\n'
ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def office(postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two workers of each part, on which people have accounts."""
    config = CONFIG.replace(LISTENER, f'{LISTENER}auth = "accounts"\n')
    with running_service(tmp_path_factory.mktemp("office"), postfix.port, workers=2, config=config) as service:
        yield service


def log_in(service: Service, user: str, secret: str) -> int:
    """Log in on a connection of its own and return the code of the answer."""
    said = base64.b64encode(f"\0{user}\0{secret}".encode()).decode()
    with service.client() as client:
        return client.docmd("AUTH", f"PLAIN {said}")[0]


def test_accounts_in_all_workers(office: Service, postfix: Postfix) -> None:
    """An account sends at once; guesses are slowed down by all workers together; nothing secret is written anywhere."""
    secret = office.command("account", "add", ALICE, "--app-password", "Phone").strip()
    with office.client() as client:
        client.login(ALICE, secret)
        client.sendmail(ALICE, ["accounts@customer.test"], letter("accounts@customer.test"))
    assert postfix.next_delivered("accounts@customer.test")
    with office.client() as client, pytest.raises(smtplib.SMTPSenderRefused, match="Log in first"):
        client.sendmail(ALICE, ["accounts@customer.test"], letter("accounts@customer.test"))

    guesses = [f"guess number {number}" for number in range(24)]
    with ThreadPoolExecutor(12) as threads:
        codes = list(threads.map(lambda guess: log_in(office, "bob@example.org", guess), guesses))
    # Three for each worker, where all of them ask at the same moment.
    assert {535, 454} == set(codes)
    assert 6 >= codes.count(535)
    assert [454] * 4 == [log_in(office, "bob@example.org", f"late guess {number}") for number in range(4)]
    assert 235 == log_in(office, ALICE, secret)

    written = office.log.encode() + fetch(f"http://127.0.0.1:{office.metrics_port}/metrics").body
    written += b"".join(file.read_bytes() for file in office.database.parent.iterdir())
    said = [ALICE, "bob@example.org", secret, secret.replace("-", ""), "Phone", "guess number", "127.0.0.0/24"]
    said += [base64.b64encode(word.encode()).decode().rstrip("=")[:-1] for word in said]
    assert b"aboveboard_logins_total" in written
    assert [] == [word for word in said if word.encode() in written]


def test_accounts_without_the_ledger(office: Service, postfix: Postfix) -> None:
    """With the ledger away, and a worker that was started meanwhile, people log in and their mail goes."""
    secret = office.command("account", "add", ALICE, "--app-password", "Laptop").strip()
    copies = office.database.with_name("aboveboard.db.accounts")
    # The workers look once a minute; one that is started anew looks now.
    copies.unlink()
    first, second = office.workers("relay")
    _replace(office, first)
    until(copies.exists, "the copy is there")
    assert 235 == log_in(office, ALICE, secret)
    with office.without_ledger():
        copies.write_bytes((office.folder / "away" / copies.name).read_bytes())
        _replace(office, second)
        assert [235] * 6 == [log_in(office, ALICE, secret) for _ in range(6)]
        with office.client() as client:
            client.login(ALICE, secret)
            client.sendmail(ALICE, ["away@customer.test"], letter("away@customer.test"))
        assert postfix.next_delivered("away@customer.test")
        copies.unlink()


def _replace(service: Service, pid: int) -> None:
    """Kill a worker and wait for the one that takes its place."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in service.workers("relay") and len(service.workers("relay")) == 2, "another one is there")
