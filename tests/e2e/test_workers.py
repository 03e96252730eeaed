"""Four processes of each part: what one hears holds in all."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.letters import Delivered, letter, opened
from tests.e2e.serving import Service, alone, fetch, running_service
from tests.e2e.waiting import until
from tests.peers.postfix import Postfix

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def crowd(postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with four workers of each part."""
    with running_service(tmp_path_factory.mktemp("crowd"), postfix.port, workers=4) as service:
        yield service


class Crowd(threading.Thread):
    """Fetches a message's pixel and first link again and again, and counts."""

    def __init__(self, mail: Delivered) -> None:
        super().__init__()
        self._mail = mail
        self._enough = threading.Event()
        self.asked: list[datetime] = []

    def run(self) -> None:
        """Fetch until it is enough."""
        while not self._enough.is_set():
            for url in (self._mail.pixel, self._mail.wrapped[0]):
                self.asked.append(datetime.now(UTC))
                fetch(url)

    def asked_since(self, moment: datetime) -> int:
        """Return how many requests began after a moment."""
        return sum(asked > moment for asked in self.asked)

    def end(self) -> None:
        """Stop fetching."""
        self._enough.set()
        self.join()


@contextmanager
def crowds(mail: Delivered, count: int) -> Iterator[list[Crowd]]:
    """Have several threads fetch a message's pixel and link while the block runs."""
    running = [Crowd(mail) for _ in range(count)]
    for one in running:
        one.start()
    try:
        yield running
    finally:
        for one in running:
            one.end()


def test_promise_6_holds_in_every_process_within_a_second(crowd: Service, postfix: Postfix) -> None:
    """Withdrawn by the command in another process, nothing is recorded a second later by any of the four."""
    crowd.grant("many@customer.test")
    crowd.send(letter("many@customer.test"), "many@customer.test")
    mail = opened(postfix.next_delivered("many@customer.test"))
    pids = crowd.workers("web")
    assert len(pids) == 4
    for pid in pids:
        with alone(pid, pids):
            fetch(mail.pixel)
    assert [4] == [hit["count"] for hit in crowd.hits(mail.id)]

    with crowds(mail, 4) as running:
        until(lambda: all(len(one.asked) > 20 for one in running), "they are all at it")
        crowd.command("consent", "withdraw", "many@customer.test", "--keep-hits")
        late = datetime.now(UTC) + timedelta(seconds=1)
        until(lambda: all(one.asked_since(late) > 50 for one in running), "fifty requests of each after a second")
    for pid in pids:
        with alone(pid, pids):
            fetch(mail.pixel)
            fetch(mail.wrapped[0])

    withdrawn = max(datetime.fromisoformat(event["time"]) for event in crowd.consent("many@customer.test")["events"])
    last = [datetime.fromisoformat(hit["last_at"]) for hit in crowd.hits(mail.id)]
    assert len(last) >= 2
    assert max(last) <= withdrawn + timedelta(seconds=1)


def test_mail_flows_while_any_of_the_relays_is_killed(crowd: Service, postfix: Postfix) -> None:
    """One relay process after the other is killed; every message handed in meanwhile arrives, and four serve again."""
    pids = crowd.workers("relay")
    for number, pid in enumerate(pids):
        os.kill(pid, signal.SIGKILL)
        to = f"meanwhile-{number}@customer.test"
        assert crowd.send(letter(to), to) == {}
        assert opened(postfix.next_delivered(to)).content == letter(to)
    until(lambda: len(set(crowd.workers("relay")) - set(pids)) == 4, "four new processes", seconds=60)


def test_a_large_message_grows_in_place(crowd: Service) -> None:
    """Every worker has large pieces of memory from the kernel, which moves them without a copy, however many it had."""
    for pid in crowd.workers("relay"):
        words = Path(f"/proc/{pid}/environ").read_text("utf-8", "surrogateescape").split("\0")
        assert "MALLOC_MMAP_THRESHOLD_=1048576" in words


def test_one_that_does_not_start_keeps_no_other_from_it(crowd: Service) -> None:
    """While a process that replaces one is stuck before it serves, another one that dies is replaced all the same."""
    first, second, *others = crowd.workers("relay")
    os.kill(first, signal.SIGKILL)
    stuck = until(lambda: set(crowd.workers("relay")) - {first, second, *others}, "a new process").pop()
    os.kill(stuck, signal.SIGSTOP)
    try:
        os.kill(second, signal.SIGKILL)
        until(lambda: set(crowd.workers("relay")) - {first, second, stuck, *others}, "another new one", seconds=40)
    finally:
        os.kill(stuck, signal.SIGCONT)
    until(lambda: len(crowd.workers("relay")) == 4, "four processes")
